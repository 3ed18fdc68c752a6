"""Many pictures in one file: tar shards as WebDataset has them, and columns of Parquet files.

Both are read from front to back and cut into pieces that can be read apart. A piece gives entries: names, and what
decodes each picture, so that bytes are read in order and decoding can go to several threads.
"""

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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.batch.stores import Store, first_line, is_store, told
from mien.errors import DataError, MissingExtraError, UsageError, listing
from mien.fetching import FetchLimits
from mien.frames import in_utf8, printable
from mien.images import Image, is_image_name
from mien.pictures import MAX_FILE_BYTES, decode_or_say, fetch_picture, read_file
from mien.rowfiles import need_pyarrow

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PARQUET_SUFFIXES = (".parquet", ".pq")

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image_path", "image", "url")
"""Columns of text that are taken for paths of pictures, where none holds bytes."""

INDEXED_BYTES = 2 * 2**20
"""Larger tars are cut into pieces, where the filesystem is this machine's."""

ROWS_AT_ONCE = 32
"""Rows of a Parquet file that are in memory together."""


@dataclass(frozen=True)
class Entry:
    """One picture: what it is called, and what decodes it, in any thread.

    `load` gives uint8 (height, width, 3) RGB and raises `DataError`. It waits for a network where it is `far`.
    """

    name: str
    load: Callable[[], Image]
    far: bool = False


def is_shard_name(name: str) -> bool:
    """Whether a file's ending says that it holds many pictures."""
    return name.lower().endswith(TAR_SUFFIXES + PARQUET_SUFFIXES)


def is_parquet_name(name: str) -> bool:
    """Whether a file's ending says that it is a Parquet file."""
    return name.lower().endswith(PARQUET_SUFFIXES)


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
        return partial(_refuse, f"is a link to {printable(member.linkname)}; links in tars are not followed")
    stream = tar.extractfile(member) if member.isfile() else None
    if stream is None:
        return partial(_refuse, "is not a file")
    if member.size > MAX_FILE_BYTES:
        return partial(_refuse, f"has {member.size:,} bytes; a picture may have {MAX_FILE_BYTES:,}")
    try:
        return partial(decode_or_say, stream.read(), max_pixels)
    except tarfile.ReadError:
        return partial(_refuse, "is cut off by the end of the tar")


def _refuse(reason: str) -> Image:
    raise DataError(reason)


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


@dataclass(frozen=True)
class Column:
    """Where a Parquet file keeps its pictures.

    Attributes:
        name: of the column.
        kind: ``bytes``; ``struct`` of ``bytes`` and ``path``, as Hugging Face's datasets have it; or ``path``.
    """

    name: str
    kind: str


def find_column(store: Store, wanted: str | None) -> tuple[Column, list[int]]:
    """The column of a Parquet file that holds pictures, and the rows of each of its row groups.

    Args:
        store: the file.
        wanted: the column's name; None to find it.

    Raises:
        UsageError: there is no such column, or several that it could be.
        DataError: the file cannot be read.
    """
    with _parquet(store) as file:
        kinds = {entry.name: _kind(entry.type) for entry in file.schema_arrow}
        rows = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        names = file.schema_arrow.names
    name = wanted if wanted is not None else _guess(store, kinds)
    if not kinds.get(name):
        raise UsageError(
            f"--column: {printable(store.shown)} has no column {name!r} of pictures or paths; it has "
            f"{printable(listing(list(kinds), 20))}"
        )
    if names.count(name) > 1:
        raise DataError(f"has {names.count(name)} columns that are named {name!r}")
    return Column(name, kinds[name]), rows


def _kind(arrow_type: Any) -> str:
    """What a column could hold; empty where it is neither pictures nor paths."""
    from pyarrow import types

    if types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    if types.is_struct(arrow_type):
        held = {entry.name: _kind(entry.type) for entry in map(arrow_type.field, range(arrow_type.num_fields))}
        only_paths = types.is_null(arrow_type.field("bytes").type) if "bytes" in held else False
        return "struct" if held.get("bytes") == "bytes" or (only_paths and held.get("path") == "path") else ""
    if types.is_binary(arrow_type) or types.is_large_binary(arrow_type) or types.is_binary_view(arrow_type):
        return "bytes"
    text = types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type)
    return "path" if text else ""


def _guess(store: Store, kinds: dict[str, str]) -> str:
    """The one column that it must be."""
    held = [name for name, kind in kinds.items() if kind in ("struct", "bytes")]
    paths = [name for name, kind in kinds.items() if kind == "path" and name.lower() in PATH_COLUMNS]
    candidates = held or paths
    if len(candidates) != 1:
        what = f"several columns that could hold pictures ({listing(candidates)})" if candidates else "no such column"
        raise UsageError(
            f"{printable(store.shown)}: has {what}; name one with --column: {printable(listing(list(kinds), 20))}"
        )
    return candidates[0]


