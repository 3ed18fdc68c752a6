"""Networks of users' own: what `mien.fit` takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np

from mien import backend
from mien.classifier import check_probabilities
from mien.errors import UsageError
from mien.kerasfiles import first_line, quietly
from mien.modelspec import check_classes
from mien.preprocessing import InputSpec


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
        kind = f"one from {shapes[0]} to {shapes[1]}" if isinstance(model, keras.Model) else repr(model)
        raise UsageError(
            "model: must be a Keras model, built, from (n, size, size, channels) to (n, classes), functional or "
            f"sequential, such as mien.network() gives; received {kind}"
        )
    check_classes(tuple(classes))  # before any work, not where the model is saved
    if given[-1] != len(classes):
        raise UsageError(f"classes: must name the {given[-1]} outputs of the model, received {len(classes)} names")
    rebuilt = _rebuilt(model)
    spec = InputSpec(taken[1], taken[3])
    ramps = np.linspace(0, 1, 2 * math.prod(spec.shape), dtype=np.float32).reshape(2, *spec.shape)
    with quietly():  # files of old versions of Keras have their input in a list, of which Keras warns
        answers = keras.ops.convert_to_numpy(rebuilt(ramps, training=False))
    check_probabilities(answers, 2, len(classes), "model")
    return spec


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
