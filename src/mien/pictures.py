"""Reading the bytes of still pictures: from files, from members of archives, from addresses."""

from __future__ import annotations

import io
import stat
import threading
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from mien.containers import HEAD, is_video_head
from mien.errors import DataError, many
from mien.fetching import FetchLimits, open_url
from mien.files import ZIP_DAMAGE
from mien.frames import reason
from mien.images import Image, decode
from mien.remote import is_moving

MAX_FILE_BYTES = 2**30
"""Files and members with more bytes are not taken for pictures."""


class Archive:
    """A zip file that is open while pictures of it are wanted. Safe to share between threads."""

    def __init__(self, path: Path, given: BinaryIO | io.RawIOBase | None = None) -> None:
        """Name a zip file, which is opened when it is wanted.

        Args:
            path: where it is; what it is called where it was `given`.
            given: its contents, to seek in; closed with the archive, which is then not opened again.
        """
        self.path = path
        self._place: Any = path if given is None else given
        self._lock = threading.Lock()
        self._file: zipfile.ZipFile | None = None
        self._members: list[zipfile.ZipInfo] = []
        self._wanted = 0

    def names(self) -> list[str]:
        """The members' names, in the archive's order; the archive is closed again.

        Raises:
            DataError: it cannot be read.
        """
        try:
            with zipfile.ZipFile(self._place) as file:
                self._members = file.infolist()
        except ZIP_DAMAGE as error:
            raise DataError(f"cannot be read as a zip archive ({error})") from error
        return [member.filename for member in self._members]

    def expect(self, count: int) -> None:
        """After so many reads, the file is closed."""
        self._wanted = count

    def read(self, number: int) -> bytes:
        """One member, never more than `MAX_FILE_BYTES` of it.

        Raises:
            DataError: it is damaged, encrypted or too large.
        """
        member = self._members[number]
        if member.file_size > MAX_FILE_BYTES:
            raise _too_large(member.file_size)
        try:
            with self._open().open(member) as stream:
                return _within(stream.read(MAX_FILE_BYTES + 1))
        except ZIP_DAMAGE as error:
            if member.flag_bits & 1:
                raise DataError("is encrypted; unpack it first") from error
            raise DataError(f"cannot be read from the archive ({error})") from error
        finally:
            self._done()

    def _open(self) -> zipfile.ZipFile:
        with self._lock:
            if self._file is None:
                self._file = zipfile.ZipFile(self._place)
            return self._file

    def _done(self) -> None:
        with self._lock:
            self._wanted -= 1
            last = not self._wanted
        if last:
            self.close()

    def close(self) -> None:
        """Let go of the file; reading opens it again where it has a path."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
            if self._place is not self.path:
                self._place.close()


def read_file(path: Path, max_pixels: int) -> Image:
    """Read and decode a file.

    Returns:
        uint8 (height, width, 3) RGB.

    Raises:
        DataError: says what is wrong, without naming the file.
    """
    size = check_file(path)
    if size > MAX_FILE_BYTES:
        raise _too_large(size)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error
    return decode_or_say(data, max_pixels)


def check_file(path: Path) -> int:
    """A file's size in bytes.

    Raises:
        DataError: there is none, it is something else, or cannot be looked at.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # a path may hold what no name can
        raise DataError("there is no such file") from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error
    if stat.S_ISFIFO(status.st_mode):
        raise DataError("is a pipe; send it to standard input, and name - as the source")
    if not stat.S_ISREG(status.st_mode):
        raise DataError("is not a file")
    return status.st_size


def fetch_picture(url: str, limits: FetchLimits, max_pixels: int) -> Image | None:
    """Fetch and decode a picture; None where the address leads to a video or stream.

    What the server calls a video is one, and where it does not say image, what begins as a video.

    Raises:
        DataError: as `read_file`.
    """
    with open_url(url, limits) as response:
        kind = response.content_type
        if is_moving(kind) or (not kind.startswith("image/") and is_video_head(response.peek(HEAD))):
            return None
        data = response.read_all()
    try:
        return decode_or_say(data, max_pixels)
    except DataError as error:
        detail = "" if kind.startswith("image/") else f" (the server says it is {kind})"
        raise DataError(f"{error}{detail}") from error


def decode_or_say(data: bytes, max_pixels: int) -> Image:
    """`mien.images.decode`, with a reason that does not name the picture."""
    if not data:
        raise DataError("is empty (0 bytes)")
    try:
        return decode(data, channels=3, name="", max_pixels=max_pixels)
    except DataError as error:
        raise DataError(reason(error)) from error


def _within(data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise _too_large(len(data))
    return data


def _too_large(size: int) -> DataError:
    return DataError(f"has {many(size, 'byte')}; a picture may have {MAX_FILE_BYTES:,}")
