"""Smaller files: weights stored as float16, or weights and arithmetic in 8-bit integers.

All are measured against float32 before they are kept. The class order, the description, input and output stay as they
are: float32 pixels in, float32 probabilities out. ``.onnx`` files are made of float32 ones here, ``.tflite`` files by
`mien.litert_writing`. docs/model-format.md describes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from mien import litert
from mien.classifier import Classifier, check_batch
from mien.errors import ModelError, UsageError, many, unknown_choice
from mien.files import replacing
from mien.modelspec import ModelSpec
from mien.quantising import quantise

PRECISION_KEY = "mien.precision"
"""The key among an ONNX file's metadata_props; a file that lacks it is float32."""

RECIPE_KEY = "mien.keras"
"""The key of what `mien.restoring` makes a Keras model of."""

SMALL = 4096
"""Arrays of up to this many numbers stay as they are in float16 files, and whole in the recipe of `mien.restoring`."""

LARGEST_FLOAT16 = 65504

FLOAT16_TOLERANCE = 5e-3
"""Largest difference of a probability that storing weights as float16 may make."""

INT8_DIFFERENCE = 0.012
"""Largest mean difference of a probability, on the calibration images, that an int8 file may have."""

INT8_AGREEMENT = 0.92
"""Least share of the calibration images to which an int8 file gives the same most probable class."""


def lower_precision(
    path: Path, precision: str, calibration: NDArray[np.uint8] | None = None, *, name: str | None = None
) -> None:
    """Make a float32 ``.onnx`` file smaller, in place; it stays as it was where the result strays too far from it.

    Args:
        path: a file with a description.
        precision: one of `PRECISIONS`; ``float32`` leaves the file alone.
        calibration: for ``int8``: uint8 (n, size, size, channels), pictures as the model will see, n at least 1.
        name: what errors call the file; its path where None.

    Raises:
        UsageError: an unknown precision, calibration images where none are used or none where they are needed, or a
            file that is not float32.
        ModelError: the result's probabilities differ too much from those of the float32 file.
    """
    check_precision(precision, "onnx", calibration is not None)
    if precision == "float32":
        return
    found = read_precision(path)["precision"]
    if found != "float32":
        raise UsageError(f"{name or path}: holds {found} already; give the float32 file that it was made of")
    reference = Classifier(path, device="cpu")
    images = pictures_to_compare(reference.spec, calibration)
    with replacing(path) as temporary:
        LOWER[precision](path, temporary, images)
        _describe(temporary, path, {"precision": precision})
        answers = Classifier(temporary, device="cpu").predict(images)
        facts = COMPARE[precision](reference.predict(images), answers, name or str(path))
        _describe(temporary, path, {"precision": precision, **facts})


