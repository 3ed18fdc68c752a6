"""Standard input as a source: a picture, a video, a zip or a list of names, told by how it begins."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
import tempfile
from typing import Any

from mien.containers import HEAD, index_is_behind, is_video_head
from mien.errors import DataError, UsageError, many
from mien.headers import JPEG_START

STDIN = "-"
"""What it is called, as a source and in rows."""

_PIECE = 1 << 20
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_TEXT = re.compile(rb"(?!\0)(?:[\t\n\r\x20-\x7e\x80-\xff]|\0(?!\0))+")
"""Without control characters; zero bytes between names, as ``find -print0`` writes them."""

_PICTURE_OF_TEXT = re.compile(rb"P[1-7FfHh]\s|/\* XPM|#define ")
_BARE_VIDEO = re.compile(rb"YUV4MPEG2 |\0\0\0?\x01(?:[\x09\x27\x47\x67]|[\x40\x46]\x01)")
"""Videos without a container, as programs write them to pipes: YUV4MPEG2; H.264 and HEVC (ITU-T H.264 and H.265, annex
B), which begin with a parameter set or a delimiter."""

_BOM = b"\xef\xbb\xbf"


class Stdin:
    """What comes on standard input, from its beginning. Take it once: as names, bytes, whole file or video.

    Attributes:
        head: its first bytes, `mien.containers.HEAD` or all.
    """

    def __init__(self) -> None:
        """Wait for the first bytes.

        Raises:
            UsageError: it is closed, or a terminal.
            DataError: it is empty, or cannot be read.
        """
        stream = sys.stdin
        if stream is None or stream.closed:
            raise UsageError("source -: standard input is closed; send something to it: mien predict - < photo.jpg")
        if stream.isatty():
            raise UsageError(
                "source -: standard input is a terminal; send a picture, a video, a zip or a list of names to it: "
                "mien predict - < photo.jpg"
            )
        self._file: Any = getattr(stream.buffer, "raw", stream.buffer)  # unbuffered where it can be
        self.head = b""
        while len(self.head) < HEAD and (piece := self._read(HEAD - len(self.head))):
            self.head += piece
        if not self.head:
            raise DataError("standard input is empty (0 bytes)")

    @property
    def is_names(self) -> bool:
        """Whether it is text, and no picture that is written as text."""
        begins_as_picture = self.head.startswith(JPEG_START) or _PICTURE_OF_TEXT.match(self.head)
        return _TEXT.fullmatch(self.head) is not None and not begins_as_picture

    @property
    def is_markup(self) -> bool:
        """Whether it is text such as a web page."""
        return self.is_names and self.head.removeprefix(_BOM).lstrip().startswith(b"<")

    @property
    def is_zip(self) -> bool:
        """Whether it begins as a zip does."""
        return self.head.startswith(_ZIP_STARTS)

    @property
    def is_video(self) -> bool:
        """Whether it begins as a video does, in a container or without."""
        return is_video_head(self.head) or _BARE_VIDEO.match(self.head) is not None

    def _read(self, size: int) -> bytes:
        try:
            return bytes(self._file.read(size) or b"")
        except (OSError, ValueError) as error:
            raise DataError(f"standard input cannot be read ({getattr(error, 'strerror', None) or error})") from error

    def read_all(self, most: int) -> bytes:
        """All of it.

        Raises:
            DataError: it has more than `most` bytes, or cannot be read.
        """
        pieces, size = [self.head], len(self.head)
        while size <= most and (piece := self._read(_PIECE)):
            pieces.append(piece)
            size += len(piece)
        if size > most:
            raise DataError(f"standard input has more than {many(most, 'byte')}; name a file")
        return b"".join(pieces)

    def read_text(self, most: int) -> str:
        """All of it as text; bytes that are not UTF-8 as names of files hold them (`os.fsdecode`)."""
        return self.read_all(most).removeprefix(_BOM).decode("utf-8", "surrogateescape")

    def as_file(self) -> io.FileIO:
        """All of it as a file that can be sought in: itself where it is one, else a temporary one.

        Raises:
            DataError: it cannot be read, or the disk is full.
        """
        if (own := self._own_file()) is not None:
            return own
        try:
            copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - whoever takes it closes it
            piece = self.head
            while piece:
                piece = piece[copy.write(piece) :] or self._read(_PIECE)
            copy.seek(0)
        except OSError as error:
            raise DataError(f"standard input cannot be kept in {tempfile.gettempdir()} ({error.strerror})") from error
        return copy

    def _own_file(self) -> io.FileIO | None:
        """Another opening of it where it is a file, from its beginning; None where it is a pipe."""
        if not isinstance(self._file, io.FileIO) or not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            return None
        if self._file.tell() != len(self.head):
            return None
        file = io.FileIO(os.dup(self._file.fileno()), "rb")
        file.seek(0)
        return file

    def as_video(self) -> io.RawIOBase:
        """A video as decoders take it: as it comes, unless its index comes last.

        Raises:
            DataError: see `as_file`.
        """
        if index_is_behind(self.head):
            return self.as_file()
        return self._own_file() or _Coming(self)


class _Coming(io.RawIOBase):
    """A video that is read as it comes; see `mien.decoding.Place`."""

    def __init__(self, stdin: Stdin) -> None:
        self._stdin, self._head = stdin, stdin.head
        self.failure: DataError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        try:
            piece = piece or self._stdin._read(len(buffer))
        except DataError as error:
            self.failure = error
        buffer[: len(piece)] = piece
        return len(piece)
