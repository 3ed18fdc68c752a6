"""Datasets that say what parts of pictures show, by boxes: they are not read, and refused in words of their own."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from mien.datasets.class_names import ReadFn
from mien.datasets.storage import Listing
from mien.errors import DataError

EXPW_LISTS = ("label.lst", "label/label.lst", "../label.lst", "../label/label.lst", "../../label/label.lst")
"""Where ExpW's list may stand, from the folder of its pictures."""


def refuse_boxes(listing: Listing, read_fn: ReadFn) -> None:
    """Refuse a dataset of boxes, where nothing else says what the pictures show.

    Args:
        listing: the files; what stands beside the first picture tells.
        read_fn: reads what may be there.

    Raises:
        DataError: it is one, by YOLO, COCO or Pascal VOC, or ExpW; names the file of its boxes.
    """
    for kind, place in _places(listing.names[0]) if listing.names else ():
        if read_fn(place) is not None:
            raise DataError(
                f"boxes of faces in larger pictures ({kind}) are not read: cut the faces out, and put them in folders "
                "called by what they show (train/happy)",
                [place],
            )


def _places(name: str) -> Iterator[tuple[str, str]]:
    """Where boxes of this picture may stand, each with whose way it is."""
    folder, base = posixpath.split(name)
    stem = posixpath.splitext(base)[0]
    parts = folder.split("/")
    for level, part in enumerate(parts):
        if part.lower() == "images":
            yield "YOLO", "/".join([*parts[:level], "labels", *parts[level + 1 :], f"{stem}.txt"])
    yield "COCO", posixpath.join(folder, "_annotations.coco.json")
    yield "Pascal VOC", posixpath.join(folder, f"{stem}.xml")
    for place in EXPW_LISTS:
        path = posixpath.normpath(posixpath.join(folder, place))
        if not path.startswith(".."):
            yield "ExpW", path
