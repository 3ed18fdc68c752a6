"""The three networks of MTCNN as ONNX graphs, made from the weights of the ``mtcnn`` distribution.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016, figure 2. Each
graph takes uint8 (n, height, width, 3) RGB and gives the same numbers as the published network, to rounding; it is put
together differently, because ONNX Runtime runs convolutions, ReLU, pooling and sums in one blocked layout, and leaves
that layout for PReLU, which then costs as much as all the convolutions. So

- PReLU with slope a below 1 is ``relu(z) + a / (1 - a) * z`` with ``z = (1 - a) * y``; the factor goes into the
  convolution that gives y, and the sum is one depthwise convolution;
- in P-Net's first layer, PReLU moves behind the pooling: the maximum over a window of prelu(y) follows from the maximum
  of y where a >= 0, and from those of y and of a * y where a < 0;
- ``(pixel - 127.5) / 128`` goes into the first convolution, the two outputs of each classifier become their difference.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import lz4.frame
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.errors import ModelError

Array = NDArray[np.float32]

OPSET = 17
IR_VERSION = 8
_HINT = "pip install --force-reinstall mtcnn==1.0.0 lz4"


def load_weights(network: str) -> list[Array]:
    """Read a network's arrays from the ``mtcnn`` distribution, without importing it (it imports TensorFlow).

    Args:
        network: ``pnet``, ``rnet`` or ``onet``.

    Returns:
        float32 arrays, in the order of the layers: kernels (rows, columns, in, out), biases, slopes.

    Raises:
        ModelError: the distribution is not installed, or its file cannot be read.
    """
    found = importlib.util.find_spec("mtcnn")
    folders = list(found.submodule_search_locations or []) if found else []
    if not folders:
        raise ModelError("the weights of MTCNN come with the package mtcnn, which is not installed: pip install mtcnn")
    path = Path(folders[0]) / "assets" / "weights" / f"{network}.lz4"
    try:
        # Not by joblib from the path: under Python 3.13 lz4's file says on stderr that it is closed twice.
        arrays = joblib.load(io.BytesIO(lz4.frame.decompress(path.read_bytes())))
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise ModelError(f"{path}: cannot be read as weights of MTCNN ({error}); {_HINT}") from error
    return [np.asarray(array, np.float32) for array in arrays]


def proposal_network() -> bytes:
    """P-Net: any height and width from 12.

    Returns:
        A serialised graph: float32 (n, 5, rows, columns). Cell (i, j) looks at the 12 x 12 pixels from row 2i, column
        2j: how far the left, upper, right, lower edge lie from its own, in windows; then the face's log-odds.
    """
    weights = load_weights("pnet")
    graph = _Graph(weights)
    x, signs = graph.pooled_first_layer()
    x = graph.conv(x, weights[3] * signs[:, None], weights[4], weights[5])
    y, scale = graph.scaled_conv(x, weights[6], weights[7], weights[8])
    slopes = weights[8].ravel()
    kernel, bias = _join(weights[9:11], weights[11:13])
    direct = graph.plain_conv(y, kernel * (slopes / scale)[:, None], bias)
    bent = graph.plain_conv(graph.add("Relu", [y]), kernel, np.zeros_like(bias))
    return graph.finish(graph.add("Add", [bent, direct]), ["n", 5, "rows", "columns"])


def refinement_network() -> bytes:
    """R-Net: 24 x 24 pixels to float32 (n, 5): the edges' offsets in windows, the face's log-odds."""
    weights = load_weights("rnet")
    graph = _Graph(weights)
    x = graph.pool(graph.conv(graph.picture(), *_fold_pixels(*weights[0:2]), weights[2]), 3, 2, end=1)
    x = graph.pool(graph.conv(x, *weights[3:6]), 3, 2)
    x = graph.conv(x, *weights[6:9])
    x = graph.dense(graph.flat(x), _rows_for(weights[9], 3, 64), weights[10], weights[11])
    kernel, bias = _join(weights[12:14], weights[14:16])
    return graph.finish(graph.dense(x, kernel, bias), ["n", 5])


def output_network() -> bytes:
    """O-Net: 48 x 48 pixels to float32 (n, 15): offsets, log-odds, then x and y of five keypoints."""
    weights = load_weights("onet")
    graph = _Graph(weights)
    x = graph.pool(graph.conv(graph.picture(), *_fold_pixels(*weights[0:2]), weights[2]), 3, 2, end=1)
    x = graph.pool(graph.conv(x, *weights[3:6]), 3, 2)
    x = graph.pool(graph.conv(x, *weights[6:9]), 2, 2)
    x = graph.conv(x, *weights[9:12])
    x = graph.dense(graph.flat(x), _rows_for(weights[12], 3, 128), weights[13], weights[14])
    kernel, bias = _join(weights[15:17], weights[19:21])
    kernel, bias = np.concatenate([kernel, weights[17]], 1), np.concatenate([bias, weights[18]])
    return graph.finish(graph.dense(x, kernel, bias), ["n", 15])


class _Graph:
    """Puts nodes one behind another; methods take and give names of tensors."""

    def __init__(self, weights: Sequence[Array]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, values: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def picture(self) -> str:
        """The input as float32 (n, 3, height, width), still from 0 to 255."""
        return self.add("Cast", [self.add("Transpose", ["pixels"], perm=[0, 3, 1, 2])], to=TensorProto.FLOAT)

    def plain_conv(self, x: str, kernel: Array, bias: Array, group: int = 1) -> str:
        """A convolution without padding; kernel (rows, columns, in, out)."""
        weights = [self.constant(kernel.transpose(3, 2, 0, 1)), self.constant(bias)]
        return self.add("Conv", [x, *weights], group=group)

    def scaled_conv(self, x: str, kernel: Array, bias: Array, slopes: Array) -> tuple[str, Array]:
        """A convolution whose outputs are multiplied by ``1 - slope``, and that factor."""
        scale = 1 - slopes.ravel()
        return self.plain_conv(x, kernel * scale, bias * scale), scale

    def conv(self, x: str, kernel: Array, bias: Array, slopes: Array) -> str:
        """A convolution with PReLU."""
        a = slopes.ravel()
        if (a > 0.99).any():
            y = self.plain_conv(x, kernel, bias)
            return self.add("Add", [self._diagonal(self.add("Relu", [y]), 1 - a), self._diagonal(y, a)])
        y, scale = self.scaled_conv(x, kernel, bias, slopes)
        return self.add("Add", [self._diagonal(y, a / scale), self.add("Relu", [y])])

    def _diagonal(self, x: str, factors: Array) -> str:
        return self.plain_conv(x, factors.reshape(1, 1, 1, -1), np.zeros_like(factors), group=factors.size)

    def pool(self, x: str, size: int, stride: int, end: int = 0) -> str:
        """Maxima of windows; `end` rows and columns of nothing are added below and to the right."""
        return self.add("MaxPool", [x], kernel_shape=[size, size], strides=[stride, stride], pads=[0, 0, end, end])

    def pooled_first_layer(self) -> tuple[str, Array]:
        """P-Net's convolution, PReLU and pooling, PReLU last; and the sign each channel comes out with."""
        kernel, bias = _fold_pixels(*self.weights[0:2])
        a = self.weights[2].ravel()
        falling = np.flatnonzero(a < 0)
        y = self.plain_conv(
            self.picture(),
            np.concatenate([kernel, kernel[..., falling] * a[falling]], -1),
            np.concatenate([bias, bias[falling] * a[falling]]),
        )
        direct, bent, signs = _prelu_of_maxima(a, falling)
        y = self.pool(y, 2, 2)
        zeros = np.zeros(a.size, np.float32)
        bend = self.add("Relu", [self.plain_conv(y, bent[None, None], zeros)])
        return self.add("Add", [self.plain_conv(y, direct[None, None], zeros), bend]), signs

    def flat(self, x: str) -> str:
        return self.add("Flatten", [x])

    def dense(self, x: str, kernel: Array, bias: Array, slopes: Array | None = None) -> str:
        """A fully connected layer, with PReLU if there are slopes."""
        y = self.add("Gemm", [x, self.constant(kernel), self.constant(bias)])
        return y if slopes is None else self.add("PRelu", [y, self.constant(slopes)])

    def finish(self, output: str, shape: Sequence[Any]) -> bytes:
        """The whole as a file's bytes."""
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "height", "width", 3])
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, list(shape))
        graph = helper.make_graph(self.nodes, "mtcnn", [pixels], [result], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        serialised: bytes = model.SerializeToString()
        return serialised


def _fold_pixels(kernel: Array, bias: Array) -> tuple[Array, Array]:
    """Put ``(pixel - 127.5) / 128`` into a convolution without padding."""
    middle: Array = kernel.sum((0, 1, 2)) * np.float32(127.5 / 128)
    return kernel / np.float32(128), bias - middle


def _prelu_of_maxima(a: Array, falling: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """PReLU after pooling, as ``sign * (direct @ m + relu(bent @ m))``.

    m holds the maxima of y, then, for the channels in `falling` (slope below 0), those of a * y.
    """
    n = a.size
    direct, bent = np.zeros((2, n + falling.size, n), np.float32)
    signs = np.where(a > 1, -1, 1).astype(np.float32)
    for channel in range(n):
        if a[channel] >= 0:
            direct[channel, channel] = a[channel] if a[channel] <= 1 else -1
            bent[channel, channel] = abs(1 - a[channel])
        if a[channel] > 1:  # -prelu(m) = -m + relu((1 - a) * m)
            bent[channel, channel] = 1 - a[channel]
    for row, channel in enumerate(falling, start=n):  # max(m, m2) = m2 + relu(m - m2)
        direct[row, channel], bent[channel, channel], bent[row, channel] = 1, 1, -1
    return direct, bent, signs


def _join(boxes: Sequence[Array], classes: Sequence[Array]) -> tuple[Array, Array]:
    """One layer for four offsets and the log-odds, from the layers for offsets and for (no face, face)."""
    (kernel, bias), (kernel2, bias2) = boxes, classes
    odds, odds_bias = kernel2[..., 1:] - kernel2[..., :1], bias2[1:] - bias2[:1]
    return np.concatenate([kernel, odds], -1), np.concatenate([bias, odds_bias])


def _rows_for(kernel: Array, side: int, channels: int) -> Array:
    """Reorder a dense layer's rows from (column, row, channel), as published, to (channel, row, column)."""
    ordered = kernel.reshape(side, side, channels, -1).transpose(2, 1, 0, 3)
    return ordered.reshape(kernel.shape)
