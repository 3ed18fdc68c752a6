"""YOLO's boxes: a text file for each picture, a line for each box; ``data.yaml`` says what the numbers mean.

``train/images/1.jpg`` and ``train/labels/1.txt``, ``images/train`` and ``labels/train``, ``images`` and ``labels``, or
both files side by side, as Darknet has them. Lines are ``3 0.5 0.5 0.2 0.3``: number of the class, centre, width and
height in shares of the picture; or a polygon's points behind the number, whose bounding box is taken.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from mien.datasets.box_rows import Box, Boxes, BoxIndex, BoxRow, UnusableError, clip, index_boxes
from mien.datasets.class_names import NAMES_FILE, ReadFn, names_by_number
from mien.datasets.file_rows import FileTable, Row
from mien.datasets.picture_finding import NoneThereError, find_pictures
from mien.datasets.splits import folders_split
from mien.datasets.storage import Listing, ManyFn, base_name
from mien.datasets.tables import RowError, whole_number
from mien.datasets.yolo_names import YAML_ENDINGS, Names, find_names
from mien.errors import listing as told
from mien.errors import many
from mien.labels import canonical

IMAGES, LABELS = "images", "labels"
"""Folders that stand for each other, in lower case."""

PROBES = 50
"""So many pictures are looked at to see whether text files stand beside them."""

BEYOND = 0.5
"""Shares may reach so far past the picture; those that reach further are none, but pixels perhaps."""


LONGEST_NUMBER = 20
"""Numbers of classes have fewer digits."""


def read_yolo(
    listing: Listing, read_fn: ReadFn, many_fn: ManyFn, classes: Sequence[str] | None, root_name: str
) -> BoxIndex | None:
    """Understand a listing as YOLO's; None where it is something else.

    Args:
        listing: the files.
        read_fn: reads what may say the classes' names.
        many_fn: reads the text files.
        classes: the class names there may be; they name numbers that nothing else does.
        root_name: of the folder or archive.

    Raises:
        UnusableError: nothing says what the numbers mean, or no line is a box.
        DataError: a class that is none.
    """
    labels = label_folders(listing.folders)
    found = dict(_in_folders(listing.names, labels)) if labels else {}
    aside = bool(found)
    if not aside:
        found = dict(_beside(listing.names))
        if not many_fn(list(found.values())[:: max(1, len(found) // PROBES)]):
            return None
    names = find_names(listing, read_fn, labels)
    if names is None and classes is not None:
        names = Names("", names_by_number(list(map(canonical, classes))))
    texts = many_fn(list(found.values())) if aside or names is not None else {}
    first = next((place for place, data in texts.items() if data.strip()), None)
    if first is None:
        return None
    if names is None:
        raise _nameless(first, [name for name in listing.notes if name.lower().endswith(YAML_ENDINGS)])
    noted = ((at, place, texts.get(place, b"")) for at, place in found.items())
    boxes = read_boxes(noted, listing.names, names, listed_splits(names, listing.names, read_fn))
    if not boxes.rows and aside:
        raise UnusableError("no box can be used", boxes.problems)
    listed = names.listed if classes is None else tuple(map(canonical, classes))
    if not boxes.rows:
        return None
    index = index_boxes(boxes, listing.names, listed, root_name)
    one = names.lost and not any(row.split for row in boxes.rows) and len(set(index.splits.tolist())) == 1
    note = f", of no folder that {names.source} names: all are {index.splits[0]}"
    return replace(index, format=index.format + note) if one else index


def _nameless(place: str, files: Sequence[str]) -> UnusableError:
    """The error for a file of boxes, and YAML files beside it that do not name the classes."""
    mute = f" ({told(files)} has no names: [angry, ...], or is no YAML)" if files else ""
    return UnusableError(
        f"boxes of faces in larger pictures (YOLO) have numbers for classes, and nothing says what these mean{mute}; "
        "name the folder that has data.yaml (names: [angry, ...]), or add that file, or "
        f"{NAMES_FILE} with the name of class 0 on its first line, above their folders",
        [place],
    )


def label_folders(folders: Iterable[str]) -> dict[str, str]:
    """Folders that are called like those of text files, by their names in lower case."""
    return {folder.lower(): folder for folder in folders if base_name(folder).lower() == LABELS}


def _in_folders(names: Sequence[str], labels: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """The place of each picture in a folder beside which one of labels stands, and the name of its text file."""
    for at, name in enumerate(names):
        parts = posixpath.splitext(name)[0].split("/")
        for level in range(len(parts) - 2, -1, -1):
            folder = labels.get("/".join([*parts[:level], LABELS]).lower())
            if folder is not None and parts[level].lower() == IMAGES:
                yield at, "/".join([folder, *parts[level + 1 :]]) + ".txt"
                break


def _beside(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    return ((at, f"{posixpath.splitext(name)[0]}.txt") for at, name in enumerate(names))


def listed_splits(names: Names, pictures: Sequence[str], read_fn: ReadFn) -> dict[int, str]:
    """The splits that lists (``train.txt``) give pictures, by their places, where the folders do not say it.

    Args:
        names: which files are lists.
        pictures: what the pictures are called; a line may name one by any path that tables of files may.
        read_fn: reads a list.
    """
    tables = []
    for place, split in names.lists.items():
        lines = (read_fn(place) or b"").decode("utf-8-sig", "replace").splitlines()
        rows = [Row(f"{place}:{number}", line.strip(), "") for number, line in enumerate(lines, 1) if line.strip()]
        tables += [FileTable(place, rows, [], split=split)] if rows else []
    try:
        there = find_pictures(tables, pictures) if tables else []
    except NoneThereError:
        return {}
    found = [(finder.find(row), table.split or "") for table, finder in reversed(there) for row in table.rows]
    return {
        at: split for at, split in found if isinstance(at, int) and not folders_split(posixpath.dirname(pictures[at]))
    }


def read_boxes(
    texts: Iterable[tuple[int, str, bytes]],
    pictures: Sequence[str],
    names: Names,
    splits: Mapping[int, str] = MappingProxyType({}),
) -> Boxes:
    """Read the text files of pictures.

    Args:
        texts: of each its picture's place, its own name and what it holds; nothing for a picture without boxes.
        pictures: what the pictures are called.
        names: what numbers mean.
        splits: of pictures, by their places, where a list says it.
    """
    found = Boxes("YOLO", [names.source] if names.source else [], shares=True)
    without = 0
    for at, place, data in texts:
        before = len(found.rows) + len(found.problems)
        split = splits.get(at) or names.split_of(pictures[at])
        for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1):
            fields = line.split()
            if fields:
                _read_line(found, fields, f"{place}:{number}", at, names, split, pictures[at])
        without += before == len(found.rows) + len(found.problems)
    return replace(found, passed=f"{many(without, 'picture')} without a box") if without else found


def _read_line(
    found: Boxes, fields: Sequence[str], where: str, at: int, names: Names, split: str, picture: str
) -> None:
    try:
        word = word_of(fields[0], names.words)
        box = clip(box_of(fields[1:], poses=names.poses), 1.0, 1.0)
    except RowError as error:
        found.problems.append(f"{where} ({error})")
    else:
        found.rows.append(BoxRow(where, picture, word, split, box=box))
        found.places.append(at)


def word_of(text: str, words: Mapping[int, str]) -> str:
    """What a line's first number means.

    Raises:
        RowError: it is none, or none that has a name.
    """
    number = whole_number(text) if len(text) < LONGEST_NUMBER else text
    if not number.isdecimal() or len(number) >= LONGEST_NUMBER:
        raise RowError(f"begins with {text[:20]!r}, which is no number of a class")
    if int(number) not in words:
        raise RowError(f"class {int(number)} has no name")
    return words[int(number)]


def box_of(fields: Sequence[str], *, poses: bool = False) -> Box:
    """The box of a line, without its class, in shares of the picture.

    Args:
        fields: centre, width and height, perhaps a score; or x and y of three or more points.
        poses: whether points of a pose follow each box.

    Raises:
        RowError: it is none.
    """
    try:
        values = [float(text) for text in fields]
    except ValueError:
        raise RowError("holds something other than numbers") from None
    if not all(map(math.isfinite, values)):
        raise RowError("holds something other than finite numbers")
    if len(values) in (4, 5) or (poses and len(values) > 5):
        x, y, width, height = values[:4]
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    elif len(values) > 5 and len(values) % 2 == 0:
        box = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
    else:
        raise RowError(f"{many(len(values) + 1, 'field')} where 5 are expected, or a class and the points of a polygon")
    if min(box) < -BEYOND or max(box) > 1 + BEYOND:
        raise RowError("its box is in no shares of the picture, which are from 0 to 1")
    return box
