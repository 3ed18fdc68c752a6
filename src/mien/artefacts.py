"""The model's files of a run folder: ``model.keras``, ``face_detection.h5``, ``model.onnx``, and their temperature."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path

import keras

from mien.calibration import fit_held_out
from mien.classifier import Classifier, Model
from mien.datasets import Faces
from mien.errors import MissingExtraError, ModelError, many
from mien.export import KerasClassifier, save_h5, save_keras, save_onnx
from mien.kerasfiles import describe_h5
from mien.modelspec import ModelSpec, write_beside, write_to_onnx

KERAS, HDF5, ONNX = "model.keras", "face_detection.h5", "model.onnx"
"""What the files are called; the last two are left out where they cannot be made."""

Say = Callable[[str], None]
"""Takes a line for people."""


def save_models(path: Path, model: keras.Model, description: ModelSpec, say: Say) -> Model:
    """Write the model's files. One that fails its check is left out, and loses nothing: the Keras file is there.

    Args:
        path: the run folder.
        model: float32, of stock layers or a user's own.
        description: what the files say about it.
        say: takes a line for each that is left out.

    Returns:
        The file that is judged: the ``.onnx`` that users will run, or the Keras file where that could not be made.
    """
    save_keras(model, description, path / KERAS)
    try:
        save_h5(model, description, path / HDF5)
    except ModelError as error:
        (path / HDF5).unlink(missing_ok=True)  # of an earlier epoch, as below
        say(f"{HDF5} is left out: {error}; {KERAS} holds the network")
    try:
        save_onnx(model, description, path / ONNX)
    except (MissingExtraError, ModelError) as error:
        (path / ONNX).unlink(missing_ok=True)  # of an earlier epoch, where the run was interrupted
        again = f"then: mien export {shlex.quote(str(path / KERAS))} --format onnx"
        way = again if isinstance(error, MissingExtraError) else f"{KERAS} holds the network"
        say(f"{ONNX} is left out: {error}; {way}")
        return KerasClassifier(path / KERAS)
    return Classifier(path / ONNX)


def calibrate(
    path: Path, model: keras.Model, judge: Model, description: ModelSpec, held: Faces | None, say: Say
) -> tuple[ModelSpec, Model]:
    """Fit the temperature on the held-out images, where there are enough, and write it into the file that is judged.

    Args:
        path: the run folder.
        model: what `save_models` wrote.
        judge: what that gave.
        description: of the model, at temperature 1.
        held: labelled faces that were not learned from; None for none.
        say: takes a line on what came of it.

    Returns:
        The description and the judge, with the temperature where one was fitted (`mien.calibration.fit_held_out`).
    """
    fit = None if held is None else fit_held_out(judge.predict(held.images), held.labels)
    if fit is None or held is None:
        return description, judge
    split = "public" if set(held.splits) == {"public"} else "validation"
    trained_on = {**description.trained_on, "calibration": {"split": split, "n": fit.n}}
    description = dataclasses.replace(description, temperature=fit.temperature, trained_on=trained_on)
    errors = f"{fit.before.ece:.1%} becomes {fit.after.ece:.1%}"
    say(
        f"Fitted the temperature {fit.temperature:.2f} on {many(fit.n, 'image')} of {split}: calibration error {errors}"
    )
    if isinstance(judge, Classifier):
        write_to_onnx(path / ONNX, description)
        return description, Classifier(path / ONNX)
    save_keras(model, description, path / KERAS)
    return description, KerasClassifier(path / KERAS)


def describe_models(path: Path, model: keras.Model, description: ModelSpec) -> None:
    """Have the files that there are tell what is known of the model at last, as its scores."""
    save_keras(model, description, path / KERAS)
    if (path / HDF5).exists():
        describe_h5(path / HDF5, description)
    if (path / ONNX).exists():
        write_to_onnx(path / ONNX, description)
    write_beside(path / KERAS, description)
