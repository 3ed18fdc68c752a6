"""OpenVINO: runs the same ``.onnx`` files on CPUs; those in int8 in a fraction of ONNX Runtime's time.

What it is worth, and where, docs/model-format.md says; benchmarks/classifying.py measures it. It is asked for by name
(``device="openvino"``), needs ``pip install 'mien[openvino]'``, and computes in float32 what the file has in floating
point, so that answers stay the file's own: left to itself, it would take bfloat16 where the processor has it.
"""

from __future__ import annotations

import queue
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.cores import usable_cores
from mien.errors import MissingExtraError, ModelError
from mien.modelspec import ModelSpec

DEVICE = "openvino"


class Session:
    """An ``.onnx`` model, ready to run with OpenVINO on the CPU. Threads may share it.

    Attributes:
        spec: what the file says about itself.
        device: ``openvino``.
    """

    device = DEVICE

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """Open a model.

        Args:
            path: a file that is there.
            threads: how many CPU threads one call may use; 0 for as many as there are cores.

        Raises:
            MissingExtraError: OpenVINO is not installed.
            ModelError: the file is not an ONNX model, has no description, does not fit it, or OpenVINO cannot run it.
        """
        self._path = path
        self.spec = ModelSpec.from_onnx(path)
        self._compiled = _compile(path, threads)
        _check_signature(self._compiled, self.spec, path)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n, size, size, channels) in [0, 1], n 1 or more, to what the network gives.

        Raises:
            ModelError: OpenVINO fails on it, as where memory does not suffice.
        """
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            (answers,) = request.infer([batch], share_inputs=True).values()
        except RuntimeError as error:
            raise ModelError(f"{self._path}: OpenVINO failed on a batch of shape {batch.shape} ({error})") from error
        self._idle.put(request)
        return np.array(answers, np.float32)


def is_installed() -> bool:
    """Whether the package ``openvino`` is there, and not just a folder of that name; it is not imported."""
    spec = find_spec("openvino")
    return spec is not None and spec.origin is not None


def _compile(path: Path, threads: int) -> Any:
    try:
        from openvino import Core
    except ImportError as error:
        raise MissingExtraError(f"device: {DEVICE!r}", DEVICE) from error
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads or usable_cores(),
        "NUM_STREAMS": 1,  # all threads work on one batch
        "ENABLE_CPU_PINNING": False,  # two processes would sit on the same cores
    }
    try:
        core = Core()
        return core.compile_model(core.read_model(path), "CPU", settings)
    except RuntimeError as error:
        raise ModelError(f"{path}: cannot be opened by OpenVINO as an ONNX model ({error})") from error


def _check_signature(compiled: Any, spec: ModelSpec, path: Path) -> None:
    """Check that the graph takes and gives what the description says."""
    if len(compiled.inputs) != 1 or len(compiled.outputs) != 1:
        raise ModelError(
            f"{path}: must have one input and one output, has {len(compiled.inputs)} and {len(compiled.outputs)}"
        )
    _check_tensor(compiled.inputs[0], spec.input.shape, "input", path)
    _check_tensor(compiled.outputs[0], (len(spec.classes),), "output", path)


def _check_tensor(tensor: Any, expected: tuple[int, ...], role: str, path: Path) -> None:
    """The first dimension must be free; the others must agree where the graph fixes them."""
    kind, shape = tensor.get_element_type().get_type_name(), tensor.get_partial_shape()
    wanted = (-1, *expected)
    fits = shape.rank.is_static and len(shape) == len(wanted) and shape[0].is_dynamic
    fits = fits and all(length.is_dynamic or length == want for length, want in zip(shape, wanted, strict=True))
    if kind != "f32" or not fits:
        raise ModelError(
            f"{path}: its description says {role} float32 {('n', *expected)} with n free, the graph has {kind} {shape}"
        )
