"""Datasets put together from what was found: the index of image files with their pixels, or tables of pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mien.datasets import cache as cache_files
from mien.datasets.box_rows import BoxIndex
from mien.datasets.contents import hold_file, open_table, read_quietly
from mien.datasets.cutting import CutFiles
from mien.datasets.dataset import Dataset
from mien.datasets.file_tables import listed_names
from mien.datasets.joined import Joined, archives_told
from mien.datasets.listings import file_fingerprint
from mien.datasets.npz import read_npz
from mien.datasets.origins import find_origins
from mien.datasets.packing import unpacked_name
from mien.datasets.pixels import Files, Held
from mien.datasets.storage import (
    Listing,
    Storage,
    base_name,
    decode_names,
    encode_names,
)
from mien.datasets.tables import READING, Table, classes_of, join_tables, read_csv
from mien.datasets.tree import Index
from mien.errors import DataError

FORMATS = {
    "fer2013.csv": "FER2013 CSV",
    "icml_face_data.csv": "ICML CSV",
    "train.csv": "Kaggle CSV",
    "test.csv": "Kaggle CSV",
}
"""What CSV files of these names are called; others are ``CSV``."""


def files_dataset(path: Path, index: Index, files: Listing, storage: Storage) -> Dataset:
    """A dataset of image files."""
    fingerprint = files.fingerprint()
    if isinstance(index, BoxIndex):
        return dataset_of(path, index, CutFiles(storage, index, fingerprint), archives_told(storage))
    if len(index.keys) < len(files.names):  # which of them are read is up to a table, that may change
        fingerprint = hashlib.sha256(fingerprint.encode() + index.keys.tobytes()).hexdigest()
    return dataset_of(path, index, Files(storage, index.keys, fingerprint), archives_told(storage))


def dataset_of(path: Path, index: Index, source: Files | Held, archive: str) -> Dataset:
    """A dataset of an index and its pixels; `archive` is what they are in, in words, "" for none."""
    origins = index.origins or find_origins(decode_names(index.keys).tolist(), index.classes)
    return Dataset(
        path=path,
        format=f"{index.format} in {archive}" if archive else index.format,
        classes=index.classes,
        labels=index.labels,
        splits=index.splits,
        keys=index.keys,
        source=source,
        positions=np.arange(len(index.labels)),
        problems=index.problems,
        targets=index.targets,
        origins=origins,
    )


def open_tables(
    path: Path, names: Sequence[str], storage: Storage, classes: Sequence[str] | None = None, *, cache: bool
) -> Dataset:
    """CSV files that belong together, or one npz file; `storage` holds them.

    Numbers in a CSV file mean what `NAMES_FILE` beside it says, or FER2013's, or `classes` (`Columns.named`).
    """
    if names[0].lower().endswith(".npz"):
        index, images = read_npz(hold_file(storage, names[0]), str(path))
        return dataset_of(path, index, Held(images, _fingerprint(path, names, storage)), archives_told(storage))
    folder = names[0].rpartition("/")[0]
    listed = listed_names(folder, partial(read_quietly, storage))
    fingerprint = f"{_fingerprint(path, names, storage)} {READING} {listed} {classes and tuple(classes)}"
    table = _recall_table(path, fingerprint) if cache else None
    if table is None:
        table = join_tables([_read_csv(storage, name, listed, classes) for name in names])
        if cache:
            _keep_table(path, fingerprint, table)
    words = FORMATS.get(unpacked_name(base_name(names[0])), "CSV")
    labels, classes = classes_of(table.labels)
    index = Index(words, classes, encode_names(table.names.tolist()), labels, table.splits, table.problems)
    return dataset_of(path, index, Held(table.pixels, fingerprint), archives_told(storage))


def _fingerprint(path: Path, names: Sequence[str], storage: Storage) -> str:
    if storage.kind or isinstance(storage, Joined):
        return file_fingerprint(*(storage.archives if isinstance(storage, Joined) else [path]))
    folder = path if path.is_dir() else path.parent
    return file_fingerprint(*(folder / name for name in names))


def _read_csv(storage: Storage, name: str, listed: Sequence[str] | None, classes: Sequence[str] | None) -> Table:
    """Read a CSV file; one on disk line by line, without holding its text."""
    try:
        with open_table(storage, name) as file:
            return read_csv(file, name, listed, classes)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", [name]) from error


def _recall_table(path: Path, fingerprint: str) -> Table | None:
    stored = cache_files.recall(path, "table", fingerprint)
    if stored is None or not {"images", "labels", "splits", "names", "problems"} <= stored.keys():
        return None
    problems = tuple(stored.pop("problems").tolist())
    return Table(pixels=stored.pop("images"), problems=problems, **stored)


def _keep_table(path: Path, fingerprint: str, table: Table) -> None:
    arrays: cache_files.Arrays = {"labels": table.labels, "splits": table.splits, "names": table.names}
    problems = np.array(table.problems, np.str_)
    cache_files.keep(path, "table", fingerprint, {**arrays, "problems": problems}, table.pixels)
