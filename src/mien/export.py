"""From one model file to another, each saying what it is, each checked before it is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mien import litert, litert_writing
from mien.classifier import Classifier, apply_temperature, check_batch
from mien.convertible import convertible, teach_erfc
from mien.errors import MissingExtraError, ModelError, UsageError, unknown_choice
from mien.files import refuse_existing, replacing
from mien.kerasfiles import PARITY_TOLERANCE, KerasClassifier, first_line, quietly, save_h5, save_keras
from mien.modelspec import ModelSpec, write_to_onnx
from mien.piping import predict
from mien.precisions import COMPARE, check_precision, lower_precision, pictures_to_compare
from mien.preprocessing import InputSpec, to_input
from mien.quantising import calibration_images
from mien.restoring import restore, write_recipe
from mien.weights import BUNDLED, find_model

__all__ = [
    "WRITERS",
    "KerasClassifier",
    "describe",
    "export_model",
    "load_model",
    "save_h5",
    "save_keras",
    "save_litert",
    "save_onnx",
]

PredictFn = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 (n, size, size, channels) to probabilities (n, classes), temperature applied."""

PARITY_BATCHES = (1, 7)
"""Batch sizes at which an exported model must agree with Keras."""


def save_onnx(
    model: keras.Model,
    spec: ModelSpec,
    path: str | Path,
    precision: str = "float32",
    calibration: NDArray[np.uint8] | None = None,
) -> None:
    """Write ``.onnx`` with the description and what brings the Keras model back; kept only if it agrees with Keras.

    Conversion needs TensorFlow. On another backend it runs in a process of its own that has TensorFlow.

    Args:
        model: float32 in [0, 1] (n, size, size, channels) to probabilities (n, classes).
        spec: its description.
        path: the file to write.
        precision: one of `mien.precisions.PRECISIONS`; an ``int8`` file does not bring the Keras model back.
        calibration: for ``int8``: pictures such as the model will see, uint8 (n, size, size, channels).

    Raises:
        MissingExtraError: TensorFlow is not installed.
        ModelError: the network cannot be converted, ONNX Runtime's probabilities differ from Keras's, or the lower
            precision's from float32's.
        UsageError: see `mien.precisions.check_precision`.
    """
    check_precision(precision, "onnx", calibration is not None)
    with replacing(path) as temporary:
        _write_checked(model, spec, "onnx", temporary, str(path))
        lower_precision(temporary, precision, calibration, name=str(path))


def save_litert(
    model: keras.Model,
    spec: ModelSpec,
    path: str | Path,
    precision: str = "float32",
    calibration: NDArray[np.uint8] | None = None,
) -> None:
    """Write ``.tflite`` with the description inside, as `Classifier` reads it; kept only if it agrees with Keras.

    Conversion needs TensorFlow. On another backend it runs in a process of its own that has TensorFlow.

    Args:
        model: float32 in [0, 1] (n, size, size, channels) to probabilities (n, classes).
        spec: its description.
        path: the file to write.
        precision: one of `mien.precisions.PRECISIONS_OF` ``litert``.
        calibration: for ``int8``: pictures such as the model will see, uint8 (n, size, size, channels).

    Raises:
        MissingExtraError: TensorFlow is not installed.
        ModelError: the network cannot be converted, or LiteRT's probabilities differ too much from Keras's.
        UsageError: see `mien.precisions.check_precision`.
    """
    check_precision(precision, "litert", calibration is not None)
    with replacing(path) as temporary:
        if precision == "float32":
            _write_checked(model, spec, "litert", temporary, str(path))
        else:
            _write_smaller(model, spec, temporary, precision, calibration, str(path))


def _write_smaller(
    model: keras.Model, spec: ModelSpec, path: Path, precision: str, calibration: NDArray[np.uint8] | None, name: str
) -> None:
    """Write a ``.tflite`` file that is not float32, and see that it answers nearly as Keras does."""
    images = pictures_to_compare(spec, calibration)
    with _calling(path, name):
        _convert(model, spec, "litert", path, precision, calibration)
        output = predict(model, to_input(images), check_batch(images, spec.input, None))
        expected = apply_temperature(np.asarray(output, np.float32), spec.temperature)
        facts = COMPARE[precision](expected, Classifier(path, device="cpu").predict(images), name)
    litert.describe(path, json.dumps(spec.to_dict()), json.dumps({"precision": precision, **facts}))


@contextmanager
def _calling(path: Path, name: str) -> Iterator[None]:
    """Have errors call a temporary file by the name that it will have."""
    try:
        yield
    except ModelError as error:
        raise ModelError(str(error).replace(str(path), name)) from error


def _write_checked(model: keras.Model, spec: ModelSpec, kind: str, path: Path, name: str) -> None:
    """Write an ``.onnx`` or ``.tflite`` file and see that it answers as Keras does; errors call it by `name`."""
    with _calling(path, name):
        _convert(model, spec, kind, path)
        _check_parity(model, Classifier(path, device="cpu").predict, spec, name)


def _convert(
    model: keras.Model,
    spec: ModelSpec,
    kind: str,
    path: Path,
    precision: str = "float32",
    images: NDArray[np.uint8] | None = None,
) -> None:
    """Write an ``.onnx`` or ``.tflite`` file, described but not checked yet; the latter also in a lower precision."""
    if keras.backend.backend() != "tensorflow":
        _convert_elsewhere(model, spec, kind, path, precision, images)
        return
    try:
        with quietly(), convertible(model, unrolled=kind == "litert") as predictor:
            if kind == "litert":
                litert_writing.write(predictor, path, json.dumps(spec.to_dict()), precision, images)
                return
            teach_erfc()
            predictor(np.zeros((1, *model.input_shape[1:]), np.float32))
            predictor.export(path, format="onnx", verbose=False)
    except OSError:  # as of a full disk
        raise
    except Exception as error:  # each converter has its own
        raise ModelError(f"{path}: the network cannot be converted ({first_line(error)})") from error
    write_recipe(path, model)
    write_to_onnx(path, spec)


