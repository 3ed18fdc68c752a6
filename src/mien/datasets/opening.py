"""From a path to a dataset: what it is, is found by looking at it."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, get_args

import numpy as np

from mien.config import FerPlus
from mien.datasets import cache as cache_files
from mien.datasets.affectnet import read_affectnet
from mien.datasets.archives import open_storage
from mien.datasets.beside import kept_many
from mien.datasets.box_rows import BoxIndex
from mien.datasets.box_tables import read_box_tables
from mien.datasets.boxes import read_noted_boxes
from mien.datasets.ckplus import read_ckplus
from mien.datasets.class_names import ReadFn, is_expression
from mien.datasets.cutting import CutFiles
from mien.datasets.dataset import Dataset
from mien.datasets.ferplus import MAX_VOTES_BYTES, VOTES_FILE, read_votes, with_votes
from mien.datasets.ferplus_folders import read_ferplus_folders
from mien.datasets.file_codes import read_file_codes
from mien.datasets.file_rows import is_file_table, refuse_unknown_columns
from mien.datasets.file_tables import NoneThereError, read_file_tables
from mien.datasets.npz import read_npz
from mien.datasets.packing import MAX_TABLE_BYTES, unpacked, unpacked_name, unpacked_once
from mien.datasets.parquet import SUFFIX as PARQUET_SUFFIX
from mien.datasets.parquet import parquet_names, read_parquet
from mien.datasets.pixels import Files, Held
from mien.datasets.rafdb import read_rafdb
from mien.datasets.splits import table_split
from mien.datasets.storage import (
    MAX_IMAGE_BYTES,
    SAMPLE_MARKER,
    TABLE_ENDINGS,
    Folder,
    Listing,
    ManyFn,
    Storage,
    base_name,
    encode_names,
    single_file,
)
from mien.datasets.tables import PIXEL_TABLES, READING, Table, classes_of, join_tables, read_csv
from mien.datasets.tree import Index, read_tree
from mien.datasets.voc import read_voc
from mien.datasets.webdataset import read_webdataset
from mien.datasets.yolo import UnusableError
from mien.datasets.yolo_names import YAML_ENDINGS
from mien.errors import DataError, UsageError, listing, unknown_choice

PREFERRED_TABLES: tuple[tuple[str, ...], ...] = (
    ("fer2013.csv",),
    ("icml_face_data.csv",),
    ("train.csv", "val.csv", "valid.csv", "validation.csv", "test.csv"),
)
"""CSV files that are taken first where a folder holds several; the last ones belong together."""

MAX_NOTE_BYTES = 512 * 1024**2
"""Files that say what boxes in many pictures show are not read where they are larger."""

FORMATS = {
    "fer2013.csv": "FER2013 CSV",
    "icml_face_data.csv": "ICML CSV",
    "train.csv": "Kaggle CSV",
    "test.csv": "Kaggle CSV",
}
"""What CSV files of these names are called; others are ``CSV``."""


def refuse_missing(path: str | Path) -> None:
    """Refuse a path of a dataset at which there is nothing.

    Raises:
        UsageError: names it.
    """
    if not (path := _as_path(path)).exists():
        way = "; name its path, or draw faces to try with: mien data sample faces" if path.name == "FER2013" else ""
        raise UsageError(f"no such file or folder: {path}{way}")


def _as_path(path: str | Path) -> Path:
    """What was given as a path.

    Raises:
        UsageError: it is none.
    """
    given: object = path
    if not isinstance(given, str | os.PathLike):
        received = "None" if path is None else type(path).__name__
        raise UsageError(f"path: must be that of a folder or file of labelled faces, received {received}")
    return Path(path).expanduser()


def open_dataset(
    path: str | Path, *, classes: Sequence[str] | None = None, ferplus: FerPlus = "none", cache: bool = True
) -> Dataset:
    """Open a dataset of labelled faces without reading its images.

    Args:
        path: a folder, archive, CSV, TSV, Parquet or npz file, or YOLO's data.yaml; see docs/data.md for what each may
            hold.
        classes: the class names there may be, in order, for trees and tables that mix the seven expressions with others
            or number their classes; None: as a file ``classes.txt`` beside them says, if they do.
        ferplus: take the labels from FER+'s votes beside ``fer2013.csv``, in eight classes: ``majority``, or
            ``distribution``, which gives Training soft targets too; see `mien.datasets.ferplus`.
        cache: keep what parsing a CSV file or listing an archive gave for the next time.

    Raises:
        UsageError: there is no such path, or it is a file of another kind.
        DataError: it holds no dataset, or a broken one; names the files.
    """
    path = _as_path(path)
    refuse_missing(path)
    if path.suffix.lower() in YAML_ENDINGS and path.is_file():
        path = path.parent  # YOLO's data.yaml stands for what is beside it
    try:
        storage = open_storage(path)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", [str(path)]) from error
    if ferplus not in get_args(FerPlus):
        raise unknown_choice("ferplus", ferplus, get_args(FerPlus))
    if ferplus != "none":
        return _open_ferplus(path, storage, ferplus, cache=cache)
    if storage is None:
        return _open_file(path, classes, cache=cache)
    files = _listing(storage, path, cache=cache)
    index = _find_index(files, _name_of(path), classes, storage, kept_many(storage, path, cache=cache))
    if index is not None and (path / SAMPLE_MARKER).is_file():
        index = replace(index, format="drawn sample faces")
    if index is not None:
        return _files_dataset(path, index, files, storage)
    tables = choose_tables(files.tables)
    if not tables and not storage.kind and (names := parquet_names(path)):
        return _open_parquet(path, path, names, classes)
    if not tables:
        raise _nothing_found(path, files)
    return _open_tables(path, tables, storage, cache=cache)


def _name_of(path: Path) -> str:
    """A folder's name, or that of an archive without its ending."""
    return path.resolve().name if path.is_dir() else path.name.split(".")[0]


