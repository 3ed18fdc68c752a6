"""Columns of pictures, or of their paths, in Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from mien.batch.locations import is_store
from mien.batch.shards import Entry, load_address, load_path, load_stored, refuse
from mien.batch.stores import Store, first_line
from mien.errors import DataError, UsageError, listing
from mien.fetching import FetchLimits
from mien.frames import in_utf8, printable
from mien.images import Image
from mien.pictures import decode_or_say
from mien.rowfiles import need_pyarrow

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image_path", "image", "url")
"""Columns of text that are taken for paths of pictures, where none holds bytes."""

ROWS_AT_ONCE = 32
"""Rows of a Parquet file that are in memory together."""


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
        several = f"several columns that could hold pictures ({listing(candidates)})"
        what = several if candidates else "no column of bytes, nor of paths under a usual name"
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
        return partial(refuse, "has no picture (null)")
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
