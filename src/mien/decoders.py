"""Video files and streams to frames, by PyAV or by OpenCV: as they are shown, in that order, with their timestamps."""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from mien.containers import is_matroska, is_whole_mp4
from mien.errors import DataError, MissingExtraError
from mien.images import MAX_PIXELS, Image
from mien.squares import pixel_shape, shown_size, with_square_pixels

DEFAULT_FPS = 25.0
"""For what does not say."""

MAX_FPS = 1000.0
"""More than that is a clock's rate, not a video's."""

_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_SILENT = "-8"
_STAMP = getattr(cv2, "CAP_PROP_PTS", -1)  # since OpenCV 4.11


class Decoder(Protocol):
    """An opened video. Used by one thread; close it.

    Attributes:
        fps: frames a second, on average.
        frames: how many there are; None where unknown.
        exact: whether `frames` was counted by whoever wrote the file, not worked out from its length.
        seconds: how long it is; None where unknown.
        end: seconds up to which anything, sound included, was found so far; None where that is not watched.
        damaged: once all was decoded: how many frames of a file that counts them could not be; 0 where that is not
            watched.
        finished: whether the end of a live source is its proper end.
        max_pixels: larger frames are refused; moved before the first is asked for.
    """

    fps: float
    frames: int | None
    exact: bool
    seconds: float | None
    end: float | None
    damaged: int
    finished: bool
    max_pixels: int

    def __iter__(self) -> Iterator[tuple[float | None, Image]]:
        """(Seconds on the container's clock or None, uint8 (height, width, 3) RGB).

        Raises:
            DataError: a frame is too large, or after all there were: the file object failed.
        """

    def close(self) -> None:
        """Let go of the file."""


Place = str | int | io.RawIOBase
"""What is opened: a path or address as FFmpeg takes it, a webcam's number, or a file object that never raises: it ends,
and its `failure`, where it has one, is the `DataError` that says why."""


def has_pyav() -> bool:
    """Whether the extra ``video`` is installed."""
    return find_spec("av") is not None


def open_decoder(place: Place, backend: str = "auto", *, live: bool = False, seconds: float = 15.0) -> Decoder:
    """Open a video.

    Args:
        place: a path, an address, a webcam's number (always OpenCV), or a file object, which the decoder closes.
        backend: one of `mien.frames.VIDEO_BACKENDS`.
        live: decode each frame as it comes, without waiting for later ones.
        seconds: how long a stream may keep silent.

    Raises:
        DataError: it cannot be opened, or holds no video.
        MissingExtraError: PyAV was asked for and is not installed.
    """
    if backend == "pyav" and not has_pyav():
        raise MissingExtraError("video_backend 'pyav'", "video")
    try:
        if isinstance(place, int) or backend == "opencv" or not has_pyav():
            return OpenCVDecoder(place, seconds=seconds)
        return PyAVDecoder(place, live=live, seconds=seconds)
    except DataError:
        if isinstance(place, io.RawIOBase):
            place.close()
            _raise_failure(place)
        raise


def _raise_failure(place: Place) -> None:
    """Say what went wrong in a file object."""
    failure: DataError | None = getattr(place, "failure", None)
    if failure is not None:
        raise failure


class LargeFrameError(DataError):
    """A video's frames have more pixels than are allowed."""


def refuse_large(width: float, height: float, max_pixels: int) -> None:
    """Refuse frames of more than `max_pixels`.

    Raises:
        LargeFrameError: they have more.
    """
    if width * height > max_pixels:
        raise LargeFrameError(f"frames of {width:.0f} x {height:.0f} pixels are more than the {max_pixels:,} allowed")