def _convert_elsewhere(
    model: keras.Model, spec: ModelSpec, kind: str, path: Path, precision: str, images: NDArray[np.uint8] | None
) -> None:
    """`_convert` on another backend: `mien export` in a process with TensorFlow, which leaves accelerators alone."""
    if find_spec("tensorflow") is None:
        raise MissingExtraError(f"writing {path.suffix} files (which TensorFlow converts)", "train")
    with tempfile.TemporaryDirectory(prefix="mien-export-") as folder:
        source, target = Path(folder) / "model.keras", Path(folder) / f"model{path.suffix}"
        save_keras(model, spec, source)
        command = [sys.executable, "-m", "mien", "export", str(source), "--format", kind, "--out", str(target)]
        command += ["--precision", precision]
        if images is not None:
            np.save(Path(folder) / "images.npy", images)
            command += ["--calibrate", str(Path(folder) / "images.npy")]
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
        if run.returncode:
            said = run.stderr.strip().removeprefix("mien: ").replace(str(target), str(path))[-500:]
            raise ModelError(said if str(path) in said else f"{path}: the network cannot be converted ({said})")
        shutil.copyfile(target, path)


WRITERS: dict[str, tuple[str, Callable[[keras.Model, ModelSpec, Path], None]]] = {
    "keras": (".keras", save_keras),
    "h5": (".h5", save_h5),
    "onnx": (".onnx", save_onnx),
    "litert": (".tflite", save_litert),
}
"""Format to file ending and writer."""


def export_model(
    source: str | Path,
    kind: str,
    destination: str | Path | None = None,
    *,
    precision: str = "float32",
    calibrate: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Write a model file in another format or precision.

    Args:
        source: a ``.keras``, ``.h5`` or ``.onnx`` file, or the name of a bundled model.
        kind: a key of `WRITERS`.
        destination: the file to write; where none is given, beside the source (of a bundled model: in the current
            folder), with the format's ending and the precision in its name where that is not float32.
        precision: one of those that `mien.precisions.PRECISIONS_OF` has for the format.
        calibrate: for ``int8``: labelled faces such as the model learned from, see
            `mien.quantising.calibration_images`.
        force: replace a file that is there.

    Returns:
        The file that was written.

    Raises:
        UsageError: an unknown format or precision, a destination that exists, no calibration data.
        DataError: the calibration data cannot be used.
        ModelError: the source cannot be read or turned back into a Keras model, or the result differs from it.
    """
    if kind not in WRITERS:
        raise unknown_choice("format", kind, WRITERS)
    check_precision(precision, kind, calibrate is not None)
    suffix, write = WRITERS[kind]
    place = Path(f"{source}.onnx") if str(source) in BUNDLED else Path(source)
    target = Path(destination) if destination is not None else _beside(place, suffix, precision)
    if target.suffix != suffix:
        raise UsageError(f"{target}: the format {kind} is written to a file that ends in {suffix}")
    refuse_existing(target, force=force)
    model, spec = load_model(source)
    if precision == "float32":
        write(model, spec, target)
    else:
        images = None if calibrate is None else calibration_images(calibrate, spec)
        save = {"onnx": save_onnx, "litert": save_litert}[kind]
        save(model, spec, target, precision, images)
    return target


def _beside(source: Path, suffix: str, precision: str) -> Path:
    """Where a file goes that no name was given for."""
    ending = suffix if precision == "float32" else f"-{precision}{suffix}"
    return source.with_name(source.stem + ending)


def load_model(path: str | Path) -> tuple[keras.Model, ModelSpec]:
    """Open any model file, or a bundled model by its name, as a Keras model and its description.

    Raises:
        UsageError: there is no such file.
        ModelError: it cannot be read, or is an ``.onnx`` that cannot be turned back.
    """
    path = find_model(path)
    litert.refuse(path, "turned into a Keras model or another format")
    if path.suffix.lower() != ".onnx":
        opened = KerasClassifier(path)
        return opened.model, opened.spec
    classifier = Classifier(path, device="cpu")
    model = restore(path)
    _check_parity(model, classifier.predict, classifier.spec, str(path))
    return model, classifier.spec


def _check_parity(model: keras.Model, predict: PredictFn, spec: ModelSpec, name: str) -> None:
    """Run one set of random pictures through Keras and another runtime, at two batch sizes.

    Raises:
        ModelError: they differ.
    """
    for count in PARITY_BATCHES:
        images = np.random.default_rng(count).integers(0, 256, (count, *spec.input.shape), np.uint8)
        output = keras.ops.convert_to_numpy(model(to_input(images), training=False))
        expected = apply_temperature(np.asarray(output, np.float32), spec.temperature)
        difference = float(np.abs(predict(images) - expected).max())
        if not difference <= PARITY_TOLERANCE:
            raise ModelError(
                f"{name}: what was written and Keras differ by {difference:.2g} on a batch of {count}; it was not kept"
            )


def describe(model: keras.Model, classes: tuple[str, ...], **facts: Any) -> ModelSpec:
    """A description of a Keras model: its name, size and input are read off it."""
    size, channels = model.input_shape[1], model.input_shape[3]
    return ModelSpec(classes, model.name, model.count_params(), InputSpec(size, channels), **facts)
