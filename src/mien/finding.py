"""From what a user names to what is read: files, folders, patterns, lists, archives, addresses, cameras."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mien.addresses import without_secrets
from mien.containers import VIDEO_SUFFIXES
from mien.errors import DataError, UsageError, listing
from mien.filekinds import ARCHIVE_SUFFIX as ARCHIVE_SUFFIX
from mien.filekinds import is_file as is_file
from mien.filekinds import items_of, members_of, missing_item
from mien.filekinds import looks_like_video as looks_like_video
from mien.frames import in_utf8, printable
from mien.headers import JPEG_START
from mien.images import IMAGE_SUFFIXES
from mien.items import Item, Kind
from mien.numeric import is_whole
from mien.pictures import MAX_FILE_BYTES, Archive
from mien.stdin import STDIN, Stdin
from mien.walking import items_in, items_matching

LIST_SUFFIX = ".txt"

MAX_WEBCAM = 9999
"""Cameras are counted up to here."""

_GONE = "there is no such file"
_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_SCHEMES = ("http", "https", "rtsp", "rtsps")
_CAMERA = re.compile(r"/dev/video([0-9]+)")
"""Webcams as Linux names them."""

_LINE_END = re.compile(r"\r\n|\r|\n")
"""Not `str.splitlines`, which also splits at U+0085 and U+2028: names may hold them."""
_STREAM_SUFFIXES = VIDEO_SUFFIXES - {".mjpeg", ".mjpg"} | {".m3u8", ".m3u"}
"""Endings of addresses that are opened as videos at once; cameras give single pictures too as ``.mjpg``."""


def find(sources: Sequence[str | Path | int]) -> list[Item]:
    """Find what is meant; see `mien.sources.open_sources`. Items come in the order of `sources`, each once.

    Raises:
        UsageError: nothing was found at all, or it is no list of sources.
    """
    check_sources(sources)
    found: dict[tuple[str, str, int], Item] = {}
    for source in dict.fromkeys(sources):
        for item in _find_stdin() if source == STDIN else find_one(source):
            found.setdefault(_key(item), item)
    if all(item.kind is Kind.MISSING for item in found.values()):
        raise nothing_found(sources, list(found.values()))
    return list(found.values())


def _key(item: Item) -> tuple[str, str, int]:
    """What is the same for two items that are one, however their paths are spelled."""
    path = item.path if item.archive is None else item.archive.path
    return item.name if path is None else _spelled(path), item.address, item.number


def _spelled(path: Path) -> str:
    """The path from the root, its last part as it is, be it a link."""
    if ".." not in path.parts:
        return os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links
    return str(path.parent.resolve() / path.name) if path.name != ".." else str(path.resolve())


def is_address(text: str) -> bool:
    """Whether it is an address that is read here: ``http://...``."""
    address = _ADDRESS.match(text)
    return address is not None and address[1].lower() in _SCHEMES


def check_sources(sources: object) -> None:
    """Refuse what is no list of paths, addresses, patterns and numbers.

    Raises:
        UsageError: it is a single one, or one is of another kind.
    """
    if isinstance(sources, str | bytes) or not isinstance(sources, Collection):
        raise UsageError(f"sources: must be a list, received {type(sources).__name__}; put a single source into one")
    for source in sources:
        _check_kind(source)


def _check_kind(source: object) -> None:
    if isinstance(source, str) and not source:
        raise UsageError("source: must not be empty; . is this folder")
    if isinstance(source, str | Path) or is_whole(source):
        return
    apart = "; name each by itself: *sources" if isinstance(source, list | tuple | set | Iterator) else ""
    raise UsageError(
        f"source: must be a path, an address, a pattern or a webcam's number, received {type(source).__name__}{apart}"
    )


def nothing_found(sources: Sequence[str | Path | int], missing: Sequence[Item]) -> UsageError:
    """The error where sources name nothing that can be read; `missing` says why."""
    named = ", ".join(map(_shown, sources)) or "nothing"
    why = printable(listing([f"{item.name}: {item.reason}" for item in missing], 3))
    why = f" ({why})" if why else ""
    endings = (
        f" (images end in {', '.join(sorted(IMAGE_SUFFIXES))}; videos in {', '.join(sorted(VIDEO_SUFFIXES))})"
        if any(item.reason != _GONE for item in missing)
        else ""
    )
    return UsageError(
        f"source: no images found in {named}, nor videos{why}; name files, a folder, a glob pattern, a .txt list, "
        f"a .zip, an address or a webcam's number{endings}"
    )


