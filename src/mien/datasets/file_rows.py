"""The rows of a table of files: a CSV or TSV file, or JSON Lines, with a column of files and a column of classes.

Columns are found by their names (`FILE_COLUMNS`, and those of `mien.datasets.tables`), in any case and order. What the
rows mean is decided in `mien.datasets.file_tables`.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

from mien.datasets.class_columns import Votes, is_class, word_reader
from mien.datasets.class_names import mostly_expressions, telling
from mien.datasets.origins import ORIGIN_COLUMNS, origin_word
from mien.datasets.record_rows import LINES_ENDING, is_record_table, read_records
from mien.datasets.schemes import AFFECTNET, RAFDB, Scheme
from mien.datasets.splits import folder_split, table_split
from mien.datasets.storage import base_name
from mien.datasets.tables import (
    CLASS_COLUMNS,
    DELIMITERS,
    MAX_LINE_BYTES,
    SPLIT_COLUMNS,
    Columns,
    RowError,
    column_name,
    place_of,
    whole_number,
)
from mien.errors import DataError, many
from mien.labels import canonical

FILE_COLUMNS: tuple[str, ...] = (
    *("path", "file", "filename", "file_name", "image", "img", "image_path", "pth", "subdirectory_filepath"),
    *("filepath", "file_path", "img_path", "image_file", "image_name", "img_name", "image_id", "images", "id"),
)
"""What columns of files may be called (`mien.datasets.tables.column_name`); of several the first of these is taken."""

OpenFn = Callable[[str], IO[bytes]]
"""Opens a file of the dataset by its name; raises `DataError` where it cannot be read."""

WordFn = Callable[[Sequence[str]], tuple[str, Votes]]
"""Gives the class of a row from its values, and its votes; raises `RowError` where there is none."""

_RAFDB_FILE = re.compile(r"(train|test)_[0-9]{5}_aligned\.[a-z]+", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One row: where it stands, for messages; its file, its class and its split as they are written.

    The class is "" where people's votes settle on none, the split where there is none; `origin` is who or what the face
    is of (`mien.datasets.origins.origin_word`), "" where nothing says it; `votes` are there where columns hold them.
    """

    where: str
    file: str
    word: str
    split: str = ""
    origin: str = ""
    votes: Votes = ()


@dataclass(frozen=True)
class Header:
    """Where the columns of a table of files stand, from 0, and what stands between them.

    `word` is None where each class has a column of its own (`mien.datasets.class_columns`).
    """

    file: int
    word: int | None
    split: int | None
    delimiter: str
    names: tuple[str, ...]
    origin: int | None = None

    @classmethod
    def of(cls, line: bytes) -> Header | None:
        """Find the columns in a header line; None where it is not that of a table of files."""
        text = line.decode("utf-8-sig", "replace").strip("\r\n")
        found = (cls.of_names(_column_names(text, delimiter), delimiter) for delimiter in DELIMITERS)
        return next((header for header in found if header is not None), None)

    @classmethod
    def of_names(cls, names: tuple[str, ...], delimiter: str = "") -> Header | None:
        """Find the columns among names; None where they are not those of a table of files."""
        file, word, split = (place_of(names, kind) for kind in (FILE_COLUMNS, CLASS_COLUMNS, SPLIT_COLUMNS))
        told = word is not None or sum(map(is_class, names)) > 1
        if file is None or not told or "pixels" in names:
            return None
        return cls(file, word, split, delimiter, names, place_of(names, tuple(ORIGIN_COLUMNS)))

    def settled(self, lines: Sequence[Sequence[str]]) -> Header:
        """With that of several columns of classes that says what faces show, once the rows are known."""
        places = {name: self.names.index(name) for name in CLASS_COLUMNS if name in self.names}
        if self.word is None or len(places) < 2:
            return self
        words = {name: {row[at] for row in lines if at < len(row)} for name, at in places.items()}
        return replace(self, word=places[telling(words) or self.names[self.word]])

    def origin_of(self, fields: Sequence[str]) -> str:
        """Who or what a row's face is of, "" where nothing says it."""
        told = self.origin is not None and self.origin < len(fields)
        return origin_word(self.names[self.origin], fields[self.origin]) if told and self.origin is not None else ""


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
        return tuple(column_name(name) for name in next(csv_reader([line], delimiter), []))
    except csv.Error:
        return ()


def csv_reader(lines: Iterable[str], delimiter: str) -> Any:
    """`csv.reader`, which refuses quotes that are not closed rather than take the rest of the file for one field."""
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)


def refuse_unknown_columns(name: str, open_fn: OpenFn) -> None:
    """Refuse a table that is neither one of files nor one of pixels, where nothing else says what pictures show.

    JSON Lines and Parquet, which may be of anything, are not.

    Raises:
        DataError: says how it begins.
    """
    if is_record_table(name):
        return
    line = _first_line(name, open_fn)
    if Columns.of(line) is None:
        text = line.decode("utf-8-sig", "replace").strip()
        raise DataError(
            "no columns of files and of what they show (such as path,label) in the first line, which begins "
            f"{text[:80]!r}",
            [name],
        )


def _first_line(name: str, open_fn: OpenFn) -> bytes:
    try:
        with open_fn(name) as file:
            return file.readline(MAX_LINE_BYTES)
    except OSError as error:
        raise DataError(f"cannot be read ({error})", [name]) from error


