"""WebDataset's shards: beside each picture a file with its class, ``000017.jpg`` and ``000017.cls``.

They are one archive, or several that are joined (`mien.datasets.joined`).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mien.datasets.archives import Tar, Zip
from mien.datasets.class_names import NAMES_FILE, read_names, telling
from mien.datasets.file_rows import FileTable, Row
from mien.datasets.file_tables import build_index
from mien.datasets.joined import Joined, shard_split
from mien.datasets.origins import ORIGIN_COLUMNS, origin_word
from mien.datasets.picture_finding import Finder
from mien.datasets.splits import folder_split
from mien.datasets.storage import Listing, ManyFn, Storage
from mien.datasets.tables import CLASS_COLUMNS, column_name, whole_number
from mien.datasets.tree import Index
from mien.errors import DataError, many
from mien.labels import canonical

CLASS_FILE, FACTS_FILE = ".cls", ".json"
"""Endings of files that hold a class, and facts of which one is called as columns of classes are."""


def read_webdataset(
    listing: Listing, root_name: str, classes: Sequence[str] | None, storage: Storage, many_fn: ManyFn
) -> Index | None:
    """Understand a listing by the files beside its pictures; None where not one has its class there.

    Args:
        listing: the files.
        root_name: name of the archive, which may say the split (``train-000017``); of several archives, each one's own
            name or folder says it before that, and theirs only where it is no more than a split's (``test``).
        classes: the class names there may be; None: as `NAMES_FILE` in it or beside the archive says, if it is needed.
        storage: what they are in.
        many_fn: reads the files beside the pictures.

    Raises:
        DataError: an unknown class, or numbers that nothing names.
    """
    keys = {name: _keys(name) for name in listing.names}
    every = list(dict.fromkeys(key for some in keys.values() for key in some))
    beside = many_fn([key + ending for key in every for ending in (CLASS_FILE, FACTS_FILE)])
    facts = {key: _Facts.of(beside.get(key + CLASS_FILE), beside.get(key + FACTS_FILE)) for key in every}
    word, origin = (_telling(facts.values(), columns) for columns in (CLASS_COLUMNS, tuple(ORIGIN_COLUMNS)))
    joined = isinstance(storage, Joined)
    split = (folder_split if joined else shard_split)(root_name) or ""
    table = FileTable(root_name, [], [])
    faces = _faces(keys, facts)
    of_shard = {shard: shard_split(shard) if joined else None for shard in {posixpath.dirname(name) for name in faces}}
    for name in faces:
        told = next((facts[key] for key in keys[name] if facts[key].word(word)), None)
        if told is not None:
            own = of_shard[posixpath.dirname(name)]
            table.rows.append(Row(name, name, told.word(word), own or split, told.origin(origin)))
        else:
            table.problems.append(f"{name} (no class in {keys[name][0]}{CLASS_FILE} or {FACTS_FILE})")
    if not table.rows:
        return None
    listed = read_names(NAMES_FILE, partial(_names, storage)) if classes is None else tuple(map(canonical, classes))
    passed = len(listing.names) - len(faces)
    words = f"WebDataset ({many(passed, 'picture')} beside faces passed over)" if passed else "WebDataset"
    return replace(build_index([(table, Finder(listing.names, table))], listed, listing.names), format=words)


@dataclass(frozen=True)
class _Facts:
    """What the files beside a picture say: a class by itself, and facts by their names in small letters."""

    own: str
    named: Mapping[str, str]

    @classmethod
    def of(cls, own: bytes | None, facts: bytes | None) -> _Facts:
        """From what the two files hold."""
        try:
            read = json.loads(facts or b"{}")
        except (ValueError, RecursionError):
            read = {}
        plain = read.items() if isinstance(read, dict) else ()
        texts = {column_name(name): _text(value) for name, value in plain if isinstance(value, str | int | float)}
        return cls((own or b"").decode("utf-8-sig", "replace").strip(), texts)

    def word(self, column: str | None) -> str:
        """The class; "" for none."""
        return self.own or self.named.get(column or "", "")

    def origin(self, column: str | None) -> str:
        """Who or what the face is of; "" where nothing says it."""
        return origin_word(column, self.named[column]) if column is not None and column in self.named else ""


def _text(value: str | float) -> str:
    return whole_number(str(value).strip())


def _telling(facts: Iterable[_Facts], columns: Sequence[str]) -> str | None:
    """Which of the facts that are called so says what faces show, or whose they are; None where none is called so."""
    words: dict[str, set[str]] = {column: set() for column in columns}
    for one in facts:
        for column in one.named.keys() & words.keys():
            words[column].add(one.named[column])
    return telling({column: found for column, found in words.items() if found})


def _faces(keys: Mapping[str, tuple[str, ...]], facts: Mapping[str, _Facts]) -> list[str]:
    """The pictures but those that stand beside a face without a class of their own: ``1.seg.png`` beside ``1.jpg``."""
    plain = {own for own, *_ in keys.values()}

    def is_beside(own: str, *shared: str) -> bool:
        return bool(shared) and shared[0] in plain and facts[own] == _Facts("", {})

    return [name for name, some in keys.items() if not is_beside(*some)]


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
