"""Boxes in larger pictures: each that shows an expression becomes one labelled face.

What the files of YOLO, COCO, Pascal VOC and ExpW say is read in a file for each; here it becomes one index.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.datasets.file_rows import FileTable, Row
from mien.datasets.file_tables import check_agreement, class_names, ordered_classes
from mien.datasets.origins import with_column
from mien.datasets.picture_finding import find_pictures
from mien.datasets.schemes import Scheme
from mien.datasets.splits import file_split, folder_split, folders_split, word_split
from mien.datasets.storage import encode_names
from mien.datasets.tables import RowError
from mien.datasets.tree import Index
from mien.errors import DataError
from mien.labels import EXPRESSIONS

Box = tuple[float, float, float, float]
"""Left, upper, right, lower edge: pixels, or shares of the picture's width and height."""


class UnusableError(DataError):
    """Boxes that cannot be used, or show one class only: something else may say what the pictures show."""


@dataclass(frozen=True, kw_only=True)
class BoxRow(Row):
    """One box: what a row of a table of files has, where it is, and the picture's size, (0, 0) where nothing says it.

    Its `split` is empty where the picture's folders are to say it.
    """

    box: Box
    size_wh: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class Boxes:
    """What a reader has found.

    Attributes:
        kind: whose way of writing boxes down it is.
        sources: the files that say what the classes are.
        rows: boxes, those of one picture in their order.
        places: of each row's picture in the listing.
        problems: boxes that cannot be used, each with its reason.
        shares: whether boxes are in shares of the picture rather than pixels.
        scheme: whose numbers the classes are, where that is known.
        passed: what was passed over, in words.
    """

    kind: str
    sources: Sequence[str]
    rows: list[BoxRow] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    shares: bool = False
    scheme: Scheme | None = None
    passed: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxIndex(Index):
    """An index of faces that are parts of pictures.

    Attributes:
        files: bytes (m,), the pictures, relative to the root.
        pictures: int64 (n,), each face's in `files`.
        boxes_xyxy: float32 (n, 4), in pixels or in shares of the picture.
        sizes_wh: int32 (n, 2), of the pictures that the boxes were drawn in; zeros where nothing says it.
        shares: whether boxes are in shares.
    """

    files: NDArray[np.bytes_]
    pictures: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    sizes_wh: NDArray[np.int32]
    shares: bool


def clip(box: Box, width: float, height: float) -> Box:
    """The part of a box that lies in the picture.

    Raises:
        RowError: there is none, or the box is none.
    """
    if not all(map(math.isfinite, box)) or box[2] <= box[0] or box[3] <= box[1]:
        raise RowError("its box has no area")
    x1, y1, x2, y2 = max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height)
    if x2 <= x1 or y2 <= y1:
        raise RowError("its box lies outside the picture")
    return x1, y1, x2, y2


def clip_pixels(box: Box, width: float, height: float) -> Box:
    """The part of a box in pixels that lies in the picture.

    Raises:
        RowError: there is none, the box is none, or it is one in shares of the picture.
    """
    if max(map(abs, box)) <= 1 and not all(edge.is_integer() for edge in box):
        raise RowError("its box lies within one pixel; boxes are in pixels here, not in shares of the picture")
    return clip(box, width, height)


def place_rows(found: Boxes, tables: Sequence[tuple[FileTable, Sequence[BoxRow]]], names: Sequence[str]) -> None:
    """Take the rows whose pictures are there into `found`, and the others as problems.

    Args:
        found: where to.
        tables: where each stands and what split it has, with its boxes, which may name their pictures by any path that
            tables of files may (`mien.datasets.picture_finding.Finder`).
        names: the pictures.

    Raises:
        NoneThereError: not one picture is there.
        DataError: two of the tables name the same picture.
    """
    of_picture: dict[int, str] = {}
    boxes = {table.name: rows for table, rows in tables}
    finders = find_pictures([table for table, _ in tables], names)
    for table, finder in finders:
        places: dict[str, int | str] = {}
        for row in boxes[table.name]:
            place = places.get(row.file)
            if place is None:
                place = places[row.file] = finder.find(row)
            if isinstance(place, str):
                found.problems.append(f"{row.where} ({place})")
            elif of_picture.setdefault(place, table.name) != table.name:
                both = [of_picture[place], table.name]
                raise DataError(f"two files with boxes of one picture, {names[place]}; take one of them away", both)
            else:
                found.rows.append(row)
                found.places.append(place)


