"""CSV files of faces: ``fer2013.csv``, ``icml_face_data.csv`` and Kaggle's ``train.csv`` and ``test.csv``.

One row holds one face on one line, its grey pixels as numbers with spaces between them. Columns are found by their
names, with spaces around them taken off; ``emotion`` and ``Usage`` may be missing, and others may stand beside them,
quoted where they hold commas. Emotions are names, or the numbers of `mien.labels.FER2013_INDICES` and 7 for contempt,
mapped to class names here and nowhere else.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mien.datasets.class_names import NAMES_FILE, names_by_number
from mien.datasets.packing import unpacked_name
from mien.datasets.splits import USAGES, table_split, word_split
from mien.errors import DataError, many
from mien.labels import EXPRESSIONS, FER2013_INDICES, canonical, class_order

FER2013_SIDE = 48
"""Side of FER2013's faces in pixels."""

MAX_LINE_BYTES = 8 * 1024**2
"""No row is longer: 1024 x 1024 pixels of three digits take 4 MB."""

READING = 6
"""Raised when rows are read otherwise, so that tables are not recalled from the cache as they were read before."""

CLASS_COLUMNS: tuple[str, ...] = (
    *("label", "emotion", "expression", "class", "labels", "emotions", "class_name", "label_name", "emotion_label"),
    *("category", "target", "emotion_name", "expression_name", "label_text", "label_str"),
)
SPLIT_COLUMNS: tuple[str, ...] = ("split", "usage", "set", "subset")
"""What columns of classes and splits may be called (`column_name`); where there are several of a kind, the first of
these is taken, in tables of pixels ``emotion`` and ``usage`` before these."""

DELIMITERS = ",;\t"

PIXEL_TABLES = ("fer2013.csv", "icml_face_data.csv")
"""CSV files of these names hold pixels, and FER2013's emotions alone."""

MOST_NUMBER = 255
"""The largest number that a class may have where names are listed for numbers."""

_OF_OTHERS = re.compile(
    r"fer[ _-]?plus|fer\+|2013[ _-]?(?:plus|new)|affect[ _-]?net|raf[ _-]?db|expw(?![a-z])|ck\+|kdef|jaffe",
    re.IGNORECASE,
)
"""Files that are called so may number expressions otherwise than FER2013."""

_WITH_CONTEMPT = (*EXPRESSIONS, "contempt")
_LABELS = {name: label for label, name in enumerate(_WITH_CONTEMPT)}
_ROWS_TO_GUESS_FROM = 64
_FRACTION = re.compile(rb"\.0*(?![0-9.])")
_WHOLE = re.compile(r"([0-9]{1,9})(?:\.0*)?")


@dataclass(frozen=True, eq=False)
class Table:
    """The faces of one or several CSV files.

    Attributes:
        pixels: uint8 (n, side, side).
        labels: int64 (n,) into the seven expressions and contempt behind them; -1 where there is no column of classes.
        splits: (n,).
        names: (n,) ``"fer2013.csv:17"``: file and line.
        problems: rows that cannot be used, with the reason.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    names: NDArray[np.str_]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Columns:
    """Where a CSV file's columns stand, from 0, None where it has no such column; and what stands between them.

    `names` are what its numbers mean from 0 on; none unless it is called ``emotion``. Other files than FER2013's have
    contempt behind its seven, as ``ckextended.csv`` has, which is CK+ in the same form.
    """

    pixels: int
    emotion: int | None
    usage: int | None
    delimiter: bytes = b","
    names: tuple[str, ...] = FER2013_INDICES

    @classmethod
    def of(cls, header: bytes, *, contempt: bool = True) -> Columns | None:
        """Find the columns in a header line; None where there is no column ``pixels``."""
        numbers = (*FER2013_INDICES, "contempt") if contempt else FER2013_INDICES
        for delimiter in DELIMITERS.encode():
            between = bytes([delimiter])
            texts = _fields(header.removeprefix(b"\xef\xbb\xbf"), between)
            names = [column_name(text.decode("utf-8", "replace").strip().strip('"')) for text in texts]
            if "pixels" in names:
                emotion = place_of(names, ("emotion", *CLASS_COLUMNS))
                usage = place_of(names, ("usage", *SPLIT_COLUMNS))
                meaning = numbers if emotion is not None and names[emotion] == "emotion" else ()
                return cls(names.index("pixels"), emotion, usage, between, meaning)
        return None

    def named(self, file: str, listed: Sequence[str] | None, classes: Sequence[str] | None) -> Columns:
        """With what numbers mean in a file of this name: as listed; else FER2013's; else as `classes` has them.

        FER2013's own files are never numbered otherwise. Its numbers they are where the column is called ``emotion``,
        unless the file is called like another dataset.

        Raises:
            DataError: names that are neither expressions nor contempt are listed, or numbers above `MOST_NUMBER`.
        """
        name = unpacked_name(file)
        if self.emotion is None or name in PIXEL_TABLES:
            return self
        own = () if _OF_OTHERS.search(name) else self.names
        listed = classes if listed is None and not own else listed
        if not listed:
            return replace(self, names=own)
        names = {number: canonical(one) for number, one in names_by_number(listed).items()}
        strange = [one for one in names.values() if one not in _LABELS]
        if strange:
            raise DataError(f"classes of a CSV of pixels are expressions; {file}'s are listed to be others", strange)
        if max(names) > MOST_NUMBER:
            raise DataError(f"classes of a CSV of pixels have numbers up to {MOST_NUMBER}; {file}'s go to {max(names)}")
        return replace(self, names=tuple(names.get(number, "") for number in range(max(names) + 1)))

    def __len__(self) -> int:
        """How many fields a row must at least have."""
        return 1 + max(place for place in (self.pixels, self.emotion, self.usage) if place is not None)


def column_name(text: str) -> str:
    """A column's name as it is looked for: ``"image_name"`` for ``" Image Name"``."""
    return text.strip().lower().replace(" ", "_").replace("-", "_")


