import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mien.datasets import open_dataset
from mien.epochs import EpochFeed
from mien.feeding import ArraySource, StreamSource, balancing_weights
from mien.preprocessing import InputSpec


def source(n: int) -> ArraySource:
    images = np.arange(n, dtype=np.uint8)[:, None, None, None].repeat(4, axis=1).repeat(4, axis=2)
    return ArraySource(images, np.arange(n) % 3)


def feed(n: int, batch_size: int, seed: int = 0, epoch: int = 0) -> EpochFeed:
    return EpochFeed(source(n), np.ones(3, np.float32), batch_size=batch_size, seed=seed, epoch=epoch)


@given(n=st.integers(1, 60), batch_size=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_an_epoch_visits_every_image_once_with_its_label(n, batch_size, seed):
    batches = feed(n, batch_size, seed)
    parts = [batches[index] for index in range(batches.num_batches)]
    images = np.concatenate([part[0][0] for part in parts])
    targets = np.concatenate([part[1] for part in parts])
    assert sorted(images[:, 0, 0, 0]) == list(range(n))
    np.testing.assert_array_equal(images[:, 0, 0, 0] % 3, targets.argmax(axis=1))
    assert [len(part[1]) for part in parts[:-1]] == [batch_size] * (len(parts) - 1)


def test_order_follows_from_seed_and_epoch():
    def order(seed: int, epoch: int) -> list[int]:
        return feed(40, 40, seed, epoch)[0][0][0][:, 0, 0, 0].tolist()

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


class Spy(keras.callbacks.Callback):
    """Sets the feed's epoch as training does."""

    def __init__(self, watched: EpochFeed) -> None:
        super().__init__()
        self.watched = watched

    def on_epoch_begin(self, epoch, logs=None):
        self.watched.epoch = epoch


class Sums(keras.layers.Layer):
    """Adds up what it sees while training."""

    def __init__(self) -> None:
        super().__init__()
        self.total = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, images):
        self.total.assign(self.total + keras.ops.sum(keras.ops.cast(images[:, 0, 0, 0], "float32")))
        return keras.ops.zeros((keras.ops.shape(images)[0], 3)) + 1 / 3 + 0 * self.total


class Marked:
    """A source whose pixels are the number of the epoch, from 1."""

    labels = np.arange(41) % 3

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def batch(self, index: int, *, batch_size: int, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        labels = self.labels[index * batch_size : (index + 1) * batch_size]
        return np.full((len(labels), 4, 4, 1), epoch + 1, np.uint8), labels


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_read_ahead_are_of_the_epoch_that_uses_them(workers):
    batches = EpochFeed(Marked(workers), np.ones(3, np.float32), batch_size=4, seed=0)
    layer = Sums()
    inputs = [keras.Input((4, 4, 1), dtype="uint8"), keras.Input((3,))]
    model = keras.Model(inputs, layer(inputs[0]))
    model.compile("sgd", "categorical_crossentropy", steps_per_execution=4)
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        model.fit(batches, epochs=5, verbose=0, shuffle=False, callbacks=[Spy(batches)])
    assert float(layer.total) == 41 * (1 + 2 + 3 + 4 + 5)


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_keras_visits_each_image_once_an_epoch_however_many_steps_a_call_runs(steps):
    """With an endless generator, Keras runs over the end of an epoch by up to steps_per_execution - 1 batches."""
    batches = feed(41, 4)
    layer = Sums()
    inputs = [keras.Input((4, 4, 1), dtype="uint8"), keras.Input((3,))]
    model = keras.Model(inputs, layer(inputs[0]))
    model.compile("sgd", "categorical_crossentropy", steps_per_execution=steps)
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        model.fit(batches, epochs=3, verbose=0, shuffle=False, callbacks=[Spy(batches)])
    assert float(layer.total) == 3 * sum(range(41))


def test_streams_give_the_same_batches_in_any_order(patterns):
    pytest.importorskip("grain", exc_type=ImportError)
    dataset = open_dataset(patterns).select("train")
    stream = StreamSource(dataset, InputSpec(), workers=2)
    everything = [stream.batch(index, batch_size=32, seed=1, epoch=2) for index in range(7)]
    labels = np.concatenate([labels for _, labels in everything])
    np.testing.assert_array_equal(np.bincount(labels), [30] * 7)
    again = stream.batch(3, batch_size=32, seed=1, epoch=2)
    np.testing.assert_array_equal(again[0], everything[3][0])
    other = stream.batch(3, batch_size=32, seed=1, epoch=3)
    assert not np.array_equal(other[0], everything[3][0])


@given(hnp.arrays(np.int64, st.integers(1, 50), elements=st.integers(0, 3)))
def test_class_weights_balance_classes_and_average_to_one(labels):
    weights = balancing_weights(labels, 5)
    sums = np.bincount(labels, weights[labels], minlength=5)
    present = np.bincount(labels, minlength=5) > 0
    np.testing.assert_allclose(sums[present], sums[present][0], rtol=1e-5)
    np.testing.assert_allclose(weights[labels].mean(), 1, rtol=1e-5)
    assert not weights[~present].any()


def test_batches_carry_one_hot_targets_and_weights():
    weights = np.array([1.0, 2.0, 3.0], np.float32)
    (images, labels), targets, sample_weights = EpochFeed(source(6), weights, batch_size=6, seed=0)[0]
    assert images.dtype == np.uint8
    assert np.array_equal(labels, targets)
    assert targets.shape == (6, 3)
    np.testing.assert_array_equal(sample_weights, weights[targets.argmax(axis=1)])


def test_soft_targets_go_to_the_loss_as_they_are_and_weigh_as_their_classes_do():
    soft = np.array([[0.5, 0.5, 0], [0, 0.25, 0.75], [1, 0, 0]], np.float32)
    images = np.zeros((3, 4, 4, 1), np.uint8)
    feed_of = ArraySource(images, soft.argmax(axis=1), targets=soft)
    (_, given), targets, weights = EpochFeed(feed_of, np.array([1, 2, 3], np.float32), batch_size=3, seed=0)[0]
    assert np.array_equal(given, targets)
    assert {tuple(row) for row in targets.tolist()} == {tuple(row) for row in soft.tolist()}
    np.testing.assert_allclose(sorted(weights.tolist()), [1, 1.5, 2.75])
