"""What the pictures of a folder or archive show: its readers are asked in turn, the surest first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mien.datasets.affectnet import read_affectnet
from mien.datasets.box_rows import BoxIndex, UnusableError
from mien.datasets.box_tables import is_box_table, read_box_tables
from mien.datasets.boxes import read_noted_boxes
from mien.datasets.ckplus import read_ckplus
from mien.datasets.class_names import is_expression, mostly_expressions
from mien.datasets.contents import Contents
from mien.datasets.ferplus_folders import read_ferplus_folders
from mien.datasets.file_codes import read_file_codes
from mien.datasets.file_rows import may_be_of_anything, refuse_unknown_columns
from mien.datasets.file_tables import read_file_tables
from mien.datasets.joined import Joined
from mien.datasets.picture_finding import NoneThereError
from mien.datasets.rafdb import read_rafdb
from mien.datasets.storage import base_name
from mien.datasets.tree import Index, read_tree
from mien.datasets.voc import read_voc
from mien.datasets.webdataset import read_webdataset
from mien.errors import DataError

MAX_NOTE_BYTES = 512 * 1024**2
"""Files that say what boxes in many pictures show are not read where they are larger."""


def find_index(contents: Contents) -> Index | None:
    """What the pictures of a folder or archive are; None where nothing says what they show.

    Folders that are called like expressions come before boxes and tables of files, and these before folders of other
    names; but JSON Lines, which may be of anything, come before these only where they say expressions, or are
    ``metadata.jsonl``.

    Raises:
        DataError: what says it is broken; why boxes, or a table whose pictures are not there, cannot be used, where
            nothing else says it.
    """
    files, storage = contents.files, contents.storage
    if isinstance(storage, Joined) and storage.are_shards:
        return read_webdataset(files, contents.root_name, contents.classes, storage, contents.many_fn)
    index, missing = _read_known(contents)
    boxes: DataError | None = None
    later: list[str] = []
    if index is None and files.names and not any(is_expression(base_name(folder)) for folder in files.folders):
        index, boxes = _read_boxes(contents)
        if index is None:
            later = [name for name in contents.file_tables() if may_be_of_anything(name, contents.open_table)]
            others = [name for name in contents.file_tables() if name not in later]
            tables = [name for name in others if not is_box_table(name, contents.open_table)]
            index, none_there = _read_tables(contents, tables)
            missing = missing or none_there
        index = index or read_file_codes(files, contents.classes, contents.read)
    index = index or _read_tree(contents, boxes)
    if _is_none(index):
        index = read_webdataset(files, contents.root_name, contents.classes, storage, contents.many_fn) or index
    if later and _is_none(index):
        told, none_there = _read_tables(contents, later)
        index, missing = told or index, missing or none_there
    if _is_none(index):
        _refuse_for_reasons(contents, missing or boxes)
    return index


def find_table_index(contents: Contents, name: str) -> Index | None:
    """What one table says of the pictures beside it; None where it is none of files.

    Raises:
        DataError: it is broken, or its pictures are not there.
    """
    files, classes = contents.files, contents.classes
    index: Index | None = read_box_tables(
        files, [name], contents.open_table, classes, contents.read, contents.root_name
    )
    return index or read_file_tables(files, [name], contents.open_table, classes, contents.read)


def _is_none(index: Index | None) -> bool:
    """Whether nothing was found, or nothing to tell apart."""
    return index is None or len(index.classes) < 2


def _read_known(contents: Contents) -> tuple[Index | None, DataError | None]:
    """Datasets known by the names of their files, and why FER+'s folders are not read where they are there."""
    files, missing = contents.files, None
    try:
        votes = read_ferplus_folders(files, contents.root_name, contents.read)
        if votes is not None:
            return votes[0], None
    except NoneThereError as error:
        missing = error
    index = read_rafdb(files, contents.read) or read_affectnet(files, contents.many_fn)
    return index or read_ckplus(files, contents.many_fn), missing


def _read_boxes(contents: Contents) -> tuple[Index | None, DataError | None]:
    """Boxes in larger pictures, and why there are none where they cannot be used."""
    files, classes, root_name = contents.files, contents.classes, contents.root_name
    notes_fn = partial(contents.read, limit=MAX_NOTE_BYTES)
    try:
        index: Index | None = read_noted_boxes(files, notes_fn, contents.many_fn, classes, root_name)
        tables = [] if index else contents.file_tables()
        return index or read_box_tables(files, tables, contents.open_table, classes, contents.read, root_name), None
    except (NoneThereError, UnusableError) as error:
        return None, error


def _read_tables(contents: Contents, names: Sequence[str]) -> tuple[Index | None, NoneThereError | None]:
    """Tables of files, and why there is none where it is for lack of their pictures."""
    try:
        return read_file_tables(contents.files, names, contents.open_table, contents.classes, contents.read), None
    except NoneThereError as error:
        return None, error


def _read_tree(contents: Contents, boxes: DataError | None) -> Index | None:
    """Class folders; where they are none, or broken, Pascal VOC's boxes, whose folders may look like them.

    These come before class folders that are not called like expressions, where the boxes are of expressions.

    Raises:
        DataError: broken ones; `boxes`, where there is one that says why boxes are not read.
    """
    files, root_name, classes = contents.files, contents.root_name, contents.classes
    broken: DataError | None = None
    try:
        index = read_tree(files, root_name, classes, contents.read)
    except DataError as error:
        index, broken = None, boxes or error
    if _is_none(index):
        index = read_voc(files, contents.read, contents.many_fn, classes, root_name) or index
    elif not any(is_expression(base_name(folder)) for folder in files.folders):
        index = _voc_of_expressions(contents) or index
    if index is None and broken is not None:
        raise broken
    return index


def _voc_of_expressions(contents: Contents) -> BoxIndex | None:
    """Pascal VOC's boxes where they are mostly of expressions, in more than half of the pictures; else None."""
    files = contents.files
    try:
        index = read_voc(files, contents.read, contents.many_fn, contents.classes, contents.root_name)
    except DataError:
        return None
    most = index is not None and 2 * len(index.files) > len(files.names)
    return index if most and index is not None and mostly_expressions(set(index.classes)) else None


def _refuse_for_reasons(contents: Contents, missing: DataError | None) -> None:
    """Refuse what says in other words what its pictures show, where there is such; it may still be read otherwise."""
    if missing is not None:
        raise missing
    tables = contents.file_tables() if contents.files.names else []
    if len(tables) == 1:
        refuse_unknown_columns(tables[0], contents.open_table)
