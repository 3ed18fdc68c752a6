"""How batches reach TensorFlow: the same as without, in pipelines that do not tune themselves."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from mien import learning
from mien.config import AUGMENTATIONS, TrainingConfig
from mien.epochs import EpochFeed
from mien.feeding import ArraySource
from mien.networks import network
from mien.piping import piped, predict, sliced
from mien.trainee import compile_for_training

tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="pipelines are TensorFlow's")


def some_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    return random.integers(0, 256, (count, 24, 24, 1), np.uint8), random.integers(0, 7, count)


def a_feed(count: int = 21, workers: int = 1) -> EpochFeed:
    source = ArraySource(*some_images(count), workers=workers)
    return learning.make_feed(source, TrainingConfig(batch_size=8, seed=5), 7)


def flat(nested: Any) -> list[np.ndarray]:
    return [np.asarray(part) for part in keras.tree.flatten(nested)]


@tensorflow
def test_a_pipeline_gives_the_batches_of_the_epoch_that_the_feed_stands_at_and_tunes_nothing() -> None:
    feed = a_feed()
    pipeline = piped(feed)
    assert pipeline.options().autotune.enabled is False
    assert len(pipeline) == 3
    epochs = []
    for feed.epoch in (0, 4):
        batches = [flat(batch) for batch in pipeline]
        for index, batch in enumerate(batches):
            for found, expected in zip(batch, flat(feed[index]), strict=True):
                assert found.dtype == expected.dtype
                np.testing.assert_array_equal(found, expected)
        assert [len(batch[0]) for batch in batches] == [8, 8, 5]
        epochs.append(batches[0][0])
    assert not np.array_equal(*epochs)


def test_feeds_of_several_workers_are_left_to_keras() -> None:
    feed = a_feed(workers=2)
    assert piped(feed) is feed


def test_other_backends_take_feeds_and_arrays_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    feed = a_feed()
    arrays = (some_images(5), some_images(5)[1])
    assert piped(feed) is feed
    assert sliced(arrays, 2) == {"validation_data": arrays, "validation_batch_size": 2}


@pytest.mark.parametrize("count", [1, 5, 12])
def test_predict_gives_what_keras_gives(count: int) -> None:
    faces = keras.Input((24, 24, 1))
    model = keras.Model(faces, [network("compact", size=24, seed=1)(faces), faces * 2])
    images = some_images(count)[0].astype(np.float32) / 255
    answers, doubled = predict(model, images, 5)
    expected, _ = model.predict(images, batch_size=5, verbose=0)
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    np.testing.assert_array_equal(doubled, images * 2)


@pytest.mark.slow
@tensorflow
def test_training_reads_images_and_validation_images_through_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    taken: dict[str, Any] = {}
    config = TrainingConfig(
        network="compact", epochs=2, batch_size=8, augmentation=AUGMENTATIONS["none"], validate_every=2
    )
    original = keras.Model.fit

    def fit(self: Any, x: Any, **options: Any) -> Any:
        taken.update(options, x=x)
        return original(self, x, **options)

    monkeypatch.setattr(keras.Model, "fit", fit)
    held = some_images(9)
    learned = learning.learn(
        network("compact", size=24, seed=0), config, ArraySource(*some_images(21)), held, tmp_path, ()
    )
    assert [("val_accuracy" in row) for row in learned.history] == [False, True]
    assert taken["x"].options().autotune.enabled is False
    assert taken["validation_data"].options().autotune.enabled is False
    assert "validation_batch_size" not in taken


@tensorflow
def test_validation_counts_what_keras_counts_of_arrays() -> None:
    model = network("compact", size=24, seed=0)
    config = TrainingConfig(network="compact", augmentation=AUGMENTATIONS["none"])
    trainee = compile_for_training(model, config, learning.make_optimizer(config, 3)).model
    images, labels = some_images(21)
    targets = np.eye(7, dtype=np.float32)[labels]
    expected = trainee.evaluate((images, targets), targets, batch_size=8, verbose=0)
    found = trainee.evaluate(sliced(((images, targets), targets), 8)["validation_data"], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
