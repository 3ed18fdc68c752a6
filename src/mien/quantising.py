"""8-bit ``.onnx`` files by static quantisation: ranges read off pictures, weights that overflow on no processor."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from mien.classifier import BATCH_PIXELS, check_batch
from mien.datasets import open_dataset
from mien.datasets.facing import with_faces
from mien.errors import DataError, UsageError
from mien.modelspec import ModelSpec
from mien.preprocessing import to_input

CALIBRATION_IMAGES = 512

QUANTISED = ("Conv", "MatMul", "Gemm", "Add", "MaxPool", "Relu")
"""Operations that are done in 8 bits. Pooling over the whole picture and softmax stay in float32."""


def calibration_images(data: str | Path, spec: ModelSpec, *, seed: int = 0) -> NDArray[np.uint8]:
    """Draw up to `CALIBRATION_IMAGES` images from a dataset's training split, cut to faces where the model's were.

    Args:
        data: what `mien.open_dataset` opens; or a ``.npy`` file of uint8 (n, size, size, channels), taken whole.
        spec: of the model that will see them.
        seed: of what is drawn.

    Returns:
        uint8 (n, size, size, channels), n at least 1.

    Raises:
        UsageError: there is no such path, it has no training split, or the array is another.
        DataError: it holds no labelled faces, or none that can be read.
    """
    if Path(data).suffix.lower() == ".npy":
        return _array_of_images(Path(data), spec)
    dataset = open_dataset(data).select("train")
    rows = np.random.default_rng(seed).permutation(len(dataset))[:CALIBRATION_IMAGES]
    drawn, _ = with_faces(dataset.take(rows), bool(spec.trained_on.get("detect_faces", False)))
    return drawn.load(spec.input, skip_bad=True).images


def _array_of_images(path: Path, spec: ModelSpec) -> NDArray[np.uint8]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        images: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as an array ({error})") from error
    check_batch(images, spec.input, None)
    return images


def quantise(source: Path, target: Path, images: NDArray[np.uint8]) -> None:
    """Static quantisation: unsigned 8-bit activations, signed 8-bit weights with a scale for each output channel.

    The range of an activation is the mean over batches of the least and greatest value in each, so that a single
    picture does not coarsen all others.

    Args:
        source: a float32 ``.onnx`` file.
        target: the file to write; it has none of the source's metadata that a reader needs.
        images: uint8 (n, size, size, channels), n at least 1.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    graph = onnx.load(source).graph
    kept = _kept_in_float(graph)
    with _without_advice():
        quantize_static(
            source,
            target,
            _Batches(graph.input[0].name, images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=kept,
            per_channel=True,
            reduce_range=True,  # of weights that have no scale below
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": True, "TensorQuantOverrides": _weight_scales(graph, kept)},
        )


class _Batches:
    """The calibration images as ONNX Runtime asks for them: a dict of the input, batch by batch, None at the end."""

    def __init__(self, name: str, images: NDArray[np.uint8]) -> None:
        self.name = name
        most = max(1, BATCH_PIXELS // (images.shape[1] * images.shape[2]))
        self.parts = iter(np.array_split(images, -(-len(images) // most)))  # of one size, as each counts the same

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch."""
        part = next(self.parts, None)
        return None if part is None else {self.name: to_input(part)}


def _weight_scales(graph: onnx.GraphProto, kept: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The scale of each output channel of the kernels that are quantised, as ONNX Runtime's quantiser takes them."""
    from onnxruntime.quantization import QuantType

    stored = {item.name: item for item in graph.initializer}
    scales: dict[str, list[dict[str, Any]]] = {}
    for node in graph.node:
        if node.op_type in ("Conv", "MatMul") and node.name not in kept and node.input[1] in stored:
            weight = numpy_helper.to_array(stored[node.input[1]])
            shared = {"axis": 0 if node.op_type == "Conv" else 1, "quant_type": QuantType.QInt8}
            rows = np.moveaxis(weight, 1, -1) if node.op_type == "Conv" else weight.T
            scales[node.input[1]] = [
                {**shared, "scale": scale, "zero_point": np.int8(0)} for scale in finest_scales(rows)
            ]
    return scales


def finest_scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The finest scale of each output channel with which 8-bit weights overflow on no processor.

    Without VNNI instructions, two neighbouring products of an activation (to 255) and a weight are added in 16 bits.
    Two weights of like sign must therefore not exceed 128 together; here they round to that at most. Halving the range
    of all weights, the usual way, wastes half of that.

    Args:
        rows: float32 (channels out, ..., channels in): the weights in the order in which they are multiplied.

    Returns:
        float32 (channels out,), above 0.
    """
    rows = rows.reshape(len(rows), -1)
    first, second = rows[:, :-1], rows[:, 1:]
    together = np.where((first > 0) == (second > 0), np.abs(first + second), 0).max(1, initial=0)
    largest = np.maximum(np.abs(rows).max(1), together)
    return np.where(largest > 1e-30, largest / 127, 1).astype(np.float32)


def _kept_in_float(graph: onnx.GraphProto) -> list[str]:
    """Names of the first convolution, and of the last dense layer with all that follows it.

    Together they are a percent of the work, and the layers that rounding hurts most.
    """
    kinds = [node.op_type for node in graph.node]
    dense = [index for index, kind in enumerate(kinds) if kind in ("MatMul", "Gemm")]
    last = dense[-1] if dense else len(kinds)
    first = kinds.index("Conv") if "Conv" in kinds else 0
    return [node.name for index, node in enumerate(graph.node) if index == first or index >= last]


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep to itself what ONNX Runtime's quantiser logs, which no user can act on."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