class PyAVDecoder:
    """FFmpeg through PyAV. See `Decoder`."""

    def __init__(self, place: str | io.RawIOBase, *, live: bool, seconds: float) -> None:
        import av

        self._place = place
        self._errors = (av.FFmpegError, OSError, ValueError)
        is_address = isinstance(place, str) and "://" in place
        options = {"rtsp_transport": "tcp"} if isinstance(place, str) and place.startswith("rtsp") else {}
        if not isinstance(place, str):
            options["protocol_whitelist"] = "crypto,data"  # a playlist in disguise opens nothing
        waits = (seconds, seconds) if is_address else None
        try:
            self._container = av.open(place, timeout=waits, options=options, metadata_errors="replace")
        except self._errors as error:
            raise DataError(f"cannot be opened as a video ({_detail(error)})") from error
        self._stream: Any = self._container.streams.best("video")  # not an album's cover
        if self._stream is None:
            self._container.close()
            raise DataError("holds no video, or its index is cut off")
        self._stream.thread_type = "SLICE" if live else "AUTO"
        self.fps = _sane_fps(self._stream.average_rate or self._stream.guessed_rate)
        self.seconds = self._length()
        self.exact = self._stream.frames > 0
        self.frames = self._stream.frames or (round(self.seconds * self.fps) if self.seconds else None)
        self.end: float | None = None
        self.damaged = 0
        self.finished = isinstance(place, io.RawIOBase)
        self.max_pixels = MAX_PIXELS
        self._shape = pixel_shape(self._stream.sample_aspect_ratio)
        self._first: int | None = None

    def skip_to(self, stamp: int) -> None:
        """Begin with the frame that has this timestamp, in the stream's own units, or the first after it.

        Raises:
            DataError: the file cannot be sought in.
        """
        try:
            self._container.seek(stamp, stream=self._stream, backward=True)
        except self._errors as error:
            raise DataError(f"cannot be sought in ({_detail(error)})") from error
        self._first = stamp

    def stamps(self) -> list[int]:
        """Timestamps of all frames that are shown, in the stream's own units, rising; nothing is decoded.

        The decoder gives no frames after that.

        Raises:
            DataError: the file object failed.
        """
        packets = (packet for packet in self._packets() if packet.size and not packet.is_discard)
        stamps = sorted(packet.pts for packet in packets if packet.pts is not None)
        _raise_failure(self._place)
        return stamps

    def _length(self) -> float | None:
        if self._container.format.name == "avi" and self._stream.frames > 0 and self._stream.time_base:
            return float(self._stream.frames * self._stream.time_base)  # its duration shrinks as the file is cut
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / 1e6 if self._container.duration else None

    def __iter__(self) -> Iterator[tuple[float | None, Image]]:
        """See `Decoder`. Damaged packets are passed over."""
        context = self._stream.codec_context
        refuse_large(*shown_size(context.width, context.height, self._shape), self.max_pixels)
        packets = decoded = failed = 0
        for packet in self._packets():
            packets += packet.size > 0 and not packet.is_discard
            try:
                frames: list[Any] = packet.decode()
            except self._errors:
                failed += decoded > 0  # before that, frames lack those they build on, where a video was trimmed
                continue
            for frame in frames:
                decoded += 1
                if self._first is not None and frame.pts is not None and frame.pts < self._first:
                    continue
                refuse_large(*shown_size(frame.width, frame.height, self._shape), self.max_pixels)
                image = with_square_pixels(frame.to_ndarray(format="rgb24"), self._shape)
                yield frame.time, _turn(image, _display_matrix(frame))
        if failed and self.exact and packets == self.frames:  # an edit list shows fewer
            self.damaged = max(0, packets - decoded)
        _raise_failure(self._place)

    def _packets(self) -> Iterator[Any]:
        """The video's packets; sound is looked at for its time only, to know where the file ends."""
        try:
            for packet in self._container.demux():
                if packet.pts is not None and packet.time_base:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self.end = max(self.end or 0.0, end)
                if packet.stream_index == self._stream.index:
                    yield packet
        except self._errors:
            return

    def close(self) -> None:
        """See `Decoder`."""
        with suppress(*self._errors):
            self._container.close()
        if isinstance(self._place, io.RawIOBase):
            self._place.close()


class OpenCVDecoder:
    """FFmpeg as OpenCV carries it; cameras through the system. See `Decoder`."""

    def __init__(self, place: Place, *, seconds: float) -> None:
        self._place = place
        problem = "there is no such camera" if isinstance(place, int) else "cannot be opened as a video"
        try:
            with quiet():
                self._file, self._capture = _open_capture(place, seconds)
        except (cv2.error, OverflowError) as error:
            raise DataError(problem) from error
        if not self._capture.isOpened():
            self.close()
            raise DataError(problem)
        self.fps = _sane_fps(self._capture.get(cv2.CAP_PROP_FPS))
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frames = int(count) if 0 < count < 1e9 else None
        self.exact = False
        # An .mp4 that was trimmed without encoding it anew counts frames that are not shown.
        judged = self.frames and not (isinstance(place, str) and is_whole_mp4(Path(place)))
        self.seconds = self.frames / self.fps if self.frames and judged else None
        self.end: float | None = None
        self.damaged = 0
        self.finished = isinstance(place, io.RawIOBase)
        self.max_pixels = MAX_PIXELS
        self._shape = self._shape_of_pixels()

    def _shape_of_pixels(self) -> float:
        """How many times as wide as high a pixel is shown, of frames that OpenCV has turned upright."""
        wide, high = self._capture.get(cv2.CAP_PROP_SAR_NUM), self._capture.get(cv2.CAP_PROP_SAR_DEN)
        lying = self._capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90
        return pixel_shape((high / wide if lying else wide / high) if wide > 0 and high > 0 else None)

    def __iter__(self) -> Iterator[tuple[float | None, Image]]:
        """See `Decoder`."""
        width, height = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH), self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        refuse_large(*shown_size(width, height, self._shape), self.max_pixels)
        begin: float | None = None
        while (image := self._read()) is not None:
            refuse_large(*shown_size(image.shape[1], image.shape[0], self._shape), self.max_pixels)
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            begin = self._begin(time) if begin is None else begin
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
            image = with_square_pixels(np.asarray(image, np.uint8), self._shape)
            yield time + begin if math.isfinite(time) else None, image
        _raise_failure(self._place)

    def _read(self) -> Any:
        """The next frame; None at the end."""
        try:
            there, image = self._capture.read()
        except cv2.error as error:
            raise DataError("cannot be decoded") from error
        return image if there else None

    def _begin(self, time: float) -> float:
        """How late OpenCV's clock begins on the container's; `time` is what it says of the frame that was just read.

        0 for files whose length is not that of the container's clock.
        """
        if isinstance(self._place, str) and not is_matroska(Path(self._place)):
            return 0.0
        stamp, rate = self._capture.get(_STAMP), self._capture.get(cv2.CAP_PROP_FPS)
        return max(0.0, stamp / rate - time) if stamp > 0 and rate > 0 else 0.0

    def close(self) -> None:
        """See `Decoder`."""
        self._capture.release()
        if self._file is not None:
            self._file.close()


