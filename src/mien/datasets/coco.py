"""COCO's boxes: one JSON file names pictures, boxes in them and their categories.

``_annotations.coco.json`` beside the pictures of each split, as Roboflow has it; ``annotations/instances_train.json``
and others like it. Boxes are left, upper, width and height in pixels.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mien.datasets.box_rows import Box, Boxes, BoxIndex, BoxRow, UnusableError, clip_pixels, index_boxes, place_rows
from mien.datasets.class_names import ReadFn
from mien.datasets.file_rows import FileTable
from mien.datasets.file_tables import listed_names
from mien.datasets.splits import folder_split, table_split
from mien.datasets.storage import Listing
from mien.datasets.tables import RowError
from mien.errors import many
from mien.labels import canonical

ENDING = "coco.json"
"""Files that end so are refused where they cannot be read and nothing else says what pictures show; other JSON files
are then something else."""

MAX_FILES = 100
"""Where there are more JSON files that may be COCO's, they are something else: a file for each picture perhaps."""

PARTS = ("images", "annotations", "categories")


def read_coco(listing: Listing, read_fn: ReadFn, classes: Sequence[str] | None, root_name: str) -> BoxIndex | None:
    """Understand a listing as COCO's; None where no JSON file is such.

    Raises:
        UnusableError: a file that cannot be read, or no box that can be used.
        DataError: a class that is none, or no pictures.
    """
    files = [name for name in listing.notes if name.lower().endswith(".json")]
    documents = [] if len(files) > MAX_FILES else [(name, _document(name, read_fn)) for name in files]
    told = [(name, document) for name, document in documents if document is not None]
    if not any(document["annotations"] for _, document in told):
        return None
    found = Boxes("COCO", [name for name, _ in told])
    tables = [(name, list(_rows(name, document, found.problems))) for name, document in told]
    if not any(rows for _, rows in tables):
        raise UnusableError("no box can be used", found.problems or list(found.sources))
    place_rows(
        found,
        [(FileTable(name, list(rows), [], None, _split_of(name)), rows) for name, rows in tables if rows],
        listing.names,
    )
    crowds = sum(_is_crowd(one) for _, document in told for one in document["annotations"])
    found = replace(found, passed=f"{many(crowds, 'box', 'boxes')} of crowds" if crowds else "")
    folder = posixpath.dirname(told[0][0])
    listed = listed_names(folder, read_fn) if classes is None else tuple(map(canonical, classes))
    return index_boxes(found, listing.names, listed, root_name)


def _document(name: str, read_fn: ReadFn) -> dict[str, Any] | None:
    """A file's lists of pictures, boxes and categories; None where it is something else.

    Raises:
        UnusableError: it is called as COCO's are, and is none.
    """
    try:
        document = json.loads(read_fn(name) or b"")
        if isinstance(document, dict) and all(isinstance(document.get(part), list) for part in PARTS):
            return document
        reason = f"lacks one of the lists {', '.join(PARTS)}"
    except (ValueError, RecursionError) as error:
        reason = f"is no JSON: {error}"
    if name.lower().endswith(ENDING):
        raise UnusableError(f"cannot be read as COCO's boxes, as it {reason}", [name])
    return None


def _split_of(name: str) -> str | None:
    """The split that a file's name says, with a year (``instances_val2017``) or without, or its folder's."""
    folder, base = posixpath.split(name)
    stem = re.sub("[0-9]+$", "", posixpath.splitext(base)[0])
    return table_split(stem) or folder_split(posixpath.basename(folder))


def _rows(name: str, document: Mapping[str, Any], problems: list[str]) -> Iterator[BoxRow]:
    """The boxes of a file, in its order; those that cannot be used become problems, those of crowds are left out."""
    pictures = {_key(one): one for one in document["images"] if isinstance(one, dict)}
    words = {_key(one): one.get("name") for one in document["categories"] if isinstance(one, dict)}
    split = _split_of(name) or ""
    for number, annotation in enumerate(document["annotations"], start=1):
        if not _is_crowd(annotation):
            where = f"{name}: annotation {number}"
            try:
                yield row_of(annotation, where, pictures, words, split)
            except RowError as error:
                problems.append(f"{where} ({error})")


def _key(entry: Mapping[str, Any], field: str = "id") -> str:
    """An identity, as text, since some write numbers as texts."""
    return str(entry.get(field))


def _is_crowd(annotation: Any) -> bool:
    return isinstance(annotation, dict) and annotation.get("iscrowd") in (1, True)


def row_of(
    annotation: Any, where: str, pictures: Mapping[str, Mapping[str, Any]], words: Mapping[str, Any], split: str
) -> BoxRow:
    """One box.

    Args:
        annotation: what the file says of it.
        where: what messages call it.
        pictures: by their identities.
        words: the categories' names, by theirs.
        split: of the file.

    Raises:
        RowError: it is no box, or one of no picture or category that the file has.
    """
    if not isinstance(annotation, dict):
        raise RowError("is no annotation")
    picture, word = pictures.get(_key(annotation, "image_id")), words.get(_key(annotation, "category_id"))
    if picture is None or not isinstance(picture.get("file_name"), str) or not picture["file_name"]:
        raise RowError(f"image_id {_key(annotation, 'image_id')[:20]} is that of no picture with a file_name")
    if not isinstance(word, str) or not word.strip():
        raise RowError(f"category_id {_key(annotation, 'category_id')[:20]} is that of no category with a name")
    size = (_length(picture.get("width")), _length(picture.get("height")))
    box = clip_pixels(_box(annotation.get("bbox")), size[0] or math.inf, size[1] or math.inf)
    return BoxRow(where, picture["file_name"], word.strip(), split, box=box, size_wh=size if all(size) else (0, 0))


def _length(value: Any) -> int:
    """A side of a picture in pixels, 0 where it is unknown."""
    return int(value) if isinstance(value, int | float) and 0 < value < 2**31 else 0


def _box(value: Any) -> Box:
    if not isinstance(value, list) or len(value) != 4 or not all(isinstance(one, int | float) for one in value):
        raise RowError("its bbox is no list of 4 numbers")
    try:
        left, upper, width, height = map(float, value)
    except OverflowError:
        raise RowError("its bbox has no such numbers") from None
    return left, upper, left + width, upper + height
