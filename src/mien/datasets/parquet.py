"""Parquet files of pictures and classes, as Hugging Face's hub has datasets: ``data/train-00000-of-00001.parquet``.

And Arrow files (`mien.datasets.arrow_files`), which have the same columns.

A row holds a picture's bytes, by themselves or as ``{bytes, path}``, and a class: a name, or a number whose name stands
in the file's own metadata (``ClassLabel``) or in `NAMES_FILE`. Needs pyarrow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mien.datasets.arrow_files import ARROW_SUFFIX, ArrowFile, arrow_names, features_beside, opened_arrow
from mien.datasets.class_names import NAMES_FILE, read_names
from mien.datasets.file_rows import FILE_COLUMNS, FileTable, Row
from mien.datasets.file_tables import build_index
from mien.datasets.joined import shard_split
from mien.datasets.origins import ORIGIN_COLUMNS, origin_word
from mien.datasets.picture_finding import Finder
from mien.datasets.pixels import LFS_POINTER
from mien.datasets.splits import folder_split, table_split
from mien.datasets.storage import MAX_IMAGE_BYTES, Blob, Listing, is_hidden, too_large
from mien.datasets.tables import CLASS_COLUMNS, SPLIT_COLUMNS, column_name, place_of
from mien.datasets.tree import Index
from mien.errors import DataError
from mien.labels import canonical
from mien.rowfiles import need_pyarrow

SUFFIX = ".parquet"

BATCH = 256
"""Rows that are read at a time."""

BUFFER = 2**20
"""Bytes of a column that are held at a time; without it pyarrow holds those of a whole row group."""


@dataclass(frozen=True)
class _Columns:
    """Names of the columns that are read, and what the numbers of the classes' column mean, if the file says it."""

    picture: str
    word: str
    split: str | None
    names: tuple[str, ...]
    origin: str | None = None


def parquet_names(root: Path) -> list[str]:
    """The Parquet files in a folder and below, relative to it, but hidden ones; else the Arrow files; sorted."""
    found = (path.relative_to(root) for path in root.rglob(f"*{SUFFIX}") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(map(is_hidden, path.parts))) or arrow_names(root)