def pictures_to_compare(spec: ModelSpec, calibration: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """The calibration images, once they are known to fit; a few random pictures where there are none.

    Raises:
        UsageError: they are not uint8 (n, size, size, channels), n at least 1.
    """
    if calibration is None:
        return np.random.default_rng(0).integers(0, 256, (16, *spec.input.shape), np.uint8)
    check_batch(calibration, spec.input, None)
    if not len(calibration):
        raise UsageError("calibration: must hold at least one image, received none")
    return calibration


def check_precision(precision: str, kind: str, calibrates: bool) -> None:
    """Refuse a precision that a format has not, and calibration data where it is not needed or not given.

    Args:
        precision: what is asked for.
        kind: the format, a key of `mien.export.WRITERS`.
        calibrates: whether calibration data is given.

    Raises:
        UsageError: says what is allowed.
    """
    allowed = PRECISIONS_OF.get(kind, PRECISIONS)
    if precision not in ("float32", *COMPARE):
        raise unknown_choice("precision", precision, allowed)
    if precision != "float32" and precision not in PRECISIONS_OF.get(kind, ()):
        formats = " and ".join(name for name, precisions in PRECISIONS_OF.items() if precision in precisions)
        raise UsageError(f"precision: {precision} is for {formats} only, received the format {kind}; leave it out")
    if precision == "int8" and not calibrates:
        raise UsageError(
            "calibrate: is required for int8, as the range of each layer is read off pictures; give labelled faces "
            "such as those it was trained on: --calibrate DATA"
        )
    if precision != "int8" and calibrates:
        raise UsageError(f"calibrate: is for int8 only, received precision {precision}; leave it out")


def read_precision(path: str | Path) -> dict[str, Any]:
    """What an ``.onnx`` or ``.tflite`` file says of its precision, and for ``int8`` how far it is from float32.

    Returns:
        ``precision``, one of `PRECISIONS`; where it is ``int8`` also ``images`` (how many were compared),
        ``agreement`` (share of them with the same most probable class) and ``mean_difference`` (of a probability).
    """
    if Path(path).suffix.lower() == litert.SUFFIX:
        text = litert.read_precision(Path(path))
    else:
        properties = {item.key: item.value for item in onnx.load(path, load_external_data=False).metadata_props}
        text = properties.get(PRECISION_KEY)
    facts: dict[str, Any] = {"precision": "float32"} if text is None else json.loads(text)
    return facts


def _store_float16(source: Path, target: Path, images: NDArray[np.uint8]) -> None:
    """Store large weights as float16, each with a Cast that runtimes do once, when they open the file."""
    del images
    model = onnx.load(source)
    graph = model.graph
    casts = []
    for item in graph.initializer:
        values = numpy_helper.to_array(item)
        if values.dtype == np.float32 and values.size > SMALL:
            name = item.name
            if np.abs(values).max() > LARGEST_FLOAT16:
                raise ModelError(
                    f"float16: holds numbers up to {LARGEST_FLOAT16:,}, but {name} goes beyond; use float32"
                )
            item.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.float16"))
            casts.append(onnx.helper.make_node("Cast", [item.name], [name], f"{name}.cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    target.write_bytes(model.SerializeToString())


def _describe(target: Path, source: Path, facts: dict[str, Any]) -> None:
    """Give a file the source's metadata and its precision; what made Keras models of it only where weights are left."""
    model = onnx.load(target)
    kept = {item.key: item.value for item in onnx.load(source).metadata_props}
    if facts["precision"] == "int8":
        kept.pop(RECIPE_KEY, None)
    onnx.helper.set_model_props(model, {**kept, PRECISION_KEY: json.dumps(facts)})
    target.write_bytes(model.SerializeToString())


def _compare_float16(expected: NDArray[np.float32], answers: NDArray[np.float32], name: str) -> dict[str, Any]:
    """Refuse a probability that is further than `FLOAT16_TOLERANCE` from float32's."""
    difference = float(np.abs(expected - answers).max())
    if not difference <= FLOAT16_TOLERANCE:
        raise ModelError(
            f"{name}: in float16 a probability differs by {difference:.2g} from float32, more than "
            f"{FLOAT16_TOLERANCE:g}; it was not kept. Export it in float32"
        )
    return {}


def _compare_int8_dynamic(expected: NDArray[np.float32], answers: NDArray[np.float32], name: str) -> dict[str, Any]:
    """Refuse answers that are further from float32's than `INT8_DIFFERENCE` on average."""
    difference = float(np.abs(expected - answers).mean())
    if not difference <= INT8_DIFFERENCE:
        raise ModelError(
            f"{name}: in int8-dynamic probabilities differ by {difference:.2g} on average from float32, more than "
            f"{INT8_DIFFERENCE:g}; it was not kept. Export it in float16, or in int8 with --calibrate"
        )
    return {}


def _compare_int8(expected: NDArray[np.float32], answers: NDArray[np.float32], name: str) -> dict[str, Any]:
    """Refuse answers that are further from float32's than `INT8_DIFFERENCE` and `INT8_AGREEMENT` allow."""
    difference = float(np.abs(expected - answers).mean())
    agreement = float(np.mean(expected.argmax(1) == answers.argmax(1)))
    if not (difference <= INT8_DIFFERENCE and agreement >= INT8_AGREEMENT):
        raise ModelError(
            f"{name}: in int8, of {many(len(answers), 'calibration image')} {agreement:.1%} get the same expression as "
            f"in float32 (at least {INT8_AGREEMENT:.0%} must), and probabilities differ by {difference:.2g} on average "
            f"(at most {INT8_DIFFERENCE:g}); it was not kept. Export it in float16, or calibrate on more pictures like "
            "those it was trained on"
        )
    return {"images": len(answers), "agreement": round(agreement, 4), "mean_difference": round(difference, 5)}


Write = Callable[[Path, Path, NDArray[np.uint8]], None]
Compare = Callable[[NDArray[np.float32], NDArray[np.float32], str], dict[str, Any]]

LOWER: dict[str, Write] = {"float16": _store_float16, "int8": quantise}
"""Name to the function that writes a float32 ``.onnx`` in it."""

COMPARE: dict[str, Compare] = {
    "float16": _compare_float16,
    "int8-dynamic": _compare_int8_dynamic,
    "int8": _compare_int8,
}
"""Name to the function that says whether answers in it are near enough to float32's."""

PRECISIONS: tuple[str, ...] = ("float32", *LOWER)
"""Of ``.onnx`` files."""

PRECISIONS_OF: dict[str, tuple[str, ...]] = {"onnx": PRECISIONS, "litert": ("float32", *COMPARE)}
"""Format to the precisions that it can be written in; the others are float32."""
