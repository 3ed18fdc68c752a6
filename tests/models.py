"""Small .onnx models that name a picture's brightness: six nodes, no Keras."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx.parser

from mien.modelspec import ModelSpec, write_to_onnx
from mien.preprocessing import InputSpec


def save_brightness(
    path: Path,
    classes: Sequence[str],
    centres: Sequence[float],
    *,
    sharpness: float = 20.0,
    described: bool = True,
    **changes: str,
) -> Path:
    """Write a model for 8x8 grey pictures whose class i is most probable at brightness `centres[i]`, 0 to 1.

    `changes` replace parts of its text: ``n``, ``side``, ``last``.
    """
    parts = {"n": "n", "side": "8", "last": "Softmax<axis=-1>(s)"} | changes
    count = len(centres)
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        brightness (float[{parts["n"]}, {parts["side"]}, {parts["side"]}, 1] x) => (float[{parts["n"]}, {count}] p)
        <float[1, {count}] centres = {{{", ".join(map(str, map(float, centres)))}}},
         float[1] scale = {{{-float(sharpness)}}}>
        {{ f = Flatten<axis=1>(x)  m = ReduceMean<axes=[1], keepdims=1>(f)  d = Sub(m, centres)
           q = Mul(d, d)  s = Mul(q, scale)  p = {parts["last"]} }}"""
    onnx.save(onnx.parser.parse_model(text), path)
    if described:
        write_to_onnx(path, ModelSpec(tuple(classes), "brightness", count + 1, InputSpec(size=8)))
    return path
