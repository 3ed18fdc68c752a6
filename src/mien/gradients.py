"""Class activation maps of any Keras network: which places of its feature maps speak for a class, by gradients.

Maps are read from the last layer of each stage (each size of feature map) that is not too coarse, and their mean is
taken. Each place of a channel is weighed by its own gradient, below 0 too, so that what speaks against the class is
taken off; places that are left below 0 are cut (Draelos & Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful
explanations of convolutional neural networks"). The choice was measured: docs/explaining.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from mien.backend import gradient
from mien.errors import UsageError
from mien.occlusion import check_targets
from mien.preprocessing import to_input

CONVOLUTIONS = (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D, layers.SeparableConv2D)

COARSEST = 1 / 8
"""The largest share of a picture's side that one place of a map may cover: 6 pixels of 48. Coarser maps pointed less
well than the middle of the picture did."""

BATCH = 64
"""Pictures that go through the network at once."""

Cam = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""Activations and gradients (n, height, width, channels) to maps (n, height, width), 0 or more."""


Slope = Callable[..., NDArray[np.float32]]
"""What `mien.backend.gradient` gives: values of a layer, pictures and targets to gradients of the values."""


def _gradcam(values: NDArray[np.float32], slopes: NDArray[np.float32]) -> NDArray[np.float32]:
    return _positive((values * slopes.mean(axis=(1, 2), keepdims=True)).sum(axis=-1))


def _hirescam(values: NDArray[np.float32], slopes: NDArray[np.float32]) -> NDArray[np.float32]:
    return _positive((values * slopes).sum(axis=-1))


def _layercam(values: NDArray[np.float32], slopes: NDArray[np.float32]) -> NDArray[np.float32]:
    return _positive((values * _positive(slopes)).sum(axis=-1))