def _find_index(
    files: Listing, root_name: str, classes: Sequence[str] | None, storage: Storage, many_fn: ManyFn
) -> Index | None:
    """What the pictures of a folder or archive are; None where nothing says what they show.

    Folders that are called like expressions come before boxes and tables of files, and these before folders of other
    names.
    """
    read_fn = partial(_bytes_of, storage)
    missing: DataError | None = None
    boxes: DataError | None = None
    try:
        votes = read_ferplus_folders(files, root_name, read_fn)
        if votes is not None:
            return votes[0]
    except NoneThereError as error:
        missing = error
    index = read_rafdb(files, read_fn) or read_affectnet(files, many_fn) or read_ckplus(files, many_fn)
    if index is None and files.names and not any(is_expression(base_name(folder)) for folder in files.folders):
        try:
            notes_fn = partial(_bytes_of, storage, limit=MAX_NOTE_BYTES)
            index = read_noted_boxes(files, notes_fn, many_fn, classes, root_name) or read_box_tables(
                files, _file_tables(files), partial(_stream, storage), classes, read_fn, root_name
            )
        except (NoneThereError, UnusableError) as error:
            boxes = error
        try:
            tables = _file_tables(files)
            index = index or read_file_tables(files, tables, partial(_stream, storage), classes, read_fn)
        except NoneThereError as error:
            missing = missing or error
        index = index or read_file_codes(files, classes, read_fn)
    if index is None:
        index = _read_tree(files, root_name, classes, read_fn, many_fn, boxes)
    if index is None or len(index.classes) < 2:
        index = read_webdataset(files, root_name, classes, storage) or index
    if index is None or len(index.classes) < 2:
        _refuse_for_reasons(files, storage, missing or boxes)
    return index


def _refuse_for_reasons(files: Listing, storage: Storage, missing: DataError | None) -> None:
    """Refuse what says in other words what its pictures show, where there is such; it may still be read otherwise."""
    if missing is not None:
        raise missing
    tables = _file_tables(files) if files.names else []
    if len(tables) == 1:
        refuse_unknown_columns(tables[0], partial(_stream, storage))


def _read_tree(
    files: Listing,
    root_name: str,
    classes: Sequence[str] | None,
    read_fn: ReadFn,
    many_fn: ManyFn,
    boxes: DataError | None,
) -> Index | None:
    """Class folders; where they are none, or broken, Pascal VOC's boxes, whose folders may look like them.

    Raises:
        DataError: broken ones; `boxes`, where there is one that says why boxes are not read.
    """
    broken: DataError | None = None
    try:
        index = read_tree(files, root_name, classes, read_fn)
    except DataError as error:
        index, broken = None, boxes or error
    if index is None or len(index.classes) < 2:
        index = read_voc(files, read_fn, many_fn, classes, root_name) or index
    if index is None and broken is not None:
        raise broken
    return index


