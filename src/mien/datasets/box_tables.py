"""Tables of boxes: each row names a picture beside the table, a box in it by its corners, and what it shows.

Roboflow's ``_annotations.csv`` is one: ``filename,width,height,class,xmin,ymin,xmax,ymax``.
"""

from __future__ import annotations

import csv
import io
import math
import posixpath
from collections.abc import Iterator, Sequence
from typing import IO

from mien.datasets.box_rows import Boxes, BoxIndex, BoxRow, UnusableError, clip_pixels, index_boxes, place_rows
from mien.datasets.class_names import ReadFn
from mien.datasets.file_rows import FileTable, Header, OpenFn, csv_reader, split_of_table
from mien.datasets.file_tables import listed_names
from mien.datasets.splits import word_split
from mien.datasets.storage import Listing, base_name
from mien.datasets.tables import MAX_LINE_BYTES, RowError, whole_number
from mien.errors import DataError, many
from mien.labels import canonical

CORNERS = ("xmin", "ymin", "xmax", "ymax")
"""Columns of a box, in pixels."""

SIZES = ("width", "height")
"""Columns of the picture's size, which may be missing."""


def read_box_tables(
    listing: Listing,
    names: Sequence[str],
    open_fn: OpenFn,
    classes: Sequence[str] | None,
    read_fn: ReadFn,
    root_name: str,
) -> BoxIndex | None:
    """Understand tables as lists of boxes in the pictures beside them; None where none of them is such.

    Args:
        listing: the pictures.
        names: tables to look at, relative to the root.
        open_fn: opens one of them.
        classes: the class names there may be; None: as `NAMES_FILE` beside the table says, if it does.
        read_fn: reads that.
        root_name: of the folder or archive.

    Raises:
        NoneThereError: there are such tables, and none of their pictures.
        UnusableError: no box can be used, or they are of one class.
        DataError: a class that is none.
    """
    found = Boxes("table of", [])
    tables = [(name, rows) for name in names if (rows := _read(name, open_fn, found.problems)) is not None]
    if not tables:
        return None
    if not any(rows for _, rows in tables):
        raise UnusableError("no box can be used", found.problems or [name for name, _ in tables])
    place_rows(
        found,
        [(FileTable(name, list(rows), [], None, split_of_table(name)), rows) for name, rows in tables if rows],
        listing.names,
    )
    told = Boxes(found.kind, [name for name, _ in tables], found.rows, found.places, found.problems)
    folder = posixpath.dirname(tables[0][0])
    listed = listed_names(folder, read_fn) if classes is None else tuple(map(canonical, classes))
    return index_boxes(told, listing.names, listed, root_name)


def _read(name: str, open_fn: OpenFn, problems: list[str]) -> list[BoxRow] | None:
    """A table's boxes; None where it is no table of boxes. Rows that cannot be used become problems."""
    try:
        with open_fn(name) as file:
            header = _header(file)
            return None if header is None else list(read_rows(file, name, header, problems))
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot be read ({error})", [name]) from error


def _header(file: IO[bytes]) -> Header | None:
    """The columns of a table of boxes; None where it is none."""
    header = Header.of(file.readline(MAX_LINE_BYTES))
    told = header is not None and header.word is not None and set(CORNERS) <= set(header.names)
    return header if told else None


def is_box_table(name: str, open_fn: OpenFn) -> bool:
    """Whether a file's first line is that of a table of boxes.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with open_fn(name) as file:
            return _header(file) is not None
    except OSError as error:
        raise DataError(f"cannot be read ({error})", [name]) from error


def read_rows(file: IO[bytes], name: str, header: Header, problems: list[str]) -> Iterator[BoxRow]:
    """Read what follows the header of a table of boxes.

    Args:
        file: standing behind its first line.
        name: the table's, relative to the root.
        header: where its columns stand.
        problems: gets the rows that cannot be used, each with its reason.
    """
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
    reader = csv_reader(text, header.delimiter)
    split = split_of_table(name) or ""
    for fields in reader:
        where = f"{base_name(name)}:{reader.line_num + 1}"
        try:
            if any(one.strip() for one in fields):
                yield _row([one.strip() for one in fields], where, header, split)
        except RowError as error:
            problems.append(f"{where} ({error})")
    text.detach()


def _row(fields: Sequence[str], where: str, header: Header, split: str) -> BoxRow:
    if len(fields) < len(header.names):
        raise RowError(f"{many(len(fields), 'field')} where {len(header.names)} are expected")
    word = whole_number(fields[header.word or 0])
    if not fields[header.file] or not word:
        raise RowError("no class" if fields[header.file] else "no file")
    x1, y1, x2, y2 = (_number(fields[header.names.index(name)]) for name in CORNERS)
    known = set(SIZES) <= set(header.names)
    width, height = (int(_number(fields[header.names.index(name)])) if known else 0 for name in SIZES)
    size = (width, height) if 0 < width < 2**31 and 0 < height < 2**31 else (0, 0)
    box = clip_pixels((x1, y1, x2, y2), size[0] or math.inf, size[1] or math.inf)
    own = "" if header.split is None else fields[header.split]
    if own and word_split(own) is None:
        raise RowError(f"unknown split {own[:20]!r}")
    return BoxRow(where, fields[header.file], word, own or split, header.origin_of(fields), box=box, size_wh=size)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RowError("its box or size holds something other than numbers")
    return value
