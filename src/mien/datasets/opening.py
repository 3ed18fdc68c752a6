"""From a path to a dataset: what it is, is found by looking at it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import get_args

from mien.config import FerPlus
from mien.datasets.archives import open_storage
from mien.datasets.arrow_files import ARROW_SUFFIX
from mien.datasets.assembling import dataset_of, files_dataset, open_tables
from mien.datasets.beside import kept_many
from mien.datasets.braces import open_pattern
from mien.datasets.contents import Contents, hold_file, open_table, read_quietly
from mien.datasets.dataset import Dataset
from mien.datasets.ferplus import MAX_VOTES_BYTES, VOTES_FILE, read_votes, with_votes
from mien.datasets.ferplus_folders import read_ferplus_folders
from mien.datasets.file_rows import holds_pixels, is_file_table
from mien.datasets.file_tables import read_file_tables
from mien.datasets.foreign import foreign_files, way_of
from mien.datasets.indexing import find_index, find_table_index
from mien.datasets.joined import Joined, join_archives
from mien.datasets.listings import file_fingerprint, list_files
from mien.datasets.packing import unpacked_name, unpacked_once
from mien.datasets.parquet import SUFFIX as PARQUET_SUFFIX
from mien.datasets.parquet import hold_pictures, parquet_names, read_parquet
from mien.datasets.pixels import Files
from mien.datasets.record_rows import is_record_table
from mien.datasets.storage import (
    SAMPLE_MARKER,
    TABLE_ENDINGS,
    Folder,
    Listing,
    Storage,
)
from mien.datasets.table_choice import choose_tables, is_votes
from mien.datasets.yolo_names import YAML_ENDINGS
from mien.errors import DataError, UsageError, listing, many, unknown_choice
from mien.labels import refuse_text


def refuse_missing(path: str | Path) -> None:
    """Refuse a path of a dataset at which there is nothing.

    Raises:
        UsageError: names it.
    """
    if not (path := _as_path(path)).exists() and open_pattern(path) is None:
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
        path: a folder, archive, CSV, TSV, Parquet or npz file, YOLO's data.yaml, or a pattern such as
            ``train-{000..003}.tar``; see docs/data.md for what each may hold.
        classes: the class names there may be, in order, for trees and tables that mix the seven expressions with others
            or number their classes; None: as a file ``classes.txt`` beside them says, if they do.
        ferplus: take the labels from FER+'s votes beside ``fer2013.csv``, in eight classes, or from columns of votes or
            shares in a table of files: ``majority``, or ``distribution``, which gives Training soft targets too; see
            `mien.datasets.ferplus` and `mien.datasets.votes`.
        cache: keep what parsing a CSV file or listing an archive gave for the next time.

    Raises:
        UsageError: there is no such path, or it is a file of another kind.
        DataError: it holds no dataset, or a broken one; names the files.
    """
    path = _as_path(path)
    refuse_missing(path)
    refuse_text(classes)
    if path.suffix.lower() in YAML_ENDINGS and path.is_file():
        path = path.parent  # YOLO's data.yaml stands for what is beside it
    try:
        storage = open_pattern(path, cache=cache) or open_storage(path, cache=cache)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", [str(path)]) from error
    if ferplus not in get_args(FerPlus):
        raise unknown_choice("ferplus", ferplus, get_args(FerPlus))
    if ferplus != "none":
        return _open_ferplus(path, storage, classes, ferplus, cache=cache)
    if storage is None:
        return _open_file(path, classes, cache=cache)
    files = list_files(storage, path, cache=cache)
    found = _open_files(path, storage, files, classes, cache=cache) or _open_joined(
        path, storage, files, classes, cache=cache
    )
    if found is not None:
        return found
    tables = choose_tables(files.tables)
    if not tables and not storage.kind and (names := parquet_names(path)):
        return _open_parquet(path, path, names, classes)
    if not tables:
        raise _nothing_found(path, files)
    return open_tables(path, tables, storage, classes, cache=cache)


def _open_files(
    path: Path, storage: Storage, files: Listing, classes: Sequence[str] | None, *, cache: bool
) -> Dataset | None:
    """A dataset of image files in a folder or archives; None where nothing says what they show."""
    root_name = _name_of(storage.root if isinstance(storage, Joined) else path)
    index = find_index(Contents(files, storage, root_name, classes, kept_many(storage, path, cache=cache)))
    if index is not None and (path / SAMPLE_MARKER).is_file():
        index = replace(index, format="drawn sample faces")
    return None if index is None else files_dataset(path, index, files, storage)


def _open_joined(
    path: Path, storage: Storage, files: Listing, classes: Sequence[str] | None, *, cache: bool
) -> Dataset | None:
    """A dataset in the archives of a folder; None where there is none, and where files beside them hold the faces."""
    tables = unpacked_once(files.tables)
    if not files.packed or storage.kind or ((names := parquet_names(path)) and hold_pictures(path, names)):
        return None
    if any(name.lower().endswith(".npz") or holds_pixels(name, partial(open_table, storage)) for name in tables):
        return None
    joined = join_archives(storage, files.packed, tables, files.notes, cache=cache)
    if joined is None:
        return None
    return _open_files(path, joined, list_files(joined, path, cache=cache), classes, cache=cache)


