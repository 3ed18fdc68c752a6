"""Where a dataset's files are: a folder, walked here, or an archive (`mien.datasets.archives`).

Both give a `Listing` of what they hold and the bytes of one file; what the files mean is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.images import is_image_name

MAX_IMAGE_BYTES = 64 * 1024**2
"""An encoded image larger than this is refused, as is whatever an archive unpacks beyond it."""

SAMPLE_MARKER = "SAMPLE-FACES.txt"
"""A file of this name says that the faces beside it were drawn, so that no score on them is taken for a real one."""

TABLE_ENDINGS = (".csv", ".csv.gz", ".csv.xz", ".csv.bz2", ".tsv", ".npz", ".jsonl", "metadata.parquet")
"""File endings, in lower case, of datasets that are one file and of tables of files."""

ARCHIVE_ENDINGS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".rar", ".7z", ".7z.001", ".zip.001")
"""File endings, in lower case, of archives: within a dataset they are not opened, but named where nothing else is."""

NOTE_ENDINGS = (".yaml", ".yml", ".lst", ".names", ".labels", "coco.json")
"""File endings, in lower case, of notes: files that may say of many pictures at once what boxes in them show."""

NOTE_STEMS = ("train", "val", "valid", "validation", "test", "result", "labels")
"""What JSON files that are notes may be called, in lower case; others stand in a folder `NOTE_FOLDER` or begin so."""

NOTE_FOLDER, NOTE_STARTS = "annotations", ("annotations", "_annotations", "instances")

Blob = Callable[[], bytes]
"""Gives one file's bytes; raises `DataError` without a name where they cannot be read."""


ManyFn = Callable[[Sequence[str]], Mapping[str, bytes]]
"""Gives the bytes of those of these files, by their names, that are there and can be read."""


@dataclass(frozen=True, eq=False)
class Listing:
    """What a folder or archive holds.

    Attributes:
        names: image files, relative to the root, with ``/`` between folders.
        stamps: int64 (n, 2): size in bytes and time of change in nanoseconds of each.
        folders: every folder, relative to the root, empty ones too; hidden ones are left out.
        tables: files that end as `TABLE_ENDINGS`.
        packed: files that end as `ARCHIVE_ENDINGS`.
        notes: files that `is_note` takes for such.
    """

    names: list[str] = field(default_factory=list)
    stamps: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    folders: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """A digest that changes when an image comes, goes or changes."""
        digest = hashlib.sha256("\n".join(self.names).encode("utf-8", "surrogateescape"))
        digest.update(self.stamps.tobytes())
        return digest.hexdigest()


class Storage(Protocol):
    """A folder or an archive."""

    @property
    def kind(self) -> str:
        """``""`` for a folder, else ``"zip"`` or ``"tar"``."""

    @property
    def random_access(self) -> bool:
        """Whether one file can be read without reading those before it."""

    def listing(self) -> Listing:
        """List the files, in a settled order.

        Raises:
            DataError: it cannot be listed: cut short, unsafe names, loops.
        """

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """Read one file.

        Raises:
            DataError: it cannot be read or is larger than `limit` bytes.
        """

    def blobs(self, names: Sequence[str]) -> Iterator[tuple[int, Blob]]:
        """Each of these files once, as its position in `names` and its bytes, in whatever order is fastest."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the data: ``.git``, ``._x.jpg``, ``__MACOSX``, ``@eaDir``."""
    return name.startswith((".", "__", "@"))


def is_note(name: str) -> bool:
    """Whether a file, by its name relative to the root, may say what boxes in many pictures show (`NOTE_ENDINGS`)."""
    folder, _, base = name.lower().rpartition("/")
    if base.endswith(NOTE_ENDINGS):
        return True
    stem, ending = base[:-5], base[-5:]
    return ending == ".json" and (
        base_name(folder) == NOTE_FOLDER or stem in NOTE_STEMS or stem.startswith(NOTE_STARTS)
    )


def too_large(limit: int) -> DataError:
    """The error for a file that is larger than may be read."""
    return DataError(f"larger than {limit / 1024**2:,.0f} MiB")