def place_of(names: Sequence[str], kind: Sequence[str]) -> int | None:
    """Where the first of the names of a kind stands that there is."""
    return next((names.index(name) for name in kind if name in names), None)


class RowError(Exception):
    """Why one row cannot be used."""


@dataclass
class _Rows:
    """The good rows as they come, and what is wrong with the others."""

    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_csv(
    file: IO[bytes], name: str, listed: Sequence[str] | None = None, classes: Sequence[str] | None = None
) -> Table:
    """Read a CSV file of faces.

    Args:
        file: opened for reading bytes.
        name: what messages call it; its stem gives the split where there is no column ``Usage``.
        listed: what its numbers mean by `NAMES_FILE`, as `mien.datasets.class_names.names_by_number` takes it.
        classes: what they mean where neither that says it nor FER2013's own numbers are likely.

    Raises:
        DataError: it has no column ``pixels`` or no row at all. Bad rows are `Table.problems`.
    """
    header = file.readline(MAX_LINE_BYTES)
    base = PurePosixPath(name)
    columns = Columns.of(header, contempt=unpacked_name(base.name) not in PIXEL_TABLES)
    if columns is not None:
        _refuse_class_columns(header, columns, name)
        columns = columns.named(base.name, listed, classes)
    if columns is None:
        raise DataError(
            "no column named pixels in the first line, nor one of files beside one of classes; expected "
            "emotion,pixels,Usage or path,label",
            [name],
        )
    lines = _numbered_lines(file)
    first = list(islice(lines, _ROWS_TO_GUESS_FROM))
    side = _side(columns, [line for _, line in first])
    rows = _Rows()
    split = table_split(PurePosixPath(unpacked_name(base.name)).stem) or "train"
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how numpy says that a text holds no numbers
        for number, line in _chain(first, lines):
            _read_row(rows, line, f"{base.name}:{number}", columns, side, split)
    if not rows.labels and not rows.problems:
        raise DataError("no rows", [name])
    return _table(rows, side)


def _refuse_class_columns(header: bytes, columns: Columns, name: str) -> None:
    """Refuse a table of pixels with a column for each expression and none for all: its faces would have no label.

    Raises:
        DataError: says so.
    """
    texts = (text.decode("utf-8", "replace").strip(' "\r\n') for text in _fields(header, columns.delimiter))
    found = [text for text in texts if canonical(text) in _LABELS]
    if columns.emotion is None and len(found) > 1:
        raise DataError(
            f"a column for each class ({', '.join(found)}) is not read beside pixels; write the class of each row into "
            "one column, emotion",
            [name],
        )