def holds_pixels(name: str, open_fn: OpenFn) -> bool:
    """Whether a file's first line is that of a table of pixels.

    Raises:
        DataError: it cannot be read.
    """
    return Columns.of(_first_line(name, open_fn)) is not None


def is_file_table(name: str, open_fn: OpenFn) -> bool:
    """Whether a file is a table of files, by its first line where it is text in columns."""
    if is_record_table(name):
        return read_table(name, open_fn) is not None
    try:
        with open_fn(name) as file:
            return Header.of(file.readline(MAX_LINE_BYTES)) is not None
    except OSError:
        return False


def read_table(name: str, open_fn: OpenFn) -> FileTable | None:
    """Read a table of files; None where it is none.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with open_fn(name) as file:
            found = _read_records(file, name) if is_record_table(name) else _read_text(file, base_name(name))
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot be read ({error})", [name]) from error
    if found is None:
        return None
    header, rows, problems = found
    return FileTable(name, rows, problems, scheme_of(header, rows), split_of_table(name))


def split_of_table(name: str) -> str | None:
    """The split that a table's own name or its folder's says."""
    folder, base = posixpath.split(name)
    return table_split(posixpath.splitext(base)[0]) or folder_split(posixpath.basename(folder))


def may_be_of_anything(name: str, open_fn: OpenFn) -> bool:
    """Whether a file is JSON Lines that are neither called ``metadata.jsonl`` nor mostly of expressions.

    Raises:
        DataError: it cannot be read.
    """
    if not name.lower().endswith(LINES_ENDING) or base_name(name).lower() == f"metadata{LINES_ENDING}":
        return False
    table = read_table(name, open_fn)
    return table is None or not mostly_expressions({canonical(row.word) for row in table.rows})


def _read_records(file: IO[bytes], name: str) -> tuple[Header, list[Row], list[str]] | None:
    """The rows of JSON Lines or Parquet; None where they are no table of files."""
    records = read_records(file, name, lambda names: Header.of_names(names) is not None)
    header = Header.of_names(records.names)
    if header is None:
        return None
    rows, problems = _rows(records.lines, header)
    return header, rows, records.problems + problems


def _read_text(file: IO[bytes], name: str) -> tuple[Header, list[Row], list[str]] | None:
    """The rows of text in columns; None where it is no table of files."""
    header = Header.of(file.readline(MAX_LINE_BYTES))
    return None if header is None else (header, *read_rows(file, name, header))


def read_rows(file: IO[bytes], name: str, header: Header) -> tuple[list[Row], list[str]]:
    """Read what follows the header of a table.

    Args:
        file: standing behind its first line.
        name: what messages call it.
        header: where its columns stand.

    Returns:
        The rows, and those that cannot be used, each with its reason.
    """
    problems: list[str] = []
    lines, last = [], max(header.file, header.word or 0, header.split or 0)
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
    reader = csv_reader(text, header.delimiter)
    for fields in reader:
        if len(fields) > last:
            lines.append((f"{name}:{reader.line_num + 1}", [one.strip() for one in fields]))
        elif any(one.strip() for one in fields):
            problems.append(
                f"{name}:{reader.line_num + 1} ({many(len(fields), 'field')} where {last + 1} are expected)"
            )
    text.detach()
    rows, others = _rows(lines, header)
    return rows, problems + others


def _rows(lines: Sequence[tuple[str, Sequence[str]]], header: Header) -> tuple[list[Row], list[str]]:
    """The rows, and those that cannot be used, each with its reason.

    Args:
        lines: where each stands, and its values.
        header: where the columns stand.
    """
    rows: list[Row] = []
    problems: list[str] = []
    header = header.settled([fields for _, fields in lines])
    word_fn: WordFn = partial(_word, header)
    if header.word is None:
        word_fn = word_reader(header.names, [fields for _, fields in lines], (header.file, header.split))
    for where, fields in lines:
        if not any(fields):
            continue
        try:
            rows.append(_row(where, fields, header, word_fn))
        except RowError as error:
            problems.append(f"{where} ({error})")
    return rows, problems


def _row(where: str, fields: Sequence[str], header: Header, word_fn: WordFn) -> Row:
    """What a row's values say.

    Raises:
        RowError: it names no file or no class.
    """
    if not fields[header.file]:
        raise RowError("no file")
    split = "" if header.split is None else fields[header.split]
    word, votes = word_fn(fields)
    return Row(where, fields[header.file], word, split, header.origin_of(fields), votes)


def _word(header: Header, fields: Sequence[str]) -> tuple[str, Votes]:
    """The class in a row's column, and no votes; a number is written without its point."""
    word = "" if header.word is None else whole_number(fields[header.word])
    if not word:
        raise RowError("no class")
    return word, ()


def scheme_of(header: Header, rows: Sequence[Row]) -> Scheme | None:
    """Whose table this is: AffectNet's by the names of its columns, RAF-DB's by the names of its files."""
    word = "" if header.word is None else header.names[header.word]
    if (header.names[header.file], word) == ("subdirectory_filepath", "expression"):
        return AFFECTNET
    if rows and all(_RAFDB_FILE.fullmatch(base_name(row.file.replace("\\", "/"))) for row in rows):
        return RAFDB
    return None
