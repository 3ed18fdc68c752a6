"""The sound of a video file, as it is stored, for the video that is drawn from it. Needs PyAV (the extra ``video``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

CODECS = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
"""What an ``.mp4`` holds as it is."""


class Sound:
    """Packets of one stream of sound, their times counted from the first picture. Used by one thread; close it.

    Attributes:
        stream: PyAV's stream, the pattern for that of the file that is written.
    """

    def __init__(self, container: Any, stream: Any, begin: float) -> None:
        """`begin` is the first picture's time on the container's clock, in seconds."""
        self.stream = stream
        self._container, self._coming = container, container.demux(stream)
        self._offset = round(begin / stream.time_base)
        self._last = -1
        self._waiting: Any = None

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """The sound of a file; None where there is none, it cannot be read, or an ``.mp4`` does not hold its kind."""
        import av

        with suppress(av.FFmpegError, OSError, ValueError):
            options = {"protocol_whitelist": "file"}
            container = av.open(str(path.absolute()), options=options, metadata_errors="replace")
            sound, video = container.streams.best("audio"), container.streams.best("video")
            if sound is not None and video is not None and sound.codec_context.codec.canonical_name in CODECS:
                return cls(container, sound, float((video.start_time or 0) * (video.time_base or 0)))
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
                packet.pts, packet.dts = packet.pts - self._offset, packet.dts - self._offset
                if packet.pts >= 0 and packet.dts > self._last:
                    self._last = packet.dts
                    return packet
        return None

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()
