"""Training images as Keras takes them: an epoch at a time, read ahead by Keras's own threads."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from mien.feeding import Source

Batch = tuple[tuple[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32], NDArray[np.float32]]
"""Images uint8 (b, size, size, channels) and targets float32 (b, classes); the targets again; weights float32 (b,)."""


class EpochFeed(keras.utils.PyDataset):
    """A source as Keras takes it: images, one-hot or soft targets and weights, an epoch at a time.

    Soft targets weigh as their classes do on average. Keras's own threads read ahead. `epoch`, from 0, is set before
    each epoch begins.
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
        soft = labels.ndim == 2
        targets: NDArray[np.float32] = labels.astype(np.float32, copy=False) if soft else self.targets[labels]
        weights: NDArray[np.float32] = targets @ self.class_weights
        return (images, targets), targets, weights