def read_parquet(
    store: Store, column: str, start: int, stop: int, max_pixels: int, limits: FetchLimits | None = None
) -> Iterator[Entry]:
    """The pictures of some rows of a Parquet file; named after the file and the row, ``faces.parquet#12``.

    Args:
        store: the file.
        column: that holds them.
        start: first row.
        stop: the row after the last.
        max_pixels: larger pictures are refused.
        limits: for paths that are http(s) addresses.

    Raises:
        DataError: the file cannot be read, or is damaged.
    """
    limits = limits or FetchLimits()
    with _parquet(store) as file:
        kind = _kind(file.schema_arrow.field(column).type)
        for row, value in _values(file, column, start, stop):
            yield Entry(in_utf8(f"{store.shown}#{row}"), _picture(store, kind, value, max_pixels, limits))


def _values(file: Any, column: str, start: int, stop: int) -> Iterator[tuple[int, Any]]:
    """(number, value) of some rows of a column. Row groups that hold none of them are not read."""
    groups: list[int] = []
    row = first = 0
    for group in range(file.metadata.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if row < stop and row + count > start:
            first = first if groups else row
            groups.append(group)
        row += count
    row = first
    for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=groups, columns=[column], use_threads=False):
        held = batch.column(batch.schema.get_field_index(column))  # of "a.bytes", "a" may be read too
        inside = range(max(0, start - row), min(len(held), stop - row))
        yield from ((row + place, held[place].as_py()) for place in inside)
        row += len(held)
        if row >= stop:
            return


def _picture(store: Store, kind: str, value: Any, max_pixels: int, limits: FetchLimits) -> Callable[[], Image]:
    """What decodes one value of a column."""
    data, path = value, None
    if kind == "struct" and value is not None:
        data, path = value.get("bytes"), value.get("path")
    elif kind == "path":
        data, path = None, value
    if data is not None:
        return partial(decode_or_say, data, max_pixels)
    if not path:
        return partial(_refuse, "has no picture (null)")
    return partial(_load_named, store, path, max_pixels, limits)


def _load_named(store: Store, path: str, max_pixels: int, limits: FetchLimits) -> Image:
    """The picture that a path in a Parquet file means: relative to that file's folder, absolute, or an address.

    Raises:
        DataError: says what is wrong.
    """
    if path.lower().startswith(("http://", "https://")):
        return load_address(path, limits, max_pixels)
    if is_store(path) or path.startswith("/"):
        return load_stored(path, max_pixels)
    return load_path(store.beside(path), max_pixels)


def load_address(address: str, limits: FetchLimits, max_pixels: int) -> Image:
    """Fetch and decode a picture.

    Raises:
        DataError: says what is wrong, without naming it.
    """
    image = fetch_picture(address, limits, max_pixels)
    if image is None:
        raise DataError("is a video or stream; --engine ray reads videos from files and object stores only")
    return image


def load_stored(address: str, max_pixels: int) -> Image:
    """Read and decode a file by its path or address.

    Raises:
        DataError: says what is wrong.
    """
    try:
        return load_path(Store.open(address), max_pixels)
    except MissingExtraError:
        raise
    except UsageError as error:  # of one picture
        raise DataError(str(error)) from error


def load_path(store: Store, max_pixels: int) -> Image:
    """Read and decode a file of a store.

    Raises:
        DataError: says what is wrong, without naming the file.
    """
    if store.is_local:
        return read_file(Path(store.path), max_pixels)
    try:
        kind, size = store.look()
        if kind != "file":
            raise DataError("is not a file" if kind else "there is no such file")
        if size > MAX_FILE_BYTES:
            raise DataError(f"has {size:,} bytes; a picture may have {MAX_FILE_BYTES:,}")
        data = store.read()
    except DataError as error:
        raise DataError(str(error).removeprefix(f"{printable(store.shown)}: ")) from error
    return decode_or_say(data, max_pixels)


@contextmanager
def _parquet(store: Store) -> Iterator[Any]:
    """An opened Parquet file; what it raises names it."""
    arrow, parquet = need_pyarrow()
    try:
        with store.opened() as raw:
            file = parquet.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20)
            yield file
    except (OSError, arrow.ArrowException, UnicodeError) as error:
        shown = printable(store.shown)
        raise DataError(f"{shown}: cannot be read as Parquet ({first_line(error)})") from error
