"""Runs the three networks: work is cut into pieces that stay in the processor's cache, threads take piece by piece."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mien import openvino
from mien.cores import usable_cores
from mien.errors import UsageError, unknown_choice
from mien.faces import graphs
from mien.numeric import is_whole
from mien.sessions import PROVIDERS, built_devices

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]

WINDOW = 12
"""Pixels that one cell of P-Net looks at; cells lie 2 pixels apart."""

PIECE_PIXELS = 96 * 1024
"""Pixels of a level that go through P-Net at once."""

PIECE_CROPS = {24: 64, 48: 16}
"""The most crops that go through R-Net and O-Net at once, by their side."""

WORTH_SHARING = {24: 32, 48: 4}
"""From so many crops on, two threads take half each."""

TENSORFLOW_DEVICES = {"CPU:0": "cpu", "GPU:0": "cuda"}
"""How `mtcnn` names the two, and what they are here."""

_QUIET = 3


class Networks:
    """P-Net, R-Net and O-Net, ready to run. Safe to share between threads."""

    def __init__(self, device: str, threads: int) -> None:
        """Open them.

        Raises:
            UsageError: the device is not there, or `threads` is negative.
            ModelError: the weights cannot be read.
        """
        if not is_whole(threads) or threads < 0:
            raise UsageError(f"threads: must be 0 (all cores) or more, received {threads!r}")
        providers = _providers(device)
        self._proposal = _open(graphs.proposal_network(), providers)
        self._by_side = {
            24: _open(graphs.refinement_network(), providers),
            48: _open(graphs.output_network(), providers),
        }
        self._count = threads or usable_cores()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def propose(self, levels: Sequence[Pixels]) -> list[Array]:
        """P-Net over levels, uint8 (n, height, width, 3) 12 x 12 or larger: float32 (n, 5, rows, columns) each."""
        pieces = [(number, piece) for number, level in enumerate(levels) for piece in _pieces(level)]
        results = self._map(self._proposal, [piece for _, piece in pieces])
        parts: list[list[Array]] = [[] for _ in levels]
        for (number, _), result in zip(pieces, results, strict=True):
            parts[number].append(result)
        axes = [0 if len(level) > 1 else 2 for level in levels]
        return [np.concatenate(part, axis) for part, axis in zip(parts, axes, strict=True)]

    def judge(self, crops: Pixels) -> Array:
        """R-Net for uint8 (k, 24, 24, 3): float32 (k, 5); O-Net for (k, 48, 48, 3): (k, 15)."""
        side = crops.shape[1]
        pieces = -(-len(crops) // PIECE_CROPS[side])
        if len(crops) >= WORTH_SHARING[side]:
            pieces += pieces % 2  # even, so that two threads end together; the same whatever the number of threads
        parts = self._map(self._by_side[side], np.array_split(crops, pieces) if pieces else [])
        return np.concatenate([np.empty((0, 5 if side == 24 else 15), np.float32), *parts])

    def _map(self, session: Any, pieces: Sequence[Pixels]) -> list[Array]:
        def run(piece: Pixels) -> Array:
            result: Array = session.run(None, {"pixels": np.ascontiguousarray(piece)})[0]
            return result

        mapping: Callable[..., Any] = map if self._count < 2 or len(pieces) < 2 else self._threads().map
        return list(mapping(run, pieces))

    def _threads(self) -> ThreadPoolExecutor:
        """This process's threads: those of the process that it was forked from are not here, and would never answer."""
        pool = self._pool
        if pool is None or self._process != os.getpid():
            pool = ThreadPoolExecutor(self._count, "mtcnn")
            self._pool, self._process = pool, os.getpid()
        return pool


def _pieces(level: Pixels) -> list[Pixels]:
    """Cut a level into whole pictures, or a single picture into strips; strips overlap so that no window is lost."""
    count, height, width = level.shape[:3]
    if count > 1:
        step = max(1, PIECE_PIXELS // (height * width))
        return [level[i : i + step] for i in range(0, count, step)]
    step = max(32, PIECE_PIXELS // width // 2 * 2)
    starts = range(0, max(1, height - WINDOW + 1), step)
    return [level[:, i : i + step + WINDOW - 2] for i in starts]


def _open(graph: bytes, providers: Sequence[str]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    session = ort.InferenceSession(graph, options, providers=list(providers), enable_fallback=0)
    if session.get_providers()[0] != providers[0]:
        raise UsageError(
            f"device: {providers[0]} is built in, but did not start here; its driver may be missing. Use 'cpu'"
        )
    return session


def _providers(device: str) -> list[str]:
    available = built_devices()
    device = TENSORFLOW_DEVICES.get(device, device)
    if device == "auto":
        device = "cuda" if "cuda" in available else "cpu"
    if device == openvino.DEVICE and device not in available:
        device = "cpu"  # where it is a package apart, which gains nothing on these networks in float32
    if device not in PROVIDERS:
        raise unknown_choice("device", device, ["auto", *PROVIDERS])
    if device not in available:
        raise UsageError(f"device: {device!r} is not available in this ONNX Runtime; it has {', '.join(available)}")
    return list(dict.fromkeys([PROVIDERS[device], PROVIDERS["cpu"]]))
