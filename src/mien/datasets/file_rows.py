"""The rows of a table of files: a CSV or TSV file with a column of files and a column of classes.

Columns are found by their names (`FILE_COLUMNS`, and those of `mien.datasets.tables`), in any case and order. What the
rows mean is decided in `mien.datasets.file_tables`.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from mien.datasets.class_names import EXTRA_EXPRESSIONS
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
from mien.errors import DataError
from mien.labels import (
    AFFECTNET_NUMBERS,
    AFFECTNET_WITHOUT,
    CKPLUS_NUMBERS,
    EXPRESSIONS,
    EXPW_NUMBERS,
    RAFDB_NUMBERS,
    canonical,
)

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
CKPLUS = Scheme("CK+", CKPLUS_NUMBERS)
EXPW = Scheme("ExpW", EXPW_NUMBERS)

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
    """Where the columns of a table of files stand, from 0, and what stands between them.

    `word` is None where each class has a column of its own, 1 in the rows that show it and 0 in the others.
    """

    file: int
    word: int | None
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
            told = word is not None or sum(map(_is_class, names)) > 1
            if file is not None and told and "pixels" not in names:
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


def _is_class(column: str) -> bool:
    """Whether a column is called like an expression."""
    return canonical(column) in EXPRESSIONS or canonical(column) in EXTRA_EXPRESSIONS


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

    Raises:
        DataError: says how it begins.
    """
    try:
        with open_fn(name) as file:
            line = file.readline(MAX_LINE_BYTES)
    except OSError as error:
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
    except OSError:
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
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot be read ({error})", [name]) from error
    return FileTable(name, rows, problems, scheme_of(header, rows), split_of_table(name))


def split_of_table(name: str) -> str | None:
    """The split that a table's own name or its folder's says."""
    folder, base = posixpath.split(name)
    return table_split(posixpath.splitext(base)[0]) or folder_split(posixpath.basename(folder))


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
    lines, last = [], max(header.file, header.word or 0, header.split or 0)
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
    reader = csv_reader(text, header.delimiter)
    for fields in reader:
        if len(fields) > last:
            lines.append((f"{name}:{reader.line_num + 1}", [one.strip() for one in fields]))
        elif any(one.strip() for one in fields):
            problems.append(f"{name}:{reader.line_num + 1} ({len(fields)} fields where {last + 1} are expected)")
    text.detach()
    marks = _class_columns(header, [fields for _, fields in lines]) if header.word is None else ()
    for where, fields in lines:
        if not any(fields):
            continue
        try:
            rows.append(Row(where, *_values(fields, header, marks)))
        except RowError as error:
            problems.append(f"{where} ({error})")
    return rows, problems


def _values(fields: Sequence[str], header: Header, marks: Sequence[int]) -> tuple[str, str, str]:
    """File, class and split of a row; a number is written without its point.

    Raises:
        RowError: it names no file or no class.
    """
    if not fields[header.file]:
        raise RowError("no file")
    word = _marked(fields, header, marks) if header.word is None else whole_number(fields[header.word])
    if not word:
        raise RowError("no class")
    return fields[header.file], word, "" if header.split is None else fields[header.split]


def _class_columns(header: Header, lines: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Columns that each stand for a class: those called like expressions, and others of nothing but 0 and 1.

    The others are none (``male``) where each row has one expression without them.
    """
    named = [place for place, name in enumerate(header.names) if _is_class(name)]
    if all([_mark(fields, place) for place in named].count("1") == 1 for fields in lines):
        return tuple(named)
    others = [place for place, name in enumerate(header.names) if name and place not in (header.file, header.split)]
    return tuple(
        place
        for place in others
        if place in named or all(_mark(fields, place) in ("0", "1") for fields in lines if place < len(fields))
    )


def _mark(fields: Sequence[str], place: int) -> str:
    """What a column of a class says in a row, in the words of pandas too; "" where the row ends before it."""
    text = fields[place] if place < len(fields) else ""
    return {"true": "1", "false": "0"}.get(text.lower()) or whole_number(text)


def _marked(fields: Sequence[str], header: Header, marks: Sequence[int]) -> str:
    """The class whose column is 1."""
    if len(fields) <= marks[-1]:
        raise RowError(f"{len(fields)} fields where {marks[-1] + 1} are expected")
    values = [_mark(fields, place) for place in marks]
    if not {*values} <= {"0", "1"}:
        raise RowError("columns of classes that are neither 0 nor 1")
    if values.count("1") != 1:
        raise RowError(f"{values.count('1')} columns of classes are 1, where one is expected")
    return header.names[marks[values.index("1")]]


def scheme_of(header: Header, rows: Sequence[Row]) -> Scheme | None:
    """Whose table this is: AffectNet's by the names of its columns, RAF-DB's by the names of its files."""
    word = "" if header.word is None else header.names[header.word]
    if (header.names[header.file], word) == ("subdirectory_filepath", "expression"):
        return AFFECTNET
    if rows and all(_RAFDB_FILE.fullmatch(base_name(row.file.replace("\\", "/"))) for row in rows):
        return RAFDB
    return None
