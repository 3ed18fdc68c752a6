"""Videos and streams by FFmpeg as OpenCV carries it, cameras through the system."""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.containers import is_matroska, is_whole_mp4
from mien.decoding import Place, raise_failure, refuse_large, sane_fps
from mien.errors import DataError, many
from mien.images import MAX_PIXELS, Image
from mien.squares import pixel_shape, shown_size, with_square_pixels

_JUDGED_FRAMES = 10
"""A video of fewer frames may well be blank all along."""

_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"
_SILENT = "-8"
_STAMP = getattr(cv2, "CAP_PROP_PTS", -1)  # since OpenCV 4.11


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
        self.fps = sane_fps(self._capture.get(cv2.CAP_PROP_FPS))
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
        self.every = 1
        self._shape = self._shape_of_pixels()

    def _shape_of_pixels(self) -> float:
        """How many times as wide as high a pixel is shown, of frames that OpenCV has turned upright."""
        wide, high = self._capture.get(cv2.CAP_PROP_SAR_NUM), self._capture.get(cv2.CAP_PROP_SAR_DEN)
        lying = self._capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90
        return pixel_shape((high / wide if lying else wide / high) if wide > 0 and high > 0 else None)

    def __iter__(self) -> Iterator[tuple[float | None, Image | None]]:
        """See `Decoder`."""
        width, height = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH), self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        refuse_large(*shown_size(width, height, self._shape), self.max_pixels)
        begin: float | None = None
        blankness = _Blankness()
        for index in count():
            if not self._grab():
                break
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            begin = self._begin(time) if begin is None else begin
            wanted = index % self.every == 0
            image = self._picture() if wanted else None
            if wanted and image is None:
                break
            blankness.look(image)
            yield time + begin if math.isfinite(time) else None, image
        raise_failure(self._place)
        blankness.judge()

    def _grab(self) -> bool:
        """Decode the next frame; False at the end."""
        try:
            return bool(self._capture.grab())
        except cv2.error as error:
            raise DataError("cannot be decoded") from error

    def _picture(self) -> Image | None:
        """What is shown of the frame that was grabbed; None where there is nothing more.

        Raises:
            DataError: it is too large, or cannot be decoded.
        """
        try:
            there, image = self._capture.retrieve()
        except cv2.error as error:
            raise DataError("cannot be decoded") from error
        if not there:
            return None
        refuse_large(*shown_size(image.shape[1], image.shape[0], self._shape), self.max_pixels)
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
        return with_square_pixels(np.asarray(image, np.uint8), self._shape)

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


class _Blankness:
    """Whether all is of one colour: OpenCV 5.0 converts no interlaced frame, and gives untouched memory instead."""

    def __init__(self) -> None:
        self._blank = 0
        self._shows = False

    def look(self, image: Image | None) -> None:
        """Take the next frame; None for one that was not wanted."""
        if image is None or self._shows:
            return
        self._shows = bool(image.min() != image.max())
        self._blank += 1

    def judge(self) -> None:
        """Refuse a video that never showed anything.

        Raises:
            DataError: says how to read it.
        """
        if not self._shows and self._blank >= _JUDGED_FRAMES:
            raise DataError(
                f"all of {many(self._blank, 'frame')} came out blank; if the video shows something, it is interlaced, "
                "which this OpenCV cannot convert: pip install 'mien[video]'"
            )


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
