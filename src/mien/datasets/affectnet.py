"""AffectNet as its makers hand it out since 2021: ``train_set/images/7.jpg`` and ``train_set/annotations/7_exp.npy``.

Its older lists (``training.csv``) are tables of files, and are read by `mien.datasets.file_tables`.
"""

from __future__ import annotations

import io
import posixpath

import numpy as np

from mien.datasets.file_rows import FileTable, Row
from mien.datasets.file_tables import build_index
from mien.datasets.picture_finding import Finder
from mien.datasets.schemes import AFFECTNET
from mien.datasets.storage import Listing, ManyFn, base_name
from mien.datasets.tree import Index

IMAGES, ANNOTATIONS = "images", "annotations"
"""The two folders that stand side by side, one file of the latter's for each picture of the former's."""


def read_affectnet(listing: Listing, many_fn: ManyFn) -> Index | None:
    """Understand a listing as AffectNet's folders; None where it is something else.

    Raises:
        DataError: numbers that are not AffectNet's.
    """
    parents = {
        posixpath.dirname(folder)
        for folder in listing.folders
        if base_name(folder) == ANNOTATIONS and posixpath.join(posixpath.dirname(folder), IMAGES) in listing.folders
    }
    if not parents:
        return None
    beside: dict[str, str] = {}
    for name in listing.names:
        folder, base = posixpath.split(name)
        parent = posixpath.dirname(folder)
        if base_name(folder) == IMAGES and parent in parents:
            beside[name] = posixpath.join(parent, ANNOTATIONS, f"{posixpath.splitext(base)[0]}_exp.npy")
    data = many_fn(list(beside.values()))
    table = FileTable("", [], [], AFFECTNET)
    for name, place in beside.items():
        word = read_number(data.get(place))
        if word:
            table.rows.append(Row(place, name, word))
        else:
            table.problems.append(f"{name} ({place} is not there, or holds no number)")
    return build_index([(table, Finder(listing.names, table))], None, listing.names) if table.rows else None


def read_number(data: bytes | None) -> str:
    """The number of an expression that a file of NumPy holds, as text or as a number; "" for none."""
    try:
        return str(int(np.lib.format.read_array(io.BytesIO(data or b""), allow_pickle=False).item()))
    except (EOFError, MemoryError, OverflowError, TypeError, ValueError):
        return ""
