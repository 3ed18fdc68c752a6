"""Open a model file and ask it: faces in, probabilities out. ONNX Runtime only; Keras files are opened on request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from mien.errors import MissingExtraError, ModelError, UsageError, unknown_choice
from mien.images import Image, check_several
from mien.modelspec import ModelSpec
from mien.numeric import is_whole
from mien.preprocessing import InputSpec, fit_images, to_input
from mien.results import Prediction
from mien.weights import BUNDLED, find_model

PROVIDERS: dict[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""What ``device`` may name, and ONNX Runtime's word for it."""

AUTO_DEVICES = ("cuda", "directml", "cpu")
"""What ``device="auto"`` tries, in this order. The others compile the network for each shape: ask for them by name."""

KERAS_SUFFIXES = (".keras", ".h5")
BATCH_PIXELS = 64 * 48 * 48
"""Pixels that go through a network at once: 64 small pictures or a few large ones, so that memory stays the same."""

_QUIET = 3
"""ONNX Runtime's log level: errors only."""

_ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    value for value in vars(ort_state).values() if isinstance(value, type) and issubclass(value, Exception)
)
"""ONNX Runtime's own exceptions, which share no base class."""


class Model(Protocol):
    """Anything that gives probabilities for pictures: `Classifier`, or what `open_model` opened with Keras."""

    @property
    def spec(self) -> ModelSpec:
        """What the model says about itself."""

    def predict(self, images: NDArray[np.uint8], batch_size: int | None = None) -> NDArray[np.float32]:
        """uint8 (n, size, size, channels) to float32 (n, classes) probabilities, temperature applied."""


class Classifier:
    """An ``.onnx`` model with its description, ready to run. Safe to share between threads.

    Attributes:
        path: where the file is.
        spec: what the file says about itself.
        device: where it runs, a key of `PROVIDERS`.
    """

    def __init__(self, path: str | Path, *, device: str = "auto", threads: int = 0) -> None:
        """Open a model.

        Args:
            path: an ``.onnx`` file that mien exported, or that `mien.modelspec.write_to_onnx` described.
            device: ``auto`` or a key of `PROVIDERS`.
            threads: how many CPU threads one call may use; 0 for as many as there are cores.

        Raises:
            UsageError: there is no such file, the device is not there, or `threads` is negative.
            ModelError: the file is not an ONNX model, has no description, or does not fit it.
        """
        self.path = Path(path)
        self._options = {"device": device, "threads": threads}
        self._session = _open_session(self.path, device, threads)
        self.spec = ModelSpec.from_metadata(self._session.get_modelmeta().custom_metadata_map, name=str(path))
        self._input_name = _check_signature(self._session, self.spec, self.path)
        running = self._session.get_providers()[0]
        self.device = next((name for name, provider in PROVIDERS.items() if provider == running), running)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, in output order."""
        return self.spec.classes

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
        batch = np.ascontiguousarray(to_input(images))
        try:
            (output,) = self._session.run(None, {self._input_name: batch})
        except _ORT_ERRORS as error:
            raise ModelError(f"{self.path}: failed on a batch of shape {batch.shape} ({error})") from error
        return check_probabilities(output, len(images), len(self.classes), str(self.path))


def open_model(path: str | Path, *, device: str = "auto", threads: int = 0) -> Model:
    """Open a model file of any kind: ``.onnx`` with ONNX Runtime, ``.keras`` and ``.h5`` with Keras.

    Args:
        path: the file, or the name of a bundled model.
        device: see `Classifier`; for ``.keras`` and ``.h5`` only ``auto``, as the Keras backend decides.
        threads: see `Classifier`; for ``.keras`` and ``.h5`` only 0.

    Raises:
        UsageError: there is no such file, its ending is another, or the device is not there.
        ModelError: the file cannot be used.
        MissingExtraError: Keras is needed and not installed.
    """
    path = find_model(path)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return Classifier(path, device=device, threads=threads)
    if suffix not in KERAS_SUFFIXES:
        raise UsageError(
            f"{path}: a model file must end in .onnx, .keras or .h5, received {suffix or 'no ending'!r}; bundled is "
            f"{', '.join(BUNDLED)}"
        )
    if device != "auto" or threads != 0:
        raise UsageError(f"{path}: device and threads can be chosen for .onnx only; 'mien export' makes one")
    _check_file(Path(path))
    try:
        from mien.export import KerasClassifier
    except ImportError as error:
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


def available_devices() -> list[str]:
    """The devices that this machine's ONNX Runtime was built for: keys of `PROVIDERS`."""
    built = ort.get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider in built]


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
        raise UsageError(f"{path}: no such file; give the path of a model")


def _open_session(path: Path, device: str, threads: int) -> Any:
    _check_file(path)
    if not is_whole(threads) or threads < 0:
        raise UsageError(f"threads: must be 0 (all cores) or more, received {threads!r}")
    providers = _choose_providers(device)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _QUIET
    try:
        # Its own fallback would print to stdout; the providers already end with the CPU.
        session = ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except _ORT_ERRORS as error:
        raise ModelError(f"{path}: cannot be opened as an ONNX model ({error})") from error
    if device != "auto" and session.get_providers()[0] != providers[0]:
        raise UsageError(
            f"device: {device!r} is built in, but did not start here; its driver may be missing. Use 'cpu'"
        )
    return session


def _choose_providers(device: str) -> list[str]:
    """The execution providers to try, the CPU last, which takes what the others cannot."""
    available = available_devices()
    if device == "auto":
        return [PROVIDERS[name] for name in AUTO_DEVICES if name in available]
    if device not in PROVIDERS:
        raise unknown_choice("device", device, ["auto", *PROVIDERS])
    if device not in available:
        raise UsageError(f"device: {device!r} is not available in this ONNX Runtime; it has {', '.join(available)}")
    return list(dict.fromkeys([PROVIDERS[device], PROVIDERS["cpu"]]))


def _check_signature(session: Any, spec: ModelSpec, path: Path) -> str:
    """Check that the graph takes and gives what the description says; returns the input's name."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"{path}: must have one input and one output, has {len(inputs)} and {len(outputs)}")
    _check_tensor(inputs[0], ("n", *spec.input.shape), "input", path)
    _check_tensor(outputs[0], ("n", len(spec.classes)), "output", path)
    return str(inputs[0].name)


def _check_tensor(tensor: Any, expected: tuple[str | int, ...], role: str, path: Path) -> None:
    """The first dimension must be free; the others must agree where the graph fixes them."""
    shape = tuple(tensor.shape)
    fits = len(shape) == len(expected) and not isinstance(shape[0], int)
    fits = fits and all(want == got for want, got in zip(expected[1:], shape[1:], strict=True) if isinstance(got, int))
    if tensor.type != "tensor(float)" or not fits:
        raise ModelError(
            f"{path}: its description says {role} float32 {expected} with n free, the graph has {tensor.type} {shape}"
        )
