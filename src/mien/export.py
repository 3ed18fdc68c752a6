"""Models as files: ``.keras``, ``.h5`` and ``.onnx``, each saying what it is, each checked before it is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mien.classifier import Classifier, apply_temperature, check_batch, check_probabilities
from mien.errors import MissingExtraError, ModelError, UsageError, unknown_choice
from mien.files import replacing
from mien.modelspec import METADATA_KEY, ModelSpec, write_to_onnx
from mien.preprocessing import to_input
from mien.restoring import restore, write_recipe

PARITY_BATCHES = (1, 7)
"""Batch sizes at which an exported model must agree with Keras."""

PARITY_TOLERANCE = 1e-4
"""Largest difference of a probability that is taken for rounding."""

MEMBER = "mien.json"
"""The description's name inside a ``.keras`` archive."""


class KerasClassifier:
    """A ``.keras`` or ``.h5`` model with its description: what `mien.classifier.Classifier` is for ``.onnx``.

    Attributes:
        path: where the file is.
        spec: what the file, or the ``config.json`` beside it, says about it.
        model: the Keras model.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a model.

        Raises:
            UsageError: there is no such file.
            ModelError: Keras cannot read it, or it has no description.
        """
        self.path = Path(path)
        self.spec = read_spec(self.path)
        self.model = _load(self.path)
        expected = ((None, *self.spec.input.shape), (None, len(self.spec.classes)))
        if (self.model.input_shape, self.model.output_shape) != expected:
            raise ModelError(
                f"{path}: takes {self.model.input_shape} and gives {self.model.output_shape}, but its description says "
                f"{expected[0]} and {expected[1]}"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, in output order."""
        return self.spec.classes

    def predict(self, images: NDArray[np.uint8], batch_size: int | None = None) -> NDArray[np.float32]:
        """uint8 (n, size, size, channels) to float32 (n, classes) probabilities, temperature applied."""
        batch_size = check_batch(images, self.spec.input, batch_size)
        if not len(images):
            return np.empty((0, len(self.classes)), np.float32)
        output = self.model.predict(to_input(images), batch_size=batch_size, verbose=0)
        probabilities = check_probabilities(output, len(images), len(self.classes), str(self.path))
        return apply_temperature(probabilities, self.spec.temperature)


def save_keras(model: keras.Model, spec: ModelSpec, path: str | Path) -> None:
    """Write Keras's own format, with the description inside the archive."""
    with replacing(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(MEMBER, json.dumps(spec.to_dict()))


def save_h5(model: keras.Model, spec: ModelSpec, path: str | Path) -> None:
    """Write the older HDF5 format, which many tools still read, with the description as an attribute."""
    import h5py

    with replacing(path) as temporary:
        with _quietly():
            model.save(temporary)
        with h5py.File(temporary, "a") as file:
            file.attrs[METADATA_KEY] = json.dumps(spec.to_dict())


def save_onnx(model: keras.Model, spec: ModelSpec, path: str | Path) -> None:
    """Write ``.onnx`` with the description and what brings the Keras model back; kept only if it agrees with Keras.

    Conversion needs TensorFlow. On another backend it runs in a process of its own that has TensorFlow.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        ModelError: ONNX Runtime's probabilities differ from Keras's.
    """
    with replacing(path) as temporary:
        if keras.backend.backend() == "tensorflow":
            _convert(model, spec, temporary)
        else:
            _convert_elsewhere(model, spec, temporary)
        _check_parity(model, Classifier(temporary), str(path))


def _convert(model: keras.Model, spec: ModelSpec, path: Path) -> None:
    with _quietly():
        model(np.zeros((1, *model.input_shape[1:]), np.float32))
        model.export(path, format="onnx", verbose=False)
    write_recipe(path, model)
    write_to_onnx(path, spec)


def _convert_elsewhere(model: keras.Model, spec: ModelSpec, path: Path) -> None:
    """`_convert` on another backend: `mien export` in a process with TensorFlow."""
    if find_spec("tensorflow") is None:
        raise MissingExtraError("writing .onnx files (which TensorFlow converts)", "train")
    with tempfile.TemporaryDirectory(prefix="mien-export-") as folder:
        source, target = Path(folder) / "model.keras", Path(folder) / "model.onnx"
        save_keras(model, spec, source)
        command = [sys.executable, "-m", "mien", "export", str(source), "--format", "onnx", "--out", str(target)]
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
        if run.returncode:
            raise ModelError(f"the model could not be converted to .onnx: {run.stderr.strip()[-500:]}")
        shutil.copyfile(target, path)


WRITERS: dict[str, tuple[str, Callable[[keras.Model, ModelSpec, Path], None]]] = {
    "keras": (".keras", save_keras),
    "h5": (".h5", save_h5),
    "onnx": (".onnx", save_onnx),
}
"""Format to file ending and writer."""


def export_model(source: str | Path, kind: str, destination: str | Path | None = None, *, force: bool = False) -> Path:
    """Write a model file in another format.

    Args:
        source: a ``.keras``, ``.h5`` or ``.onnx`` file.
        kind: a key of `WRITERS`.
        destination: the file to write; beside the source with the format's ending where none is given.
        force: replace a file that is there.

    Returns:
        The file that was written.

    Raises:
        UsageError: an unknown format, or a destination that exists.
        ModelError: the source cannot be read, or cannot be turned back into a Keras model.
    """
    if kind not in WRITERS:
        raise unknown_choice("format", kind, WRITERS)
    suffix, write = WRITERS[kind]
    target = Path(destination) if destination is not None else Path(source).with_suffix(suffix)
    if target.suffix != suffix:
        raise UsageError(f"{target}: the format {kind} is written to a file that ends in {suffix}")
    if target.exists() and not force:
        raise UsageError(f"{target}: already exists; name another file, or replace it with --force")
    model, spec = load_model(source)
    write(model, spec, target)
    return target


def load_model(path: str | Path) -> tuple[keras.Model, ModelSpec]:
    """Open any model file as a Keras model and its description.

    Raises:
        UsageError: there is no such file.
        ModelError: it cannot be read, or is an ``.onnx`` that cannot be turned back.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        opened = KerasClassifier(path)
        return opened.model, opened.spec
    classifier = Classifier(path)
    model = restore(path)
    _check_parity(model, classifier, str(path))
    return model, classifier.spec


def read_spec(path: Path) -> ModelSpec:
    """The description of a ``.keras`` or ``.h5`` file: its own, else that of the ``config.json`` beside it.

    Raises:
        UsageError: there is no such file.
        ModelError: there is no description.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of a .keras, .h5 or .onnx model")
    text = _own_spec(path)
    return ModelSpec.beside(path) if text is None else ModelSpec.from_metadata({METADATA_KEY: text}, name=str(path))


def _own_spec(path: Path) -> str | None:
    """The description inside the file, as JSON, or None."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(MEMBER).decode() if MEMBER in archive.namelist() else None
        except (zipfile.BadZipFile, zlib.error) as error:
            raise ModelError(f"{path}: is damaged ({error})") from error
    import h5py

    try:
        with h5py.File(path) as file:
            text = file.attrs.get(METADATA_KEY)
    except OSError as error:
        raise ModelError(f"{path}: is neither a .keras archive nor an HDF5 file; it may be cut short") from error
    return None if text is None else str(text)


def _load(path: Path) -> keras.Model:
    try:
        with _quietly():
            return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{path}: Keras cannot read it ({str(error).strip().splitlines()[0]})") from error


def _check_parity(model: keras.Model, classifier: Classifier, name: str) -> None:
    """Run one set of random pictures through both, at two batch sizes.

    Raises:
        ModelError: they differ.
    """
    shape = classifier.spec.input.shape
    for count in PARITY_BATCHES:
        images = np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)
        output = keras.ops.convert_to_numpy(model(to_input(images), training=False))
        expected = apply_temperature(np.asarray(output, np.float32), classifier.spec.temperature)
        difference = float(np.abs(classifier.predict(images) - expected).max())
        if not difference <= PARITY_TOLERANCE:
            raise ModelError(
                f"{name}: ONNX Runtime and Keras differ by {difference:.2g} on a batch of {count}; it was not kept"
            )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Keras's and tf2onnx's remarks on formats and NumPy versions, which no user can act on, to themselves."""
    from absl import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logging.set_verbosity(level)


def describe(model: keras.Model, classes: tuple[str, ...], **facts: Any) -> ModelSpec:
    """A description of a Keras model: its name, size and input are read off it."""
    from mien.preprocessing import InputSpec

    size, channels = model.input_shape[1], model.input_shape[3]
    return ModelSpec(classes, model.name, model.count_params(), InputSpec(size, channels), **facts)