def _chain(first: Iterable[tuple[int, bytes]], rest: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    yield from first
    yield from rest


def _numbered_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Line number, from 2 after the header, and text of every line that is not blank."""
    number = 1
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if not line.isspace():
            yield number, line


def _fields(line: bytes, delimiter: bytes) -> list[bytes]:
    """The fields of a line, quotes and spaces around them still there.

    A line whose last quote is not closed is split at every comma, or what stands in its place.
    """
    pieces = line.split(delimiter)
    # Kaggle quotes the pixels of every row, which hold no comma: then each piece has an even number of quotes.
    if b'"' not in line or not any(piece.count(b'"') % 2 for piece in pieces):
        return pieces
    return _joined_within_quotes(pieces, delimiter) or pieces


def _joined_within_quotes(pieces: Sequence[bytes], delimiter: bytes) -> list[bytes]:
    """The fields that were split at commas within quotes; none where a quote is not closed.

    Not left to `csv.reader`, which refuses fields of more than 128 KiB for the whole process: pixels may take 4 MB.
    """
    fields: list[bytes] = []
    parts: list[bytes] = []
    within = False
    for piece in pieces:
        parts.append(piece)
        within ^= piece.count(b'"') % 2 == 1
        if not within:
            fields.append(delimiter.join(parts))
            parts = []
    return [] if within else fields


def _side(columns: Columns, lines: Sequence[bytes]) -> int:
    """Side of the faces: what most of the first rows hold where that is a square, else FER2013's."""
    counts: Counter[int] = Counter()
    for line in lines:
        fields = _fields(line, columns.delimiter)
        if len(fields) > columns.pixels:
            counts[len(_bare(fields[columns.pixels]).split())] += 1
    most = counts.most_common(1)[0][0] if counts else 0
    side = math.isqrt(most)
    return side if side * side == most and side >= 8 else FER2013_SIDE


def _read_row(rows: _Rows, line: bytes, name: str, columns: Columns, side: int, split: str) -> None:
    fields = [text.strip().strip(b'"') for text in _fields(line, columns.delimiter)]
    try:
        if len(fields) < len(columns):
            raise RowError(f"{many(len(fields), 'field')} where {len(columns)} are expected")
        label = -1 if columns.emotion is None else _label(fields[columns.emotion], columns)
        split = split if columns.usage is None else _usage(fields[columns.usage])
        pixels = _pixels(fields[columns.pixels], side * side)
    except RowError as error:
        rows.problems.append(f"{name} ({error})")
        return
    rows.pixels.append(pixels)
    rows.labels.append(label)
    rows.splits.append(split)
    rows.names.append(name)


def _label(text: bytes, columns: Columns) -> int:
    word = text.decode("utf-8", "replace").strip()
    known = canonical(whole_number(word))
    number = int(known) if _WHOLE.fullmatch(known) else None
    if number is not None and not columns.names:
        raise RowError(
            f"class {word[:20]} is a number, and nothing says what it means; FER2013's are known in a column named "
            f"emotion, others by a file {NAMES_FILE} beside the table"
        )
    known = dict(enumerate(columns.names)).get(number, "") if number is not None else known
    allowed = (*EXPRESSIONS, "contempt") if not columns.names or "contempt" in columns.names else EXPRESSIONS
    if known not in allowed:
        numbers = f"0 to {len(columns.names) - 1} and " if columns.names else ""
        raise RowError(f"emotion {word[:20]!r} has no name; allowed are {numbers}{', '.join(allowed)}")
    return _LABELS[known]


def classes_of(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The labels of a `Table` into classes in order, and these classes: the seven, with contempt where a row has it."""
    if not (labels == _LABELS["contempt"]).any():
        return labels, EXPRESSIONS
    classes = class_order(set(_WITH_CONTEMPT))
    order = np.array([*(classes.index(name) for name in _WITH_CONTEMPT), -1])  # -1, no label, takes the last
    return order[labels], classes


def whole_number(word: str) -> str:
    """``"3"`` for ``"3.0"`` or ``"03"``, as tables write numbers; any other word as it is."""
    match = _WHOLE.fullmatch(word)
    return str(int(match[1])) if match else word


def _usage(text: bytes) -> str:
    word = text.decode("utf-8", "replace").strip()
    split = word_split(word)
    if split is None:
        raise RowError(f"unknown Usage {word[:20]!r}; allowed are {', '.join(USAGES)}")
    return split


def _bare(text: bytes) -> bytes:
    """Pixels without the brackets and commas with which lists are written."""
    inner = text.strip().strip(b'"').strip()
    return inner[1:-1].replace(b",", b" ") if inner[:1] == b"[" and inner[-1:] == b"]" else text


def _pixels(text: bytes, expected: int) -> NDArray[np.uint8]:
    """uint8 (expected,) from ``"70 80 82"``, ``"[70, 80, 82]"`` or ``"70.0 80.0 82.0"``.

    Relies on DeprecationWarning being an error while it runs.
    """
    text = _FRACTION.sub(b"", _bare(text))
    try:
        values = np.fromstring(text, np.int64, sep=" ") if text.strip() else np.empty(0, np.int64)
    except (DeprecationWarning, ValueError):
        raise RowError("pixels that are not whole numbers from 0 to 255") from None
    if len(values) != expected:
        raise RowError(f"{many(len(values), 'pixel')} where {expected:,} are expected")
    if values.min() < 0 or values.max() > 255:
        raise RowError(f"pixel values from {values.min()} to {values.max()}; allowed are 0 to 255")
    return values.astype(np.uint8)


def _table(rows: _Rows, side: int) -> Table:
    pixels = np.stack(rows.pixels) if rows.pixels else np.empty((0, side * side), np.uint8)
    return Table(
        pixels=pixels.reshape(-1, side, side),
        labels=np.array(rows.labels, np.int64),
        splits=np.array(rows.splits, np.str_),
        names=np.array(rows.names, np.str_),
        problems=tuple(rows.problems),
    )


def join_tables(tables: Sequence[Table]) -> Table:
    """Put Kaggle's ``train.csv`` and ``test.csv`` into one table.

    Raises:
        DataError: their faces differ in size.
    """
    sides = {table.pixels.shape[1] for table in tables if len(table.pixels)}
    if len(sides) > 1:
        raise DataError(f"faces of different sizes in the CSV files: {sorted(sides)} pixels")
    filled = [table for table in tables if len(table.pixels)] or list(tables[:1])
    return Table(
        pixels=np.concatenate([table.pixels for table in filled]),
        labels=np.concatenate([table.labels for table in filled]),
        splits=np.concatenate([table.splits for table in filled]),
        names=np.concatenate([table.names for table in filled]),
        problems=tuple(problem for table in tables for problem in table.problems),
    )
