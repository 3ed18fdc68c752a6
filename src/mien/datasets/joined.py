"""Archives that stand side by side and are one dataset: WebDataset's shards, or ``train.zip`` and ``test.zip``."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mien.datasets.archives import Tar, Zip, open_storage
from mien.datasets.splits import folder_split, folder_splits, table_split
from mien.datasets.storage import (
    ARCHIVE_ENDINGS,
    MAX_IMAGE_BYTES,
    TABLE_ENDINGS,
    Blob,
    Folder,
    Listing,
    Storage,
    base_name,
)
from mien.errors import DataError

UNREADABLE_ENDINGS = (".rar", ".7z", ".001")
"""File endings of archives that are never opened: those of other kinds, and the first of several parts."""

_OF = re.compile(r"[ ._-]of$")


class Joined:
    """A folder in which archives stand, each in the place of a folder with its contents.

    Args:
        folder: where they stand.
        places: each archive's name, relative to it, by that of the folder in whose place it stands.
        tables: tables that stand beside the archives.
        notes: and files that may say what boxes show (`mien.datasets.storage.is_note`), such as ``data.yaml``.
        cache: whether where tars' members stand may be recalled and kept.
    """

    kind = ""

    def __init__(
        self,
        folder: Folder,
        places: Mapping[str, str],
        tables: Sequence[str] = (),
        notes: Sequence[str] = (),
        *,
        cache: bool = False,
    ) -> None:
        self.root = folder.root
        self.archives = [folder.root / name for name in places.values()]
        self._folder = folder
        self._places = dict(places)
        self._tables = list(tables)
        self._notes = list(notes)
        self._parts = {place: _opened(folder.root, name, cache=cache) for place, name in places.items()}

    @property
    def kinds(self) -> list[str]:
        """The kind of each archive."""
        return [part.kind for part in self._parts.values()]

    @property
    def random_access(self) -> bool:
        """See `Storage.random_access`."""
        return all(part.random_access for part in self._parts.values())

    @property
    def are_shards(self) -> bool:
        """Whether the archives keep their names, as shards do, rather than being called like splits."""
        return all(place == name for place, name in self._places.items())

    def fingerprint(self) -> str:
        """Changes with what is listed, but for the archives' own contents."""
        return "\n".join([*TABLE_ENDINGS, *self._places, *self._places.values(), *self._tables, *self._notes])

    def listing(self) -> Listing:
        """See `Storage.listing`; pictures are the archives' own."""
        found = {place: part.listing() for place, part in self._parts.items()}
        named = sorted(
            (f"{place}/{name}", stamp)
            for place, one in found.items()
            for name, stamp in zip(one.names, one.stamps.tolist(), strict=True)
        )
        above = {"/".join(place.split("/")[: depth + 1]) for place in found for depth in range(place.count("/") + 1)}
        return Listing(
            names=[name for name, _ in named],
            stamps=np.array([stamp for _, stamp in named], np.int64).reshape(-1, 2),
            folders=sorted(above.union(*(_below(place, one.folders) for place, one in found.items()))),
            tables=[*self._tables, *(name for place, one in found.items() for name in _below(place, one.tables))],
            packed=[name for place, one in found.items() for name in _below(place, one.packed)],
            notes=[*self._notes, *(name for place, one in found.items() for name in _below(place, one.notes))],
        )

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """See `Storage.read`."""
        place = self._place_of(name)
        if place is None:
            return self._folder.read(name, limit)
        return self._parts[place].read(name[len(place) + 1 :], limit)

    def blobs(self, names: Sequence[str]) -> Iterator[tuple[int, Blob]]:
        """See `Storage.blobs`."""
        shared: dict[str | None, list[int]] = {}
        for position, name in enumerate(names):
            shared.setdefault(self._place_of(name), []).append(position)
        for place, positions in shared.items():
            if place is None:
                yield from ((position, partial(self.read, names[position])) for position in positions)
            else:
                inside = [names[position][len(place) + 1 :] for position in positions]
                yield from ((positions[among], blob) for among, blob in self._parts[place].blobs(inside))

    def _place_of(self, name: str) -> str | None:
        """Which archive's place a name begins with, None for a file beside them."""
        end = name.find("/")
        while end >= 0:
            if name[:end] in self._parts:
                return name[:end]
            end = name.find("/", end + 1)
        return None


