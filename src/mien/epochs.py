"""Training images as Keras takes them: an epoch at a time, read ahead by Keras's own threads.

Where several devices share a batch, the feeds fill it up to a number of rows that the devices divide, and `FilledModel`
cuts those rows off again in the compiled step; `mien.feeding` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mien import backend
from mien.feeding import ONE_DEVICE, Rows, Source, Split, fill_up
from mien.kerasfiles import uncompiled

STACK = 512
"""The most batches that one call runs: 28,709 images in batches of 64 are one call."""

STACK_BYTES = 256 * 1024**2
"""The most bytes of images that one call takes, above one batch; two or three calls' are in memory at a time."""

Batch = tuple[tuple[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32], NDArray[np.float32]]
"""Images uint8 (b, size, size, channels) and targets float32 (b, classes); the targets again; weights float32 (b,)."""


class EpochFeed(keras.utils.PyDataset):
    """A source as Keras takes it: images, one-hot or soft targets and weights, an epoch at a time.

    Soft targets weigh as their classes do on average. Keras's own threads read ahead. `epoch`, from 0, is set before
    each epoch begins. Each of several hosts reads its own rows of every batch.
    """

    def __init__(
        self,
        source: Source,
        class_weights: NDArray[np.float32],
        *,
        batch_size: int,
        seed: int,
        epoch: int = 0,
        split: Split = ONE_DEVICE,
    ) -> None:
        """Feed a source.

        Args:
            source: the images.
            class_weights: weight of each class's images in the loss, float32 (classes,).
            batch_size: images a batch, over all devices.
            seed: of the run.
            epoch: the first epoch, from 0; a resumed run begins later.
            split: how a batch is shared out.
        """
        super().__init__(workers=source.workers, max_queue_size=4 * source.workers)
        self.source = source
        self.class_weights = class_weights
        self.targets = np.eye(len(class_weights), dtype=np.float32)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = epoch
        self.split = split

    @property
    def num_batches(self) -> int:
        """Batches in one epoch, the last, smaller one counted."""
        return -(-len(self.source.labels) // self.batch_size)

    @property
    def sizes(self) -> dict[int, int]:
        """For each number of rows that filled batches have, how many of them are images."""
        return self.split.sizes(len(self.source.labels), self.batch_size)

    def images_in(self, index: int) -> int:
        """How many images a batch has, over all hosts."""
        return min(self.batch_size, len(self.source.labels) - index * self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        return self.batch(index, self.epoch)

    def batch(self, index: int, epoch: int) -> Batch:
        """A batch of any epoch, from 0."""
        images, labels = self._rows(index, epoch, self.source)
        soft = labels.ndim == 2
        targets: NDArray[np.float32] = labels.astype(np.float32, copy=False) if soft else self.targets[labels]
        weights: NDArray[np.float32] = targets @ self.class_weights
        filled = self.split.filled(self.images_in(index), self.batch_size) // self.split.hosts
        images, targets, weights = (fill_up(part, filled) for part in (images, targets, weights))
        return (images, targets), targets, weights

    def plain(self, index: int) -> NDArray[np.uint8]:
        """The images of a batch of the epoch as they are, where the source gives views of them; filled up likewise."""
        images, _ = self._rows(index, self.epoch, self.source.plain)
        return fill_up(images, self.split.filled(self.images_in(index), self.batch_size) // self.split.hosts)

    def _rows(self, index: int, epoch: int, source: Source) -> Rows:
        """This host's images of a batch; all where it is alone."""
        which: dict[str, Any] = {"batch_size": self.batch_size, "seed": self.seed, "epoch": epoch}
        if self.split.hosts > 1:
            which["rows"] = self.split.rows(self.split.filled(self.images_in(index), self.batch_size))
        return source.batch(index, **which)


class StackedFeed(keras.utils.PyDataset):
    """The batches of a feed in stacks of many: ((images, targets), targets, weights), each (steps, b, ...).

    For backends that run a whole stack in one call of the compiled function (`FilledModel.stacked`). A last, smaller
    batch is filled up with images of the epoch's beginning that weigh nothing, so that all have one size and batch norm
    sees as many images as ever; its own weigh as much more, as the loss is divided by the size of the batch. The stack
    after the one that was asked for last is made in a thread.
    """

    def __init__(self, feed: EpochFeed, steps: int = STACK) -> None:
        """Stack the batches of a feed.

        Args:
            feed: what is read; whoever sets its `epoch` sets that of the stacks.
            steps: the most batches in a stack; the stacks of an epoch are about equally long.
        """
        super().__init__()
        self.feed = feed
        pixels = feed[0][0][0].nbytes
        count = -(-feed.num_batches // max(1, min(steps, STACK_BYTES // pixels)))
        self.edges = [round(index * feed.num_batches / count) for index in range(count + 1)]
        self._thread = ThreadPoolExecutor(1)
        self._ahead: dict[tuple[int, int], Future[Batch]] = {}

    @property
    def num_batches(self) -> int:
        """Stacks in one epoch."""
        return len(self.edges) - 1

    def __getitem__(self, index: int) -> Batch:
        epoch = self.feed.epoch
        ready = self._ahead.pop((epoch, index), None)
        following = (epoch, index + 1) if index + 1 < self.num_batches else (epoch + 1, 0)
        self._ahead = {following: self._thread.submit(self.stack, *following)}
        return ready.result() if ready else self.stack(epoch, index)

    def stack(self, epoch: int, index: int) -> Batch:
        """The batches between two edges, of an epoch from 0."""
        batches = [self.feed.batch(at, epoch) for at in range(self.edges[index], self.edges[index + 1])]
        if len(batches[-1][1]) < self.feed.batch_size and self.feed.num_batches > 1:
            batches[-1] = _filled(batches[-1], self.feed.batch(0, epoch), self.feed.batch_size)
        targets = np.stack([batch[1] for batch in batches])
        images = np.stack([batch[0][0] for batch in batches])
        return (images, targets), targets, np.stack([batch[2] for batch in batches])


def _filled(last: Batch, first: Batch, batch_size: int) -> Batch:
    """A small batch with images of another behind its own, their weights 0; its loss stays what it was."""
    missing, scale = batch_size - len(last[1]), batch_size / len(last[1])
    images = np.concatenate([last[0][0], first[0][0][:missing]])
    targets = np.concatenate([last[1], first[1][:missing]])
    return (images, targets), targets, np.concatenate([np.float32(scale) * last[2], 0 * first[2][:missing]])


class ValidationFeed(keras.utils.PyDataset):
    """Images in memory in batches that several devices share: ((images, targets), targets), in their own order."""

    def __init__(
        self, images: NDArray[np.uint8], targets: NDArray[np.float32], *, batch_size: int, split: Split
    ) -> None:
        """Feed arrays.

        Args:
            images: uint8 (n, size, size, channels).
            targets: float32 (n, classes).
            batch_size: images a batch, over all devices.
            split: how a batch is shared out.
        """
        super().__init__()
        self.images = images
        self.one_hot = targets
        self.batch_size = batch_size
        self.split = split

    @property
    def num_batches(self) -> int:
        """Batches, the last, smaller one counted."""
        return -(-len(self.images) // self.batch_size)

    @property
    def sizes(self) -> dict[int, int]:
        """For each number of rows that filled batches have, how many of them are images."""
        return self.split.sizes(len(self.images), self.batch_size)

    def __getitem__(self, index: int) -> tuple[tuple[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]:
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        filled = self.split.filled(len(self.images[batch]), self.batch_size)
        mine = self.split.rows(filled)
        images, targets = (fill_up(part[batch][mine], mine.stop - mine.start) for part in (self.images, self.one_hot))
        return (images, targets), targets


class FilledModel(keras.Model):
    """A Keras model whose batches may be filled up with rows that are no images: it cuts them off before each step.

    Attributes:
        training_rows: for each number of rows that a training batch may have, how many of them are images.
        validation_rows: the same for validation. Batches with other numbers of rows are taken as they are.
        stacked: whether training data come as `StackedFeed` gives them, and one call runs a step for each batch.
        network: gives the network within it, with the weights of the moment, which is what callbacks save and ask.
        learn_from: takes a network of the same layers, whose weights the one in training then has.
    """

    train_function: Any
    test_function: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.training_rows: dict[int, int] = {}
        self.validation_rows: dict[int, int] = {}
        self.stacked = False
        self.network: Callable[[], keras.Model] = lambda: self
        self.learn_from: Callable[[keras.Model], None] = lambda _: None

    def __call__(self, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """Keras's own; of faces alone, float (n, size, size, channels) in [0, 1], what the network within gives."""
        if hasattr(inputs, "shape"):
            return self.network()(inputs, *arguments, **options)
        return super().__call__(inputs, *arguments, **options)

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """What the network within gives for faces, float (n, size, size, channels) in [0, 1]."""
        return keras.Model.predict(self.network(), x, *arguments, **options)

    def predict_on_batch(self, x: Any) -> Any:
        """What the network within gives for a batch of faces, float (n, size, size, channels) in [0, 1]."""
        return keras.Model.predict_on_batch(self.network(), x)

    def evaluate(self, x: Any = None, *arguments: Any, **options: Any) -> Any:
        """Keras's own; on an array of faces, of the network within as it was compiled, where it was."""
        return keras.Model.evaluate(self.network() if hasattr(x, "shape") else self, x, *arguments, **options)

    def save(self, filepath: Any, *arguments: Any, **options: Any) -> None:
        """Save the network within, as `keras.callbacks.ModelCheckpoint` does: what is around it is for training."""
        network = self.network()
        with uncompiled(network):
            keras.Model.save(network, filepath, *arguments, **options)

    def save_weights(self, filepath: Any, *arguments: Any, **options: Any) -> None:
        """Save the weights of the network within; `mien.checkpoints` keeps all of this model's."""
        keras.Model.save_weights(self.network(), filepath, *arguments, **options)

    def load_weights(self, filepath: Any, *arguments: Any, **options: Any) -> None:
        """Have the network within go on with weights that `save_weights` or `keras.callbacks.ModelCheckpoint` wrote."""
        network = self.network()
        keras.Model.load_weights(network, filepath, *arguments, **options)
        self.learn_from(network)

    def build_metrics(self, batch: Batch) -> None:
        """Make the variables of loss and metrics for batches like this one, which Keras cannot tell from a stack."""
        self._symbolic_build(data_batch=batch)

    if keras.backend.backend() == "jax":

        def train_step(self, state: Any, data: Any) -> Any:
            """Keras's own, on the images alone; of a stack, on each batch in turn."""
            if not self.stacked:
                return super().train_step(state, _cut(data, self.training_rows))
            import jax

            def step(state: Any, batch: Any) -> Any:
                logs, state = keras.Model.train_step(self, state, batch)
                return state, logs

            state, logs = jax.lax.scan(step, state, data)
            return jax.tree.map(lambda values: values[-1], logs), state

        def test_step(self, state: Any, data: Any) -> Any:
            """Keras's own, on the images alone."""
            return super().test_step(state, _cut(data, self.validation_rows))

        def make_train_function(self, force: bool = False) -> None:
            """Keras's own."""
            before = self.train_function
            super().make_train_function(force)
            if self.train_function is not before:
                self.train_function = _waiting(self.train_function)

        def make_test_function(self, force: bool = False) -> None:
            """Keras's own."""
            before = self.test_function
            super().make_test_function(force)
            if self.test_function is not before:
                self.test_function = _waiting(self.test_function)


def _waiting(step: Any) -> Any:
    """A step that has ended when it returns, where steps ahead of each other would hang."""
    import jax

    return (lambda *state_and_data: jax.block_until_ready(step(*state_and_data))) if backend.shares_cpu() else step


def _cut(data: Any, sizes: dict[int, int]) -> Any:
    """The first rows of every array of a batch: those that are images."""
    import jax

    filled = jax.tree.leaves(data)[0].shape[0]
    rows = sizes.get(filled, filled)
    return data if rows == filled else jax.tree.map(lambda part: part[:rows], data)
