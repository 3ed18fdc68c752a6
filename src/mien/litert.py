"""LiteRT, formerly TensorFlow Lite: ``.tflite`` files for phones and small boards, described and read here.

The description is the member ``mien.json`` of a zip archive that stands behind the model in the same file, where
TensorFlow Lite's own metadata tools put what belongs to a model: interpreters do not see it, ``unzip`` does. Beside it
stands the model's SHA-256, so that no interpreter is given a damaged one.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.cores import usable_cores
from mien.errors import MissingExtraError, ModelError, UsageError
from mien.files import ZIP_DAMAGE
from mien.modelspec import MEMBER, METADATA_KEY, ModelSpec

SUFFIX = ".tflite"
DIGEST = "model.sha256"
"""The member that holds the SHA-256 of everything in front of the archive, in hexadecimal digits."""

PRECISION = "mien.precision.json"
"""The member that says in what precision it is; a file without it is float32."""

IDENTIFIER = b"TFL3"
"""The bytes 4 to 7 of every TensorFlow Lite model."""


def describe(path: Path, description: str, precision: str | None = None) -> None:
    """Put the archive with description and digest behind a model, in place of one that is there.

    Args:
        path: a ``.tflite`` file.
        description: what `ModelSpec.to_dict` gives, as JSON.
        precision: what `mien.precisions.read_precision` gives, as JSON; None for float32.
    """
    content = path.read_bytes()
    model = content[: _end_of_model(content)]
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, description)
        archive.writestr(DIGEST, hashlib.sha256(model).hexdigest())
        if precision is not None:
            archive.writestr(PRECISION, precision)


def read_precision(path: Path) -> str | None:
    """What `describe` was given as `precision`; None for float32.

    Raises:
        ModelError: the file cannot be read, or is damaged.
    """
    text = _read_archive(_read(path), path).get(PRECISION)
    return None if text is None else text.decode()


def read_spec(path: Path) -> ModelSpec:
    """The description inside a file, without running it.

    Raises:
        ModelError: the file cannot be read, is damaged, or has no description that can be used.
    """
    return _read_spec(_read(path), path)


class Session:
    """A ``.tflite`` model, ready to run on the CPU. Threads may share it: their calls take turns.

    Attributes:
        spec: what the file says about itself.
        device: ``cpu``.
    """

    device = "cpu"

    def __init__(self, path: Path, *, device: str = "auto", threads: int = 0) -> None:
        """Open a model.

        Args:
            path: a file that `mien.export.save_litert` wrote.
            device: ``auto`` or ``cpu``.
            threads: how many CPU threads one call may use; 0 for as many as there are cores.

        Raises:
            UsageError: another device.
            MissingExtraError: neither ``ai-edge-litert`` nor TensorFlow is installed.
            ModelError: the file is damaged, has no description or does not fit it, or cannot be run.
        """
        if device not in ("auto", self.device):
            raise UsageError(
                f"device: a .tflite runs on the CPU: auto or cpu, received {device!r} for {path}; give an .onnx for it"
            )
        self._path = path
        self._lock = threading.Lock()
        content = _read(path)
        self.spec = _read_spec(content, path)
        self._interpreter = _open_interpreter(content, path, threads)
        self._taken, self._given = _check_signature(self._interpreter, self.spec, path)
        self._rows = 0
        with self._lock:
            self._resize((1, *self.spec.input.shape))

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, size, size, channels) in [0, 1], n 1 or more, to probabilities float32 (n, classes).

        Raises:
            ModelError: the interpreter fails on it, as where memory does not suffice.
        """
        with self._lock:
            self._resize(batch.shape)
            try:
                self._interpreter.set_tensor(self._taken, batch)
                self._interpreter.invoke()
                answers: NDArray[np.float32] = self._interpreter.get_tensor(self._given)
            except (RuntimeError, ValueError) as error:
                raise self._failed(batch.shape, error) from error
        return answers

    def _resize(self, shape: tuple[int, ...]) -> None:
        """Make room for so many pictures, where the last call had another number."""
        if self._rows == shape[0]:
            return
        self._rows = 0  # until it is done
        try:
            self._interpreter.resize_tensor_input(self._taken, shape)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise self._failed(shape, error) from error
        self._rows = shape[0]

    def _failed(self, shape: tuple[int, ...], error: Exception) -> ModelError:
        return ModelError(f"{self._path}: LiteRT failed on a batch of shape {shape} ({error})")


