"""Open a model file and ask it: faces in, probabilities out. ONNX Runtime, or what else the file or the user wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien import litert, openvino
from mien.errors import MissingExtraError, ModelError, UsageError, many
from mien.images import Image, check_several
from mien.modelspec import ModelSpec
from mien.numeric import is_whole
from mien.preprocessing import InputSpec, fit_images, to_input
from mien.results import Prediction
from mien.sessions import OnnxSession, built_devices
from mien.weights import BUNDLED, find_model

KERAS_SUFFIXES = (".keras", ".h5")
BATCH_PIXELS = 64 * 48 * 48
"""Pixels that go through a network at once: 64 small pictures or a few large ones, so that memory stays the same."""


class Model(Protocol):
    """Anything that gives probabilities for pictures: `Classifier`, or what `open_model` opened with Keras."""

    @property
    def spec(self) -> ModelSpec:
        """What the model says about itself."""

    def predict(self, images: NDArray[np.uint8], batch_size: int | None = None) -> NDArray[np.float32]:
        """uint8 (n, size, size, channels) to float32 (n, classes) probabilities, temperature applied."""


class Runtime(Protocol):
    """What runs a file's network: `mien.sessions.OnnxSession`, `mien.openvino.Session` or `mien.litert.Session`."""

    @property
    def spec(self) -> ModelSpec:
        """What the file says about itself."""

    @property
    def device(self) -> str:
        """Where it runs, a key of `mien.sessions.PROVIDERS`."""

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, size, size, channels) in [0, 1], n 1 or more, to what the network gives."""


class Classifier:
    """An ``.onnx`` or ``.tflite`` model with its description, ready to run. Safe to share between threads.

    Calls of ``.onnx`` models run side by side; those of a ``.tflite`` take turns.

    Attributes:
        path: where the file is.
        spec: what the file says about itself.
        device: where it runs, a key of `mien.sessions.PROVIDERS`.
    """

    def __init__(self, path: str | Path, *, device: str = "auto", threads: int = 0) -> None:
        """Open a model.

        Args:
            path: an ``.onnx`` file that mien exported, or that `mien.modelspec.write_to_onnx` described; the name of a
                bundled model; or a ``.tflite`` file that mien exported, which ``ai-edge-litert`` runs, or TensorFlow
                where that is not installed.
            device: ``auto`` or a key of `mien.sessions.PROVIDERS`; for ``.tflite`` only ``auto`` or ``cpu``.
                ``openvino`` is `mien.openvino` where its package is installed: the fastest for int8 in batches.
            threads: how many CPU threads one call may use; 0 for as many as there are cores.

        Raises:
            UsageError: there is no such file, the device is not there, or `threads` is negative.
            ModelError: the file is not such a model, is damaged, has no description, or does not fit it.
            MissingExtraError: OpenVINO, or what runs a ``.tflite``, is needed and not installed.
        """
        self.path = find_model(path)
        self._options = {"device": device, "threads": threads}
        self._runtime = _open_runtime(self.path, device, threads)
        self.spec = self._runtime.spec
        self.device = self._runtime.device

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, in output order."""
        return self.spec.classes

    def __repr__(self) -> str:
        return shown(self, self.device)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle by path: whoever unpickles it opens the file again."""
        return {"path": self.path, **self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def predict(self, images: NDArray[np.uint8], batch_size: int | None = None) -> NDArray[np.float32]:
        """Give each picture's probabilities.

        Args:
            images: uint8 (n, size, size, channels), as `mien.preprocessing.fit_images` gives them; n may be 0.
            batch_size: how many pictures go through the network at once, 1 or more; None: as many as
                `BATCH_PIXELS` allows.

        Returns:
            float32 (n, classes), each row summing to 1, the temperature applied.

        Raises:
            UsageError: the array is not of that shape and dtype.
            ModelError: the network gave something other than probabilities.
        """
        batch_size = check_batch(images, self.spec.input, batch_size)
        starts = range(0, len(images), batch_size)
        parts = [self._run(images[start : start + batch_size]) for start in starts]
        empty = np.empty((0, len(self.classes)), np.float32)
        return apply_temperature(np.concatenate([empty, *parts]), self.spec.temperature)

    def classify(self, images: Sequence[Image], batch_size: int | None = None) -> list[Prediction]:
        """`classify` with this model."""
        return classify(self, images, batch_size)

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        output = self._runtime.run(np.ascontiguousarray(to_input(images)))
        return check_probabilities(output, len(images), len(self.classes), str(self.path))


def open_model(path: str | Path, *, device: str = "auto", threads: int = 0) -> Model:
    """Open a model file of any kind: ``.onnx`` with ONNX Runtime, ``.tflite`` with LiteRT, others with Keras.

    Args:
        path: the file, or the name of a bundled model.
        device: see `Classifier`; for ``.keras`` and ``.h5`` only ``auto``, as the Keras backend decides.
        threads: see `Classifier`; for ``.keras`` and ``.h5`` only 0.

    Raises:
        UsageError: there is no such file, its ending is another, or the device is not there.
        ModelError: the file cannot be used.
        MissingExtraError: Keras, OpenVINO, or what runs a ``.tflite``, is needed and not installed.
    """
    path = find_model(path)
    suffix = path.suffix.lower()
    if suffix in (".onnx", litert.SUFFIX):
        return Classifier(path, device=device, threads=threads)
    if suffix not in KERAS_SUFFIXES:
        raise UsageError(
            f"{path}: a model file must end in .onnx, .tflite, .keras or .h5, received {suffix or 'no ending'!r}; "
            f"bundled is {', '.join(BUNDLED)}"
        )
    if device != "auto" or threads != 0:
        raise UsageError(
            f"{path}: device and threads can be chosen for .onnx and .tflite only; 'mien export' makes one"
        )
    _check_file(Path(path))
    try:
        from mien.export import KerasClassifier
    except ModuleNotFoundError as error:  # other failures of an import are no missing package
        if str(error.name).partition(".")[0] == __name__.partition(".")[0]:
            raise
        raise MissingExtraError(f"opening {suffix} files", "train") from error
    model: Model = KerasClassifier(path)
    return model


def classify(model: Model, images: Sequence[Image], batch_size: int | None = None) -> list[Prediction]:
    """Say what each face shows.

    Args:
        model: the opened model.
        images: face crops, each uint8 (height, width), (height, width, 1) or (height, width, 3) RGB, of any size.
        batch_size: how many go through the network at once; see `Classifier.predict`.

    Returns:
        One prediction for each image, in order; none for no images.

    Raises:
        UsageError: it is a single picture.
    """
    check_several(images, "put it into one: [image]")
    rows = model.predict(fit_images(list(images), model.spec.input), batch_size)
    return [Prediction.from_row(model.spec.classes, row.tolist()) for row in rows]


def shown(model: Model, device: str) -> str:
    """What Python shows of an opened model."""
    spec = model.spec
    colour = "grey" if spec.input.channels == 1 else "RGB"
    name, size = Path(getattr(model, "path", "model")).name, spec.input.size
    kinds = many(len(spec.classes), "class", "classes")
    return f"<{type(model).__name__} {name}: {spec.network}, {kinds}, {size}x{size} {colour}, on {device}>"


def apply_temperature(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Soften (above 1) or sharpen (below 1) probabilities: softmax(log p / temperature) along the last axis.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. The order of classes stays.
    """
    if temperature == 1.0 or not probabilities.size:
        return probabilities
    tiny = np.finfo(np.float32).tiny
    scaled = np.log(np.maximum(probabilities, tiny, dtype=np.float64)) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def check_batch(images: NDArray[np.uint8], spec: InputSpec, batch_size: int | None) -> int:
    """Refuse pictures that were not fitted to a network's input, and batch sizes below 1.

    Returns:
        The batch size, that of `BATCH_PIXELS` where None was given.

    Raises:
        UsageError: says what was received.
    """
    several = isinstance(images, np.ndarray)
    if not several or images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != spec.shape:
        received = f"{images.dtype} {images.shape}" if several else type(images).__name__
        raise UsageError(
            f"images: must be uint8 (n, {', '.join(map(str, spec.shape))}), received {received}; "
            "mien.preprocessing.fit_images brings pictures to that shape"
        )
    if batch_size is None:
        return max(1, BATCH_PIXELS // spec.size**2)
    if not is_whole(batch_size) or batch_size < 1:
        raise UsageError(f"batch_size: must be 1 or more, received {batch_size!r}")
    return batch_size


def check_probabilities(output: object, n: int, classes: int, name: str) -> NDArray[np.float32]:
    """Refuse what is not n rows of probabilities; gives the array back as float32.

    Raises:
        ModelError: the shape is another, a value is not finite or not in [0, 1], or a row does not sum to 1.
    """
    rows = np.asarray(output, np.float32)
    if rows.shape != (n, classes):
        raise ModelError(f"{name}: must give probabilities of shape ({n}, {classes}), received {rows.shape}")
    within = np.all((rows >= 0) & (rows <= 1 + 1e-6)) and np.all(np.abs(rows.sum(axis=1) - 1) < 1e-3)
    if not within:
        raise ModelError(f"{name}: gave values that are not probabilities; its last layer must be a softmax")
    return rows


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"{path}: no such file; give the path of a model, or a name: {', '.join(BUNDLED)}")


def _open_runtime(path: Path, device: str, threads: int) -> Runtime:
    _check_file(path)
    if not is_whole(threads) or threads < 0:
        raise UsageError(f"threads: must be 0 (all cores) or more, received {threads!r}")
    if path.suffix.lower() == litert.SUFFIX:
        return litert.Session(path, device=device, threads=threads)
    if device == openvino.DEVICE and (openvino.is_installed() or device not in built_devices()):
        return openvino.Session(path, threads=threads)
    return OnnxSession(path, device=device, threads=threads)
