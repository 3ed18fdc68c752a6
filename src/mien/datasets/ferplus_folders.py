"""FER+ as its authors' program writes it: pictures in ``FER2013Train``, ``FER2013Valid``, ``FER2013Test``, and votes.

Each folder holds ``fer0000017.png`` and so on, and a ``label.csv`` without a header: a picture's name, its box, and the
ten numbers of votes. Names link votes to pictures here, so that no order of rows has to be checked.
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.config import FerPlus
from mien.datasets.class_names import ReadFn
from mien.datasets.ferplus import FERPLUS_CLASSES, majority_labels, soft_labels
from mien.datasets.packing import unpacked_name
from mien.datasets.picture_finding import NoneThereError
from mien.datasets.storage import Listing, base_name, encode_names
from mien.datasets.tables import PIXEL_TABLES
from mien.datasets.tree import Index
from mien.errors import DataError
from mien.labels import FERPLUS_COLUMNS

SPLITS_OF_FOLDERS = {"fer2013train": "train", "fer2013valid": "public", "fer2013test": "private"}
"""Which of FER2013's splits each folder holds, in lower case."""

LABEL_FILE = "label.csv"
"""The file of votes in each folder."""

_VOTES_AT = 2  # behind name and box


@dataclass
class _Found:
    """Pictures with their votes and splits, and what is wrong with the others."""

    names: list[str] = field(default_factory=list)
    counts: list[list[int]] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_ferplus_folders(
    listing: Listing, root_name: str, read_fn: ReadFn, mode: FerPlus = "majority"
) -> tuple[Index, NDArray[np.float32] | None] | None:
    """Understand a listing as FER+'s folders; None where it is something else, or has a CSV of pixels instead.

    Args:
        listing: the files.
        root_name: name of the folder or archive, which may be one of the three.
        read_fn: reads `LABEL_FILE`.
        mode: which votes count, see `mien.datasets.ferplus`.

    Returns:
        The index, with label -1 where the votes give none, and soft targets float32 (n, 8) with ``distribution``.

    Raises:
        NoneThereError: there are votes, but not one picture, and no CSV of pixels either.
        DataError: a file of votes that is no CSV.
    """
    there = set(listing.names)
    found = _Found()
    for name in listing.tables:
        folder = base_name(posixpath.dirname(name)) or root_name
        split = SPLITS_OF_FOLDERS.get(folder.lower())
        if split and base_name(name).lower() == LABEL_FILE:
            _read_folder(found, name, read_fn(name) or b"", split, there)
    pixels = [name for name in listing.tables if unpacked_name(base_name(name)) in PIXEL_TABLES]
    if not found.names and found.problems and not pixels:
        raise NoneThereError(
            "FER+'s folders hold votes, but none of the pictures; its generate_training_data.py makes them from "
            "fer2013.csv, or put that beside fer2013new.csv",
            found.problems,
        )
    if not found.names:
        return None
    order = np.argsort(np.array(found.names), kind="stable")
    counts, splits = np.array(found.counts, np.int64)[order], np.array(found.splits, "U7")[order]
    labels, targets = soft_labels(counts, majority_labels(counts), splits == "train", mode)
    index = Index(
        format=f"FER+ folders ({mode})",
        classes=FERPLUS_CLASSES,
        keys=encode_names([found.names[place] for place in order.tolist()]),
        labels=labels,
        splits=splits,
        problems=tuple(found.problems),
    )
    return index, targets


def _read_folder(found: _Found, name: str, data: bytes, split: str, there: set[str]) -> None:
    for where, cells in _rows(name, data):
        picture = posixpath.join(posixpath.dirname(name), cells[0].strip())
        votes = [cell.strip() for cell in cells[_VOTES_AT:]]
        if picture not in there:
            found.problems.append(f"{where} ({picture} is not there)")
        elif len(votes) != len(FERPLUS_COLUMNS) or not all(vote.isdecimal() and len(vote) <= 6 for vote in votes):
            found.problems.append(f"{where} (votes {','.join(votes)[:60]} are not ten whole numbers)")
        else:
            found.names.append(picture)
            found.counts.append([int(vote) for vote in votes])
            found.splits.append(split)
            there.remove(picture)


def _rows(name: str, data: bytes) -> Iterator[tuple[str, list[str]]]:
    """The rows of a file of votes, each with where it stands."""
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        yield from ((f"{name}:{rows.line_num}", cells) for cells in rows if any(cell.strip() for cell in cells))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read as CSV ({error}); fetch FER+'s {LABEL_FILE} again", [name]) from error
