"""Keras models as other programs write them: each answers, once adopted, as it did, and its layers can be explained."""

import keras
import numpy as np
import pytest
from keras import layers

from mien.adopting import Intake
from mien.adopting_keras import adopt_keras
from mien.classifier import open_model
from mien.errors import ModelError, UsageError
from mien.gradients import Activations
from mien.kerasfiles import KerasClassifier

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
GREY = PICTURES[..., :1]
DENSE = {"kernel_initializer": keras.initializers.RandomNormal(seed=0)}
CLASSES = ("a", "b", "c")
INTAKE = Intake(most=255, mean=(100, 110, 120), std=(50, 60, 70))


def sequential(*inner: keras.Layer, channels: int = 1, **options: object) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, channels)), *inner, layers.Flatten(), layers.Dense(3, **options)])


def functional() -> keras.Model:
    """Two ways that meet, and a layer that is used twice; it ends without a softmax."""
    faces = keras.Input((8, 8, 3))
    twice = layers.Conv2D(2, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(seed=1))
    x = layers.Conv2D(2, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(seed=2))(faces)
    x = layers.Concatenate(name="met")([twice(twice(layers.Conv2D(2, 1, name="begun")(faces))), x])
    return keras.Model(faces, layers.Dense(3, **DENSE)(layers.Flatten()(x)))


def expected(model: keras.Model, intake: Intake = INTAKE) -> np.ndarray:
    pixels = PICTURES / 255 * intake.most
    return np.asarray(keras.ops.softmax(model((pixels - np.array(intake.mean)) / np.array(intake.std))))


def test_a_model_that_takes_what_ours_take_stays_as_it_is(tmp_path):
    model = sequential(activation="softmax")
    model.save(tmp_path / "theirs.keras")
    path = adopt_keras(tmp_path / "theirs.keras", tmp_path / "ours.h5", CLASSES, crop_margin=0.1)
    opened = KerasClassifier(path)
    assert (opened.classes, opened.spec.crop_margin, opened.spec.input.shape) == (CLASSES, 0.1, (8, 8, 1))
    np.testing.assert_allclose(opened.predict(GREY), np.asarray(model(GREY / np.float32(255))), atol=1e-6)
    with pytest.raises(UsageError, match="must name the 3 outputs of the model, received 2 names"):
        adopt_keras(tmp_path / "theirs.keras", tmp_path / "new.h5", CLASSES[:2])
    with pytest.raises(UsageError, match=r"must end in \.keras, \.h5, \.onnx, \.tflite, received '\.pb'"):
        adopt_keras(tmp_path / "theirs.keras", tmp_path / "new.pb", CLASSES)
    with pytest.raises(UsageError, match="no such file"):
        adopt_keras(tmp_path / "none.keras", tmp_path / "new.h5", CLASSES)
    with pytest.raises(UsageError, match="replace it with --force"):
        adopt_keras(tmp_path / "theirs.keras", path, CLASSES)
    with pytest.raises(UsageError, match=r"the network takes 1 channel$"):
        adopt_keras(tmp_path / "theirs.keras", tmp_path / "grey.h5", CLASSES, intake=INTAKE)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx"])
@pytest.mark.parametrize(
    "made", [lambda: sequential(channels=3, **DENSE), functional], ids=["sequential", "functional"]
)
def test_one_that_takes_other_pixels_and_gives_logits(tmp_path, made, suffix):
    model = made()
    model.save(tmp_path / "theirs.keras")
    path = adopt_keras(tmp_path / "theirs.keras", tmp_path / f"ours{suffix}", CLASSES, intake=INTAKE, logits=True)
    np.testing.assert_allclose(open_model(path).predict(PICTURES), expected(model), atol=1e-5)


def test_maps_are_read_from_the_layers_of_a_functional_model(tmp_path):
    functional().save(tmp_path / "theirs.keras")
    path = adopt_keras(tmp_path / "theirs.keras", tmp_path / "ours.keras", CLASSES, intake=INTAKE, logits=True)
    model = KerasClassifier(path).model
    assert Activations(model).layers == ("met",)
    assert Activations(model, "begun").layers == ("begun",)


def test_one_whose_input_and_output_are_lists_as_older_keras_writes_them(tmp_path):
    model = functional()
    keras.Model([model.inputs[0]], [model.outputs[0]]).save(tmp_path / "theirs.keras")
    path = adopt_keras(tmp_path / "theirs.keras", tmp_path / "ours.keras", CLASSES, intake=INTAKE, logits=True)
    np.testing.assert_allclose(KerasClassifier(path).predict(PICTURES), expected(model), atol=1e-5)


def test_layers_of_the_names_that_ours_would_have(tmp_path):
    inner = [layers.Rescaling(1 / 255, name="rescaling"), layers.Activation("relu", name="mien_pixels")]
    model = sequential(*inner, channels=3, **DENSE)
    model.save(tmp_path / "theirs.keras")
    keras.utils.clear_session()  # so that the next Rescaling would be called as theirs is
    intake = Intake(most=255)
    path = adopt_keras(tmp_path / "theirs.keras", tmp_path / "ours.keras", CLASSES, intake=intake, logits=True)
    np.testing.assert_allclose(KerasClassifier(path).predict(PICTURES), expected(model, intake), atol=1e-5)


def test_logits_are_told(tmp_path):
    sequential(bias_initializer="ones").save(tmp_path / "theirs.keras")
    with pytest.raises(ModelError, match=r"not probabilities.*--logits"):
        adopt_keras(tmp_path / "theirs.keras", tmp_path / "ours.keras", CLASSES)


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx"])
def test_one_of_several_outputs_that_takes_bgr_of_a_size_that_is_open(tmp_path, suffix):
    faces = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, **DENSE)(faces))
    outputs = [layers.Dense(1, name="age")(x), layers.Dense(3, name="expression", **DENSE)(x)]
    model = keras.Model(faces, outputs)
    model.save(tmp_path / "theirs.keras")
    arguments = (tmp_path / "theirs.keras", tmp_path / f"ours{suffix}", CLASSES)
    intake = Intake(bgr=True, size=8, mean=(0.1, 0.2, 0.3))
    with pytest.raises(UsageError, match=r"output: is required, as \S+theirs\.keras has 2: age, expression"):
        adopt_keras(*arguments, intake=intake)
    with pytest.raises(UsageError, match="output: no such choice 'face'; choose from age, expression"):
        adopt_keras(*arguments, intake=intake, output="face")
    path = adopt_keras(*arguments, intake=intake, logits=True, output="expression")
    pixels = (PICTURES / np.float32(255) - np.float32([0.1, 0.2, 0.3]))[..., ::-1]
    wanted = keras.ops.softmax(model(np.ascontiguousarray(pixels))[1])
    np.testing.assert_allclose(open_model(path).predict(PICTURES), np.asarray(wanted), atol=1e-5)


def test_a_size_that_the_model_does_not_take_is_told(tmp_path):
    sequential(activation="softmax").save(tmp_path / "theirs.keras")
    with pytest.raises(UsageError, match=r"size: must be that of the model, which takes \(8, 8, 1\), received 16"):
        adopt_keras(tmp_path / "theirs.keras", tmp_path / "ours.keras", CLASSES, intake=Intake(size=16))
