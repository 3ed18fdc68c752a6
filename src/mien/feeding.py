"""Where training images come from.

What the i-th batch of an epoch holds follows from (seed, epoch, i) alone, so that a resumed run sees what an
undisturbed one would have seen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.preprocessing import InputSpec

if TYPE_CHECKING:
    from mien.datasets import Dataset

Rows = tuple[NDArray[np.uint8], NDArray[np.int64] | NDArray[np.float32]]
"""Images uint8 (b, size, size, channels), and labels int64 (b,) or soft targets float32 (b, classes)."""


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
    """Images held in memory: uint8 (n, size, size, channels), labels int64 (n,).

    Where there are `targets`, float32 (n, classes), they are learned instead of the labels.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    workers: int = 1
    targets: NDArray[np.float32] | None = None

    def batch(self, index: int, *, batch_size: int, seed: int, epoch: int) -> Rows:
        """A slice of the epoch's permutation."""
        rows = _permutation(len(self.labels), seed, epoch)[index * batch_size : (index + 1) * batch_size]
        return self.images[rows], self.labels[rows] if self.targets is None else self.targets[rows]


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
