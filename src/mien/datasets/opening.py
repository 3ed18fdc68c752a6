"""From a path to a dataset: what it is, is found by looking at it."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, get_args

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from mien.config import FerPlus
from mien.datasets import cache as cache_files
from mien.datasets.archives import open_storage
from mien.datasets.dataset import Dataset, check_labels
from mien.datasets.ferplus import MAX_VOTES_BYTES, VOTES_FILE, read_votes, with_votes
from mien.datasets.pixels import Files, Held
from mien.datasets.splits import SPLITS
from mien.datasets.storage import SAMPLE_MARKER, Folder, Listing, Storage, base_name, encode_names, single_file
from mien.datasets.tables import READING, Table, join_tables, read_csv
from mien.datasets.tree import Index, read_tree
from mien.errors import DataError, UsageError, listing, unknown_choice
from mien.labels import EXPRESSIONS

MAX_TABLE_BYTES = 2 * 1024**3
"""A CSV or npz file within an archive may unpack to this much. ``fer2013.csv`` has 301 MB."""

PREFERRED_TABLES: tuple[tuple[str, ...], ...] = (
    ("fer2013.csv",),
    ("icml_face_data.csv",),
    ("train.csv", "test.csv"),
)
"""CSV files that are taken first where a folder holds several; the last two belong together."""

FORMATS = {
    "fer2013.csv": "FER2013 CSV",
    "icml_face_data.csv": "ICML CSV",
    "train.csv": "Kaggle CSV",
    "test.csv": "Kaggle CSV",
}
"""What CSV files of these names are called; others are ``CSV``."""

NPZ_FIELDS = ("images", "labels", "splits", "names", "classes")
"""The arrays of an npz file, as `mien.datasets.convert` writes them."""


def refuse_missing(path: str | Path) -> None:
    """Refuse a path of a dataset at which there is nothing.

    Raises:
        UsageError: names it.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise UsageError(f"no such file or folder: {path}")


def open_dataset(
    path: str | Path, *, classes: Sequence[str] | None = None, ferplus: FerPlus = "none", cache: bool = True
) -> Dataset:
    """Open a dataset of labelled faces without reading its images.

    Args:
        path: a folder, archive, CSV or npz file; see docs/data.md for what each may hold.
        classes: the class names there may be, in order, for trees that mix the seven expressions with others; None: as
            a file ``classes.txt`` beside the class folders says, if they do.
        ferplus: take the labels from FER+'s votes beside ``fer2013.csv``, in eight classes: ``majority``, or
            ``distribution``, which gives Training soft targets too; see `mien.datasets.ferplus`.
        cache: keep what parsing a CSV file or listing an archive gave for the next time.

    Raises:
        UsageError: there is no such path, or it is a file of another kind.
        DataError: it holds no dataset, or a broken one; names the files.
    """
    path = Path(path).expanduser()
    refuse_missing(path)
    try:
        storage = open_storage(path)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", [str(path)]) from error
    if ferplus not in get_args(FerPlus):
        raise unknown_choice("ferplus", ferplus, get_args(FerPlus))
    if ferplus != "none":
        return _open_ferplus(path, storage, ferplus, cache=cache)
    if storage is None:
        return _open_file(path, cache=cache)
    files = _listing(storage, path, cache=cache)
    name = path.resolve().name if path.is_dir() else path.name.split(".")[0]
    index = read_tree(files, name, classes, partial(_bytes_of, storage))
    if index is not None and (path / SAMPLE_MARKER).is_file():
        index = replace(index, format="drawn sample faces")
    if index is not None:
        return _dataset(path, index, Files(storage, index.keys, files.fingerprint()), storage.kind)
    tables = choose_tables(files.tables)
    if not tables:
        raise _nothing_found(path, files)
    return _open_tables(path, tables, storage, cache=cache)


def _bytes_of(storage: Storage, name: str) -> bytes | None:
    """A file's bytes, or None where there is none that can be read."""
    try:
        return storage.read(name)
    except DataError:
        return None


def _nothing_found(path: Path, files: Listing) -> DataError:
    seen = f"its {len(files.names):,} images stand in no class folders" if files.names else "it holds no images"
    return DataError(f"no class folders (such as train/happy) and no CSV of faces found: {seen}", [str(path)])


def _dataset(path: Path, index: Index, source: Files | Held, archive: str) -> Dataset:
    return Dataset(
        path=path,
        format=f"{index.format} in a {archive} archive" if archive else index.format,
        classes=index.classes,
        labels=index.labels,
        splits=index.splits,
        keys=index.keys,
        source=source,
        positions=np.arange(len(index.labels)),
        problems=index.problems,
    )


def _listing(storage: Storage, path: Path, *, cache: bool) -> Listing:
    """List a folder, or an archive: the latter from the cache where it can be, since reading a tar takes long."""
    if not storage.kind or not cache:
        return storage.listing()
    fingerprint = _file_fingerprint(path)
    stored = cache_files.recall(path, "listing", fingerprint)
    if stored is not None and {"names", "stamps", "folders", "tables"} <= stored.keys():
        texts = {field: stored[field].tolist() for field in ("names", "folders", "tables")}
        return Listing(stamps=stored["stamps"], **texts)
    found = storage.listing()
    texts = {field: np.array(getattr(found, field), np.str_) for field in ("names", "folders", "tables")}
    cache_files.keep(path, "listing", fingerprint, {"stamps": found.stamps, **texts})
    return found


