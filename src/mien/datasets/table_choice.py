"""Which of the tables in a folder or archive are the dataset's, where they hold the faces themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from mien.datasets.ferplus import VOTES_FILE
from mien.datasets.packing import unpacked_name, unpacked_once
from mien.datasets.record_rows import is_record_table
from mien.datasets.splits import table_split
from mien.datasets.storage import base_name
from mien.errors import DataError

PREFERRED_TABLES: tuple[tuple[str, ...], ...] = (
    ("fer2013.csv",),
    ("icml_face_data.csv",),
    ("train.csv", "val.csv", "valid.csv", "validation.csv", "test.csv"),
)
"""CSV files that are taken first where a folder holds several; the last ones belong together."""


def is_votes(name: str) -> bool:
    """Whether a file is called as FER+'s votes are."""
    return base_name(name).lower() == VOTES_FILE


def _is_of_files(name: str) -> bool:
    """Whether a table is called as tables of files alone are."""
    return name.lower().endswith(".tsv") or is_record_table(name)


def choose_tables(names: Sequence[str]) -> list[str]:
    """Which of a folder's CSV and npz files are the dataset: the known names first, those least deep in folders.

    FER+'s votes are none, and tables of files (``.tsv``, ``.jsonl``) neither.

    Raises:
        DataError: there are several, none has a known name, and their names do not tell splits apart.
    """
    names = [name for name in unpacked_once(names) if not is_votes(name) and not _is_of_files(name)]
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
