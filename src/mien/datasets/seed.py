"""The seed's own way to the data: four arrays."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import Faces
from mien.datasets.facing import Detect, with_faces
from mien.datasets.opening import open_dataset
from mien.datasets.pixels import Progress
from mien.datasets.splits import check_halves
from mien.errors import listing, many
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec, to_input


class _FourArrays(NamedTuple):
    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


class LoadedData(_FourArrays):
    """``x_train, y_train, x_test, y_test``, which also knows the names of the labels.

    Attributes:
        x_train: float32 (n, size, size, channels) in [0, 1].
        y_train: int64 (n,) into `classes`.
        x_test: as `x_train`.
        y_test: as `y_train`.
        classes: names in the order of the labels.
        skipped: files and rows that were left out because they cannot be used, each with its reason.
        without_face: how many images of the dataset have no face that was found, and stay whole; None where faces were
            not looked for.
    """

    classes: tuple[str, ...]
    skipped: tuple[str, ...]
    without_face: int | None

    def __repr__(self) -> str:
        named: dict[str, NDArray[Any]] = {
            "x_train": self.x_train,
            "y_train": self.y_train,
            "x_test": self.x_test,
            "y_test": self.y_test,
        }
        arrays = ", ".join(f"{name} {part.dtype} {part.shape}" for name, part in named.items())
        return f"<LoadedData: {arrays}; {', '.join(self.classes)}>"


def load_data(
    path: str | Path = "FER2013",
    *,
    size: int = 48,
    channels: int = 1,
    detect_faces: Detect = "auto",
    skip_bad: bool = False,
    cache: bool = True,
    progress: Progress | None = None,
) -> LoadedData:
    """Load a dataset as the seed had it, resized and normalised.

    A validation split (``val``) stays apart: it is in neither half; `open_dataset` gives it. The test half is public,
    private and test together. Faces without a label are left out, with a warning that says how many. Seven classes that
    are not `mien.EXPRESSIONS` are told by a warning, as `mien.fit` takes labels for these unless it is given `classes`.

    Args:
        path: a folder, archive, CSV, Parquet or npz file; see docs/data.md.
        size: side in pixels that images are resized to.
        channels: 1 for grey, 3 for RGB.
        detect_faces: whether each image is cut to the largest face that MTCNN finds in it; where it finds none, the
            image stays whole, and a warning says how many. ``auto`` does so for photographs, not for face crops such as
            FER2013's: `mien.datasets.facing.needs_detection`.
        skip_bad: leave out files and rows that cannot be used instead of refusing the whole.
        cache: read decoded faces from the cache, and keep them there.
        progress: called with how many images are done and how many there are, in each pass over them.

    Returns:
        A tuple of four arrays, with attributes of these names.

    Raises:
        UsageError: no such path, or no training or test split.
        DataError: files or rows that cannot be used.
    """
    dataset = open_dataset(path, cache=cache)
    check_halves(dataset.splits)
    dataset, missed = with_faces(dataset, detect_faces, cache=cache, progress=progress)
    if missed:
        warnings.warn(
            f"{missed:,} of {many(len(dataset), 'image')} {'has' if missed == 1 else 'have'} no face that MTCNN "
            "finds: left whole",
            stacklevel=2,
        )
    faces = dataset.load(InputSpec(size, channels), skip_bad=skip_bad, cache=cache, progress=progress)
    halves = [faces.select("train"), faces.select("test")]
    unlabelled = sum(int((half.labels < 0).sum()) for half in halves)
    if unlabelled:
        warnings.warn(
            f"{many(unlabelled, 'face without a label is', 'faces without a label are')} left out", stacklevel=2
        )
    if faces.classes != EXPRESSIONS and len(faces.classes) == len(EXPRESSIONS):  # which `mien.fit` could not notice
        warnings.warn(
            f"the classes are {listing(faces.classes)}, not mien.EXPRESSIONS: give mien.fit classes=data.classes",
            stacklevel=2,
        )
    train, test = (half.labelled() for half in halves)
    loaded = LoadedData(*_arrays(train), *_arrays(test))
    loaded.classes, loaded.skipped, loaded.without_face = faces.classes, faces.skipped, missed
    return loaded


def _arrays(faces: Faces) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return to_input(faces.images), faces.labels
