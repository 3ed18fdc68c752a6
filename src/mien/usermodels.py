"""Networks of users' own: what `mien.fit` takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Sized
from typing import Any

import keras
import numpy as np

from mien import backend
from mien.classifier import check_probabilities
from mien.config import TrainingConfig
from mien.errors import UsageError, many
from mien.kerasfiles import first_line, quietly
from mien.labels import EXPRESSIONS
from mien.modelspec import check_classes
from mien.preprocessing import InputSpec

DIM = 1 / 64
"""Networks that multiply pixels by less, before anything else, were made for pixels from 0 to 255."""


def check_model(model: keras.Model, classes: Sequence[str]) -> InputSpec:
    """What a model takes, once it is seen to take square pictures and to give a probability for each class.

    Raises:
        UsageError: it takes or gives something else.
        ModelError: what it gives are no probabilities.
    """
    shapes = [getattr(model, name, None) for name in ("input_shape", "output_shape")]  # an unbuilt model has none
    taken, given = (shape if isinstance(shape, tuple) else () for shape in shapes)
    square = len(taken) == 4 and isinstance(taken[1], int) and taken[1] == taken[2]
    if not isinstance(model, keras.Model) or not square or len(given) != 2:
        raise UsageError(
            "model: must be a Keras model, built, from (n, size, size, channels) to (n, classes), functional or "
            f"sequential, such as mien.network() gives; received {_kind(model, *shapes)}"
        )
    ordered = isinstance(classes, Iterable) and isinstance(classes, Sized)  # a generator would be used up here
    if not ordered or isinstance(classes, str | set | frozenset):
        raise UsageError(
            f"classes: must be the names of the outputs, in their order, ('happy', 'sad'), received {classes!r}"
        )
    classes = tuple(classes)
    check_classes(classes)  # before any work, not where the model is saved
    if given[-1] != len(classes):
        way = "; classes=data.classes gives those of data = mien.load_data(...)" if classes == EXPRESSIONS else ""
        raise UsageError(
            f"classes: must name the {many(given[-1], 'output')} of the model, received "
            f"{many(len(classes), 'name')}{way}"
        )
    rebuilt = _rebuilt(model)
    spec = InputSpec(taken[1], taken[3])
    ramps = np.linspace(0, 1, 2 * math.prod(spec.shape), dtype=np.float32).reshape(2, *spec.shape)
    with quietly():  # files of old versions of Keras have their input in a list, of which Keras warns
        answers = keras.ops.convert_to_numpy(rebuilt(ramps, training=False))
    check_probabilities(answers, 2, len(classes), "model")
    return spec


def remarks(model: keras.Model, *, chosen: bool) -> list[str]:
    """What may not be meant of a model that is to be trained; `chosen` says that an optimizer was asked for."""
    told = []
    if model.compiled and not chosen:
        seed = TrainingConfig()
        told.append(
            "The optimizer and loss that the model is compiled with are not used: it is trained with "
            f"{seed.optimizer}, learning rate {seed.learning_rate:g}, and cross-entropy; optimizer=, learning_rate= "
            "and schedule= change them"
        )
    scale = _first_scale(model)
    if scale < DIM:
        told.append(
            f"The model begins with a Rescaling by {scale:.2g}, as for pixels from 0 to 255, and gets pixels from 0 to "
            "1: leave that layer out, or put keras.layers.Rescaling(255) in front of it"
        )
    if strange := sorted({type(layer).__name__ for layer in backend.all_layers(model) if _unregistered(type(layer))}):
        told.append(
            f"Keras does not find {', '.join(strange)} by name, so face_detection.h5 will be left out, and model.keras "
            "opens only with custom_objects: put @keras.saving.register_keras_serializable() above the class"
        )
    return told


def _unregistered(kind: type) -> bool:
    """Whether a class of layers is neither Keras's own nor registered with it."""
    return (
        kind.__module__.partition(".")[0] != "keras"
        and keras.saving.get_registered_object(keras.saving.get_registered_name(kind)) is None
    )


def in_step(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
    """Callbacks that may hold the network that they were made for, as a `LambdaCallback` must: it is not what learns.

    At the end of each epoch it has what was learned when they are called, and its `stop_training` ends the run.
    """

    def begin(_: Any = None) -> None:
        model.stop_training = False

    def give(*_: Any) -> None:
        first.model.network()  # which puts the weights of the moment into it

    def heed(*_: Any) -> None:
        last.model.stop_training = last.model.stop_training or model.stop_training

    first = keras.callbacks.LambdaCallback(on_train_begin=begin, on_epoch_end=give)
    last = keras.callbacks.LambdaCallback(on_epoch_end=heed)
    return [first, *callbacks, last] if callbacks else []


def _first_scale(model: keras.Model) -> float:
    """By what the `Rescaling` layers in front of the first layer with weights multiply pixels."""
    scale = 1.0
    for layer in backend.all_layers(model):
        if isinstance(layer, keras.layers.Rescaling):
            scale *= float(np.mean(np.abs(layer.scale)))
        elif layer.trainable_weights:
            break
    return scale


def _kind(model: object, taken: object, given: object) -> str:
    """What was given in place of a functional or sequential model, and how to make one of it where that is known."""
    if not isinstance(model, keras.Model):
        shape = getattr(model, "shape", None)
        return repr(model) if shape is None else f"an array {shape}; the model comes first"
    if taken is None and not isinstance(model, keras.Sequential):
        return (
            f"a subclass, {type(model).__name__}, which does not say its shapes; wrap it, as in faces = "
            "keras.Input((48, 48, 1)); model = keras.Model(faces, yours(faces))"
        )
    return f"one from {taken} to {given}"


def _rebuilt(model: keras.Model) -> keras.Model:
    """The model as its file will compute, once its layers are seen to be made anew, as they are for training too.

    Raises:
        UsageError: they cannot, as those of functions without a name, or of classes that do not say their settings.
    """
    try:
        backend.training_twin(model, "float32")
        return backend.in_float32(model)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UsageError(
            f"model: its layers cannot be made anew from their settings ({first_line(error)}); write a Lambda with "
            "keras.ops or as a class of layers of its own, and give such classes __init__(**kwargs) and get_config()"
        ) from error
