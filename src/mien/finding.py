"""From what a user names to what is read: files, folders, patterns, lists, archives, addresses, cameras."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mien.addresses import without_secrets
from mien.containers import HEAD, VIDEO_SUFFIXES, is_video_head
from mien.errors import DataError, UsageError
from mien.frames import printable
from mien.images import IMAGE_SUFFIXES, is_image_name
from mien.pictures import Archive

LIST_SUFFIX, ARCHIVE_SUFFIX = ".txt", ".zip"

_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_SHARED_SUFFIXES = frozenset({".ts", ".mts"})
"""Endings of videos, and of TypeScript."""


class Kind(Enum):
    """What an item is, and so how it is read."""

    PICTURE = "picture"
    MEMBER = "member"
    VIDEO = "video"
    ADDRESS = "address"
    STREAM = "stream"
    WEBCAM = "webcam"
    BROKEN = "broken"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to read.

    Attributes:
        kind: what it is.
        name: what it is called, printable.
        place: see `mien.frames.Frame.place`.
        path: the file; None for what is none.
        address: the http(s) or rtsp address, with its password.
        number: the webcam's number, or the member's place in its archive.
        archive: the archive that holds it.
        reason: what is wrong, for `BROKEN` and `MISSING`.
    """

    kind: Kind
    name: str
    place: str = ""
    path: Path | None = None
    address: str = ""
    number: int = 0
    archive: Archive | None = None
    reason: str = ""


def find(sources: Sequence[str | Path | int]) -> list[Item]:
    """Find what is meant; see `mien.sources.open_sources`. Items come in the order of `sources`, each once.

    Raises:
        UsageError: nothing was found, or a list cannot be read or names another list.
    """
    found: dict[tuple[str, str, int], Item] = {}
    for source in sources:
        for item in _find_one(source):
            found.setdefault((item.name, item.address, item.number), item)
    if all(item.kind is Kind.MISSING for item in found.values()):
        named = ", ".join(map(_shown, sources)) or "nothing"
        raise UsageError(
            f"source: no images found in {named}, nor videos; name files, a folder, a glob pattern, a .txt list, a "
            f".zip, an address or a webcam's number (images end in {', '.join(sorted(IMAGE_SUFFIXES))}; "
            f"videos in {', '.join(sorted(VIDEO_SUFFIXES))})"
        )
    return list(found.values())


def _shown(source: str | Path | int) -> str:
    text = str(source)
    return printable(without_secrets(text) if _ADDRESS.match(text) else text)


def _find_one(source: str | Path | int, base: Path | None = None) -> Iterable[Item]:
    """`base` is the folder of the list that names the source."""
    text = str(source)
    address = _ADDRESS.match(text)
    if address:
        return [_address(text, address[1].lower())]
    path = Path(text) if base is None else base / text
    if text.isdecimal() and text.isascii() and not path.exists():
        return [Item(Kind.WEBCAM, f"webcam {int(text)}", f"webcam-{int(text)}", number=int(text))]
    return _find_path(path, in_list=base is not None)


def _find_path(path: Path, *, in_list: bool) -> Iterable[Item]:
    if path.is_dir():
        return _walk(path, path, set()) if _any(path) else [_missing(path, "the folder holds no images or videos")]
    if not path.exists():
        return _matches(path) if glob.has_magic(str(path)) else [_missing(path, "there is no such file")]
    if path.suffix.lower() == LIST_SUFFIX:
        if in_list:
            raise UsageError(f"{path}: a list may not name another list; name the images themselves")
        return _read_list(path)
    return _file(path, path.name)


def _file(path: Path, place: str) -> list[Item]:
    """A file that was named, found in a folder, or matched."""
    suffix = path.suffix.lower()
    if suffix == ARCHIVE_SUFFIX:
        return _members(path)
    moving = suffix in VIDEO_SUFFIXES or (suffix not in IMAGE_SUFFIXES and path.is_file() and looks_like_video(path))
    return [Item(Kind.VIDEO if moving else Kind.PICTURE, printable(str(path)), printable(place), path)]


def _missing(path: Path, reason: str) -> Item:
    return Item(Kind.MISSING, printable(str(path)), path=path, reason=reason)


def _any(folder: Path) -> bool:
    return next(iter(_walk(folder, folder, set())), None) is not None


def _walk(folder: Path, root: Path, entered: set[tuple[int, int]]) -> Iterator[Item]:
    """The folder's files, then those of its folders; `entered` holds (device, inode) of folders already entered."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        yield Item(Kind.BROKEN, printable(str(folder)), reason=f"the folder cannot be read ({error.strerror})")
        return
    for entry in entries:
        if _is_wanted(entry.name) and _ask(entry.is_file) and _is_meant(Path(entry.path)):
            path = Path(entry.path)
            yield from _file(path, path.relative_to(root).as_posix())
    for entry in entries:
        if _ask(entry.is_dir):
            yield from _walk(Path(entry.path), root, entered)


def _ask(question: Callable[[], bool]) -> bool:
    """False where the answer is an error, as for a link to itself."""
    try:
        return question()
    except OSError:
        return False


def _is_wanted(name: str) -> bool:
    return is_image_name(name) or (Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."))


def _is_meant(path: Path) -> bool:
    return path.suffix.lower() not in _SHARED_SUFFIXES or looks_like_video(path)


def _matches(pattern: Path) -> list[Item]:
    names = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 - Path.glob refuses absolute patterns
    paths = sorted(path for path in map(Path, names) if _is_wanted(path.name) and path.is_file() and _is_meant(path))
    if not paths:
        return [_missing(pattern, "no image or video has such a name")]
    fixed = len(pattern.parts) - 1
    while any(glob.has_magic(part) for part in pattern.parts[:fixed]):
        fixed -= 1
    root = Path(*pattern.parts[:fixed])
    return [item for path in paths for item in _file(path, path.relative_to(root).as_posix())]


def _read_list(path: Path) -> list[Item]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the list cannot be read as UTF-8 text ({error})") from error
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    items = [item for name in names for item in _find_one(name, path.parent)]
    return items or [_missing(path, "the list names nothing")]


def _members(path: Path) -> list[Item]:
    archive = Archive(path)
    try:
        names = [(number, name) for number, name in enumerate(archive.names()) if is_image_name(name)]
    except DataError as error:
        return [Item(Kind.BROKEN, printable(str(path)), path=path, reason=str(error))]
    if not names:
        return [_missing(path, "the archive holds no images")]
    archive.expect(len(names))
    return [
        Item(Kind.MEMBER, printable(f"{path}/{name}"), printable(name), number=number, archive=archive)
        for number, name in names
    ]


def _address(text: str, scheme: str) -> Item:
    name = printable(without_secrets(text))
    if scheme not in ("http", "https", "rtsp", "rtsps"):
        return Item(Kind.BROKEN, name, reason="addresses begin with http://, https://, rtsp:// or rtsps://")
    try:
        parts = urlsplit(text)
        place = printable(unquote(PurePosixPath(parts.path).name) or parts.hostname or "stream")
    except ValueError as error:
        return Item(Kind.BROKEN, name, reason=f"is not an address ({error})")
    suffix = PurePosixPath(parts.path).suffix.lower()
    streams = scheme.startswith("rtsp") or suffix in VIDEO_SUFFIXES or suffix in (".m3u8", ".m3u")
    return Item(Kind.STREAM if streams else Kind.ADDRESS, name, place, address=text)


def looks_like_video(path: Path) -> bool:
    """Whether a file begins as the common kinds of video do."""
    try:
        with path.open("rb") as file:
            return is_video_head(file.read(HEAD))
    except OSError:
        return False