def _name_of(path: Path) -> str:
    """A folder's name, or that of an archive without its ending."""
    return path.resolve().name if path.is_dir() else path.name.split(".")[0]


def _nothing_found(path: Path, files: Listing) -> DataError:
    seen = (
        f"its {many(len(files.names), 'image stands', 'images stand')} in no class folders"
        if files.names
        else "it holds no images"
    )
    packed = f", but {listing(files.packed)}; unpack what is packed there, or name one archive" if files.packed else ""
    if not files.packed:
        packed = way_of(foreign_files(path))
    if any(name.lower().endswith(".tar") for name in files.packed):
        packed += "; shards need a file with its class beside each picture (1.cls, or 1.json with a key label)"
    return DataError(
        "no class folders (such as train/happy), no table of files (path,label) and no CSV of faces found: "
        f"{seen}{packed}",
        [str(path)],
    )


def _open_file(path: Path, classes: Sequence[str] | None, *, cache: bool) -> Dataset:
    """A CSV, npz or Parquet file that stands by itself, or a table of the pictures beside it."""
    storage, lowered = Folder(path.parent), path.name.lower()
    listed = lowered.endswith(TABLE_ENDINGS) and not lowered.endswith(".npz")
    of_files = listed and is_file_table(path.name, partial(open_table, storage))
    if lowered.endswith((PARQUET_SUFFIX, ARROW_SUFFIX)) and not of_files:
        return _open_parquet(path, path.parent, [path.name], classes)
    if not lowered.endswith(TABLE_ENDINGS):
        allowed = "folders, zip and tar archives, .csv (also .csv.gz, .xz and .bz2), .tsv, .jsonl, .npz, .parquet"
        raise UsageError(f"not a dataset: {path}; allowed are {allowed} and .arrow files{way_of([path.name])}")
    if of_files:
        contents = Contents(
            storage.listing(), storage, path.parent.name, classes, kept_many(storage, path, cache=cache)
        )
        index = find_table_index(contents, path.name)
        if index is not None:
            return files_dataset(path, index, contents.files, storage)
    if is_record_table(path.name):
        raise DataError("no columns of files and of what they show, such as file_name and label", [str(path)])
    return open_tables(path, [path.name], storage, classes, cache=cache)


def _open_parquet(path: Path, root: Path, names: Sequence[str], classes: Sequence[str] | None) -> Dataset:
    index, shards = read_parquet(root, names, classes)
    return dataset_of(path, index, Files(shards, index.keys, file_fingerprint(*(root / name for name in names))), "")


def _open_ferplus(
    path: Path, storage: Storage | None, classes: Sequence[str] | None, mode: FerPlus, *, cache: bool
) -> Dataset:
    """A CSV file of faces with FER+'s labels, from the votes beside it; or a table of files and votes.

    Raises:
        DataError: one of the two files is not there, or their rows are not of the same faces; a table without votes.
    """
    if storage is None:
        storage, tables = Folder(path.parent), [path.name]
        if is_file_table(path.name, partial(open_table, storage)):
            return _open_votes(path, storage, storage.listing(), tables, classes, mode)
        beside = [name for name in [VOTES_FILE] if (path.parent / name).is_file()]
    else:
        files = list_files(storage, path, cache=cache)
        found = read_ferplus_folders(files, _name_of(path), partial(read_quietly, storage), mode)
        if found is not None:
            return replace(files_dataset(path, found[0], files, storage), targets=found[1])
        everything = files.tables
        listed = Contents(files, storage, _name_of(path), classes, kept_many(storage, path, cache=cache)).file_tables()
        listed = [name for name in listed if is_file_table(name, partial(open_table, storage))]
        if files.names and listed:
            return _open_votes(path, storage, files, listed, classes, mode)
        tables = choose_tables(everything)
        folder = PurePosixPath(tables[0]).parent if tables else None
        beside = [name for name in everything if is_votes(name) and PurePosixPath(name).parent == folder]
    if not tables or not unpacked_name(tables[0]).endswith(".csv") or not beside:
        there = f"{listing(tables)}, but no {VOTES_FILE} beside it" if tables else "neither of the two"
        raise DataError(
            f"FER+ needs fer2013.csv and {VOTES_FILE} in one folder, as the order of their rows is all that links "
            f"votes to faces (files of class folders cannot be matched); {path} holds {there}"
        )
    votes = read_votes(hold_file(storage, beside[0], MAX_VOTES_BYTES).getvalue(), beside[0])
    return with_votes(open_tables(path, tables, storage, cache=cache), votes, mode, beside[0])


def _open_votes(
    path: Path, storage: Storage, files: Listing, names: Sequence[str], classes: Sequence[str] | None, mode: FerPlus
) -> Dataset:
    """Pictures that tables name beside people's votes.

    Raises:
        DataError: a table has no votes, or its pictures are not there.
    """
    read_fn = partial(read_quietly, storage)
    index = read_file_tables(files, names, partial(open_table, storage), classes, read_fn, mode)
    if index is None:
        raise _nothing_found(path, files)
    return files_dataset(path, replace(index, format=f"{index.format} by votes ({mode})"), files, storage)
