"""Averaged weights (EMA), judged and saved with statistics of their own.

Batch norm's running statistics are gathered with the weights of single steps; those of averaged weights are others, the
more so the higher the learning rate. They are estimated anew from a few batches before the averaged network is judged
or saved (Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization", section 3.2). The
images are taken as they are, neither varied nor shrunk, as those that the network will be asked about (Touvron et al.
2019, "Fixing the train-test resolution discrepancy"): docs/training-log.md has the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mien import backend
from mien.epochs import EpochFeed
from mien.preprocessing import SCALE

IMAGES_WATCHING, IMAGES_SAVING = 1280, 7680
"""How many training images statistics are estimated from: each epoch for validation, and once for what is saved."""


class AveragedValidation(keras.callbacks.SwapEMAWeights):
    """While Keras validates, the network has its averaged weights and the statistics that belong to them."""

    def __init__(self, twin: keras.Model, feed: EpochFeed) -> None:
        """Take the network in training and the images it learns from."""
        super().__init__()
        self._twin = twin
        self._feed = feed
        self._look = batch_statistics(twin)
        self._running: list[Any] = []
        self._found: tuple[int, list[Any]] = (-1, [])  # at which step, and the statistics of the averages then

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within an epoch or at its end, what the network has while Keras validates."""
        within = self._ema_weights_in_model
        if not within:
            self.on_test_begin()
        try:
            yield
        finally:
            if not within:
                self.on_test_end()

    def on_test_begin(self, logs: Any = None) -> None:
        """Put averaged weights in, and statistics for them."""
        super().on_test_begin(logs)
        self._running = [keras.ops.convert_to_numpy(value) for value in _statistics(self._twin)]
        step = int(self.model.optimizer.iterations)
        if self._found[0] == step:
            _give(self._twin, self._found[1])
            return
        estimate_statistics(self._twin, self._feed, IMAGES_WATCHING, self._look)
        self._found = (step, [keras.ops.convert_to_numpy(value) for value in _statistics(self._twin)])

    def on_test_end(self, logs: Any = None) -> None:
        """Put back what was there."""
        _give(self._twin, self._running)
        super().on_test_end(logs)


Look = Callable[[NDArray[np.uint8], int], list[NDArray[np.float32]]]
"""From this host's rows of a filled batch, and how many of all rows are images, to the statistics of that batch."""


def estimate_statistics(twin: keras.Model, feed: EpochFeed, images: int, look: Look | None = None) -> None:
    """Set the running mean and variance of every batch norm to their means over the first batches of an epoch.

    Args:
        twin: the network in training, which keeps its weights.
        feed: the training images, from the start of the epoch that it stands at.
        images: about how many to look at, at least one batch.
        look: `batch_statistics` of the same network, if it is there already.
    """
    if not _normalisations(twin):
        return
    look = look or batch_statistics(twin)
    count = min(feed.num_batches, max(1, round(images / feed.batch_size)))
    batches = [look(feed.plain(index), feed.images_in(index)) for index in range(count)]
    for variable, *values in zip(_statistics(twin), *batches, strict=True):
        variable.assign(np.mean(values, axis=0, dtype=np.float64))


def batch_statistics(twin: keras.Model) -> Look:
    """A function from a batch to the mean and variance that each batch norm sees, in the order of `_statistics`."""
    layers = _normalisations(twin)
    forward = _compiled(twin) if keras.backend.backend() == "jax" else _eager(twin)

    def look(pixels: NDArray[np.uint8], rows: int) -> list[NDArray[np.float32]]:
        with _momentum(layers, 0.0):  # which makes the running value that of the last batch
            return [keras.ops.convert_to_numpy(value) for value in forward(pixels, rows)]

    return look


def _eager(twin: keras.Model) -> Callable[[NDArray[np.uint8], int], list[Any]]:
    def forward(pixels: NDArray[np.uint8], rows: int) -> list[Any]:
        twin(pixels[:rows] * np.float32(SCALE), training=True)
        return _statistics(twin)

    return forward


def _compiled(twin: keras.Model) -> Callable[[NDArray[np.uint8], int], list[Any]]:
    """For JAX, whose devices must run one compiled program where there are several."""
    import jax

    places = [_place(twin.non_trainable_variables, variable) for variable in _statistics(twin)]

    def step(learnt: list[Any], others: list[Any], pixels: Any, rows: int) -> list[Any]:
        images = keras.ops.cast(pixels[:rows], "float32") * np.float32(SCALE)
        _, others = twin.stateless_call(learnt, others, images, training=True)
        return [others[place] for place in places]

    compiled = jax.jit(step, static_argnums=3)

    def forward(pixels: NDArray[np.uint8], rows: int) -> list[Any]:
        learnt, others = ([v.value for v in vs] for vs in (twin.trainable_variables, twin.non_trainable_variables))
        found: list[Any] = compiled(learnt, others, backend.lay_out(pixels), rows)
        return found

    return forward


def _place(variables: list[keras.Variable], wanted: keras.Variable) -> int:
    return next(index for index, variable in enumerate(variables) if variable is wanted)


def _normalisations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in backend.all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]


def _statistics(model: keras.Model) -> list[keras.Variable]:
    return [value for layer in _normalisations(model) for value in (layer.moving_mean, layer.moving_variance)]


def _give(model: keras.Model, statistics: list[Any]) -> None:
    for variable, value in zip(_statistics(model), statistics, strict=True):
        variable.assign(value)


@contextmanager
def _momentum(layers: list[keras.layers.BatchNormalization], value: float) -> Iterator[None]:
    before = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = value
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
