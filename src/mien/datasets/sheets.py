"""Which faces stand on a contact sheet of a dataset: some of every class, drawn by seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.datasets.conversion import write_png
from mien.datasets.dataset import Dataset, Faces
from mien.drawing import Block, contact_sheet
from mien.errors import UsageError, many
from mien.files import check_writable, replacing
from mien.images import Image
from mien.preprocessing import InputSpec

Augment = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""Changes images uint8 (n, size, size, channels) as training does, by a seed."""

SHEET_SPEC = InputSpec(size=96, channels=3)
"""How faces are read for a sheet."""


def dataset_sheet(
    dataset: Dataset,
    *,
    split: str = "all",
    columns: int = 12,
    rows: int = 3,
    seed: int = 0,
    spec: InputSpec = SHEET_SPEC,
    augment: Augment | None = None,
) -> Image:
    """Draw a contact sheet with a block for each class.

    Args:
        dataset: what to show; only the faces that are shown are read.
        split: which part of it.
        columns: faces in a row.
        rows: rows of each class. With `augment`, the first holds faces as they are, each further one the same
            faces changed anew.
        seed: which faces, and how they are changed.
        spec: size and colour in which faces are read.
        augment: shows what training will see.

    Returns:
        uint8 (height, width, 3) RGB.

    Raises:
        UsageError: there is no such split, or no row.
        DataError: a face to be shown cannot be read.
    """
    if rows < 1:
        raise UsageError(f"rows: must be at least 1, received {rows}")
    shown = dataset.select(split)
    faces = shown.take(_choice(shown, columns if augment else columns * rows, seed)).load(
        spec, skip_bad=True, cache=False
    )
    totals = np.bincount(shown.labels + 1, minlength=len(dataset.classes) + 1)
    blocks = []
    for label, name in enumerate((None, *dataset.classes), start=-1):
        total = int(totals[label + 1])
        if name is not None or total:
            images = _rows(faces.images[faces.labels == label], columns, rows, seed, augment)
            blocks.append(Block(name or "no label", _note(total, augment), images))
    return contact_sheet(blocks, columns=columns)


def _choice(faces: Dataset | Faces, most: int, seed: int) -> NDArray[np.int64]:
    """Up to so many rows of each label, unlabelled ones too."""
    random = np.random.default_rng(seed)
    groups = [random.permutation(np.flatnonzero(faces.labels == label))[:most] for label in np.unique(faces.labels)]
    return np.concatenate(groups) if groups else np.empty(0, np.int64)


def _rows(images: NDArray[np.uint8], columns: int, rows: int, seed: int, augment: Augment | None) -> NDArray[np.uint8]:
    """The pictures of one block: as they are, or a row of them and below it rows of changed ones."""
    if augment is None or not len(images):
        return images
    wanted = [images, *(augment(images, seed + row) for row in range(rows - 1))]
    blank = np.full((columns - len(images), *images.shape[1:]), 255, np.uint8)
    return np.concatenate([part for row in wanted for part in (row, blank)])


def _note(total: int, augment: Augment | None) -> str:
    faces = many(total, "face")
    return f"{faces}; the first row as it is, the others as training sees it" if augment else faces


def check_sheet(path: Path) -> None:
    """Find out before any work is done whether `write_sheet` will be able to write.

    Raises:
        UsageError: the file does not end in ``.png``, or cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"out: contact sheets are .png files, received {path}")
    check_writable(path)


def write_sheet(path: Path, sheet: Image) -> str:
    """Write a sheet as PNG, whole or not at all, in place of one that may be there.

    Returns:
        A line that says where it is and how large.

    Raises:
        UsageError: the file does not end in ``.png``, or cannot be written.
    """
    check_sheet(path)
    with replacing(path) as temporary:
        write_png(temporary, sheet)
    height, width = sheet.shape[:2]
    return f"{path} ({width}x{height})"