def refuse(path: str | Path, purpose: str) -> None:
    """Refuse a ``.tflite`` for what needs more than its answers; other files pass.

    Args:
        path: a model file.
        purpose: what it cannot be, such as ``explained``.

    Raises:
        UsageError: it is one.
    """
    if Path(path).suffix.lower() == SUFFIX:
        raise UsageError(
            f"{path}: a .tflite can be run and judged, not {purpose}; give the .onnx, .keras or .h5 it was made from"
        )


def _read(path: Path) -> bytes:
    """The file's bytes: interpreters open paths by themselves, but not those of all systems and languages."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if content[4:8] != IDENTIFIER:
        raise ModelError(
            f"{path}: is not a TensorFlow Lite model: its bytes 4 to 7 must be {IDENTIFIER.decode()}, received "
            f"{content[4:8]!r}; it may be damaged, or of another kind"
        )
    return content


def _read_spec(content: bytes, path: Path) -> ModelSpec:
    """The description behind a model, once the model is known to be whole."""
    members = _read_archive(content, path)
    if MEMBER not in members:
        raise ModelError(
            f"{path}: has no {MEMBER!r} inside, so its class names, input size and scaling are unknown; it may be cut "
            "short, or not from mien: make it with 'mien export MODEL --format litert'"
        )
    try:
        text = members[MEMBER].decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: is damaged: {MEMBER!r} is not UTF-8") from error
    return ModelSpec.from_metadata({METADATA_KEY: text}, name=str(path))


def _read_archive(content: bytes, path: Path) -> dict[str, bytes]:
    """The archive's members that are mien's; none where there is no archive."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            there = archive.namelist()
            members = {name: archive.read(name) for name in (MEMBER, DIGEST, PRECISION) if name in there}
    except ZIP_DAMAGE as error:
        raise ModelError(f"{path}: is damaged: the archive behind the model cannot be read ({error})") from error
    model = content[: _end_of_model(content)]
    if DIGEST in members and members[DIGEST].decode("ascii", "replace") != hashlib.sha256(model).hexdigest():
        raise ModelError(f"{path}: is damaged: the model differs from what was written; export or copy it again")
    return members


def _end_of_model(content: bytes) -> int:
    """Where the archive behind a model begins; the length of all where there is none."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return min((item.header_offset for item in archive.infolist()), default=len(content))


def _open_interpreter(content: bytes, path: Path, threads: int) -> Any:
    make = _find_interpreter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that TensorFlow's moves to a package of its own
            return make(model_content=content, num_threads=threads or usable_cores())
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be opened as a TensorFlow Lite model ({error})") from error


def _find_interpreter() -> Any:
    """LiteRT's class of interpreters, or TensorFlow's, which takes seconds to import."""
    try:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
    except ImportError:
        pass
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingExtraError(f"reading {SUFFIX} files", "litert") from error
    return tf.lite.Interpreter


def _check_signature(interpreter: Any, spec: ModelSpec, path: Path) -> tuple[int, int]:
    """Check that the graph takes and gives what the description says; returns the indices of input and output."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"{path}: must have one input and one output, has {len(inputs)} and {len(outputs)}")
    _check_tensor(inputs[0], (-1, *spec.input.shape), "input", path)
    _check_tensor(outputs[0], (-1, len(spec.classes)), "output", path)
    return int(inputs[0]["index"]), int(outputs[0]["index"])


def _check_tensor(tensor: dict[str, Any], expected: tuple[int, ...], role: str, path: Path) -> None:
    shape = tuple(int(length) for length in tensor["shape_signature"])
    kind = np.dtype(tensor["dtype"]).name
    if kind != "float32" or shape != expected:
        raise ModelError(
            f"{path}: its description says {role} float32 {expected} with -1 for any number, the graph has {kind} "
            f"{shape}"
        )