def _file_tables(files: Listing) -> list[str]:
    """What may be tables of files: those known to hold pixels, which are large, are not even opened."""
    names = [name for name in unpacked_once(files.tables) if not name.lower().endswith(".npz")]
    return [name for name in names if not _is_votes(name) and unpacked_name(base_name(name)) not in PIXEL_TABLES]


def _files_dataset(path: Path, index: Index, files: Listing, storage: Storage) -> Dataset:
    """A dataset of image files."""
    fingerprint = files.fingerprint()
    if isinstance(index, BoxIndex):
        return _dataset(path, index, CutFiles(storage, index, fingerprint), storage.kind)
    if len(index.keys) < len(files.names):  # which of them are read is up to a table, that may change
        fingerprint = hashlib.sha256(fingerprint.encode() + index.keys.tobytes()).hexdigest()
    return _dataset(path, index, Files(storage, index.keys, fingerprint), storage.kind)


def _bytes_of(storage: Storage, name: str, *, limit: int = MAX_IMAGE_BYTES) -> bytes | None:
    """A file's bytes, or None where there is none that can be read."""
    try:
        return storage.read(name, limit)
    except DataError:
        return None


def _nothing_found(path: Path, files: Listing) -> DataError:
    seen = f"its {len(files.names):,} images stand in no class folders" if files.names else "it holds no images"
    packed = f", but {listing(files.packed)}; unpack what is packed there, or name one archive" if files.packed else ""
    return DataError(
        "no class folders (such as train/happy), no table of files (path,label) and no CSV of faces found: "
        f"{seen}{packed}",
        [str(path)],
    )


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
    fingerprint = f"{_file_fingerprint(path)} {' '.join(TABLE_ENDINGS)}"
    stored = cache_files.recall(path, "listing", fingerprint)
    lists = ("names", "folders", "tables", "packed", "notes")
    if stored is not None and {"stamps", *lists} <= stored.keys():
        texts = {field: stored[field].tolist() for field in lists}
        return Listing(stamps=stored["stamps"], **texts)
    found = storage.listing()
    texts = {field: np.array(getattr(found, field), np.str_) for field in lists}
    cache_files.keep(path, "listing", fingerprint, {"stamps": found.stamps, **texts})
    return found


def _file_fingerprint(*paths: Path) -> str:
    return hashlib.sha256(b"".join(single_file(path).tobytes() for path in paths)).hexdigest()


def _open_file(path: Path, classes: Sequence[str] | None, *, cache: bool) -> Dataset:
    """A CSV, npz or Parquet file that stands by itself, or a table of the pictures beside it."""
    if path.suffix.lower() == PARQUET_SUFFIX:
        return _open_parquet(path, path.parent, [path.name], classes)
    if not path.name.lower().endswith(TABLE_ENDINGS):
        allowed = "folders, zip and tar archives, .csv (also .csv.gz, .xz and .bz2), .tsv, .npz and .parquet files"
        raise UsageError(f"not a dataset: {path}; allowed are {allowed}")
    storage = Folder(path.parent)
    if not path.name.lower().endswith(".npz") and is_file_table(path.name, partial(_stream, storage)):
        files, open_fn, read_fn = storage.listing(), partial(_stream, storage), partial(_bytes_of, storage)
        index: Index | None = read_box_tables(files, [path.name], open_fn, classes, read_fn, path.parent.name)
        index = index or read_file_tables(files, [path.name], open_fn, classes, read_fn)
        if index is not None:
            return _files_dataset(path, index, files, storage)
    return _open_tables(path, [path.name], storage, cache=cache)


def _open_parquet(path: Path, root: Path, names: Sequence[str], classes: Sequence[str] | None) -> Dataset:
    index, shards = read_parquet(root, names, classes)
    return _dataset(path, index, Files(shards, index.keys, _file_fingerprint(*(root / name for name in names))), "")


