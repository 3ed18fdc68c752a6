import dataclasses

import keras
import numpy as np
import pytest

from mien import backend
from mien.averaging import AveragedValidation, estimate_statistics
from mien.config import AUGMENTATIONS, TrainingConfig
from mien.feeding import ArraySource
from mien.learning import learn, make_feed, make_optimizer
from mien.networks import network
from mien.trainee import as_inputs, compile_for_training
from pictures import pattern
from tiny import MEAN

CONFIG = TrainingConfig(
    network=MEAN, epochs=3, batch_size=16, optimizer="sgd", learning_rate=0.2, schedule="constant", ema=0.9,
    precision="float32", augmentation=AUGMENTATIONS["none"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_step_a_call(monkeypatch):
    monkeypatch.setattr(backend, "steps_per_execution", lambda: 1)


def source(n, first=0):
    images = np.stack([pattern(index % 7, first + index) for index in range(n)])[..., None]
    return ArraySource(images, np.arange(n) % 7)


def one_norm(faces, classes):
    """Batch norm of the pixels themselves, so that what its statistics must be is known."""
    x = keras.layers.BatchNormalization(momentum=0.9, name="norm")(faces)
    return keras.layers.Dense(classes, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))


def built(config, model, train):
    feed = make_feed(train, config, 7)
    return compile_for_training(model, config, make_optimizer(config, feed.num_batches)), feed


def plain(twin, held):
    return np.asarray(twin(held.images.astype(np.float32) / 255, training=False))


def test_statistics_are_means_over_batches():
    faces = keras.Input((48, 48, 1))
    model = keras.Model(faces, one_norm(faces, 7))
    trainee, feed = built(CONFIG, model, source(48))
    norm = trainee.twin.get_layer("norm")
    estimate_statistics(trainee.twin, feed, 32)
    batches = [feed[index][0][0] / np.float32(255) for index in range(2)]
    np.testing.assert_allclose(norm.moving_mean, [np.mean([batch.mean() for batch in batches])], rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, [np.mean([batch.var() for batch in batches])], rtol=1e-3)
    assert norm.momentum == 0.9


def test_validation_leaves_the_network_in_training_as_it_was():
    trainee, feed = built(CONFIG, network(MEAN, seed=0), source(64))
    trainee.model.fit(feed, epochs=2, verbose=0, shuffle=False)
    for average in trainee.model.optimizer._model_variables_moving_average:
        average.assign(average * 0.9)
    before = [np.array(weight) for weight in trainee.twin.get_weights()]
    held = source(28, first=1000)
    callback = AveragedValidation(trainee.twin, feed)
    targets = np.eye(7, dtype=np.float32)[held.labels]
    trainee.model.evaluate(*as_inputs(held.images, targets), callbacks=[callback], verbose=0)
    for old, new in zip(before, trainee.twin.get_weights(), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


def test_averaged_weights_get_statistics_of_their_own():
    train, held = source(64), source(28, first=1000)
    trainee, feed = built(CONFIG, network(MEAN, seed=0), train)
    trainee.model.fit(feed, epochs=1, verbose=0, shuffle=False)
    for variable in trainee.model.trainable_variables:  # weights whose activations are far from those gathered
        if "kernel" in variable.path:
            variable.assign(variable * 3.0)
    stale = plain(trainee.twin, held)
    estimate_statistics(trainee.twin, feed, 64)
    fresh = plain(trainee.twin, held)
    whole = np.concatenate([feed[index][0][0] for index in range(feed.num_batches)]).astype(np.float32) / 255
    in_training = np.asarray(trainee.twin(whole, training=True))
    again = np.asarray(trainee.twin(whole, training=False))
    assert np.abs(again - in_training).mean() < 0.1
    assert np.abs(fresh - stale).mean() > 0.05


def test_a_run_is_judged_and_saved_alike(tmp_path):
    held = source(28, first=1000)
    model = network(MEAN, seed=0)
    learned = learn(model, dataclasses.replace(CONFIG, keep="last"), source(64), (held.images, held.labels), tmp_path)
    answers = np.maximum(plain(model, held), 1e-7)  # as Keras's loss has it
    hits = (answers.argmax(axis=1) == held.labels).mean()
    # 64 images are all there are: the statistics of the last validation and of what is saved are the same
    assert hits == pytest.approx(learned.history[-1]["val_accuracy"], abs=0.08)
    loss = -np.log(answers[np.arange(28), held.labels]).mean()
    assert loss == pytest.approx(learned.history[-1]["val_loss"], rel=0.1)
