"""Batches for training.

What the i-th batch of an epoch holds follows from (seed, epoch, i) alone, so that a resumed run sees what an
undisturbed one would have seen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from mien.preprocessing import InputSpec

if TYPE_CHECKING:
    from mien.datasets import Dataset

Batch = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]
"""Images uint8 (b, size, size, channels), targets float32 (b, classes), weights float32 (b,)."""

Rows = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images uint8 (b, size, size, channels), labels int64 (b,)."""


class Source(Protocol):
    """Where training images come from: memory or files. Safe to use from several threads."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of each image, int64 (n,)."""

    @property
    def workers(self) -> int:
        """How many threads should read batches ahead of training."""

    def batch(self, index: int, *, batch_size: int, seed: int, epoch: int) -> Rows:
        """One batch of an epoch; the last may be smaller."""


@dataclass(frozen=True)
class ArraySource:
    """Images held in memory: uint8 (n, size, size, channels), labels int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    workers: int = 1

    def batch(self, index: int, *, batch_size: int, seed: int, epoch: int) -> Rows:
        """A slice of the epoch's permutation."""
        rows = _permutation(len(self.labels), seed, epoch)[index * batch_size : (index + 1) * batch_size]
        return self.images[rows], self.labels[rows]


@dataclass(frozen=True)
class StreamSource:
    """Images read from files as they are needed, for datasets larger than memory."""

    dataset: Dataset
    spec: InputSpec
    workers: int = os.cpu_count() or 1

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of each image, int64 (n,)."""
        return self.dataset.labels

    def batch(self, index: int, *, batch_size: int, seed: int, epoch: int) -> Rows:
        """Read and decoded in the calling thread."""
        from mien.datasets.streaming import epoch_dataset

        rows: Rows = epoch_dataset(self.dataset, self.spec, batch_size=batch_size, seed=seed, epoch=epoch)[index]
        return rows


class EpochFeed(keras.utils.PyDataset):
    """A source as Keras takes it: images, one-hot targets and weights, an epoch at a time.

    Keras's own threads read ahead. `epoch`, from 0, is set before each epoch begins.
    """

    def __init__(
        self, source: Source, class_weights: NDArray[np.float32], *, batch_size: int, seed: int, epoch: int = 0
    ) -> None:
        """Feed a source.

        Args:
            source: the images.
            class_weights: weight of each class's images in the loss, float32 (classes,).
            batch_size: images a batch.
            seed: of the run.
            epoch: the first epoch, from 0; a resumed run begins later.
        """
        super().__init__(workers=source.workers, max_queue_size=4 * source.workers)
        self.source = source
        self.class_weights = class_weights
        self.targets = np.eye(len(class_weights), dtype=np.float32)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch

    @property
    def num_batches(self) -> int:
        """Batches in one epoch, the last, smaller one counted."""
        return -(-len(self.source.labels) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        images, labels = self.source.batch(index, batch_size=self.batch_size, seed=self.seed, epoch=self.epoch)
        return images, self.targets[labels], self.class_weights[labels]


@lru_cache(maxsize=2)
def _permutation(total: int, seed: int, epoch: int) -> NDArray[Any]:
    """The order of an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(total)


def balancing_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """A weight for each class, inverse to its frequency, 1 on average over the images: float32 (classes,)."""
    counts = np.bincount(labels, minlength=classes)
    weights = np.zeros(classes, np.float64)
    np.divide(len(labels) / np.count_nonzero(counts), counts, out=weights, where=counts > 0)
    return weights.astype(np.float32)
