"""Videos of a batch run: opened wherever they are, cut into segments, read from a frame on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from mien.batch.locations import is_store
from mien.batch.stores import Store, first_line, told
from mien.decoders import Decoder, PyAVDecoder, has_pyav, open_decoder
from mien.errors import DataError
from mien.frames import Frame, Reading
from mien.tracking import detect_every_at
from mien.videos import read_video

SEGMENT_FRAMES = 600
"""About how many frames a segment has: 20 to 24 seconds."""


class StoredFile(io.RawIOBase):
    """A file of a filesystem with an address, as FFmpeg reads it. It never raises: it ends, and `failure` says why.

    Filesystems of fsspec raise what their libraries do.

    Attributes:
        failure: what went wrong first; None so far.
    """

    def __init__(self, store: Store) -> None:
        """Open it.

        Raises:
            DataError: it cannot be opened.
        """
        with told(store):
            self._file: Any = store.filesystem.open_input_file(store.path)
        self._at = 0
        self.failure: DataError | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes; empty at the end, or where something went wrong."""
        try:
            data: bytes = self._file.read() if size is None or size < 0 else self._file.read(size)
        except Exception as error:
            self.failure = self.failure or DataError(f"cannot be read ({first_line(error)})")
            return b""
        self._at += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        """See `io.RawIOBase`."""
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def tell(self) -> int:
        """The place in the file."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; -1 where that cannot be done."""
        try:
            self._at = self._file.seek(offset, whence)
        except Exception:
            return -1
        return self._at

    def close(self) -> None:
        """Let go of the file."""
        if not self.closed:
            with suppress(Exception):
                self._file.close()
        super().close()


def open_video(target: str, reading: Reading) -> Decoder:
    """A video of this machine's files, or of a filesystem with an address.

    Raises:
        DataError: it cannot be opened.
    """
    if is_store(target):
        return open_decoder(StoredFile(Store.open(target)), reading.video_backend)
    path = Path(target)
    if not path.is_file():
        raise DataError("is not a file")
    if not path.stat().st_size:
        raise DataError("is empty (0 bytes)")
    return open_decoder(target, reading.video_backend)


def cut_video(target: str, reading: Reading, detect_every: int | None) -> list[tuple[int, int]]:
    """Where the segments of a video begin: (frame, timestamp in the stream's own units).

    Empty where it is short, cannot be read, or PyAV is not installed, without which nothing seeks to a frame.

    Args:
        target: path or address.
        reading: how it is read.
        detect_every: segments begin at frames that the tracker searches.
    """
    if not has_pyav():
        return []
    try:
        with closing(open_video(target, reading)) as decoder:
            if not isinstance(decoder, PyAVDecoder) or (decoder.frames or 0) < 2 * SEGMENT_FRAMES:
                return []
            stamps = decoder.stamps()
    except DataError:
        return []  # which the part itself will say
    every = detect_every or detect_every_at(decoder.fps)
    length = every * max(1, SEGMENT_FRAMES // every)
    starts = range(0, max(1, len(stamps) - length // 2), length)
    return [(start, stamps[start]) for start in starts] if len(starts) > 1 else []


def video_frames(name: str, target: str, reading: Reading) -> Iterator[Frame]:
    """All frames of a video; see `mien.videos.read_video`."""
    return read_video(name, lambda: open_video(target, reading), ahead=reading.ahead, max_pixels=reading.max_pixels)


def segment_frames(name: str, target: str, reading: Reading, *, start: int, stop: int, stamp: int) -> Iterator[Frame]:
    """The frames of a segment.

    Args:
        name: of the video.
        target: its path or address.
        reading: how it is read.
        start: number of the first frame.
        stop: number of the first frame after it; 0 for the end of the video.
        stamp: timestamp of the first frame.

    Raises:
        DataError: it cannot be read.
    """

    def opened() -> Decoder:
        decoder = open_video(target, reading)
        if start and isinstance(decoder, PyAVDecoder):
            decoder.skip_to(stamp)
        return decoder

    frames = read_video(name, opened, ahead=reading.ahead, max_pixels=reading.max_pixels)
    yield from islice(frames, stop - start if stop else None)
