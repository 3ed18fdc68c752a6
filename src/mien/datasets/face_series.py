"""Series of numbered faces, drawn on every core.

Drawing small faces is some thousand short steps that hold the interpreter's lock, so threads do not help; processes do.
They are started as ``python -m mien.datasets.face_series``, which, unlike `multiprocessing`, asks nothing of the
caller's main module. Each draws every n-th chunk and writes its bytes to a pipe. What a process fails to deliver is
drawn here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_drawing import draw_picture
from mien.datasets.face_sampling import random_parameters
from mien.labels import EXPRESSIONS

CHUNK = 32
"""Faces that are drawn in a row."""

_MOST_PROCESSES = 16
_WORTHWHILE = 1500
"""So many faces of 48 pixels, or fewer larger ones, take longer to draw than processes to start."""

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

PROPORTIONS: dict[str, tuple[int, ...]] = {
    "balanced": (1, 1, 1, 1, 1, 1, 1),
    "fer2013": (3995, 436, 4097, 7215, 4965, 4830, 3171),
}
"""How often each of `mien.labels.EXPRESSIONS` comes: alike, or as in FER2013's Training."""


@dataclass(frozen=True, slots=True)
class Series:
    """Faces 0 to `count` - 1 of a seed; see `mien.datasets.samples.sample_faces` for the fields."""

    count: int
    seed: int
    size: int
    channels: int
    proportions: str

    @property
    def chunks(self) -> int:
        """How many chunks hold the faces."""
        return -(-self.count // CHUNK)

    def labels(self) -> NDArray[np.int64]:
        """The class of each face, int64 (count,); every beginning keeps the proportions as well as it can."""
        weights = np.array(PROPORTIONS[self.proportions], float)
        if self.proportions == "balanced":
            return np.arange(self.count, dtype=np.int64) % len(weights)
        # Face k of a class is due once (k + 1/2) / share faces have been drawn: sorted, that is the sequence.
        shares = weights / weights.sum()
        due = [(np.arange(int(self.count * share) + 2) + 0.5) / share for share in shares]
        classes = np.repeat(np.arange(len(shares)), [len(times) for times in due])
        return np.asarray(classes[np.argsort(np.concatenate(due), kind="stable")][: self.count], np.int64)

    def draw(self, chunk: int, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The faces of one chunk, uint8 (up to `CHUNK`, size, size, channels)."""
        first = chunk * CHUNK
        faces = [self._face(first + k, int(label)) for k, label in enumerate(labels[first : first + CHUNK])]
        return np.stack(faces)

    def _face(self, number: int, label: int) -> NDArray[np.uint8]:
        parameters = random_parameters(EXPRESSIONS[label], np.random.default_rng([self.seed, number]))
        image = draw_picture(parameters, size=self.size, channels=self.channels)
        return image.reshape(self.size, self.size, self.channels)


def drawn(series: Series) -> Iterator[NDArray[np.uint8]]:
    """The chunks of a series, in order."""
    labels = series.labels()
    with ExitStack() as stack:
        pipes = [_start(stack, series, place, _processes(series)) for place in range(_processes(series))]
        for chunk in range(series.chunks):
            pipe = pipes[chunk % len(pipes)] if pipes else None
            received = _receive(pipe, series, chunk)
            yield series.draw(chunk, labels) if received is None else received


def _processes(series: Series) -> int:
    """How many processes are worth starting; none where one core, or a short series, would not gain."""
    cores = min(_MOST_PROCESSES, os.cpu_count() or 1, series.chunks)
    work = series.count * max(1.0, (series.size / 96) ** 2)
    return cores if cores > 1 and work >= _WORTHWHILE and sys.executable else 0


def _start(stack: ExitStack, series: Series, place: int, step: int) -> BinaryIO | None:
    """Start the process that draws chunks place, place + step, ...; its output, or None where it cannot be started."""
    command = [sys.executable, "-m", __spec__.name, json.dumps(asdict(series)), str(place), str(step)]
    nowhere = subprocess.DEVNULL
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, env={**os.environ, **_ONE_THREAD}, stdin=nowhere, stdout=subprocess.PIPE, stderr=nowhere
        )
    except OSError:
        return None
    stack.callback(_stop, process)
    return process.stdout  # type: ignore[return-value]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _receive(pipe: BinaryIO | None, series: Series, chunk: int) -> NDArray[np.uint8] | None:
    """A chunk from its process; None where there is none, or it ended early."""
    if pipe is None:
        return None
    faces = min(CHUNK, series.count - chunk * CHUNK)
    shape = (faces, series.size, series.size, series.channels)
    data = pipe.read(int(np.prod(shape)))
    return np.frombuffer(data, np.uint8).reshape(shape) if len(data) == np.prod(shape) else None


def main(arguments: list[str], out: BinaryIO) -> None:
    """Draw chunks and write their bytes; what a process does that `drawn` started.

    Args:
        arguments: the fields of a `Series` as JSON, the first chunk, and the step to the next.
        out: where to.
    """
    cv2.setNumThreads(1)
    series, first, step = Series(**json.loads(arguments[0])), int(arguments[1]), int(arguments[2])
    labels = series.labels()
    for chunk in range(first, series.chunks, step):
        out.write(series.draw(chunk, labels).tobytes())
        out.flush()


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdout.buffer)
