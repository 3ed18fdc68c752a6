"""Zip and tar files, read without unpacking them to disk. Names are checked before anything is read."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from threading import Lock
from typing import NamedTuple

import numpy as np

from mien.datasets import cache as cache_files
from mien.datasets.storage import (
    ARCHIVE_ENDINGS,
    MAX_IMAGE_BYTES,
    TABLE_ENDINGS,
    Blob,
    Folder,
    Listing,
    Storage,
    decode_names,
    encode_names,
    is_hidden,
    is_note,
    read_lazily,
    single_file,
    too_large,
)
from mien.errors import DataError
from mien.files import ZIP_DAMAGE
from mien.images import is_image_name

DAMAGE: tuple[type[Exception], ...] = (*ZIP_DAMAGE, tarfile.TarError)
"""What reading a damaged archive can raise."""


def open_storage(path: Path, *, cache: bool = False) -> Storage | None:
    """The storage behind a path, found by its contents; None for a file that is no archive.

    Args:
        path: of a folder or file.
        cache: whether where a tar's members stand may be recalled and kept.
    """
    if path.is_dir():
        return Folder(path)
    if path.name.lower().endswith(TABLE_ENDINGS):
        return Zip(path) if _is_zipped_table(path) else None
    if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
        return Zip(path)
    named_tar = ".tar" in (suffix.lower() for suffix in path.suffixes) or path.suffix.lower() == ".tgz"
    if named_tar or tarfile.is_tarfile(path):
        return Tar(path, cache=cache)
    return None


def _is_zipped_table(path: Path) -> bool:
    """Whether what is called a CSV is a zip, as Kaggle hands out single files; an npz always is one."""
    return not path.name.lower().endswith(".npz") and zipfile.is_zipfile(path)


class Zip:
    """A zip file. Its members can be read in any order, by several threads."""

    kind = "zip"
    random_access = True

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _file(self) -> zipfile.ZipFile:
        with _damage_named(self.path):
            return zipfile.ZipFile(self.path)

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        r"""Members by name, the last where several have one; folders end in ``/``.

        Where nothing but ``\`` stands between folders, as PowerShell 5 packs, it is ``/`` here.
        """
        members = self._file.infolist()
        windows = not any("/" in info.filename for info in members)
        return {info.filename.replace("\\", "/") if windows else info.filename: info for info in members}

    def listing(self) -> Listing:
        """See `Storage.listing`."""
        files = {name: info for name, info in self._members.items() if not name.endswith("/")}
        stamps = [(info.file_size, info.CRC) for info in files.values()]
        folders = [name.rstrip("/") for name in self._members if name.endswith("/")]
        return _listing(self.path, list(files), stamps, folders)

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """See `Storage.read`."""
        try:
            with self._file.open(self._members[name]) as member:
                data = member.read(limit + 1)  # never more, whatever size the archive claims
        except KeyError:
            raise DataError(f"is not in {self.path.name}") from None
        except DAMAGE as error:
            raise DataError(f"cannot be read from the archive ({error})") from error
        if len(data) > limit:
            raise too_large(limit)
        return data

    def blobs(self, names: Sequence[str]) -> Iterator[tuple[int, Blob]]:
        """See `Storage.blobs`."""
        return read_lazily(self, names)


class _Place(NamedTuple):
    """Where the bytes of a file in a tar stand.

    Attributes:
        offset: of its member, -1 where there is none.
        size: in bytes.
        changed: when, in seconds.
        data: offset of the bytes in a tar that is not compressed, -1 where they are not in one piece (sparse files).
    """

    offset: int
    size: int
    changed: int
    data: int = -1


_NOWHERE = _Place(-1, 0, 0)


class Tar:
    """A tar file, read from front to back to list it, and for each use where it is compressed with gzip, xz or bzip2.

    The members of a plain one can be read in any order, by several threads.

    Args:
        path: of the file.
        cache: whether where its members stand may be recalled and kept.
    """

    kind = "tar"

    def __init__(self, path: Path, *, cache: bool = False) -> None:
        self.path = path
        self._cache = cache
        self._lock = Lock()

    @cached_property
    def random_access(self) -> bool:
        """See `Storage.random_access`: whether it is not compressed."""
        try:
            tarfile.open(self.path, "r:").close()
        except DAMAGE:
            return False
        return True

    def listing(self) -> Listing:
        """See `Storage.listing`."""
        places, folders = self._contents
        stamps = [(place.size, place.changed) for place in places.values()]
        return _listing(self.path, list(places), stamps, folders)

    def read(self, name: str, limit: int = MAX_IMAGE_BYTES) -> bytes:
        """See `Storage.read`."""
        place = self._contents[0].get(name, _NOWHERE)
        if place.offset < 0:
            raise DataError(f"is not in {self.path.name}")
        if self.random_access and place.data >= 0:
            return self._cut(place, limit)
        for archive, member in self._members():
            if member.offset == place.offset:
                return _member_bytes(archive, member, limit)
        raise DataError(f"is not in {self.path.name}")

    def blobs(self, names: Sequence[str]) -> Iterator[tuple[int, Blob]]:
        """See `Storage.blobs`."""
        places, _ = self._contents
        if self.random_access:
            there = [position for position, name in enumerate(names) if places.get(name, _NOWHERE).offset >= 0]
            there.sort(key=lambda position: places[names[position]].offset)
            yield from ((position, partial(self.read, names[position])) for position in there)
            return
        wanted: dict[int, list[int]] = {}
        for position, name in enumerate(names):
            if name in places:
                wanted.setdefault(places[name].offset, []).append(position)
        for archive, member in self._members() if wanted else ():
            if member.offset in wanted:
                blob = _fetched(archive, member)
                yield from ((position, blob) for position in wanted[member.offset])

    def _cut(self, place: _Place, limit: int) -> bytes:
        """The bytes at a place of a plain tar."""
        if place.size > limit:
            raise too_large(limit)
        try:
            with self.path.open("rb") as file:
                file.seek(place.data)
                data = file.read(place.size)
        except OSError as error:
            raise DataError(f"cannot be read from the archive ({error.strerror})") from error
        if len(data) < place.size:
            raise DataError(f"is cut short in {self.path.name}")
        return data

    @property
    def _contents(self) -> tuple[dict[str, _Place], list[str]]:
        """What it holds; of several threads that ask first, one reads it and the others wait."""
        with self._lock:
            return self._all_members

    @cached_property
    def _all_members(self) -> tuple[dict[str, _Place], list[str]]:
        """`_read_members`, from the cache where it can be."""
        fingerprint = str(single_file(self.path).tolist())
        stored = cache_files.recall(self.path, "members", fingerprint) if self._cache else None
        if stored is not None and {"names", "places", "folders"} <= stored.keys():
            names, folders = (decode_names(stored[field]).tolist() for field in ("names", "folders"))
            return dict(zip(names, map(_Place._make, stored["places"].tolist()), strict=True)), folders
        places, folders = self._read_members()
        if self._cache:
            numbers = np.array(list(places.values()), np.int64).reshape(-1, len(_NOWHERE))
            texts = {"names": encode_names(list(places)), "folders": encode_names(folders)}
            cache_files.keep(self.path, "members", fingerprint, {"places": numbers, **texts})
        return places, folders

    def _read_members(self) -> tuple[dict[str, _Place], list[str]]:
        """Files by name, and folders: as in unpacking, the last of one name counts, and a hard link is its file."""
        places: dict[str, _Place] = {}
        folders: list[str] = []
        for _, member in self._members():
            name = member.name.removeprefix("./")
            if member.isdir():
                folders.append(name)
            elif member.isfile():
                data = -1 if member.issparse() else member.offset_data
                places[name] = _Place(member.offset, member.size, int(member.mtime), data)
            elif member.islnk():
                places[name] = places.get(member.linkname.removeprefix("./"), _NOWHERE)
        return places, folders

    def _members(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        """Every member, with the archive standing at its data.

        Raises:
            DataError: the archive is damaged or cut short.
        """
        with _damage_named(self.path), tarfile.open(self.path) as archive:
            for member in archive:
                yield archive, member
            file = archive.fileobj
            if file is not None:
                file.seek(archive.offset)
                if not file.read(1):
                    raise tarfile.ReadError("its end is missing")


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        why = str(error).partition("\n")[0].rstrip(":")  # tarfile says a line for each compression it tried
        raise DataError(f"archive is damaged or cut short ({why}); fetch it again", [str(path)]) from error


def _fetched(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Blob:
    """Read a tar member now, since the archive moves on; a refusal is kept for whoever wants the bytes."""
    try:
        data = _member_bytes(archive, member, MAX_IMAGE_BYTES)
    except DataError as error:
        return _raising(error)
    return lambda: data


def _raising(error: DataError) -> Callable[[], bytes]:
    def refuse() -> bytes:
        raise error

    return refuse


def _member_bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise DataError("is no file")
    if member.size > limit:
        raise too_large(limit)
    with file:
        return file.read()


def _listing(path: Path, files: list[str], stamps: list[tuple[int, int]], folders: list[str]) -> Listing:
    """Check an archive's names, and keep the images, tables and folders that are not hidden, sorted by name."""
    unsafe = [name for name in (*files, *folders) if not _is_safe(name)]
    if unsafe:
        raise DataError(f"{path.name}: member names that lead out of the archive; do not trust it", unsafe)
    once = dict(zip(files, stamps, strict=True))  # of members with one name, the last counts
    shown = sorted((name, stamp) for name, stamp in once.items() if not _within_hidden(name))
    images = [(name, stamp) for name, stamp in shown if is_image_name(name)]
    return Listing(
        names=[name for name, _ in images],
        stamps=np.array([stamp for _, stamp in images], np.int64).reshape(-1, 2),
        folders=sorted(_folders(name for name in (*(name + "/" for name in folders), *(name for name, _ in shown)))),
        tables=[name for name, _ in shown if name.lower().endswith(TABLE_ENDINGS)],
        packed=[name for name, _ in shown if name.lower().endswith(ARCHIVE_ENDINGS)],
        notes=[name for name, _ in shown if is_note(name)],
    )


def _folders(names: Iterator[str]) -> set[str]:
    """Every folder on the way to these names."""
    found: set[str] = set()
    for name in names:
        parts = name.split("/")[:-1]
        if not _within_hidden(name):
            found.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return found


def _is_safe(name: str) -> bool:
    windows = PureWindowsPath(name)
    return not (PurePosixPath(name).is_absolute() or windows.drive or windows.root or ".." in windows.parts)


def _within_hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.split("/") if part not in ("", "."))
