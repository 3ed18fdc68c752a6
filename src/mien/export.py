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
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mien import litert
from mien.backend import all_layers
from mien.classifier import Classifier, apply_temperature
from mien.errors import MissingExtraError, ModelError, UsageError, unknown_choice
from mien.files import replacing
from mien.kerasfiles import PARITY_TOLERANCE, KerasClassifier, first_line, quietly, save_h5, save_keras
from mien.modelspec import ModelSpec, write_to_onnx
from mien.precisions import check_precision, lower_precision
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
    check_precision(precision, calibration is not None)
    with replacing(path) as temporary:
        _write_checked(model, spec, "onnx", temporary, str(path))
        lower_precision(temporary, precision, calibration, name=str(path))


def save_litert(model: keras.Model, spec: ModelSpec, path: str | Path) -> None:
    """Write ``.tflite`` with the description inside, as `Classifier` reads it; kept only if it agrees with Keras.

    Conversion needs TensorFlow. On another backend it runs in a process of its own that has TensorFlow.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        ModelError: the network cannot be converted, or LiteRT's probabilities differ from Keras's.
    """
    with replacing(path) as temporary:
        _write_checked(model, spec, "litert", temporary, str(path))


def _write_checked(model: keras.Model, spec: ModelSpec, kind: str, path: Path, name: str) -> None:
    """Write an ``.onnx`` or ``.tflite`` file and see that it answers as Keras does; errors call it by `name`."""
    try:
        _convert(model, spec, kind, path)
        _check_parity(model, Classifier(path, device="cpu").predict, spec, name)
    except ModelError as error:
        raise ModelError(str(error).replace(str(path), name)) from error


def _convert(model: keras.Model, spec: ModelSpec, kind: str, path: Path) -> None:
    """Write an ``.onnx`` or ``.tflite`` file, described but not checked yet."""
    if keras.backend.backend() != "tensorflow":
        _convert_elsewhere(model, spec, kind, path)
        return
    try:
        with quietly(), _constant_normalisations(model):
            predictor = _predictor(model)
            if kind == "litert":
                litert.write(predictor, path, json.dumps(spec.to_dict()))
                return
            _teach_erfc()
            predictor(np.zeros((1, *model.input_shape[1:]), np.float32))
            predictor.export(path, format="onnx", verbose=False)
    except OSError:  # as of a full disk
        raise
    except Exception as error:  # each converter has its own
        raise ModelError(f"{path}: the network cannot be converted ({first_line(error)})") from error
    write_recipe(path, model)
    write_to_onnx(path, spec)


def _predictor(model: keras.Model) -> keras.Model:
    """The model as it predicts, also where nobody says so, as converters do not.

    Keras's image layers (Resizing, CenterCrop, RandomFlip...) take it for training unless they are told, and have all
    layers behind them do so: batch norm would be exported with the statistics of each batch.
    """
    images = keras.Input(model.input_shape[1:])
    return keras.Model(images, model(images, training=False), name=model.name)


@contextmanager
def _constant_normalisations(model: keras.Model) -> Iterator[None]:
    """Have normalisation layers hold mean and variance as NumPy arrays: converters take tensors for further inputs."""
    layers = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Normalization)]
    before = [(layer.mean, layer.variance) for layer in layers]
    try:
        for layer in layers:
            layer.mean, layer.variance = (keras.ops.convert_to_numpy(value) for value in (layer.mean, layer.variance))
        yield
    finally:
        for layer, (mean, variance) in zip(layers, before, strict=True):
            layer.mean, layer.variance = mean, variance


@lru_cache(maxsize=1)
def _teach_erfc() -> None:
    """Tell tf2onnx what 1 - erf(x) is, of which TensorFlow makes GELU, and which ONNX has no operator for."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            one = ctx.make_const(f"{node.name}__one", np.ones((), np.float32)).output[0]
            erf = ctx.make_node("Erf", node.input, name=f"{node.name}__erf").output[0]
            shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, node.output
            ctx.remove_node(node.name)
            ctx.make_node("Sub", [one, erf], name=node.name, outputs=outputs, shapes=shapes, dtypes=dtypes)


def _convert_elsewhere(model: keras.Model, spec: ModelSpec, kind: str, path: Path) -> None:
    """`_convert` on another backend: `mien export` in a process with TensorFlow, which leaves accelerators alone."""
    if find_spec("tensorflow") is None:
        raise MissingExtraError(f"writing {path.suffix} files (which TensorFlow converts)", "train")
    with tempfile.TemporaryDirectory(prefix="mien-export-") as folder:
        source, target = Path(folder) / "model.keras", Path(folder) / f"model{path.suffix}"
        save_keras(model, spec, source)
        command = [sys.executable, "-m", "mien", "export", str(source), "--format", kind, "--out", str(target)]
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
        precision: one of `mien.precisions.PRECISIONS`; other than ``float32`` for ``onnx`` only.
        calibrate: for ``int8``: labelled faces such as the model learned from, a path that `mien.open_dataset` takes.
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
    check_precision(precision, calibrate is not None)
    if kind != "onnx" and precision != "float32":
        raise UsageError(f"precision: {precision} is for the format onnx only, received {kind}; leave it out")
    suffix, write = WRITERS[kind]
    place = Path(f"{source}.onnx") if str(source) in BUNDLED else Path(source)
    target = Path(destination) if destination is not None else _beside(place, suffix, precision)
    if target.suffix != suffix:
        raise UsageError(f"{target}: the format {kind} is written to a file that ends in {suffix}")
    if target.exists() and not force:
        raise UsageError(f"{target}: already exists; name another file, or replace it with --force")
    model, spec = load_model(source)
    if precision == "float32":
        write(model, spec, target)
    else:
        images = None if calibrate is None else calibration_images(calibrate, spec)
        save_onnx(model, spec, target, precision, images)
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