def index_boxes(found: Boxes, names: Sequence[str], listed: Sequence[str] | None, root_name: str) -> BoxIndex:
    """Put boxes into one index, in the order of the pictures' names and of the boxes in them.

    Args:
        found: at least one box.
        names: the pictures.
        listed: the class names there may be, in order, where something lists them.
        root_name: name of the folder or archive, which says the split where no folder in it does.

    Raises:
        UnusableError: they are of one class only.
        DataError: a class that is none, numbers that nothing names.
    """
    meaning = class_names(list(found.sources), found.rows, found.scheme, listed)
    present = {name for name in meaning.values() if name}
    classes = ordered_classes(present, found.scheme, listed)
    if len(classes) < 2:
        raise UnusableError(
            f"{found.kind} boxes of one class, {', '.join(present)}: they say where it is, and no expression",
            list(found.sources),
        )
    order = np.argsort(np.array(found.places, np.int64), kind="stable").tolist()
    keys = _keys([found.places[place] for place in order], names)
    kept = [(found.rows[place], found.places[place], key) for place, key in zip(order, keys, strict=True)]
    kept = [(row, place, key) for row, place, key in kept if meaning[row.word]]
    rows = [row for row, _, _ in kept]
    labels = [meaning[row.word] for row in rows]
    splits = _splits(rows, [names[place] for _, place, _ in kept], root_name)
    if classes != EXPRESSIONS:
        check_agreement(labels, splits, [row.where for row in rows])
    used, pictures = np.unique(np.array([place for _, place, _ in kept], np.int64), return_inverse=True)
    return BoxIndex(
        format=f"{found.kind} boxes" + (f" ({found.passed} passed over)" if found.passed else ""),
        classes=classes,
        keys=encode_names([key for _, _, key in kept]),
        labels=np.array([classes.index(label) for label in labels], np.int64),
        splits=np.array(splits, "U7"),
        problems=tuple(found.problems),
        files=encode_names([names[place] for place in used.tolist()]),
        pictures=pictures.astype(np.int64),
        boxes_xyxy=np.array([row.box for row in rows], np.float32).reshape(-1, 4),
        sizes_wh=np.array([row.size_wh for row in rows], np.int32).reshape(-1, 2),
        shares=found.shares,
        origins=with_column([row.origin for row in rows], [key for _, _, key in kept]),
    )


def _keys(places: Sequence[int], names: Sequence[str]) -> list[str]:
    """What each face is called: its picture; of several boxes in one, with its number, as in ``train/1.jpg#2``."""
    counts = Counter(places)
    so_far: Counter[int] = Counter()
    keys = []
    for place in places:
        so_far[place] += 1
        keys.append(f"{names[place]}#{so_far[place]}" if counts[place] > 1 else names[place])
    return keys


def _splits(rows: Sequence[BoxRow], pictures: Sequence[str], root_name: str) -> list[str]:
    """The split of each box: as its row says, else the folders of its picture, else the name of the whole."""
    of_folder: dict[str, str | None] = {}
    splits = []
    for row, picture in zip(rows, pictures, strict=True):
        folder, _, base = picture.rpartition("/")
        if folder not in of_folder:
            of_folder[folder] = folders_split(folder) or folder_split(root_name)
        splits.append((word_split(row.split) if row.split else None) or file_split(base, of_folder[folder]))
    return splits