def _file_fingerprint(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(single_file(path).tobytes())
    return digest.hexdigest()


def _open_file(path: Path, *, cache: bool) -> Dataset:
    """A CSV or npz file that stands by itself."""
    if path.suffix.lower() not in (".csv", ".npz"):
        raise UsageError(f"not a dataset: {path}; allowed are folders, zip and tar archives, .csv and .npz files")
    return _open_tables(path, [path.name], Folder(path.parent), cache=cache)


def _open_ferplus(path: Path, storage: Storage | None, mode: FerPlus, *, cache: bool) -> Dataset:
    """A CSV file of faces with FER+'s labels, from the votes beside it.

    Raises:
        DataError: one of the two files is not there, or their rows are not of the same faces.
    """
    if storage is None:
        storage, tables = Folder(path.parent), [path.name]
        beside = [name for name in [VOTES_FILE] if (path.parent / name).is_file()]
    else:
        everything = _listing(storage, path, cache=cache).tables
        tables = choose_tables(everything)
        folder = PurePosixPath(tables[0]).parent if tables else None
        beside = [name for name in everything if _is_votes(name) and PurePosixPath(name).parent == folder]
    if not tables or not tables[0].lower().endswith(".csv") or not beside:
        found = f"{listing(tables)}, but no {VOTES_FILE} beside it" if tables else "neither of the two"
        raise DataError(
            f"FER+ needs fer2013.csv and {VOTES_FILE} in one folder, as the order of their rows is all that links "
            f"votes to faces (files of class folders cannot be matched); {path} holds {found}"
        )
    votes = read_votes(_file(storage, beside[0], MAX_VOTES_BYTES).getvalue(), beside[0])
    return with_votes(_open_tables(path, tables, storage, cache=cache), votes, mode, beside[0])


def _is_votes(name: str) -> bool:
    return base_name(name).lower() == VOTES_FILE


def choose_tables(names: Sequence[str]) -> list[str]:
    """Which of a folder's CSV and npz files are the dataset: the known names first, those least deep in folders.

    FER+'s votes are none.

    Raises:
        DataError: there are several and none has a known name.
    """
    names = [name for name in names if not _is_votes(name)]
    by_name: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        by_name.setdefault(base_name(name).lower(), []).append(name)
    for group in PREFERRED_TABLES:
        if group[0] in by_name:
            first = by_name[group[0]][0]
            beside = [name for name in names if PurePosixPath(name).parent == PurePosixPath(first).parent]
            return [first, *(name for name in beside if base_name(name).lower() in group[1:])]
    if len(names) > 1:
        raise DataError("several files could be the dataset; name one of them", sorted(names))
    return list(names)


def _open_tables(path: Path, names: Sequence[str], storage: Storage, *, cache: bool) -> Dataset:
    """CSV files that belong together, or one npz file; `storage` holds them."""
    if names[0].lower().endswith(".npz"):
        index, images = read_npz(_file(storage, names[0]), str(path))
        return _dataset(path, index, Held(images, _fingerprint(path, names, storage)), storage.kind)
    fingerprint = f"{_fingerprint(path, names, storage)} {READING}"
    table = _recall_table(path, fingerprint) if cache else None
    if table is None:
        table = join_tables([_read_csv(storage, name) for name in names])
        if cache:
            _keep_table(path, fingerprint, table)
    words = FORMATS.get(base_name(names[0]).lower(), "CSV")
    index = Index(words, EXPRESSIONS, encode_names(table.names.tolist()), table.labels, table.splits, table.problems)
    return _dataset(path, index, Held(table.pixels, fingerprint), storage.kind)


def _fingerprint(path: Path, names: Sequence[str], storage: Storage) -> str:
    if storage.kind:
        return _file_fingerprint(path)
    folder = path if path.is_dir() else path.parent
    return _file_fingerprint(*(folder / name for name in names))


def _read_csv(storage: Storage, name: str) -> Table:
    """Read a CSV file; one on disk line by line, without holding its text."""
    if not isinstance(storage, Folder):
        return read_csv(_file(storage, name), name)
    try:
        with (storage.root / name).open("rb") as file:
            return read_csv(file, name)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", [name]) from error


def _file(storage: Storage, name: str, limit: int = MAX_TABLE_BYTES) -> io.BytesIO:
    try:
        return io.BytesIO(storage.read(name, limit))
    except DataError as error:
        raise DataError(str(error), [name]) from error


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
                raise DataError(f"{name} lacks the arrays", missing)
            arrays = {field: np.asarray(stored[field]) for field in NPZ_FIELDS}
    except (OSError, ValueError, EOFError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"npz file is damaged or cut short ({error})", [name]) from error
    images, labels, splits, names, classes = (arrays[field] for field in NPZ_FIELDS)
    _check_npz(images, labels, splits, names, name)
    _check_texts(arrays, name)
    check_labels(labels, tuple(classes.tolist()))
    keys = encode_names(names.tolist())
    return Index("npz", tuple(classes.tolist()), keys, labels.astype(np.int64), splits), images


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
        raise DataError(f"labels, splits and names must have one value for each of {len(images):,} images", [name])
