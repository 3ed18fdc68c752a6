"""Tar shards: where their pictures lie, and reading them from front to back."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.batch.shards import Entry, refuse
from mien.batch.stores import Store, first_line, told
from mien.errors import DataError, many
from mien.frames import in_utf8, printable
from mien.images import Image, is_image_name
from mien.pictures import MAX_FILE_BYTES, decode_or_say

INDEXED_BYTES = 2 * 2**20
"""Larger tars are cut into pieces, where the filesystem is this machine's."""


def index_tar(store: Store) -> NDArray[np.int64] | None:
    """Where each picture of a tar begins: int64 (n + 1,), bytes; the last is the tar's end.

    None where the tar is to be read in one piece: it is small, compressed, far away, or has no pictures. Of a tar that
    is damaged, what comes before the damage is there; who reads the last piece runs into it and says so.

    Raises:
        DataError: it cannot be read.
    """
    if not store.is_local or not store.path.lower().endswith(".tar") or store.size() < INDEXED_BYTES:
        return None
    starts: list[int] = []
    with told(store), open(store.path, "rb") as file:
        if _unpacker(file.read(_MAGIC_BYTES)) is not None:
            return None
        file.seek(0)
        with suppress(DataError), _damage_told(), _tar(file, "r:") as tar:
            starts.extend(member.offset for member in _wanted(tar))  # which keeps what comes before the damage
        return np.array([*starts, file.seek(0, io.SEEK_END)], np.int64) if starts else None


def stands_at(store: Store, start: int) -> tuple[str, int]:
    """What stands at a byte of a tar: the name of the member that begins there, and the CRC-32 of its first 512 bytes.

    These hold its size and its time as well. The name is empty where none begins there.

    Raises:
        DataError: the tar cannot be read.
    """
    name = ""
    with told(store), store.opened(at_random=False) as file:
        file.seek(start)
        mark = zlib.crc32(file.read(tarfile.BLOCKSIZE))
        file.seek(start)
        with suppress(DataError), _damage_told(), _tar(file, "r:") as tar:
            member = tar.next()
            name = in_utf8(member.name) if member else ""
    return name, mark


def _tar(file: Any, mode: str) -> Any:
    return tarfile.open(fileobj=file, mode=mode, tarinfo=_Member)  # type: ignore[call-overload]


def _wanted(tar: Any) -> Iterator[tarfile.TarInfo]:
    """The members that are named like pictures, links among them, in order."""
    while (member := tar.next()) is not None:
        tar.members = []  # which would grow with the tar
        if is_wanted(member.name) and not member.isdir():
            yield member


_errors: Any = tarfile  # whose kinds of damage have no types


class _Member(tarfile.TarInfo):
    """A member whose damage is not taken for the tar's end, as `tarfile` has it."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> Any:
        """The next one."""
        try:
            return super().fromtarfile(tarfile)
        except (_errors.InvalidHeaderError, _errors.TruncatedHeaderError) as error:
            raise _errors.ReadError(str(error)) from error


def is_wanted(name: str) -> bool:
    """Whether a member of a tar is a picture, by its name."""
    return is_image_name(posixpath.basename(name))


def read_tar(store: Store, start: int, stop: int, max_pixels: int) -> Iterator[Entry]:
    """The pictures of a tar, or of a piece of it.

    Args:
        store: the tar.
        start: byte at which the piece begins.
        stop: byte at which it ends; 0 for the end of the tar.
        max_pixels: larger pictures are refused.

    Raises:
        DataError: the tar cannot be opened, or is damaged from some place on.
    """
    with told(store), _opened(store, start, stop) as file, _damage_told(), _tar(file, "r:" if stop else "r|") as tar:
        for member in _wanted(tar):
            if stop and member.offset >= stop:
                return
            yield Entry(in_utf8(f"{store.shown}/{member.name}"), _member(tar, member, max_pixels))


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, max_pixels: int) -> Callable[[], Image]:
    """Read a member's bytes now; they are decoded later."""
    if member.islnk() or member.issym():
        return partial(refuse, f"is a link to {printable(member.linkname)}; links in tars are not followed")
    stream = tar.extractfile(member) if member.isfile() else None
    if stream is None:
        return partial(refuse, "is not a file")
    if member.size > MAX_FILE_BYTES:
        return partial(refuse, f"has {many(member.size, 'byte')}; a picture may have {MAX_FILE_BYTES:,}")
    try:
        return partial(decode_or_say, stream.read(), max_pixels)
    except tarfile.ReadError:
        return partial(refuse, "is cut off by the end of the tar")


_MAGIC_BYTES = 6
_UNPACKERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""First bytes of a file to what unpacks it. Unlike `tarfile` and pyarrow, they read files of several streams."""


def _unpacker(head: bytes) -> Callable[[Any], Any] | None:
    return next((unpack for magic, unpack in _UNPACKERS.items() if head.startswith(magic)), None)


@contextmanager
def _opened(store: Store, start: int, stop: int) -> Iterator[Any]:
    """A tar, unpacked where it is compressed; of a piece, the file from there on."""
    with store.opened(at_random=False) as raw:
        if stop:
            raw.seek(start)
            yield raw
            return
        file = io.BufferedReader(raw, 1 << 20)
        unpack = _unpacker(file.peek(_MAGIC_BYTES))
        yield file if unpack is None else unpack(file)


@contextmanager
def _damage_told() -> Iterator[None]:
    """Turn what a damaged tar raises into `DataError`, without a name."""
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"is damaged, or is no tar ({first_line(error)})") from error


_DAMAGE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError, OverflowError)
