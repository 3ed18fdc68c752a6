"""Where training images come from.

What the i-th batch of an epoch holds follows from (seed, epoch, i) alone, so that a resumed run sees what an
undisturbed one would have seen, on however many devices.

JAX splits among devices only what their number divides. Batches that it does not divide (the last of an epoch, most of
all) are filled up with empty rows here, and cut back to their own rows in the compiled step before anything is done
with them (`mien.epochs.FilledModel`): no image is lost, none counted twice, and none is invented.
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

ALL = slice(None)
"""All rows of a batch."""

Rows = tuple[NDArray[np.uint8], NDArray[np.int64] | NDArray[np.float32]]
"""Images uint8 (b, size, size, channels), and labels int64 (b,) or soft targets float32 (b, classes)."""


@dataclass(frozen=True)
class Split:
    """How batches are shared out.

    Attributes:
        devices: how many devices all hosts have together, the same number on each.
        host: the number of this host, from 0.
        hosts: how many there are.
    """

    devices: int = 1
    host: int = 0
    hosts: int = 1

    def filled(self, rows: int, batch_size: int) -> int:
        """How many rows a batch of `rows` images has once it is filled up so that the devices divide it.

        A batch smaller than the others also gets another number than theirs, so that the number tells which it is.
        """
        full, own = (-(-count // self.devices) * self.devices for count in (batch_size, rows))
        return own + self.devices if own == full and rows != batch_size and self.devices > 1 else own

    def rows(self, filled: int) -> slice:
        """Which rows of a filled batch this host reads."""
        share = filled // self.hosts
        return slice(self.host * share, (self.host + 1) * share)

    def sizes(self, total: int, batch_size: int) -> dict[int, int]:
        """For each number of rows that the filled batches of `total` images have, how many of them are images."""
        last = total % batch_size or batch_size
        counts = {last} if total < batch_size else {batch_size, last}
        return {self.filled(count, batch_size): count for count in counts}


ONE_DEVICE = Split()
"""Batches are not split."""


class Source(Protocol):
    """Where training images come from: memory or files. Safe to use from several threads."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of each image, int64 (n,)."""

    @property
    def workers(self) -> int:
        """How many threads should read batches ahead of training."""

    @property
    def plain(self) -> Source:
        """The same images as they are, where this gives views of them; this itself elsewhere."""

    def batch(self, index: int, *, batch_size: int, seed: int, epoch: int, rows: slice = ALL) -> Rows:
        """Rows of one batch of an epoch, all or those that this host reads; the last batch may be smaller."""


@dataclass(frozen=True)
class ArraySource:
    """Images held in memory: uint8 (n, size, size, channels), labels int64 (n,).

    Where there are `targets`, float32 (n, classes), they are learned instead of the labels.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    workers: int = 1
    targets: NDArray[np.float32] | None = None

    @property
    def plain(self) -> ArraySource:
        """These images are plain."""
        return self

    def batch(self, index: int, *, batch_size: int, seed: int, epoch: int, rows: slice = ALL) -> Rows:
        """A slice of the epoch's permutation."""
        chosen = permutation(len(self.labels), seed, epoch)[index * batch_size : (index + 1) * batch_size][rows]
        return self.images[chosen], self.labels[chosen] if self.targets is None else self.targets[chosen]


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

    @property
    def plain(self) -> StreamSource:
        """These images are plain."""
        return self

    def batch(self, index: int, *, batch_size: int, seed: int, epoch: int, rows: slice = ALL) -> Rows:
        """Read and decoded in the calling thread, these rows and no others."""
        from mien.datasets.streaming import epoch_dataset

        batches = epoch_dataset(self.dataset, self.spec, batch_size=batch_size, seed=seed, epoch=epoch, rows=rows)
        batch: Rows = batches[index]
        return batch


def fill_up(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """Zeros behind rows, so that there are `count`; another array only where there are fewer."""
    if len(rows) == count:
        return rows
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), rows.dtype)])


@lru_cache(maxsize=2)
def permutation(total: int, seed: int, epoch: int) -> NDArray[Any]:
    """The order of an epoch, from 0: int64 (total,)."""
    return np.random.default_rng((seed, epoch)).permutation(total)


def balancing_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """A weight for each class, inverse to its frequency, 1 on average over the images: float32 (classes,)."""
    counts = np.bincount(labels, minlength=classes)
    weights = np.zeros(classes, np.float64)
    np.divide(len(labels) / np.count_nonzero(counts), counts, out=weights, where=counts > 0)
    return weights.astype(np.float32)