def archives_told(storage: Storage) -> str:
    """The archives in words, ``"a zip archive"`` or ``"3 tar archives"``; "" for a folder."""
    kinds = storage.kinds if isinstance(storage, Joined) else [storage.kind]
    return f"a {kinds[0]} archive" if len(kinds) == 1 and kinds[0] else _several(kinds)


def _several(kinds: Sequence[str]) -> str:
    return f"{len(kinds):,} {' and '.join(sorted(set(kinds)))} archives" if any(kinds) else ""


def _opened(root: Path, name: str, *, cache: bool) -> Zip | Tar:
    """An archive.

    Raises:
        DataError: it cannot be opened, or is none.
    """
    try:
        storage = open_storage(root / name, cache=cache) if (root / name).is_file() else None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", [name]) from error
    if not isinstance(storage, Zip | Tar):
        raise DataError("is no zip or tar archive, or a link to nothing", [name])
    return storage


def _below(place: str, names: Sequence[str]) -> list[str]:
    return [f"{place}/{name}" for name in names]


def join_archives(
    storage: Storage,
    packed: Sequence[str],
    tables: Sequence[str] = (),
    notes: Sequence[str] = (),
    *,
    cache: bool = False,
) -> Joined | None:
    """The archives in a folder as one dataset's; None where their names do not say that they are.

    Archives of one folder that are all called like splits (``train.zip`` and ``test.zip``) stand each in the place of a
    folder of its name without the ending. Others must each have a number at the end, or name a split, or be in a folder
    that is called like one: these are shards, and keep their names.

    Args:
        storage: the folder; of an archive, those within it are not opened.
        packed: names of archives in it.
        tables: names of tables beside these.
        notes: names of files beside these that may say what boxes show.
        cache: whether where tars' members stand may be recalled and kept.

    Raises:
        DataError: one of them cannot be opened.
    """
    if not packed or not isinstance(storage, Folder) or any(n.lower().endswith(UNREADABLE_ENDINGS) for n in packed):
        return None
    stems = {_stem(name): name for name in packed}
    splits = folder_splits(base_name(stem) for stem in stems)
    alike = len(stems) == len(packed) and len({posixpath.dirname(name) for name in packed}) == 1
    if alike and len(splits) == len(stems):
        return Joined(storage, stems, tables, notes, cache=cache)
    if all(_is_shard(name) for name in packed):
        return Joined(storage, {name: name for name in packed}, tables, notes, cache=cache)
    return None


def _stem(name: str) -> str:
    """An archive's name without its ending."""
    ending = next((one for one in sorted(ARCHIVE_ENDINGS, key=len, reverse=True) if name.lower().endswith(one)), "")
    return name[: len(name) - len(ending)]


def _is_shard(name: str) -> bool:
    stem = _stem(name)
    return stem[-1:].isdecimal() or shard_split(name) is not None


def shard_split(name: str) -> str | None:
    """The split that a shard's name says, or that of the nearest folder on its way that is called like one.

    Args:
        name: ``fer-train-000017.tar``, ``train-00000-of-00004.tar`` or ``train/000.tar``, with an ending or without.
    """
    folder, base = posixpath.split(name)
    stem = _stem(base)
    own = table_split(_unnumbered(_OF.sub("", _unnumbered(stem))))
    return own or next(filter(None, map(folder_split, reversed(folder.split("/")))), None)


def _unnumbered(stem: str) -> str:
    return stem.rstrip("0123456789 ._-")
