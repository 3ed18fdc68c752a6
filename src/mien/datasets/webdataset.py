"""WebDataset's shards: beside each picture a file with its class, ``000017.jpg`` and ``000017.cls``."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from dataclasses import replace

from mien.datasets.class_names import NAMES_FILE, ReadFn, read_names
from mien.datasets.file_rows import FileTable, Row
from mien.datasets.file_tables import Finder, build_index
from mien.datasets.splits import table_split
from mien.datasets.storage import Listing, ManyFn
from mien.datasets.tables import CLASS_COLUMNS, place_of
from mien.datasets.tree import Index
from mien.labels import canonical

CLASS_FILE, FACTS_FILE = ".cls", ".json"
"""Endings of files that hold a class, and facts of which one is called as columns of classes are."""


def read_webdataset(
    listing: Listing, root_name: str, classes: Sequence[str] | None, read_fn: ReadFn, many_fn: ManyFn
) -> Index | None:
    """Understand a listing by the files beside its pictures; None where not one has its class there.

    Args:
        listing: the files.
        root_name: name of the archive, which may say the split (``train-000017``).
        classes: the class names there may be; None: as `NAMES_FILE` says, if it is needed.
        read_fn: reads `NAMES_FILE`.
        many_fn: reads the files beside the pictures.

    Raises:
        DataError: an unknown class, or numbers that nothing names.
    """
    stems = {name: posixpath.splitext(name)[0] for name in listing.names}
    beside = many_fn([stem + ending for stem in stems.values() for ending in (CLASS_FILE, FACTS_FILE)])
    split = table_split(root_name) or ""
    table = FileTable(root_name, [], [])
    for name, stem in stems.items():
        word = _class_of(beside.get(stem + CLASS_FILE)) or _fact_of(beside.get(stem + FACTS_FILE))
        if word:
            table.rows.append(Row(name, name, word, split))
        else:
            table.problems.append(f"{name} (no class in {stem}{CLASS_FILE} or {FACTS_FILE})")
    if not table.rows:
        return None
    listed = read_names(NAMES_FILE, read_fn) if classes is None else tuple(map(canonical, classes))
    return replace(build_index([(table, Finder(listing.names, table))], listed, listing.names), format="WebDataset")


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
    return str(value).strip() if isinstance(value, str | int) else ""