def hold_pictures(root: Path, names: Sequence[str]) -> bool:
    """Whether Parquet files hold pictures, or cannot be read to see: not those that img2dataset writes beside its tars.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    shards = Shards(root, names)
    try:
        return any(shards.holds_pictures(name) for name in names)
    except DataError:
        return True


def read_parquet(root: Path, names: Sequence[str], classes: Sequence[str] | None) -> tuple[Index, Shards]:
    """Understand Parquet files as one dataset.

    Args:
        root: the folder that they are in.
        names: of the files, relative to it.
        classes: the class names there may be; None: as `NAMES_FILE` in the folder says, if it is needed.

    Returns:
        The index, without the rows that have no class, and what gives the pictures.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: a file that cannot be read or lacks a column, an unknown class, numbers that nothing names.
    """
    shards = Shards(root, names)
    table = FileTable(Path(names[0]).name, [], [])
    for name in names:
        table.rows.extend(shards.rows(name))
    keys = [row.where for row in table.rows]
    if not keys:
        raise DataError("no rows with a class", list(names))
    names_file = root / NAMES_FILE
    listed = read_names(NAMES_FILE, lambda _: names_file.read_bytes() if names_file.is_file() else None)
    listed = listed if classes is None else tuple(map(canonical, classes))
    index = build_index([(table, Finder(keys, table))], listed, keys)
    return replace(index, format="Arrow" if names[0].endswith(ARROW_SUFFIX) else "Parquet"), shards


class Shards:
    """The pictures of Parquet files, called ``train.parquet#17``; see `mien.datasets.storage.Storage`."""

    kind = ""
    random_access = False

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self.names = tuple(names)
        self._arrow, self._parquet = need_pyarrow("reading .parquet")

    def listing(self) -> Listing:
        """See `Storage.listing`; which rows there are, `read_parquet` says."""
        return Listing(tables=list(self.names))

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of a file that have a class."""
        folder = (self.root.resolve() / name).parent.name  # a file may be a link to a blob, as in the hub's cache
        split = table_split(Path(name).stem) or shard_split(Path(name).stem) or folder_split(folder) or ""
        with self._opened(name) as file:
            columns = _columns(file.schema_arrow, name)
            if not columns.names and name.endswith(ARROW_SUFFIX):
                columns = replace(columns, names=_names_in(features_beside(self.root / name), columns.word))
            wanted = [column for column in (columns.word, columns.split, columns.origin) if column]
            found = file.read(columns=wanted).to_pydict()
        splits = [str(one or "") for one in found[columns.split]] if columns.split else []
        origins = found[columns.origin] if columns.origin else None
        for place, value in enumerate(found[columns.word]):
            word = _word(value, columns.names)
            if word:
                own = splits[place] if splits else split
                origin = origin_word(column_name(columns.origin or ""), _text(origins[place])) if origins else ""
                yield Row(f"{name}#{place}", f"{name}#{place}", word, own, origin)

    def holds_pictures(self, name: str) -> bool:
        """Whether a file has a column of pictures' bytes.

        Raises:
            DataError: it cannot be read.
        """
        with self._opened(name) as file:
            return any(_holds_bytes(one.type) for one in file.schema_arrow)

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """See `Storage.read`."""
        for _, blob in self.blobs([name]):
            data = blob()
            if len(data) > limit:
                raise too_large(limit)
            return data
        raise DataError("is gone")

    def blobs(self, names: Sequence[str]) -> Iterator[tuple[int, Blob]]:
        """See `Storage.blobs`."""
        wanted: dict[str, dict[int, int]] = {}
        for position, name in enumerate(names):
            file, _, row = name.rpartition("#")
            wanted.setdefault(file, {})[int(row)] = position
        for file, places in wanted.items():
            for place, cell in self._cells(file, np.array(sorted(places), np.int64)):
                yield places[place], _blob(cell)

    def _cells(self, name: str, rows: Any) -> Iterator[tuple[int, Any]]:
        """The pictures of these rows, int64 (n,) rising, each as its cell; row groups without one are passed over."""
        with self._opened(name) as file:
            picture = _columns(file.schema_arrow, name).picture
            if isinstance(file, ArrowFile):
                yield from file.cells(picture, rows.tolist())
                return
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            ends = np.cumsum(sizes)
            first = 0
            for group in np.unique(np.searchsorted(ends, rows, side="right")).tolist():
                first = int(ends[group]) - sizes[group]
                for batch in file.iter_batches(BATCH, row_groups=[group], columns=[picture]):
                    inside = rows[(rows >= first) & (rows < first + batch.num_rows)]
                    yield from ((row, batch.column(0)[row - first].as_py()) for row in inside.tolist())
                    first += batch.num_rows

    @contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        is_arrow, path = name.endswith(ARROW_SUFFIX), self.root / name
        try:
            with (
                opened_arrow(self._arrow, path)
                if is_arrow
                else self._parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
            ) as file:
                yield file
        except (self._arrow.ArrowException, OSError) as error:
            kind = "Arrow" if is_arrow else "Parquet"
            raise DataError(f"is no {kind} file that can be read ({self._why(name, error)})", [name]) from error

    def _why(self, name: str, error: Exception) -> str:
        """Why a file cannot be read; after ``git clone`` it may not have been fetched."""
        with suppress(OSError), (self.root / name).open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                return "it is a pointer of Git LFS; git lfs pull fetches the file itself"
        return str(error).partition("\n")[0]


def _blob(cell: Any) -> Blob:
    data = cell.get("bytes") if isinstance(cell, dict) else cell

    def give() -> bytes:
        if data is None:
            raise DataError("holds no picture's bytes")
        return bytes(data)

    return give


def _columns(schema: Any, name: str) -> _Columns:
    """Find the columns of a file.

    Raises:
        DataError: there is none of pictures, or none of classes.
    """
    found = [column_name(column) for column in schema.names]
    pictures = [column for column, field in zip(found, schema, strict=True) if _holds_bytes(field.type)]
    picture = next((column for column in FILE_COLUMNS if column in pictures), next(iter(pictures), None))
    plain = [column if not field.type.num_fields else "" for column, field in zip(found, schema, strict=True)]
    word, split = _class_place(schema, plain), place_of(plain, SPLIT_COLUMNS)
    origin = place_of(plain, tuple(ORIGIN_COLUMNS))
    if picture is None or word is None:
        lacking = "pictures' bytes" if picture is None else f"classes, such as {', '.join(CLASS_COLUMNS[:3])}"
        raise DataError(f"has no column of {lacking}; it has {', '.join(schema.names)}", [name])
    return _Columns(
        picture=schema.names[found.index(picture)],
        word=schema.names[word],
        split=None if split is None else schema.names[split],
        names=_class_label(schema.metadata, schema.names[word]),
        origin=None if origin is None else schema.names[origin],
    )


def _class_place(schema: Any, names: Sequence[str]) -> int | None:
    """Where the column of classes stands: one of names, or of numbers that have some, before one of bare numbers.

    Args:
        schema: of the file.
        names: of its columns, "" for those of no plain values.
    """
    kinds = (*CLASS_COLUMNS, "cls")
    places = [
        names.index(kind) for kind in kinds if kind in names and str(schema.field(names.index(kind)).type) != "bool"
    ]
    named = [
        at for at in places if "string" in str(schema.field(at).type) or _class_label(schema.metadata, schema.names[at])
    ]
    return next(iter(named or places), None)


def _holds_bytes(kind: Any) -> bool:
    """Whether a column's type is bytes, or a struct with a field ``bytes``."""
    if kind.num_fields:
        return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
    return "binary" in str(kind)


def _class_label(metadata: dict[bytes, bytes] | None, column: str) -> tuple[str, ...]:
    """The names that Hugging Face's ``datasets`` wrote beside a column of numbers; none where it did not."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return ()
    return _names_in(features, column)


def _names_in(features: Any, column: str) -> tuple[str, ...]:
    """The names of a ``ClassLabel`` among features; none where the column is no such."""
    try:
        told = features[column]["names"]
    except (KeyError, TypeError):
        return ()
    return tuple(map(str, told)) if isinstance(told, list) else ()


def _word(value: Any, names: Sequence[str]) -> str:
    """A class as text; "" for none, which ``datasets`` writes as -1, and pandas as NaN."""
    if isinstance(value, float) and value.is_integer():  # pandas' numbers where some are missing
        value = int(value)
    if value is None or value in (-1, "") or value != value:
        return ""
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return str(value).strip()


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()