def _shown(source: str | Path | int) -> str:
    if source == STDIN:
        return "standard input, which was read as a list of names"
    text = str(source)
    return printable(without_secrets(text) if _ADDRESS.match(text) else text)


def find_one(source: str | Path | int, base: Path | None = None) -> Iterable[Item]:
    """What one source means, as far as possible one by one, without looking for doubles.

    Args:
        source: see `mien.sources.open_sources`.
        base: the folder of the list that names the source.
    """
    text = str(source)
    address = _ADDRESS.match(text)
    if address:
        return [_address(text, address[1].lower())]
    if camera := _CAMERA.fullmatch(text):
        return [_webcam(camera[1])]
    path = Path(text) if base is None else base / text
    problem = _problem(path)
    if problem and text.isdecimal() and text.isascii():
        return [_webcam(text)]
    if problem and glob.has_magic(str(path)):
        return items_matching(path)
    if problem:
        kind = Kind.MISSING if problem == _GONE else Kind.BROKEN
        return [Item(kind, in_utf8(str(path)), path=path, reason=problem)]
    return _find_path(path, in_list=base is not None)


def _problem(path: Path) -> str:
    """Why there is nothing to be read at a path; empty where there is something."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _GONE
    except (OSError, ValueError) as error:  # a name that is too long, a folder that is locked; a zero byte
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return ""


def _webcam(text: str) -> Item:
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(MAX_WEBCAM)):
        return Item(Kind.BROKEN, f"webcam {digits:.20}", reason=f"webcams have numbers from 0 to {MAX_WEBCAM}")
    return Item(Kind.WEBCAM, f"webcam {digits}", f"webcam-{digits}", number=int(digits))


def _find_path(path: Path, *, in_list: bool) -> Iterable[Item]:
    if path.is_dir():
        return items_in(path)
    if path.suffix.lower() == LIST_SUFFIX:
        if in_list:
            return [missing_item(path, "a list may not name another list; name the images themselves")]
        return _read_list(path)
    return items_of(path, path.name)


def _read_list(path: Path) -> list[Item]:
    try:
        names = list_lines(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        return [missing_item(path, f"the list cannot be read as UTF-8 text ({error})")]
    items = [item for name in names for item in find_one(name, path.parent)]
    return items or [missing_item(path, "the list names nothing")]


def list_lines(text: bytes) -> list[str]:
    """The sources that a list names: a line each, without empty ones and those that begin with ``#``.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    return _lines(text.decode("utf-8-sig"))


def _lines(text: str) -> list[str]:
    lines = _LINE_END.split(text)
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _find_stdin() -> list[Item]:
    """What standard input holds."""
    try:
        stdin = Stdin()
        if stdin.is_video:
            return [Item(Kind.VIDEO, STDIN, "stdin", file=stdin.as_video())]
        if stdin.is_markup:
            return [Item(Kind.BROKEN, STDIN, reason="is text such as a web page, not a picture")]
        if stdin.is_names:
            return _find_named(stdin.read_text(MAX_FILE_BYTES))
        if stdin.is_zip:
            return members_of(Archive(Path(STDIN), stdin.as_file()))
        ending = ".jpg" if stdin.head.startswith(JPEG_START) else ""
        return [Item(Kind.PICTURE, STDIN, f"stdin{ending}", data=stdin.read_all(MAX_FILE_BYTES))]
    except DataError as error:
        return [Item(Kind.BROKEN, STDIN, reason=str(error))]


def _find_named(text: str) -> list[Item]:
    """What the names mean that came on standard input: a line each, or each ended by a zero byte."""
    names = [name for name in text.split("\0") if name] if "\0" in text else _lines(text)
    items = [item for name in names for item in find_one(name)]
    return items or [Item(Kind.MISSING, STDIN, reason="names nothing")]


def _address(text: str, scheme: str) -> Item:
    name = in_utf8(without_secrets(text))
    if scheme not in _SCHEMES:
        reason = "addresses begin with http://, https://, rtsp:// or rtsps://; --engine ray reads object stores"
        return Item(Kind.BROKEN, name, reason=reason)
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number, or too large
        place = in_utf8(unquote(PurePosixPath(parts.path).name) or parts.hostname or "stream")
    except ValueError as error:
        return Item(Kind.BROKEN, name, reason=f"is not an address ({error})")
    suffix = PurePosixPath(parts.path).suffix.lower()
    streams = scheme.startswith("rtsp") or suffix in _STREAM_SUFFIXES
    return Item(Kind.STREAM if streams else Kind.ADDRESS, name, place, address=text)
