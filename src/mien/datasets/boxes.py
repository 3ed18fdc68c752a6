"""Datasets that say what parts of pictures show, by boxes: whose way of writing them down it is."""

from __future__ import annotations

from collections.abc import Sequence

from mien.datasets.box_rows import BoxIndex
from mien.datasets.class_names import ReadFn
from mien.datasets.coco import read_coco
from mien.datasets.expw import read_expw
from mien.datasets.storage import Listing, ManyFn
from mien.datasets.yolo import read_yolo


def read_noted_boxes(
    listing: Listing, read_fn: ReadFn, many_fn: ManyFn, classes: Sequence[str] | None, root_name: str
) -> BoxIndex | None:
    """Understand a listing by a file that says what its boxes are: ExpW's, COCO's or YOLO's; None where there is none.

    Args:
        listing: the files.
        read_fn: reads one.
        many_fn: reads many small ones.
        classes: the class names there may be; None: as `NAMES_FILE` says, where it is needed.
        root_name: of the folder or archive, which may say the split.

    Raises:
        UnusableError: the boxes cannot be used, as those of one class, or YOLO's whose numbers nothing names.
        DataError: a class that is none.
    """
    return (
        read_expw(listing, read_fn, root_name)
        or read_coco(listing, read_fn, classes, root_name)
        or read_yolo(listing, read_fn, many_fn, classes, root_name)
    )
