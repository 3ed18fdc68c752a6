"""The sound of a video file, as it is stored, for the video that is drawn from it. Needs PyAV (the extra ``video``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from mien.decoding import BACK_SECONDS
from mien.errors import DataError
from mien.pyav_decoder import PyAVDecoder, open_container

CODECS = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
"""What an ``.mp4`` holds as it is."""


class Sound:
    """Packets of one stream of sound, their times counted from the first picture. Used by one thread; close it.

    Where their clock begins anew, as that of the pictures does in recordings that were put together, they go on.

    Attributes:
        stream: PyAV's stream, the pattern for that of the file that is written.
    """

    def __init__(self, container: Any, stream: Any, begin: float) -> None:
        """`begin` is the first picture's time on the container's clock, in seconds."""
        self.stream = stream
        self._container, self._coming = container, container.demux(stream)
        self._offset = round(begin / stream.time_base)
        self._back = round(BACK_SECONDS / stream.time_base)
        self._before: int | None = None
        self._last, self._end = -1, 0
        self._waiting: Any = None

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """The sound of a file; None where there is none, it cannot be read, or an ``.mp4`` does not hold its kind."""
        import av

        with suppress(av.FFmpegError, OSError, ValueError, DataError):
            begin = _first_picture(path)
            options = {"protocol_whitelist": "file"}
            container = open_container(str(path.absolute()), options=options)
            stream = _held_stream(container)
            if stream is not None:
                return cls(container, stream, begin)
            container.close()
        return None

    def until(self, seconds: float) -> Iterator[Any]:
        """The next packets that begin before this time. Damaged ones are passed over."""
        while (packet := self._waiting or self._read()) is not None:
            self._waiting = packet
            if packet.pts * packet.time_base >= seconds:
                return
            self._waiting = None
            yield packet

    def _read(self) -> Any:
        """The next packet that is heard with the pictures; None at the end."""
        import av

        with suppress(av.FFmpegError, OSError, ValueError):
            for packet in self._coming:
                if packet.pts is None or packet.dts is None or not packet.size:
                    continue
                if self._before is not None and packet.dts < self._before - self._back:
                    self._offset = packet.dts - self._end
                self._before = packet.dts
                packet.pts, packet.dts = packet.pts - self._offset, packet.dts - self._offset
                if packet.pts >= 0 and packet.dts > self._last:
                    self._last, self._end = packet.dts, packet.dts + (packet.duration or 1)
                    return packet
        return None

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()


def _first_picture(path: Path) -> float:
    """The time of the first picture that is shown, on the container's clock: a recording may begin amid others.

    Raises:
        DataError: it cannot be decoded.
    """
    decoder = PyAVDecoder(str(path.absolute()), live=False, seconds=0)
    try:
        stamp, _ = next(iter(decoder), (None, None))
        return stamp or 0.0
    finally:
        decoder.close()


def _held_stream(container: Any) -> Any:
    """The best stream of sound, if an ``.mp4`` holds its kind, else the first that is; None where none is."""
    for stream in (container.streams.best("audio"), *container.streams.audio):
        context = None if stream is None else stream.codec_context  # None of kinds that FFmpeg does not know
        if context is not None and context.codec.canonical_name in CODECS and context.sample_rate:
            return stream
    return None
