"""ONNX Runtime: its devices, and a session of it with the description that an ``.onnx`` file carries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from mien import openvino
from mien.errors import ModelError, UsageError, unknown_choice
from mien.modelspec import ModelSpec

PROVIDERS: dict[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""What ``device`` may name, and ONNX Runtime's word for it; `mien.openvino` runs models where its package is there."""

AUTO_DEVICES = ("cuda", "directml", "cpu")
"""What ``device="auto"`` tries, in this order. The others compile the network for each shape: ask for them by name."""

_QUIET = 3
"""ONNX Runtime's log level: errors only."""

_ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    value for value in vars(ort_state).values() if isinstance(value, type) and issubclass(value, Exception)
)
"""ONNX Runtime's own exceptions, which share no base class."""


NEWER = "export it with older operators (torch.onnx.export: opset_version=17), or install a newer onnxruntime"
"""How a graph that is too new is mended."""


class OnnxSession:
    """An ``.onnx`` model, ready to run. Threads may share it.

    Attributes:
        spec: what the file says about itself.
        device: where it runs, a key of `PROVIDERS`.
    """

    def __init__(self, path: Path, *, device: str, threads: int) -> None:
        """Open a model.

        Args:
            path: a file that is there.
            device: ``auto`` or a key of `PROVIDERS`.
            threads: how many CPU threads one call may use; 0 for as many as there are cores.

        Raises:
            UsageError: the device is not there.
            ModelError: the file is not an ONNX model, has no description, or does not fit it.
        """
        self._path = path
        self._session = open_session(path, device, threads)
        self.spec = ModelSpec.from_metadata(self._session.get_modelmeta().custom_metadata_map, name=str(path))
        self._input_name = _check_signature(self._session, self.spec, path)
        running = self._session.get_providers()[0]
        self.device: str = next((name for name, provider in PROVIDERS.items() if provider == running), running)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, size, size, channels) in [0, 1], n 1 or more, to what the network gives.

        Raises:
            ModelError: ONNX Runtime fails on it.
        """
        try:
            (output,) = self._session.run(None, {self._input_name: batch})
        except _ORT_ERRORS as error:
            raise ModelError(f"{self._path}: failed on a batch of shape {batch.shape} ({error})") from error
        answers: NDArray[np.float32] = output
        return answers


def available_devices() -> list[str]:
    """What ``device`` can name here: keys of `PROVIDERS`."""
    built = built_devices()
    return [name for name in PROVIDERS if name in built or (name == openvino.DEVICE and openvino.is_installed())]


def built_devices() -> list[str]:
    """The devices that this machine's ONNX Runtime was built for: keys of `PROVIDERS`."""
    built = ort.get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider in built]


def open_session(path: Path, device: str, threads: int, *, graph: bytes | None = None) -> Any:
    """ONNX Runtime's own session.

    Args:
        path: the file; it names it in errors where `graph` is run.
        device: ``auto`` or a key of `PROVIDERS`.
        threads: how many CPU threads one call may use; 0 for as many as there are cores.
        graph: an encoded model to run in place of the file's.

    Raises:
        UsageError: the device is not there.
        ModelError: it cannot be opened.
    """
    providers = _choose_providers(device)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _QUIET
    try:
        # Its own fallback would print to stdout; the providers already end with the CPU.
        session = ort.InferenceSession(graph or path, options, providers=providers, enable_fallback=0)
    except _ORT_ERRORS as error:
        raise ModelError(
            _in_short(str(error), path) or f"{path}: cannot be opened as an ONNX model ({error})"
        ) from error
    if device != "auto" and session.get_providers()[0] != providers[0]:
        raise UsageError(
            f"device: {device!r} is built in, but did not start here; its driver may be missing. Use 'cpu'"
        )
    return session


def _in_short(said: str, path: Path) -> str:
    """What ONNX Runtime says at length of graphs that are newer than it, or hold what it lacks; empty of all else."""
    if version := re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", said):
        return f"{path}: its IR version is {version[1]}, and this ONNX Runtime reads up to {version[2]}; {NEWER}"
    if version := re.search(r"Opset (\d+) is under development.* domain (\S+) is till opset (\d+)", said, re.DOTALL):
        return (
            f"{path}: its operators ({version[2]}) are of version {version[1]}, and this ONNX Runtime has up to "
            f"{version[3]}; {NEWER}"
        )
    if operator := re.search(r"(\S+?)\(-?\d+\) is not a registered function/op", said):
        return f"{path}: this ONNX Runtime has no operator {operator[1]}; export the network without it"
    return ""


def _choose_providers(device: str) -> list[str]:
    """The execution providers to try, the CPU last, which takes what the others cannot."""
    available = built_devices()
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