class Folder:
    """A folder on disk, walked with the links it holds."""

    kind = ""
    random_access = True

    def __init__(self, root: Path) -> None:
        self.root = root

    def listing(self) -> Listing:
        """See `Storage.listing`."""
        found = Listing()
        stamps = array("q")
        self._walk(str(self.root), "", found, stamps, ())
        table = np.frombuffer(stamps, np.int64).reshape(-1, 2)
        return replace(found, stamps=table)

    def _walk(
        self, path: str, prefix: str, found: Listing, stamps: array[int], above: tuple[tuple[int, int], ...]
    ) -> None:
        here = self._identity(path, above)
        for entry in self._entries(path):
            name = entry.name
            if is_hidden(name):
                continue
            if _leads_to(entry.is_dir):
                found.folders.append(prefix + name)
                self._walk(entry.path, f"{prefix}{name}/", found, stamps, (*above, here))
            elif is_image_name(name) and (entry.is_symlink() or entry.is_file()):
                found.names.append(prefix + name)
                stamps.extend(_stamp(entry))
            elif name.lower().endswith(TABLE_ENDINGS) and _leads_to(entry.is_file):
                found.tables.append(prefix + name)
            elif name.lower().endswith(ARCHIVE_ENDINGS):
                found.packed.append(prefix + name)
            elif is_note(prefix + name):
                found.notes.append(prefix + name)

    def _identity(self, path: str, above: tuple[tuple[int, int], ...]) -> tuple[int, int]:
        status = os.stat(path)  # noqa: PTH116 - os.DirEntry.stat has no inode on Windows
        here = (status.st_dev, status.st_ino)
        if here in above:
            raise DataError("a link leads back to a folder above it; remove it", [path])
        return here

    def _entries(self, path: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(path) as entries:
                return sorted(entries, key=attrgetter("name"))
        except OSError as error:
            raise DataError(f"folder cannot be read ({error.strerror})", [path]) from error

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """See `Storage.read`."""
        try:
            with open(os.path.join(self.root, name), "rb") as file:  # noqa: PTH118 - half the time of a Path
                if os.fstat(file.fileno()).st_size > limit:
                    raise too_large(limit)
                return file.read()
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})") from error

    def blobs(self, names: Sequence[str]) -> Iterator[tuple[int, Blob]]:
        """See `Storage.blobs`."""
        return read_lazily(self, names)


def read_lazily(storage: Storage, names: Sequence[str]) -> Iterator[tuple[int, Blob]]:
    """`Storage.blobs` where every file can be read by itself: whoever takes the bytes reads them."""
    for position, name in enumerate(names):
        yield position, lambda name=name: storage.read(name)  # type: ignore[misc]


def read_many(storage: Storage, names: Sequence[str]) -> dict[str, bytes]:
    """Those of small files that are there and can be read, by name; of a tar, read once from front to back."""
    found: dict[str, bytes] = {}
    for position, blob in storage.blobs(names) if names else ():
        try:
            found[names[position]] = blob()
        except DataError:
            continue
    return found


def _leads_to(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a kind; a link to itself is of none, like a link to nothing."""
    try:
        return kind()
    except OSError:
        return False


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    """Size and time of change; (-1, -1) for a link to nothing or to itself, which then fails when it is read."""
    try:
        status = entry.stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)


def encode_names(names: Sequence[str]) -> NDArray[np.bytes_]:
    """Names as bytes (n,): a quarter of what an array of str takes, which counts where there are a million."""
    return np.array([name.encode("utf-8", "surrogateescape") for name in names], np.bytes_)


def decode_names(names: NDArray[np.bytes_]) -> NDArray[np.str_]:
    """The opposite of `encode_names`."""
    return np.array([name.decode("utf-8", "surrogateescape") for name in names.tolist()], np.str_)


def single_file(path: Path) -> NDArray[np.int64]:
    """int64 (1, 2): size and time of change of one file, as in `Listing.stamps`."""
    status = path.stat()
    return np.array([[status.st_size, status.st_mtime_ns]], np.int64)


def base_name(name: str) -> str:
    """A listed name without its folders."""
    return name.rpartition("/")[2]
