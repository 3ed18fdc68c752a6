"""The service's side of `mien.server.video_decoding`: starts that process, takes its frames, ends it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from mien.errors import DataError, many
from mien.frames import Clip, Frame
from mien.images import Image
from mien.server.problems import Problem, not_a_video, too_large
from mien.server.settings import ServerSettings
from mien.server.video_decoding import LENGTH, OPENCV_OPTIONS

FRAMES_A_SECOND = 120
"""Of a video as long as allowed: more frames than that are too many."""

MEMORY, MEMORY_A_PIXEL = 2 * 2**30, 64
"""Bytes that decoding may take: of libraries, and of the frames of the largest size that a decoder keeps."""

PROBE_SECONDS = 20.0
"""A video's header and first frame must be read within so long."""

COMMAND = (sys.executable, "-P", "-m", "mien.server.video_decoding")
PIPE_BYTES = 2**20
MESSAGE_BYTES = 64 * 1024

LAST_WORDS = 1024
"""Bytes that are kept of the end of what the process writes to stderr, for the log."""

PLACE = "annotated.mp4"
"""`Frame.place` of all frames: names what is drawn, whatever the client calls its file."""

log = logging.getLogger("mien.server")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a video may be.

    Attributes:
        max_pixels: of a frame.
        max_seconds: of its length.
        max_frames: however short it is.
        memory: bytes that decoding it may take.
    """

    max_pixels: int
    max_seconds: float
    max_frames: int
    memory: int

    @classmethod
    def of(cls, settings: ServerSettings) -> Limits:
        """The service's."""
        frames = max(1, int(settings.max_video_seconds * FRAMES_A_SECOND))
        memory = MEMORY + MEMORY_A_PIXEL * settings.max_pixels
        return cls(settings.max_pixels, settings.max_video_seconds, frames, memory)


class VideoError(DataError):
    """A problem of a video, as the analyzer takes errors of sources: what came before it is analysed.

    Attributes:
        problem: what is wrong.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Decoding:
    """A process that decodes a video; a context manager. `stop` may be called by any thread."""

    def __init__(self, path: Path, limits: Limits, *, probe: bool = False) -> None:
        """Start it.

        Args:
            path: the video.
            limits: what is refused.
            probe: whether only the beginning is looked at.
        """
        self._most_pixels = limits.max_pixels
        self._stopped = False
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            pipesize=PIPE_BYTES,
        )
        self._said = _Tail(_pipe(self._process.stderr), LAST_WORDS)
        asked = {**asdict(limits), "path": str(path.absolute()), "probe": probe}
        with suppress(BrokenPipeError):
            _pipe(self._process.stdin).write(json.dumps(asked).encode() + b"\n")
            _pipe(self._process.stdin).flush()

    def about(self) -> Clip:
        """What the beginning says of the video.

        Raises:
            Problem: it is no video, or beyond the limits.
        """
        return self._clip("")

    def frames(self, name: str) -> Iterator[Frame]:
        """Its frames, in order.

        Args:
            name: `Frame.source`.

        Raises:
            VideoError: after the frames there were: it is damaged, or beyond the limits.
        """
        try:
            clip = self._clip(name)
            while (message := self._next()) is not None:
                image = self._image(message["size_wh"])
                yield Frame(name, int(message["index"]), float(message["time"]), image, clip, PLACE)
        except Problem as problem:
            raise VideoError(problem) from problem

    def _clip(self, name: str) -> Clip:
        message = self._next()
        if message is None:
            raise _broken()
        about = message["clip"]
        width, height = about["size_wh"]
        return Clip(name, float(about["fps"]), about["frames"], (int(width), int(height)))

    def _next(self) -> dict[str, Any] | None:
        """The next message; None after the last frame.

        Raises:
            Problem: it says what is wrong, or the process has died.
        """
        (length,) = LENGTH.unpack(self._read(LENGTH.size))
        if length > MESSAGE_BYTES:
            raise _broken()
        message: dict[str, Any] = json.loads(self._read(length))
        if "error" in message:
            raise problem_for(message["kind"], message["error"])
        return None if "end" in message else message

    def _image(self, size_wh: tuple[int, int]) -> Image:
        width, height = (int(side) for side in size_wh)
        if not 0 < width * height <= self._most_pixels:
            raise _broken()
        image = np.empty((height, width, 3), np.uint8)
        self._read_into(image.data.cast("B"))
        return image

    def _read(self, count: int) -> bytes:
        buffer = bytearray(count)
        self._read_into(memoryview(buffer))
        return bytes(buffer)

    def _read_into(self, left: memoryview) -> None:
        while left:
            count = _pipe(self._process.stdout).readinto(left)
            if not count:
                code = self._process.wait()
                if not self._stopped:
                    log.warning("video decoder failed", extra={"code": code, "stderr": self._said.text()})
                raise _broken()
            left = left[count:]

    def stop(self) -> None:
        """End it at once; whoever reads its frames gets a `Problem`."""
        self._stopped = True
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                _pipe(pipe).close()
        self._process.wait()
        self._said.text()


class _Tail:
    """The end of what comes through a pipe. A thread reads it, so that no writer ever waits, however much it writes."""

    def __init__(self, pipe: IO[bytes], most: int) -> None:
        self._pipe, self._most, self._kept = pipe, most, b""
        self._thread = threading.Thread(target=self._read, name="mien-video-stderr", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while piece := os.read(self._pipe.fileno(), 65536):
                self._kept = (self._kept + piece)[-self._most :]

    def text(self, patience: float = 1.0) -> str:
        """What has been kept, once the writer is gone."""
        self._thread.join(patience)
        return self._kept.decode("utf-8", "backslashreplace").strip()


def probe(path: Path, limits: Limits, seconds: float = PROBE_SECONDS) -> Clip:
    """Look at a video's header and first frame.

    Raises:
        Problem: 413: it is beyond a limit; 415: it is a single picture; 422: it cannot be decoded, or not in time.
    """
    with Decoding(path, limits, probe=True) as decoding:
        timer = threading.Timer(seconds, decoding.stop)
        timer.start()
        try:
            clip = decoding.about()
        finally:
            timer.cancel()
    frames = clip.frames or 0
    if frames > limits.max_frames or frames / clip.fps > limits.max_seconds:
        detail = (
            f"{frames / clip.fps:.1f} seconds, {many(frames, 'frame')}; allowed are "
            f"{many(limits.max_seconds, 'second')}"
        )
        raise problem_for("too-long", f"{detail} and {many(limits.max_frames, 'frame')}")
    return clip


def problem_for(kind: str, detail: str) -> Problem:
    """What the decoding process says, as a problem."""
    if kind == "too-long":
        return Problem(413, "too-long", "The video is too long", detail)
    if kind == "too-large":
        return too_large(detail)
    if kind == "not-a-video":
        return not_a_video(detail)
    return Problem(422, "unreadable", "The picture or video cannot be read", detail)


def _broken() -> Problem:
    return problem_for("unreadable", "its decoder failed: the file is damaged, or takes too long or too much memory")


def _environment() -> dict[str, str]:
    """This process's without the service's settings: the token is none of a decoder's business."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MIEN_")}
    return {**kept, "OPENCV_FFMPEG_CAPTURE_OPTIONS": OPENCV_OPTIONS, "PYTHONDONTWRITEBYTECODE": "1"}


def _pipe(pipe: Any) -> Any:
    """A pipe that was asked for is there."""
    return pipe
