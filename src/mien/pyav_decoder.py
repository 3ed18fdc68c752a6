"""Videos and streams by FFmpeg's libraries in PyAV (the extra ``video``)."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from mien.decoding import raise_failure, refuse_large, sane_fps
from mien.errors import DataError
from mien.images import MAX_PIXELS, Image
from mien.squares import pixel_shape, shown_size, with_square_pixels


def open_container(place: Any, **options: Any) -> Any:
    """`av.open` of what is read, which may have metadata in any encoding: PyAV 19 takes them as they are."""
    import av

    lenient = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
    return av.open(place, **options, **lenient)


class PyAVDecoder:
    """FFmpeg through PyAV. See `Decoder`."""

    def __init__(self, place: str | io.RawIOBase, *, live: bool, seconds: float) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self._place = place
        self._reformatter = VideoReformatter()
        self._errors = (av.FFmpegError, OSError, ValueError)
        is_address = isinstance(place, str) and "://" in place
        options = {"rtsp_transport": "tcp"} if isinstance(place, str) and place.startswith("rtsp") else {}
        if not isinstance(place, str):
            options["protocol_whitelist"] = "crypto,data"  # a playlist in disguise opens nothing
        waits = (seconds, seconds) if is_address else None
        try:
            self._container = open_container(place, timeout=waits, options=options)
        except self._errors as error:
            raise DataError(f"cannot be opened as a video ({_detail(error)})") from error
        self._stream: Any = self._container.streams.best("video")  # not an album's cover
        if self._stream is None:
            self._container.close()
            raise DataError("holds no video, or its index is cut off")
        self._stream.thread_type = "SLICE" if live else "AUTO"
        self.fps = sane_fps(self._stream.average_rate or self._stream.guessed_rate)
        self.seconds = self._length()
        self.exact = self._stream.frames > 0
        self.frames = self._stream.frames or (round(self.seconds * self.fps) if self.seconds else None)
        self.end: float | None = None
        self.damaged = 0
        self.finished = isinstance(place, io.RawIOBase)
        self.max_pixels = MAX_PIXELS
        self.every = 1
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
        raise_failure(self._place)
        return stamps

    def _length(self) -> float | None:
        if self._container.format.name == "avi" and self._stream.frames > 0 and self._stream.time_base:
            return float(self._stream.frames * self._stream.time_base)  # its duration shrinks as the file is cut
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / 1e6 if self._container.duration else None

    def __iter__(self) -> Iterator[tuple[float | None, Image | None]]:
        """See `Decoder`. Damaged packets are passed over."""
        context = self._stream.codec_context
        refuse_large(*shown_size(context.width, context.height, self._shape), self.max_pixels)
        packets = decoded = failed = shown = 0
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
                yield frame.time, None if shown % self.every else self._picture(frame)
                shown += 1
        if failed and self.exact and packets == self.frames:  # an edit list shows fewer
            self.damaged = max(0, packets - decoded)
        raise_failure(self._place)

    def _picture(self, frame: Any) -> Image:
        """What is shown. A frame's own conversion would start threads for each, which stay until it is collected."""
        picture: Any = self._reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return _turn(with_square_pixels(picture, self._shape), _display_matrix(frame))

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


def _detail(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