def _open_ferplus(path: Path, storage: Storage | None, mode: FerPlus, *, cache: bool) -> Dataset:
    """A CSV file of faces with FER+'s labels, from the votes beside it.

    Raises:
        DataError: one of the two files is not there, or their rows are not of the same faces.
    """
    if storage is None:
        storage, tables = Folder(path.parent), [path.name]
        beside = [name for name in [VOTES_FILE] if (path.parent / name).is_file()]
    else:
        files = _listing(storage, path, cache=cache)
        found = read_ferplus_folders(files, _name_of(path), partial(_bytes_of, storage), mode)
        if found is not None:
            return replace(_files_dataset(path, found[0], files, storage), targets=found[1])
        everything = files.tables
        tables = choose_tables(everything)
        folder = PurePosixPath(tables[0]).parent if tables else None
        beside = [name for name in everything if _is_votes(name) and PurePosixPath(name).parent == folder]
    if not tables or not unpacked_name(tables[0]).endswith(".csv") or not beside:
        there = f"{listing(tables)}, but no {VOTES_FILE} beside it" if tables else "neither of the two"
        raise DataError(
            f"FER+ needs fer2013.csv and {VOTES_FILE} in one folder, as the order of their rows is all that links "
            f"votes to faces (files of class folders cannot be matched); {path} holds {there}"
        )
    votes = read_votes(_file(storage, beside[0], MAX_VOTES_BYTES).getvalue(), beside[0])
    return with_votes(_open_tables(path, tables, storage, cache=cache), votes, mode, beside[0])


def _is_votes(name: str) -> bool:
    return base_name(name).lower() == VOTES_FILE


def choose_tables(names: Sequence[str]) -> list[str]:
    """Which of a folder's CSV and npz files are the dataset: the known names first, those least deep in folders.

    FER+'s votes are none, and tables of files (``.tsv``) neither.

    Raises:
        DataError: there are several, none has a known name, and their names do not tell splits apart.
    """
    names = [name for name in unpacked_once(names) if not _is_votes(name) and not name.lower().endswith(".tsv")]
    by_name: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        by_name.setdefault(unpacked_name(base_name(name)), []).append(name)
    for group in PREFERRED_TABLES:
        if group[0] in by_name:
            first = by_name[group[0]][0]
            beside = [name for name in names if PurePosixPath(name).parent == PurePosixPath(first).parent]
            return [first, *(name for name in beside if unpacked_name(base_name(name)) in group[1:])]
    if len(names) > 1 and not _belong_together(names):
        raise DataError("several files could be the dataset; name one of them", sorted(names))
    return sorted(names)


def _belong_together(names: Sequence[str]) -> bool:
    """Whether files of one folder are each called like a split of its own: ``fer_train.csv``, ``fer_test.csv``."""
    splits = {table_split(PurePosixPath(unpacked_name(name)).stem) for name in names}
    alike = len({PurePosixPath(name).parent for name in names}) == 1
    csv = not any(name.lower().endswith(".npz") for name in names)
    return alike and csv and None not in splits and len(splits) == len(names)


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
    words = FORMATS.get(unpacked_name(base_name(names[0])), "CSV")
    labels, classes = classes_of(table.labels)
    index = Index(words, classes, encode_names(table.names.tolist()), labels, table.splits, table.problems)
    return _dataset(path, index, Held(table.pixels, fingerprint), storage.kind)


def _fingerprint(path: Path, names: Sequence[str], storage: Storage) -> str:
    if storage.kind:
        return _file_fingerprint(path)
    folder = path if path.is_dir() else path.parent
    return _file_fingerprint(*(folder / name for name in names))


def _read_csv(storage: Storage, name: str) -> Table:
    """Read a CSV file; one on disk line by line, without holding its text."""
    try:
        with _stream(storage, name) as file:
            return read_csv(file, name)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", [name]) from error


def _stream(storage: Storage, name: str) -> IO[bytes]:
    """Open a table, unpacked where it is packed; of one within an archive the bytes are held.

    Raises:
        DataError: it cannot be read from the archive.
        OSError: from the disk.
    """
    return unpacked((storage.root / name).open("rb") if isinstance(storage, Folder) else _file(storage, name))


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
