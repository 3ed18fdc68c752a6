"""Averaged weights (EMA), judged and saved with statistics of their own.

Batch norm's running statistics are gathered with the weights of single steps; those of averaged weights are others, the
more so the higher the learning rate. They are estimated anew from a few batches before the averaged network is judged
or saved (Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization", section 3.2). The
images are taken as they are, neither varied nor shrunk, as those that the network will be asked about (Touvron et al.
2019, "Fixing the train-test resolution discrepancy"): docs/training-log.md has the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

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
        self._running: list[Any] = []

    def on_test_begin(self, logs: Any = None) -> None:
        """Put averaged weights in, and statistics for them."""
        super().on_test_begin(logs)
        self._running = [keras.ops.convert_to_numpy(value) for value in _statistics(self._twin)]
        estimate_statistics(self._twin, self._feed, IMAGES_WATCHING)

    def on_test_end(self, logs: Any = None) -> None:
        """Put back what was there."""
        for variable, value in zip(_statistics(self._twin), self._running, strict=True):
            variable.assign(value)
        super().on_test_end(logs)


def estimate_statistics(twin: keras.Model, feed: EpochFeed, images: int) -> None:
    """Set the running mean and variance of every batch norm to their means over the first batches of an epoch.

    Args:
        twin: the network in training, which keeps its weights.
        feed: the training images, from the start of the epoch that it stands at.
        images: about how many to look at, at least one batch.
    """
    layers = _normalisations(twin)
    if not layers:
        return
    count = min(feed.num_batches, max(1, round(images / feed.batch_size)))
    with _momentum_kept(layers):
        for index in range(count):
            (pixels, _), _, _ = feed[index]
            for layer in layers:
                layer.momentum = index / (index + 1)  # which makes the running value the mean so far
            twin(pixels * np.float32(SCALE), training=True)


def _normalisations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _statistics(model: keras.Model) -> list[keras.Variable]:
    return [value for layer in _normalisations(model) for value in (layer.moving_mean, layer.moving_variance)]


@contextmanager
def _momentum_kept(layers: list[keras.layers.BatchNormalization]) -> Iterator[None]:
    before = [layer.momentum for layer in layers]
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