def _positive(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(values, np.float32(0))


CAMS: dict[str, Cam] = {"gradcam": _gradcam, "hirescam": _hirescam, "layercam": _layercam}
"""Ways to weigh a layer's channels.

``gradcam``: by their mean gradient (Selvaraju et al. 2017); ``hirescam``: each place by its own (Draelos & Carin 2020);
``layercam``: each place by its own, where that is positive (Jiang et al. 2021)."""


class Activations:
    """A Keras network opened at some of its layers. Weights are shared with the network.

    Attributes:
        layers: names of the layers that maps are read from, first to last.
    """

    def __init__(self, model: keras.Model, layer: str | None = None, *, cam: str = "hirescam") -> None:
        """Open a network.

        Args:
            model: functional or Sequential, float32 (n, size, size, channels) to probabilities (n, classes).
            layer: the one layer to read; None: see `find_layers`.
            cam: a key of `CAMS`.

        Raises:
            UsageError: the network has no such layer, or no feature maps.
        """
        graph = _Graph.of(model)
        chosen = _choose(graph, layer)
        self.layers = tuple(chosen)
        self._cam = CAMS[cam]
        self._shape = model.input_shape[1:]
        self._classes = int(model.output_shape[-1])
        with _forgetting_calls(model):
            self._body = keras.Model(graph.faces, list(chosen.values()))
            heads = [keras.Model([tensor, graph.faces], graph.answers) for tensor in chosen.values()]
        self._slopes = [gradient(_score_of(head)) for head in heads]

    def maps(self, images: NDArray[np.uint8], targets: NDArray[np.int64]) -> NDArray[np.float32]:
        """Which places of pictures speak for a class.

        Args:
            images: uint8 (n, size, size, channels), as the network takes them; n may be 0.
            targets: int64 (n,), for each picture the index of the class that is explained.

        Returns:
            float32 (n, size, size) from 0 to 1, the strongest place of each picture 1; all 0 where nothing speaks for
            the class.

        Raises:
            UsageError: a target is out of range.
        """
        targets = check_targets(targets, len(images))
        if (targets >= self._classes).any():
            raise UsageError(f"targets: must be below {self._classes}, the number of classes, received {targets.max()}")
        starts = range(0, len(images), BATCH)
        parts = [self._batch(images[at : at + BATCH], targets[at : at + BATCH]) for at in starts]
        return np.concatenate([np.empty((0, *self._shape[:2]), np.float32), *parts])

    def _batch(self, images: NDArray[np.uint8], targets: NDArray[np.int64]) -> NDArray[np.float32]:
        faces = to_input(images)
        found = [ops.convert_to_numpy(values) for values in _listed(self._body(faces, training=False))]
        stages = [self._stage(slope, values, faces, targets) for slope, values in zip(self._slopes, found, strict=True)]
        return _to_unit(np.mean(stages, axis=0))

    def _stage(
        self, slope: Slope, values: NDArray[np.float32], faces: NDArray[np.float32], targets: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """One layer's maps at the picture's size, the strongest place of each 1, so that stages weigh the same."""
        maps = _to_unit(self._cam(values, slope(values, faces, targets)))
        return np.stack([_enlarge(one, self._shape[:2]) for one in maps])


def _score_of(head: keras.Model) -> Callable[..., Any]:
    """The sum of log-odds of the targets, as a function of a layer's values, the pictures and the targets."""

    def score(point: Any, faces: Any, targets: Any) -> Any:
        return ops.sum(log_odds(head([point, faces], training=False), targets))

    return score


def log_odds(shares: Any, targets: Any) -> Any:
    """The logarithm of how much more probable a class is than all others together.

    Unlike the probability it still has a gradient where that is rounded to 1, as long as the others are above 1e-30.

    Args:
        shares: a tensor of probabilities (n, classes).
        targets: integers (n,).

    Returns:
        A tensor (n,). For a softmax it is the class's logit less the log-sum-exp of the others': what speaks for the
        class and not for another one.
    """
    logs = ops.log(ops.maximum(shares, 1e-30))
    own = ops.one_hot(targets, shares.shape[-1], dtype=logs.dtype)
    return ops.sum(own * logs, axis=-1) - ops.logsumexp(logs - 1e9 * own, axis=-1)


def find_layers(model: keras.Model, layer: str | None = None) -> dict[str, Any]:
    """The layers that maps are read from and what they give.

    Args:
        model: functional or Sequential; a network inside it counts as one layer.
        layer: the only one to take; None: for each size of feature map on which a convolution works, the last
            layer of that size, without those of which a place covers more than `COARSEST` of the picture; where all
            do, the finest.

    Raises:
        UsageError: there is no such layer; the network has no convolution with more than one place, or is neither
            functional nor Sequential.
    """
    return _choose(_Graph.of(model), layer)


@dataclass(frozen=True)
class _Graph:
    """What goes through a network, as symbolic tensors of one and the same graph.

    Attributes:
        model: the network.
        faces: what it takes.
        maps: what its layers give, by their names: those with feature maps of more than one place, channels last.
        answers: what it gives.
    """

    model: keras.Model
    faces: Any
    maps: dict[str, Any]
    answers: Any

    @classmethod
    def of(cls, model: keras.Model) -> _Graph:
        """The graph of a functional network, or of a sequential one.

        A sequential network holds a functional one. Keras builds that anew with each layer that is added, so that what
        a layer says that it gives may be of another graph.

        Raises:
            UsageError: it is neither.
        """
        if not getattr(model, "inputs", None):
            raise UsageError(
                f"method: gradcam reads functional and sequential networks, and {model.name!r} is neither; use "
                "occlusion"
            )
        graph = model._functional if isinstance(model, keras.Sequential) else model
        return cls(model, graph.inputs[0], _with_places(_outputs(graph)), graph.outputs[0])


@contextmanager
def _forgetting_calls(model: keras.Model) -> Iterator[None]:
    """Have layers forget what they are part of besides: each head calls those behind it, and nothing looks there again.

    They would hold all heads that were ever opened.
    """
    kept = [(nodes, len(nodes)) for one in model.layers for nodes in (one._inbound_nodes, one._outbound_nodes)]
    try:
        yield
    finally:
        for nodes, count in kept:
            del nodes[count:]


def _choose(graph: _Graph, layer: str | None) -> dict[str, Any]:
    """`find_layers`, of a graph."""
    model, maps = graph.model, graph.maps
    if layer is not None:
        if layer not in maps:
            raise UsageError(f"layer: no layer with feature maps is called {layer!r}; there are {', '.join(maps)}")
        return {layer: maps[layer]}
    sizes = {_size(maps[one.name]) for one in model.layers if one.name in maps and _convolves(one)}
    if not sizes:
        raise UsageError(
            f"method: gradcam reads the feature maps of convolutions, and {model.name!r} has none with more than one "
            "place; use occlusion"
        )
    fine = {size for size in sizes if min(size) >= COARSEST * min(model.input_shape[1:3])} or {max(sizes)}
    last = {_size(tensor): name for name, tensor in maps.items() if _size(tensor) in fine}
    return {name: maps[name] for name in maps if name in last.values()}


def _size(tensor: Any) -> tuple[int, int]:
    """Height and width of a feature map."""
    return int(tensor.shape[1]), int(tensor.shape[2])


def _outputs(model: keras.Model) -> dict[str, Any]:
    """What each layer of a functional network gives there, in order; without those that are used twice or give several.

    A network inside it has a graph of its own too, of which its `output` is.
    """
    nodes = [node for depth in model._nodes_by_depth.values() for node in depth if not node.is_input]
    uses = Counter(node.operation.name for node in nodes)
    given = {node.operation.name: node.outputs[0] for node in nodes if len(node.outputs) == 1}
    return {one.name: given[one.name] for one in model.layers if one.name in given and uses[one.name] == 1}


def _with_places(given: dict[str, Any]) -> dict[str, Any]:
    """Those of some layers' outputs that are feature maps of more than one place, channels last."""
    shapes = {name: getattr(tensor, "shape", ()) for name, tensor in given.items()}
    return {
        name: given[name]
        for name, shape in shapes.items()
        if len(shape) == 4 and None not in shape[1:] and min(shape[1:3]) > 1
    }


def _convolves(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.Model):
        return any(_convolves(inner) for inner in layer.layers)
    return isinstance(layer, CONVOLUTIONS)


def _listed(values: Any) -> Sequence[Any]:
    return values if isinstance(values, list | tuple) else [values]


def _to_unit(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each map divided by its highest value; a map of zeros stays one."""
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(maps / np.where(highest > 0, highest, 1), np.float32)


def _enlarge(one: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(one, size_hw[::-1], interpolation=cv2.INTER_CUBIC), np.float32).clip(0)
