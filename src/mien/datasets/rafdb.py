"""RAF-DB as its makers hand it out: a list of files and numbers in ``EmoLabel``, pictures in ``Image``.

Both may have been moved, as many have them: ``list_patition_label.txt`` beside ``aligned``.

Kaggle's edition of it has tables instead, and is read by `mien.datasets.file_tables`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from mien.datasets.class_names import ReadFn
from mien.datasets.file_rows import FileTable, Row
from mien.datasets.file_tables import build_index
from mien.datasets.picture_finding import Finder
from mien.datasets.schemes import RAFDB
from mien.datasets.storage import Listing, base_name
from mien.datasets.tree import Index
from mien.errors import DataError

LIST_FOLDER, DEPTH = "emolabel", 2
"""The folder of the list, in lower case; it may also stand at the top, and in folders so deep."""

LIST_FILES = ("list_patition_label.txt", "list_partition_label.txt")
"""What the list may be called: its makers misspelt it, and others mended that."""

_LINE = re.compile(r"((train|test)_[^\s/]+?)(\.[A-Za-z]+)\s+([0-9]+)")
_PICTURE = re.compile(r"(train|test)_[0-9]{5}(_aligned)?\.[A-Za-z]+")
_ALIGNED = "_aligned"


def read_rafdb(listing: Listing, read_fn: ReadFn) -> Index | None:
    """Understand a listing as RAF-DB, by its list; None where there is none.

    Aligned faces are taken where there are any, else the original pictures.

    Raises:
        DataError: several lists, numbers that are not RAF-DB's, or no pictures.
    """
    lists = [(name, data) for name in _list_names(listing) if (data := read_fn(name)) is not None]
    if not lists:
        return None
    if len(lists) > 1:
        raise DataError("several lists of RAF-DB; name the folder of one of them", [name for name, _ in lists])
    ((name, data),) = lists
    table = read_list(data, name, aligned=any(f"{_ALIGNED}." in base_name(image) for image in listing.names))
    finder = Finder(listing.names, table)
    if not finder.any_found():
        missing = [f"{row.where} ({row.file})" for row in table.rows] or table.problems
        raise DataError(f"none of the pictures that {name} names is there; unpack those of Image beside it", missing)
    return build_index([(table, finder)], None, listing.names)


def _list_names(listing: Listing) -> Sequence[str]:
    """Where a list may stand; elsewhere than in `LIST_FOLDER` only where there are pictures called as RAF-DB's are."""
    folders = [folder for folder in listing.folders if base_name(folder).lower() == LIST_FOLDER]
    if not folders and any(_PICTURE.fullmatch(base_name(name)) for name in listing.names):
        folders = ["", *(folder for folder in listing.folders if folder.count("/") < DEPTH)]
    return [posixpath.join(folder, name) for folder in folders for name in LIST_FILES]


def read_list(data: bytes, name: str, *, aligned: bool) -> FileTable:
    """Read RAF-DB's list.

    Args:
        data: lines such as ``train_00001.jpg 5``.
        name: of its file, relative to the root.
        aligned: whether its pictures are ``train_00001_aligned.jpg``.
    """
    rows: list[Row] = []
    problems: list[str] = []
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1):
        where = f"{base_name(name)}:{number}"
        match = _LINE.fullmatch(line.strip())
        if match:
            file = f"{match[1]}{_ALIGNED if aligned else ''}{match[3]}"
            rows.append(Row(where, file, str(int(match[4])), match[2]))
        elif line.strip():
            problems.append(f"{where} (is no line such as train_00001.jpg 5)")
    return FileTable(name, rows, problems, RAFDB)
