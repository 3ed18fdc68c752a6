"""The rows of a table of files: a CSV or TSV file with a column of files and a column of classes.

Columns are found by their names (`FILE_COLUMNS`, and those of `mien.datasets.tables`), in any case and order. What the
rows mean is decided in `mien.datasets.file_tables`.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from mien.datasets.splits import folder_split, table_split
from mien.datasets.storage import base_name
from mien.datasets.tables import (
    CLASS_COLUMNS,
    DELIMITERS,
    MAX_LINE_BYTES,
    SPLIT_COLUMNS,
    Columns,
    column_name,
    place_of,
    whole_number,
)
from mien.errors import DataError
from mien.labels import AFFECTNET_NUMBERS, AFFECTNET_WITHOUT, RAFDB_NUMBERS

FILE_COLUMNS: tuple[str, ...] = (
    *("path", "file", "filename", "file_name", "image", "img", "image_path", "pth", "subdirectory_filepath"),
    *("filepath", "file_path", "img_path", "image_file", "image_name", "img_name", "image_id", "images", "id"),
)
"""What columns of files may be called (`mien.datasets.tables.column_name`); of several the first of these is taken."""

OpenFn = Callable[[str], IO[bytes]]
"""Opens a file of the dataset by its name; raises `DataError` where it cannot be read."""


@dataclass(frozen=True, eq=False)
class Scheme:
    """A dataset whose numbers are known.

    Attributes:
        name: what it is called in words.
        names: what its numbers mean.
        without: numbers of rows to pass over, since they show none of its classes.
    """

    name: str
    names: Mapping[int, str]
    without: Mapping[int, str] = field(default_factory=dict)


AFFECTNET = Scheme("AffectNet", AFFECTNET_NUMBERS, AFFECTNET_WITHOUT)
RAFDB = Scheme("RAF-DB", RAFDB_NUMBERS)

_RAFDB_FILE = re.compile(r"(train|test)_[0-9]{5}_aligned\.[a-z]+", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One row: where it stands, for messages; its file, its class and its split as they are written, "" for none."""

    where: str
    file: str
    word: str
    split: str = ""


@dataclass(frozen=True)
class Header:
    """Where the columns of a table of files stand, from 0, and what stands between them."""

    file: int
    word: int
    split: int | None
    delimiter: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, line: bytes) -> Header | None:
        """Find the columns in a header line; None where it is not that of a table of files."""
        text = line.decode("utf-8-sig", "replace").strip("\r\n")
        for delimiter in DELIMITERS:
            names = _column_names(text, delimiter)
            file, word, split = (place_of(names, kind) for kind in (FILE_COLUMNS, CLASS_COLUMNS, SPLIT_COLUMNS))
            if file is not None and word is not None and "pixels" not in names:
                return cls(file, word, split, delimiter, names)
        return None


@dataclass(frozen=True)
class FileTable:
    """A table of files that was read.

    Attributes:
        name: of its file, relative to the root.
        rows: the good ones.
        problems: the others, each with its reason.
        scheme: whose numbers its classes are, where that is known.
        split: that of all its rows, where its own name or its folder's says one.
    """

    name: str
    rows: list[Row]
    problems: list[str]
    scheme: Scheme | None = None
    split: str | None = None


def _column_names(line: str, delimiter: str) -> tuple[str, ...]:
    try:
        return tuple(column_name(name) for name in next(_reader([line], delimiter), []))
    except csv.Error:
        return ()


def _reader(lines: Iterable[str], delimiter: str) -> Any:
    """`csv.reader`, which refuses quotes that are not closed rather than take the rest of the file for one field."""
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)


def refuse_unknown_columns(name: str, open_fn: OpenFn) -> None:
    """Refuse a table that is neither one of files nor one of pixels, where nothing else says what pictures show.

    Raises:
        DataError: says how it begins.
    """
    try:
        with open_fn(name) as file:
            line = file.readline(MAX_LINE_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read ({error})", [name]) from error
    if Columns.of(line) is None:
        text = line.decode("utf-8-sig", "replace").strip()
        raise DataError(
            "no columns of files and of what they show (such as path,label) in the first line, which begins "
            f"{text[:80]!r}",
            [name],
        )


def is_file_table(name: str, open_fn: OpenFn) -> bool:
    """Whether a file's first line is that of a table of files."""
    try:
        with open_fn(name) as file:
            return Header.of(file.readline(MAX_LINE_BYTES)) is not None
    except (OSError, EOFError, zlib.error):
        return False


def read_table(name: str, open_fn: OpenFn) -> FileTable | None:
    """Read a table of files; None where it is none.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with open_fn(name) as file:
            header = Header.of(file.readline(MAX_LINE_BYTES))
            if header is None:
                return None
            rows, problems = read_rows(file, base_name(name), header)
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"cannot be read ({error})", [name]) from error
    folder, base = posixpath.split(name)
    split = table_split(posixpath.splitext(base)[0]) or folder_split(posixpath.basename(folder))
    return FileTable(name, rows, problems, scheme_of(header, rows), split)


def read_rows(file: IO[bytes], name: str, header: Header) -> tuple[list[Row], list[str]]:
    """Read what follows the header of a table.

    Args:
        file: standing behind its first line.
        name: what messages call it.
        header: where its columns stand.

    Returns:
        The rows, and those that cannot be used, each with its reason.
    """
    rows: list[Row] = []
    problems: list[str] = []
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
    reader = _reader(text, header.delimiter)
    last = max(header.file, header.word, header.split or 0)
    for fields in reader:
        where = f"{name}:{reader.line_num + 1}"
        if not any(one.strip() for one in fields):
            continue
        if len(fields) <= last:
            problems.append(f"{where} ({len(fields)} fields where {last + 1} are expected)")
            continue
        row = Row(where, *_values(fields, header))
        reason = "no file" if not row.file else "no class" if not row.word else ""
        problems.extend([f"{where} ({reason})"] if reason else [])
        rows.extend([] if reason else [row])
    text.detach()
    return rows, problems


def _values(fields: Sequence[str], header: Header) -> tuple[str, str, str]:
    """File, class and split of a row, stripped; a number is written without its point."""
    split = "" if header.split is None else fields[header.split].strip()
    return fields[header.file].strip(), whole_number(fields[header.word].strip()), split


def scheme_of(header: Header, rows: Sequence[Row]) -> Scheme | None:
    """Whose table this is: AffectNet's by the names of its columns, RAF-DB's by the names of its files."""
    if (header.names[header.file], header.names[header.word]) == ("subdirectory_filepath", "expression"):
        return AFFECTNET
    if rows and all(_RAFDB_FILE.fullmatch(base_name(row.file.replace("\\", "/"))) for row in rows):
        return RAFDB
    return None
