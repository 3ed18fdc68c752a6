"""Datasets in one npz file, as `mien.datasets.convert` writes them."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from mien.datasets.dataset import check_labels
from mien.datasets.origins import with_column
from mien.datasets.splits import SPLITS
from mien.datasets.storage import encode_names
from mien.datasets.tree import Index
from mien.errors import DataError, listing, many

NPZ_FIELDS = ("images", "labels", "splits", "names", "classes")
"""The arrays of an npz file, as `mien.datasets.convert` writes them."""

ORIGINS_FIELD = "origins"
"""The array that says whose faces these are (`mien.datasets.origins.origin_word`); it may be missing."""


def read_npz(file: io.BytesIO, name: str) -> tuple[Index, NDArray[np.uint8]]:
    """Read an npz file as `mien.datasets.convert` writes it.

    Returns:
        The index, and uint8 (n, size, size) or (n, size, size, 3).

    Raises:
        DataError: it is damaged, or not such a file.
    """
    try:
        stored = np.load(file, allow_pickle=False)
        if not isinstance(stored, NpzFile):
            raise DataError(f"holds one array, as .npy files do; npz files hold {', '.join(NPZ_FIELDS)}", [name])
        with stored:
            missing = [field for field in NPZ_FIELDS if field not in stored.files]
            if missing:
                raise DataError(
                    f"{name} has the arrays {', '.join(stored.files)}; mien.fit(model, x, y) learns arrays of your "
                    f"own, and files that mien reads hold {', '.join(NPZ_FIELDS)}: it lacks the arrays",
                    missing,
                )
            arrays = {field: np.asarray(stored[field]) for field in NPZ_FIELDS}
            origins = np.asarray(stored[ORIGINS_FIELD]) if ORIGINS_FIELD in stored.files else np.empty(0, np.str_)
    except (OSError, ValueError, EOFError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"npz file is damaged or cut short ({error})", [name]) from error
    images, labels, splits, names, classes = (arrays[field] for field in NPZ_FIELDS)
    _check_npz(images, labels, splits, names, name)
    _check_texts(arrays, name)
    check_labels(labels, tuple(classes.tolist()))
    keys = encode_names(names.tolist())
    told = with_column(origins.tolist(), names.tolist()) if _fits(origins, names) else None
    return Index("npz", tuple(classes.tolist()), keys, labels.astype(np.int64), splits, origins=told), images


def _fits(origins: NDArray[Any], names: NDArray[np.str_]) -> bool:
    """Whether an array says of each face whose it is."""
    return origins.dtype.kind == "U" and origins.shape == names.shape


def _check_texts(arrays: Mapping[str, NDArray[Any]], name: str) -> None:
    """Splits, names and classes are text, and tell faces and labels apart: much is matched by them."""
    others = [field for field in ("splits", "names", "classes") if arrays[field].dtype.kind != "U"]
    if others or arrays["classes"].ndim != 1:
        raise DataError(f"{name}: must be arrays of text, classes a row of it", others or ["classes"])
    for field in ("names", "classes"):
        texts, counts = np.unique(arrays[field], return_counts=True)
        if (counts > 1).any():
            raise DataError(f"{name}: {field} must differ; these stand there twice", texts[counts > 1].tolist())
    unknown = sorted(set(arrays["splits"].tolist()) - set(SPLITS))
    if unknown:
        raise DataError(f"{name}: unknown splits; allowed are {', '.join(SPLITS)}", listing(unknown).split(", "))


def _check_npz(
    images: NDArray[np.generic],
    labels: NDArray[np.generic],
    splits: NDArray[np.str_],
    names: NDArray[np.str_],
    name: str,
) -> None:
    square = images.ndim in (3, 4) and images.shape[1] == images.shape[2] and images.shape[3:] in ((), (1,), (3,))
    if images.dtype != np.uint8 or not square:
        raise DataError(f"images must be uint8 (n, size, size, 1 or 3), found {images.dtype} {images.shape}", [name])
    if labels.dtype.kind != "i" or {labels.shape, splits.shape, names.shape} != {(len(images),)}:
        raise DataError(
            f"labels, splits and names must have one value for each of {many(len(images), 'image')}", [name]
        )
