"""Writing an .mp4: H.264 through PyAV, which browsers play, or MPEG-4 part 2 through OpenCV, which most players do."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from mien.decoders import has_pyav, quiet
from mien.errors import DataError
from mien.images import Image
from mien.sound import Sound

TICKS = 90_000
"""Ticks a second of the timestamps written: MPEG's clock."""

BT709, BT601, LIMITED = 1, 6, 1
"""Rec. ITU-T H.273: sRGB's primaries and near enough its curve; OpenCV's matrix from RGB; values from 16 to 235."""

QUALITY, PRESET = "23", "veryfast"
"""x264's own default quality; `veryfast` is as fast as `ultrafast` to within a tenth on 1280x720, in a sixth of the
bytes."""

MAX_PAUSE = 60.0
"""Seconds that repeated frames fill at most, where timestamps cannot be written: more is a broken clock."""

SLOWEST = 0.01
"""Frames a second that are written at least: encoders refuse lower rates, such as those of every 100,000th frame."""

WAITING = 4
"""Frames that wait for the encoder."""


class Encoder(Protocol):
    """A video that grows. Pictures are uint8 (height, width, 3) RGB, all of one size, both sides even."""

    def write(self, image: Image, time: float) -> None:
        """Add a frame that is shown from `time` on, in seconds; times never decrease."""

    def close(self) -> None:
        """Finish the file."""


def open_encoder(path: Path, fps: float, size_wh: tuple[int, int], sound: Path | None = None) -> Encoder:
    """Begin an ``.mp4``: H.264 where PyAV is installed and has an encoder for it, MPEG-4 part 2 by OpenCV otherwise.

    Args:
        path: where.
        fps: frames a second, on average.
        size_wh: width and height in pixels, both even.
        sound: the video file whose sound is heard with it, where it can be (`mien.sound`); OpenCV writes none.

    Raises:
        DataError: the file cannot be written.
    """
    fps = max(fps, SLOWEST)
    if has_pyav():
        import av

        if "libx264" in av.codecs_available:
            return PyAVEncoder(path, fps, size_wh, Sound.open(sound) if sound is not None else None)
    return OpenCVEncoder(path, fps, size_wh)


class PyAVEncoder:
    """H.264, yuv420p, index in front, with the timestamps as they are. See `Encoder`."""

    def __init__(self, path: Path, fps: float, size_wh: tuple[int, int], sound: Sound | None = None) -> None:
        import av

        self._av = av
        self._tick = Fraction(1, TICKS)
        self._step = max(1, round(TICKS / fps))
        self._last = -1
        try:
            options = {"movflags": "+faststart", "strict": "unofficial"}  # for MP3 of less than 16 kHz
            self._container = av.open(str(path), "w", options=options)
        except (av.FFmpegError, OSError) as error:
            raise DataError(f"cannot be written ({error.strerror or error})", [str(path)]) from error
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: Any = self._container.add_stream("libx264", rate=rate, options={"preset": PRESET, "crf": QUALITY})
        self._stream.width, self._stream.height = size_wh
        self._stream.pix_fmt = "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._tick
        context.max_b_frames = 0  # with them, an uneven clock gives the file a wrong length
        context.colorspace = BT601
        context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        self._sound = sound
        self._heard = self._container.add_stream_from_template(sound.stream) if sound is not None else None

    def write(self, image: Image, time: float) -> None:
        """See `Encoder`. Frames of equal time come a tick apart.

        Raises:
            DataError: the encoder failed, or the disk is full.
        """
        planes = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)  # a quarter of the time that FFmpeg takes
        frame = self._av.VideoFrame.from_ndarray(planes, format="yuv420p")
        self._last = max(round(time * TICKS), self._last + 1)
        frame.pts, frame.time_base = self._last, self._tick
        with self._named():
            self._mux(self._stream.encode(frame))
            self._hear(self._last)

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = packet.duration or self._step
            self._add(packet)

    def _add(self, packet: Any) -> None:
        """Put it in its place. What is refused then is damaged sound that waited for its turn, and is left out."""
        try:
            self._container.mux(packet)
        except self._av.InvalidDataError:
            if self._heard is None:
                raise

    def _hear(self, ticks: int) -> None:
        """Add what is heard before this time; what goes wrong ends the sound, not the video."""
        if self._sound is None:
            return
        try:
            for packet in self._sound.until(ticks / TICKS):
                packet.stream = self._heard
                self._add(packet)
        except (self._av.FFmpegError, ValueError):
            self._sound.close()
            self._sound = None

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError) as error:
            raise DataError(f"cannot be written as a video ({error.strerror or error})") from error

    def close(self) -> None:
        """See `Encoder`."""
        with self._named():
            try:
                if self._last >= 0:
                    self._mux(self._stream.encode())
                    self._hear(self._last + self._step)
            finally:
                if self._sound is not None:
                    self._sound.close()
                self._container.close()


class OpenCVEncoder:
    """MPEG-4 part 2 at a constant rate: frames are repeated or left out so that the length is right. See `Encoder`."""

    def __init__(self, path: Path, fps: float, size_wh: tuple[int, int]) -> None:
        self._fps, self._next = fps, 0
        self._before: Image | None = None
        with quiet():
            self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size_wh)
        if not self._writer.isOpened():
            raise DataError("cannot be written as a video", [str(path)])

    def write(self, image: Image, time: float) -> None:
        """See `Encoder`."""
        place = round(time * self._fps)
        for _ in range(min(place - self._next, int(MAX_PAUSE * self._fps))):
            self._add(self._before)
        self._next = max(self._next, place)
        self._before = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8)
        if place == self._next:
            self._add(self._before)
            self._next += 1

    def _add(self, image: Image | None) -> None:
        if image is not None:
            self._writer.write(image)

    def close(self) -> None:
        """See `Encoder`."""
        self._writer.release()


class Background:
    """Encodes in a thread of its own, a few frames behind. See `Encoder`; errors come with the next call."""

    def __init__(self, opening: Callable[[], Encoder]) -> None:
        self._opening = opening
        self._frames: queue.Queue[tuple[Image, float] | None] = queue.Queue(WAITING)
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mien-encode", daemon=True)
        self._thread.start()

    def write(self, image: Image, time: float) -> None:
        """See `Encoder`. The picture must not change afterwards."""
        self._check()
        self._frames.put((image, time))

    def close(self) -> None:
        """See `Encoder`."""
        self._frames.put(None)
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        encoder: Encoder | None = None
        try:
            encoder = self._opening()
            for image, time in self._coming():
                encoder.write(image, time)
            encoder.close()
        except BaseException as error:
            self._error = error
            with suppress(Exception):
                if encoder is not None:
                    encoder.close()
            for _ in self._coming():
                pass

    def _coming(self) -> Iterator[tuple[Image, float]]:
        """The frames up to the end mark; nothing where that was read before."""
        while not self._ended:
            pair = self._frames.get()
            if pair is None:
                self._ended = True
            else:
                yield pair
