"""``.keras`` and ``.h5`` files: opening them as models, and writing them, each with its description inside."""

from __future__ import annotations

import json
import math
import shutil
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.classifier import apply_temperature, check_batch, check_probabilities, classify, shown
from mien.errors import MienError, ModelError, UsageError
from mien.files import ZIP_DAMAGE, replacing
from mien.images import Image
from mien.modelspec import MEMBER, METADATA_KEY, ModelSpec
from mien.preprocessing import to_input
from mien.results import Prediction

if TYPE_CHECKING:
    import keras

UNREADABLE: tuple[type[Exception], ...] = (*ZIP_DAMAGE, AttributeError, ImportError, LookupError, TypeError)
"""What Keras raises at files that are damaged, of another version, or hold layers that it does not know."""

PARITY_TOLERANCE = 1e-4
"""Largest difference of a probability that is taken for rounding, in this and in other formats."""


HDF5_OVERHEAD = 2_048
"""Bytes that HDF5 adds to each variable, about."""


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
        self.model = load_network(self.path)
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

    def __repr__(self) -> str:
        return shown(self, f"Keras ({keras.backend.backend()})")

    def predict(self, images: NDArray[np.uint8], batch_size: int | None = None) -> NDArray[np.float32]:
        """uint8 (n, size, size, channels) to float32 (n, classes) probabilities, temperature applied."""
        from mien.piping import predict

        batch_size = check_batch(images, self.spec.input, batch_size)
        if not len(images):
            return np.empty((0, len(self.classes)), np.float32)
        output = predict(self.model, to_input(images), batch_size)
        probabilities = check_probabilities(output, len(images), len(self.classes), str(self.path))
        return apply_temperature(probabilities, self.spec.temperature)

    def classify(self, images: Sequence[Image], batch_size: int | None = None) -> list[Prediction]:
        """`mien.classifier.classify` with this model."""
        return classify(self, images, batch_size)


def save_keras(model: keras.Model, spec: ModelSpec, path: str | Path) -> None:
    """Write Keras's own format, not compiled, with the description inside the archive."""
    with replacing(path) as temporary:
        with uncompiled(model):
            model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(MEMBER, json.dumps(spec.to_dict()))


@contextmanager
def uncompiled(model: keras.Model) -> Iterator[None]:
    """Have a model saved without its optimizer, which may be untrained: Keras warns where it opens the file."""
    before, model.compiled = model.compiled, False
    try:
        yield
    finally:
        model.compiled = before


def save_h5(model: keras.Model, spec: ModelSpec, path: str | Path) -> None:
    """Write the older HDF5 format, which many tools still read, with the description as an attribute.

    It does not hold every network: none with operations between layers, and of some layers not all their settings.

    Raises:
        ModelError: Keras cannot write it, or reads another model from it; it is not kept.
        MienError: the disk is full.
    """
    with replacing(path) as temporary:
        check_room(Path(path), model.variables)
        try:
            with quietly():
                model.save(temporary, include_optimizer=False)
        except (NotImplementedError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: Keras cannot write this network as HDF5 ({first_line(error)})") from error
        _write_attribute(temporary, spec)
        _check_h5(model, temporary, Path(path))


def check_room(path: Path, variables: Iterable[Any]) -> None:
    """See that a disk has room for variables as HDF5, whose library fails for the rest of a process where one is full.

    Args:
        path: the file to write, in a folder that is there.
        variables: Keras's, of a model or an optimizer.

    Raises:
        MienError: it has not.
    """
    needed = sum(HDF5_OVERHEAD + math.prod(one.shape) * (8 if "64" in str(one.dtype) else 4) for one in variables)
    with suppress(OSError):
        disk = shutil.disk_usage(path.parent)
        if disk.total and disk.free < needed:  # some file systems do not say
            raise MienError(
                f"{path}: cannot be written: it takes {needed / 1e3:,.0f} kB, and {disk.free / 1e3:,.0f} kB are free "
                "on its disk; make room there, and go on"
            )


def describe_h5(path: Path, spec: ModelSpec) -> None:
    """Give a file that `save_h5` wrote another description; the network in it stays."""
    with replacing(path) as temporary:
        shutil.copyfile(path, temporary)
        _write_attribute(temporary, spec)


def _write_attribute(path: Path, spec: ModelSpec) -> None:
    import h5py

    with h5py.File(path, "a") as file:
        file.attrs[METADATA_KEY] = json.dumps(spec.to_dict())


def _check_h5(model: keras.Model, written: Path, path: Path) -> None:
    """See that the file holds the model: Keras leaves out of HDF5 what it cannot say in it, without a word."""
    from keras import ops

    from mien.backend import in_float32

    try:
        read = load_network(written)
    except ModelError as error:
        reason = first_line(error).removeprefix(f"{written}: ")
        raise ModelError(f"{path}: HDF5 does not hold this network: {reason}; it was not kept") from error
    images = np.random.default_rng(0).random((2, *model.input_shape[1:]), np.float32)
    nets = (in_float32(model), read)
    wanted, given = (ops.convert_to_numpy(ops.cast(net(images, training=False), "float32")) for net in nets)
    if not np.allclose(given, wanted, atol=PARITY_TOLERANCE):
        raise ModelError(f"{path}: HDF5 does not hold this network: Keras reads another one from it; it was not kept")


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
        except ZIP_DAMAGE as error:
            raise ModelError(f"{path}: is damaged ({first_line(error)})") from error
    import h5py

    try:
        with h5py.File(path) as file:
            text = file.attrs.get(METADATA_KEY)
    except OSError as error:
        raise ModelError(f"{path}: is neither a .keras archive nor an HDF5 file; it may be cut short") from error
    return None if text is None else str(text)


def load_network(path: Path) -> keras.Model:
    """The network of a ``.keras`` or ``.h5`` file, described or not, in float32.

    Raises:
        ModelError: Keras cannot read it.
    """
    import keras

    from mien.backend import finalize_normalisations, in_float32

    try:
        with quietly():
            model = in_float32(keras.models.load_model(path, compile=False))  # as the other formats of it compute
    except UNREADABLE as error:
        raise ModelError(f"{path}: Keras cannot read it ({first_line(error)})") from error
    finalize_normalisations(model)  # which Keras forgets where a model of an .h5 file holds another
    return model


def first_line(error: Exception) -> str:
    """The beginning of what an exception says, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


@contextmanager
def quietly() -> Iterator[None]:
    """Keep Keras's and tf2onnx's remarks on formats and NumPy versions, which no user can act on, to themselves.

    And what tf2onnx logs, tracebacks too, of networks that it cannot convert, which an error says.
    """
    import logging

    from absl import logging as absl_logging

    level, converter = absl_logging.get_verbosity(), logging.getLogger("tf2onnx")
    told = converter.level
    absl_logging.set_verbosity(absl_logging.ERROR)
    converter.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        absl_logging.set_verbosity(level)
        converter.setLevel(told)
