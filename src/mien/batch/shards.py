"""Many pictures in one file: tar shards as WebDataset has them (`tars`), and columns of Parquet files (`columns`).

Both are read from front to back and cut into pieces that can be read apart. A piece gives entries: names, and what
decodes each picture, so that bytes are read in order and decoding can go to several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mien.batch.stores import Store
from mien.errors import DataError, MissingExtraError, UsageError, many
from mien.fetching import FetchLimits
from mien.filekinds import PARQUET_SUFFIXES, SHARD_SUFFIXES
from mien.frames import printable
from mien.images import Image
from mien.pictures import MAX_FILE_BYTES, decode_or_say, fetch_picture, read_file


@dataclass(frozen=True)
class Entry:
    """One picture: what it is called, and what decodes it, in any thread.

    `load` gives uint8 (height, width, 3) RGB and raises `DataError`. It waits for a network where it is `far`.
    """

    name: str
    load: Callable[[], Image]
    far: bool = False


def is_shard_name(name: str) -> bool:
    """Whether a file's ending says that it holds many pictures."""
    return name.lower().endswith(SHARD_SUFFIXES)


def is_parquet_name(name: str) -> bool:
    """Whether a file's ending says that it is a Parquet file."""
    return name.lower().endswith(PARQUET_SUFFIXES)


def refuse(reason: str) -> Image:
    """What loads a picture that is known to be none.

    Raises:
        DataError: always.
    """
    raise DataError(reason)


def load_address(address: str, limits: FetchLimits, max_pixels: int) -> Image:
    """Fetch and decode a picture.

    Raises:
        DataError: says what is wrong, without naming it.
    """
    image = fetch_picture(address, limits, max_pixels)
    if image is None:
        raise DataError("is a video or stream; --engine ray reads videos from files and object stores only")
    return image


def load_stored(address: str, max_pixels: int) -> Image:
    """Read and decode a file by its path or address.

    Raises:
        DataError: says what is wrong.
    """
    try:
        return load_path(Store.open(address), max_pixels)
    except MissingExtraError:
        raise
    except UsageError as error:  # of one picture
        raise DataError(str(error)) from error


def load_path(store: Store, max_pixels: int) -> Image:
    """Read and decode a file of a store.

    Raises:
        DataError: says what is wrong, without naming the file.
    """
    if store.is_local:
        return read_file(Path(store.path), max_pixels)
    try:
        kind, size = store.look()
        if kind != "file":
            raise DataError("is not a file" if kind else "there is no such file")
        if size > MAX_FILE_BYTES:
            raise DataError(f"has {many(size, 'byte')}; a picture may have {MAX_FILE_BYTES:,}")
        data = store.read()
    except DataError as error:
        raise DataError(str(error).removeprefix(f"{printable(store.shown)}: ")) from error
    return decode_or_say(data, max_pixels)
