"""What a folder or archive holds, and its tables and small files read: what readers of datasets are handed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from mien.datasets.packing import MAX_TABLE_BYTES, in_utf8, unpacked, unpacked_name, unpacked_once
from mien.datasets.storage import MAX_IMAGE_BYTES, Folder, Listing, ManyFn, Storage, base_name
from mien.datasets.table_choice import is_votes
from mien.datasets.tables import PIXEL_TABLES
from mien.errors import DataError


@dataclass(frozen=True, eq=False)
class Contents:
    """A folder or archive in which a dataset may be.

    Attributes:
        files: what is in it.
        storage: reads them.
        root_name: its name, which may say a split or class.
        classes: as `mien.datasets.open_dataset` takes them.
        many_fn: reads many small files, which it may keep in the cache.
    """

    files: Listing
    storage: Storage
    root_name: str
    classes: Sequence[str] | None
    many_fn: ManyFn

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes | None:
        """A file's bytes, or None where there is none that can be read."""
        return read_quietly(self.storage, name, limit)

    def open_table(self, name: str) -> IO[bytes]:
        """See `open_table`."""
        return open_table(self.storage, name)

    def file_tables(self) -> list[str]:
        """What may be tables of files: those known to hold pixels, which are large, are not even opened."""
        names = [name for name in unpacked_once(self.files.tables) if not name.lower().endswith(".npz")]
        return [name for name in names if not is_votes(name) and unpacked_name(base_name(name)) not in PIXEL_TABLES]


def read_quietly(storage: Storage, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes | None:
    """A file's bytes, or None where there is none that can be read."""
    try:
        return storage.read(name, limit)
    except DataError:
        return None


def open_table(storage: Storage, name: str) -> IO[bytes]:
    """Open a table, unpacked where it is packed, in UTF-8; of one within an archive the bytes are held.

    Raises:
        DataError: it cannot be read from the archive.
        OSError: from the disk.
    """
    file = (storage.root / name).open("rb") if isinstance(storage, Folder) else hold_file(storage, name)
    return in_utf8(unpacked(file), name)


def hold_file(storage: Storage, name: str, limit: int = MAX_TABLE_BYTES) -> io.BytesIO:
    """A file's bytes in memory.

    Raises:
        DataError: it cannot be read, and is named.
    """
    try:
        return io.BytesIO(storage.read(name, limit))
    except DataError as error:
        raise DataError(str(error), [name]) from error