def _open_capture(place: Place, seconds: float) -> tuple[io.BufferedReader | None, Any]:
    """The capture, and the file object that it reads from where there is one.

    OpenCV 5.0 crashes on names that are not UTF-8, so those are opened here.
    """
    if isinstance(place, int):
        return None, cv2.VideoCapture(place)
    if isinstance(place, str):
        try:
            place.encode()
        except UnicodeEncodeError:
            return _capture_from(Path(place).open("rb"))
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            int(seconds * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            int(seconds * 1000),
        ]
        return None, cv2.VideoCapture(place, cv2.CAP_FFMPEG, limits)
    return _capture_from(_Unfailing(place, 1 << 16))


class _Unfailing(io.BufferedReader):
    """A file that answers -1 where it cannot seek: what it raises crashes OpenCV 5.0."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """See `io.BufferedReader`."""
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError):
            return -1


def _capture_from(file: io.BufferedReader) -> tuple[io.BufferedReader, Any]:
    open_file: Any = cv2.VideoCapture
    try:
        return file, open_file(file, cv2.CAP_FFMPEG, [])
    except (cv2.error, TypeError) as error:  # OpenCV before 4.11
        file.close()
        raise DataError("cannot be read by this OpenCV: pip install 'mien[video]'") from error


def _turn(image: Image, matrix: tuple[float, float, float, float]) -> Image:
    """Turn to the nearest quarter and mirror as a display matrix says; a row's end meets the next row's beginning."""
    x_by_x, y_by_x, x_by_y, y_by_y = matrix
    if abs(x_by_x) + abs(y_by_y) < abs(y_by_x) + abs(x_by_y):
        image, x_by_x, y_by_y = image.swapaxes(0, 1), x_by_y, y_by_x
    return np.ascontiguousarray(image[:: -1 if y_by_y < 0 else 1, :: -1 if x_by_x < 0 else 1])


def _display_matrix(frame: Any) -> tuple[float, float, float, float]:
    """How far right and down, where a frame is shown, a step right in its pixels leads; then the same, a step down."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV cannot name all that may stand beside it
        angle = math.radians(-frame.rotation)
        return math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)
    if data is None:
        return 1, 0, 0, 1
    x_by_x, y_by_x, _, x_by_y, y_by_y = np.frombuffer(data, np.int32, 5).tolist()
    return x_by_x, y_by_x, x_by_y, y_by_y


def _sane_fps(rate: Any) -> float:
    fps = float(rate) if rate else 0.0
    return fps if math.isfinite(fps) and 0 < fps <= MAX_FPS else DEFAULT_FPS


def _detail(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


_quiet_lock = threading.Lock()
_quiet_depth = 0
_level_before = 0


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV and its FFmpeg from writing to stderr while a video is opened.

    OpenCV's log level is put back. FFmpeg's level is read once in a process, from the environment, when the first video
    is opened; the variable is set for that moment, unless it is set already.
    """
    global _quiet_depth, _level_before
    with _quiet_lock:
        if not _quiet_depth:
            _level_before = cv2.utils.logging.getLogLevel()
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        _quiet_depth += 1
        ours = _FFMPEG_LEVEL not in os.environ
        if ours:
            os.environ[_FFMPEG_LEVEL] = _SILENT
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if ours:
                os.environ.pop(_FFMPEG_LEVEL, None)
            if not _quiet_depth:
                cv2.utils.logging.setLogLevel(_level_before)
