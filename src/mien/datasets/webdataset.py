"""WebDataset's shards: beside each picture a file with its class, ``000017.jpg`` and ``000017.cls``.

They are one archive, or several that are joined (`mien.datasets.joined`).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mien.datasets.archives import Tar, Zip
from mien.datasets.class_names import NAMES_FILE, read_names
from mien.datasets.file_rows import FileTable, Row
from mien.datasets.file_tables import Finder, build_index
from mien.datasets.joined import Joined, shard_split
from mien.datasets.splits import folder_split
from mien.datasets.storage import Listing, Storage, read_many
from mien.datasets.tables import CLASS_COLUMNS, place_of, whole_number
from mien.datasets.tree import Index
from mien.errors import DataError
from mien.labels import canonical

CLASS_FILE, FACTS_FILE = ".cls", ".json"
"""Endings of files that hold a class, and facts of which one is called as columns of classes are."""


def read_webdataset(listing: Listing, root_name: str, classes: Sequence[str] | None, storage: Storage) -> Index | None:
    """Understand a listing by the files beside its pictures; None where not one has its class there.

    Args:
        listing: the files.
        root_name: name of the archive, which may say the split (``train-000017``); of several archives, each one's own
            name or folder says it before that, and theirs only where it is no more than a split's (``test``).
        classes: the class names there may be; None: as `NAMES_FILE` in it or beside the archive says, if it is needed.
        storage: has the files beside the pictures.

    Raises:
        DataError: an unknown class, or numbers that nothing names.
    """
    wanted = {
        key + ending: None for name in listing.names for key in _keys(name) for ending in (CLASS_FILE, FACTS_FILE)
    }
    beside = read_many(storage, list(wanted))
    joined = isinstance(storage, Joined)
    split = (folder_split if joined else shard_split)(root_name) or ""
    table = FileTable(root_name, [], [])
    for name in listing.names:
        words = (
            _class_of(beside.get(key + CLASS_FILE)) or _fact_of(beside.get(key + FACTS_FILE)) for key in _keys(name)
        )
        word = next(filter(None, words), "")
        if word:
            own = shard_split(posixpath.dirname(name)) if joined else None
            table.rows.append(Row(name, name, word, own or split))
        else:
            table.problems.append(f"{name} (no class in {_keys(name)[0]}{CLASS_FILE} or {FACTS_FILE})")
    if not table.rows:
        return None
    listed = read_names(NAMES_FILE, partial(_names, storage)) if classes is None else tuple(map(canonical, classes))
    return replace(build_index([(table, Finder(listing.names, table))], listed, listing.names), format="WebDataset")


def _keys(name: str) -> tuple[str, ...]:
    """What the names of files beside a picture begin with: all but its ending, or up to the first point."""
    folder, base = posixpath.split(name)
    return tuple(dict.fromkeys((posixpath.splitext(name)[0], posixpath.join(folder, base.partition(".")[0]))))


def _names(storage: Storage, name: str) -> bytes | None:
    """A file in the dataset or else beside its archive, which is seldom written anew; None where there is none."""
    try:
        return storage.read(name)
    except DataError:
        beside = storage.path.parent / name if isinstance(storage, Zip | Tar) else None
    return beside.read_bytes() if beside is not None and beside.is_file() else None


def _class_of(data: bytes | None) -> str:
    return (data or b"").decode("utf-8-sig", "replace").strip()


def _fact_of(data: bytes | None) -> str:
    """The class among facts in JSON; "" for none."""
    try:
        facts = json.loads(data or b"")
    except ValueError:
        return ""
    names = list(facts) if isinstance(facts, dict) else []
    place = place_of(names, CLASS_COLUMNS)
    value = None if place is None else facts[names[place]]
    return whole_number(str(value).strip()) if isinstance(value, str | int | float) else ""
