"""What `mien.fit` takes of those who come from Keras: arrays of other shapes, callbacks, compiled networks."""

import json

import keras
import numpy as np
import pytest

from mien.config import TrainingConfig
from mien.errors import UsageError
from mien.materials import faces_from_arrays
from mien.preprocessing import InputSpec
from mien.training import fit
from mien.usermodels import remarks

BRIGHTNESS = np.repeat([0.2, 0.8], 8).astype(np.float32)
X = np.broadcast_to(BRIGHTNESS[:, None, None, None], (16, 16, 16, 1))
Y = np.repeat([0, 1], 8)
CLASSES = ("dark", "bright")


def tutorial() -> keras.Model:
    layers = [keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    return keras.Sequential([keras.Input((16, 16, 1)), *layers])


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        ((4, 48, 48), 1, r"received \(4, 48, 48\); give x_train\[\.\.\., None\]$"),
        ((4, 48, 48), 3, r"; give x_train\[\.\.\., None\]\.repeat\(3, axis=-1\)$"),
        ((4, 1, 48, 48), 1, r"; channels come last: give x_train\.transpose\(0, 2, 3, 1\)$"),
        ((4, 3, 48, 48), 3, r"; channels come last: give x_train\.transpose\(0, 2, 3, 1\)$"),
        ((4, 64, 64, 1), 1, r"; the network takes 48 pixels a side: mien\.load_data\(path, size=48\) reads them so$"),
        ((4, 48, 48, 1), 3, r"; the network takes RGB: give x_train\.repeat\(3, axis=-1\)$"),
        ((4, 48, 48, 3), 1, "; the network takes grey: mien.load_data reads images so, and keras.ops.image"),
        ((4, 48, 48, 4), 1, r"received \(4, 48, 48, 4\)$"),
        ((4, 2304), 1, r"received \(4, 2304\)$"),
    ],
)
def test_how_to_mend_a_shape_is_said(shape, channels, message):
    halves = {"x_train": (np.full(shape, 0.5), np.zeros(4, int))}
    with pytest.raises(UsageError, match=message):
        faces_from_arrays(halves, InputSpec(48, channels), CLASSES)


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.bool_])
def test_one_hot_rows_are_labels_too(kind):
    rows = keras.utils.to_categorical(Y, 2).astype(kind)
    faces = faces_from_arrays({"x_train": (X, rows), "x_val": (X, Y)}, InputSpec(16, 1), CLASSES)
    np.testing.assert_array_equal(faces.labels, np.tile(Y, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callbacks": ["TensorBoard"]}, "callbacks: must be Keras callbacks, such as .* received 'TensorBoard'"),
        (
            {"callbacks": keras.callbacks.ReduceLROnPlateau()},
            "callbacks: ReduceLROnPlateau sets .* schedule 'inverse-time'; give schedule='constant'",
        ),
        ({"callbacks": [keras.callbacks.BackupAndRestore("kept")]}, "callbacks: BackupAndRestore is not needed"),
        ({"callbacks": keras.callbacks.SwapEMAWeights()}, "callbacks: SwapEMAWeights is not needed, as ema=0.99"),
        (
            {"validation_data": X},
            r"validation_data: must be images and their labels, \(x_val, y_val\), received ndarray",
        ),
        ({"validation_data": (X[..., 0], Y)}, r"x_val: must be \(n, 16, 16, 1\)"),
    ],
)
def test_what_cannot_be_trained_with_is_refused_before(options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        fit(tutorial(), X, Y, classes=CLASSES, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_tutorials_callbacks_work_and_keep_the_network_alone(tmp_path, capsys):
    model = tutorial()
    model.compile("adam", "categorical_crossentropy")
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_accuracy", save_best_only=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "last.weights.h5", save_weights_only=True),
        keras.callbacks.ReduceLROnPlateau(patience=1, min_delta=10),
    ]
    settings = {"epochs": 3, "schedule": "constant", "keep": "last", "augmentation": "none"}
    outcome = fit(
        model, X, Y, validation_data=(X, Y), classes=CLASSES, callbacks=callbacks, out=tmp_path / "run", **settings
    )
    assert "optimizer and loss that the model is compiled with are not used" in capsys.readouterr().out
    assert outcome.scores["validation"].n == 16
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["validation"] == "val"
    assert outcome.history["learning_rate"][-1] < outcome.history["learning_rate"][0]
    for path in (tmp_path / "best.keras", tmp_path / "run" / "model.keras"):  # where Keras has nothing to warn of
        best = keras.models.load_model(path)
        assert (best.input_shape, best.output_shape) == ((None, 16, 16, 1), (None, 2))
    assert model.compiled
    last = tutorial()
    last.load_weights(tmp_path / "last.weights.h5")
    np.testing.assert_allclose(last.predict(X, verbose=0), outcome.model.predict(X, verbose=0), atol=1e-6)


class Broken(keras.callbacks.Callback):
    def __init__(self, kept: int) -> None:
        super().__init__()
        self.kept = kept

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.kept:
            raise RuntimeError("a mistake in a callback")


class Dimmed(keras.layers.Layer):
    def call(self, inputs):
        return inputs / 2


def test_layers_that_keras_does_not_find_by_name_are_remarked_before_training():
    registered = keras.saving.register_keras_serializable("tests")(type("Registered", (Dimmed,), {}))
    layers = [registered(), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    known = keras.Sequential([keras.Input((16, 16, 1)), *layers])
    assert remarks(known, chosen=True) == []
    (told,) = remarks(keras.Sequential([keras.Input((16, 16, 1)), Dimmed(), Dimmed(), known]), chosen=True)
    assert told.startswith("Keras does not find Dimmed by name, so face_detection.h5 will be left out")
    assert "register_keras_serializable() above the class" in told


@pytest.mark.parametrize("kept", [0, 1])
def test_a_run_that_fails_before_its_first_checkpoint_is_not_in_the_way_of_the_next(kept, tmp_path):
    settings = {"epochs": 2, "validation_fraction": 0, "verbose": False}
    with pytest.raises(RuntimeError, match="a mistake in a callback"):
        fit(tutorial(), X, Y, classes=CLASSES, callbacks=Broken(kept), out=tmp_path / "run", **settings)
    assert (tmp_path / "run").exists() == bool(kept)


def test_one_callback_or_none_is_taken_and_settings_asked_for_are_not_remarked(tmp_path, capsys):
    model = tutorial()
    model.compile("adam", "categorical_crossentropy")
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    settings = TrainingConfig(epochs=1, validation_fraction=0)
    fit(model, X, Y, classes=CLASSES, callbacks=watch, config=settings, out=tmp_path / "one")
    fit(tutorial(), X, Y, classes=CLASSES, callbacks=None, config=settings, out=tmp_path / "none")
    assert seen == [0]
    assert "are not used" not in capsys.readouterr().out


def test_layers_for_pixels_from_0_to_255_are_remarked():
    def made_of(*layers: keras.Layer) -> keras.Model:
        return keras.Sequential([keras.Input((16, 16, 1)), *layers])

    dim = made_of(keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 255), *tutorial().layers)
    (told,) = remarks(dim, chosen=False)
    assert told.startswith("The model begins with a Rescaling by 0.0039, as for pixels from 0 to 255")
    assert remarks(made_of(dim), chosen=False) == [told]
    assert not remarks(made_of(keras.layers.Rescaling(255), dim), chosen=False)
    assert not remarks(made_of(keras.layers.Rescaling(2, -1), tutorial()), chosen=False)


class Asking(keras.callbacks.Callback):
    """Asks `self.model` as Keras's callbacks do, and the network that it was made with."""

    def __init__(self, given: keras.Model) -> None:
        super().__init__()
        self.given = given
        self.answers = []

    def on_epoch_end(self, epoch, logs=None):
        self.answers.append(self.model.predict(X, verbose=0))
        for others in (self.model.predict_on_batch(X), self.model(X, training=False), self.given.predict(X, verbose=0)):
            np.testing.assert_allclose(others, self.answers[-1], atol=1e-6)
        accuracy = self.model.evaluate(X, Y, verbose=0, return_dict=True)["accuracy"]
        assert accuracy == np.mean(self.answers[-1].argmax(axis=1) == Y)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_callbacks_ask_and_save_the_network_that_is_judged(ema, tmp_path):
    inner = [keras.layers.Conv2D(1, 1), keras.layers.BatchNormalization(), *tutorial().layers]
    model = keras.Sequential([keras.Input((16, 16, 1)), *inner])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    asking = Asking(model)
    callbacks = [asking, keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")]
    settings = {"epochs": 3, "augmentation": "none", "validate_every": 2, "precision": "float32", "ema": ema}
    options = {"classes": CLASSES, "callbacks": callbacks, "out": tmp_path / "run", "verbose": False, **settings}
    outcome = fit(model, X, Y, validation_data=(X, Y), **options)
    kept = keras.models.load_model(tmp_path / f"{outcome.epoch}.keras").predict(X, verbose=0)
    np.testing.assert_allclose(kept, asking.answers[outcome.epoch - 1], atol=1e-6)
    judged = -np.log(kept[np.arange(16), Y]).mean()
    assert judged == pytest.approx(outcome.history["val_loss"][outcome.epoch - 1], rel=1e-4, abs=1e-5)


def test_callbacks_go_back_to_weights_that_they_kept(tmp_path):
    model, seen = tutorial(), []

    class GoingBack(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                self.model.save_weights(tmp_path / "first.weights.h5")
            self.model.load_weights(tmp_path / "first.weights.h5")
            seen.append(self.model.predict(X, verbose=0))

    settings = {"epochs": 2, "augmentation": "none", "validation_fraction": 0}
    fit(model, X, Y, classes=CLASSES, callbacks=GoingBack(), out=tmp_path / "run", verbose=False, **settings)
    np.testing.assert_array_equal(seen[0], seen[1])


def test_a_callback_ends_a_run_by_the_network_that_it_was_made_with(tmp_path):
    model = tutorial()
    model.stop_training = True  # as a run of Keras's own may have left it
    ending = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, _: setattr(model, "stop_training", epoch == 1))
    settings = {"epochs": 4, "augmentation": "none", "validation_fraction": 0}
    outcome = fit(model, X, Y, classes=CLASSES, callbacks=ending, out=tmp_path / "run", verbose=False, **settings)
    assert outcome.history["epoch"] == [1, 2]
