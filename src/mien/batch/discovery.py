"""From what a user names to pictures, shards and videos, one by one, so that millions need no memory."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from mien import finding
from mien.batch.locations import is_store, local_path, masked, split_options
from mien.batch.settings import PLAN, RUN
from mien.batch.shards import is_shard_name
from mien.batch.stores import Store
from mien.containers import VIDEO_SUFFIXES
from mien.datasets.braces import numbered
from mien.errors import DataError, MissingExtraError, UsageError
from mien.frames import in_utf8, printable
from mien.images import is_image_name
from mien.items import Item, Kind

FoundKind = Literal["picture", "member", "address", "stored", "broken", "shard", "video"]

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_KINDS: dict[Kind, FoundKind] = {
    Kind.PICTURE: "picture",
    Kind.MEMBER: "member",
    Kind.ADDRESS: "address",
    Kind.VIDEO: "video",
    Kind.BROKEN: "broken",
    Kind.MISSING: "broken",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One thing to read.

    Attributes:
        kind: a local ``picture``; a ``member`` of a zip; an http ``address``; ``stored`` in a filesystem with an
            address; ``broken`` where it cannot be read; a ``shard`` of many; a ``video``.
        name: what rows call it, as UTF-8 can write it.
        target: absolute path or whole address; of a member, its zip.
        number: the member's place in its zip.
        reason: what is wrong with what is broken.
    """

    kind: FoundKind
    name: str
    target: str = ""
    number: int = 0
    reason: str = ""


def discover(sources: Sequence[str | Path | int]) -> Iterator[Found]:
    """Everything that is named, each once.

    Args:
        sources: as `mien.sources.open_sources` takes them, without what is live; and tar shards and Parquet files, by
            name, pattern (``shards-{000..099}.tar`` too), list or folder; and addresses of object stores, of files,
            folders and patterns.

    Raises:
        UsageError: nothing was found, or a webcam or stream is named.
    """
    broken: list[Found] | None = []
    for found in _once(sources):
        if broken is None:
            yield found
        elif found.kind == "broken":
            broken.append(found)
        else:
            yield from broken
            yield found
            broken = None
    if broken is not None:
        missing = [Item(Kind.MISSING, found.name, reason=found.reason) for found in broken]
        named = [masked(str(source)) if is_store(str(source)) else source for source in sources]
        raise finding.nothing_found(named, missing)


def _once(sources: Sequence[str | Path | int]) -> Iterator[Found]:
    """What all sources name. Where a single folder is named, nothing can come twice, and no memory is needed."""
    alone = len(sources) == 1 and _is_folder(str(sources[0]))
    seen: set[int] = set()
    for source in sources:
        for found in _expand(str(source)):
            key = hash((found.target or found.name, found.number))
            if alone:
                yield found
            elif key not in seen:
                seen.add(key)
                yield found


def _is_folder(source: str) -> bool:
    """Whether a folder is named; of an object store, anything but a list."""
    if is_store(source) and local_path(source) is None:
        return not split_options(source)[0].lower().endswith(finding.LIST_SUFFIX)
    return os.path.isdir(local_path(source) or source)  # noqa: PTH112 - a Path may raise


def _expand(text: str, base: Path | None = None) -> Iterator[Found]:
    """What one source names; `base` is the folder of the list that names it."""
    text = local_path(text) or text
    numbers = _BRACES.search(text)
    if numbers and (is_store(text) or not os.path.lexists(base / text if base else text)):
        for number in numbered(numbers[1], numbers[2]):
            yield from _expand(text[: numbers.start()] + number + text[numbers.end() :], base)
    elif is_store(text):
        yield from _in_store(text)
    elif "://" in text or not text:
        yield from _told(finding.find_one(text, base), in_list=base is not None)
    else:
        yield from _local(text, base)


def _local(text: str, base: Path | None) -> Iterator[Found]:
    path = Path(text) if base is None else base / text
    there = finding.is_file(path)
    if there and is_shard_name(path.name):
        yield _shard(path)
    elif there and path.suffix.lower() == finding.LIST_SUFFIX and base is None:
        yield from _listed(path)
    else:
        shards = False
        for shard in _shards_of(path):
            shards = True
            yield _shard(shard)
        besides = _told(finding.find_one(text, base), in_list=base is not None)
        yield from (found for found in besides if not (shards and found.reason and found.name == in_utf8(str(path))))


def _shard(path: Path) -> Found:
    return Found("shard", in_utf8(str(path)), _absolute(path))


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links


def _shards_of(path: Path) -> Iterator[Path]:
    """Shards in a folder, or that a pattern matches."""
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir may raise
        yield from _walk(path)
    elif glob.has_magic(str(path)) and not os.path.lexists(path):
        with suppress(OSError, ValueError, RecursionError):  # which finding says
            names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob refuses absolute patterns
            matched = sorted(map(Path, names))
            yield from (name for name in matched if _is_meant(name.name) and finding.is_file(name))


def _walk(root: Path) -> Iterator[Path]:
    """Shards in a folder and its folders, each entered once, also through links; not those that a run wrote."""
    entered: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in entered or (folder != str(root) and _is_run(folders, files)):
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        yield from (path for name in sorted(files) if _is_meant(name) and finding.is_file(path := Path(folder, name)))


def _is_run(folders: Sequence[str], files: Sequence[str]) -> bool:
    """Whether a folder holds what a batch run wrote."""
    return PLAN in folders and RUN in files


def _is_meant(name: str) -> bool:
    return is_shard_name(name) and not name.startswith((".", "_"))


def _listed(path: Path) -> Iterator[Found]:
    if not _is_list(path):
        yield from _told(finding.find_one(path))
        return
    for name in _lines(path):
        yield from _expand(name, path.parent)


def _is_list(path: Path) -> bool:
    """Whether a list can be read to its end, and names something."""
    try:
        return max((1 for _ in _lines(path)), default=0) > 0
    except (OSError, UnicodeDecodeError):
        return False


def _lines(path: Path) -> Iterator[str]:
    """`finding.list_lines`, line by line."""
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            yield from finding.list_lines(line.encode())


def _told(items: Iterable[Item], *, in_list: bool = False) -> Iterator[Found]:
    """What `mien.finding` found, in the words of this module."""
    for item in items:
        path = item.path if item.archive is None else item.archive.path
        target = item.address or ("" if path is None else _absolute(path))
        why = _why_not(item)
        if why and item.kind is not Kind.ADDRESS and not in_list:
            raise UsageError(f"source: {item.name} {why}")
        kind = "broken" if why else _KINDS[item.kind]
        yield Found(kind, item.name, target, item.number, why or item.reason)


def _why_not(item: Item) -> str:
    """Why an item is none for a batch run; empty where it is one."""
    if item.kind is Kind.ADDRESS and is_shard_name(urlsplit(item.address).path):
        return "is a shard behind an address; shards are read from files and object stores"
    if item.kind is Kind.STREAM and urlsplit(item.address).scheme.lower() in ("http", "https"):
        return "is a video behind an address; --engine ray reads videos from files and object stores"
    if item.kind not in _KINDS:
        return "is live; --engine ray reads what is stored, mien predict without it reads streams"
    return ""


def _in_store(address: str) -> Iterator[Found]:
    """What an address of an object store names: a file, a folder, a pattern, a list."""
    try:
        store = Store.open(address)
        kind = store.kind()
        if kind == "file":
            yield from _stored_file(store, listed=True)
        elif kind == "folder":
            yield from _below(store, re.compile(""), store.shown)
        elif glob.has_magic(split_options(address)[0]):
            yield from _matches(address)
        else:
            yield Found("broken", store.shown, address, reason="there is no such file or folder")
    except MissingExtraError:
        raise
    except (DataError, UsageError) as error:
        shown = masked(address)
        yield Found("broken", shown, address, reason=str(error).removeprefix(f"{printable(shown)}: "))


def _below(folder: Store, wanted: re.Pattern[str], named: str) -> Iterator[Found]:
    """The pictures, videos and shards below a folder whose paths below it are wanted; `named` is who asked."""
    nothing = True
    for place, why in folder.walk():
        if why:
            nothing = False
            store = folder.child(*place.rstrip("/").split("/"))
            yield Found("broken", store.shown, store.address, reason=f"the folder cannot be read ({why})")
        elif wanted.match(place) and _is_read(place):
            nothing = False
            yield from _stored_file(folder.child(*place.split("/")), listed=False)
    if nothing:
        yield Found("broken", named, folder.address, reason="no image, video or shard is there")


def _is_read(place: str) -> bool:
    name = place.rpartition("/")[2]
    return is_image_name(name) or is_shard_name(name) or name.lower().endswith(tuple(VIDEO_SUFFIXES))


def _stored_file(store: Store, *, listed: bool) -> Iterator[Found]:
    name = store.path.rpartition("/")[2].lower()
    if is_shard_name(name):
        yield Found("shard", store.shown, store.address)
    elif name.endswith(tuple(VIDEO_SUFFIXES)):
        yield Found("video", store.shown, store.address)
    elif name.endswith(finding.ARCHIVE_SUFFIX):
        yield Found("broken", store.shown, store.address, reason="zip archives in object stores are not read; use tar")
    elif name.endswith(finding.LIST_SUFFIX) and listed:
        yield from _stored_list(store)
    else:
        yield Found("stored", store.shown, store.address)


def _stored_list(store: Store) -> Iterator[Found]:
    """What the lines of a list in a store name, beside it or by whole addresses."""
    try:
        lines = finding.list_lines(store.read())
    except UnicodeDecodeError as error:
        yield Found("broken", store.shown, store.address, reason=f"the list cannot be read as UTF-8 text ({error})")
        return
    if not lines:
        yield Found("broken", store.shown, store.address, reason="the list names nothing")
    for line in lines:
        named = line if "://" in line else store.beside(line).address
        if split_options(named)[0].lower().endswith(finding.LIST_SUFFIX):
            yield Found("broken", masked(named), named, reason="a list may not name another list")
        else:
            yield from _expand(named, Path())


def _matches(address: str) -> Iterator[Found]:
    """Files that a pattern matches: ``*``, ``?`` and ``[...]`` within a name, ``**`` across folders."""
    path, options = split_options(address)
    parts = path.split("/")
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    folder = Store.open("/".join(parts[:fixed]) + options)
    if not folder.exists():
        yield Found("broken", masked(path), address, reason="there is no such folder")
        return
    yield from _below(folder, re.compile(_regex("/".join(parts[fixed:])) + r"\Z", re.DOTALL), masked(path))


def _regex(pattern: str) -> str:
    """A glob pattern as a regular expression over a path."""
    *folders, last = pattern.split("/")
    parts = ["(?:.+/)?" if part == "**" else f"{_name_regex(part)}/" for part in folders]
    return "".join((*parts, ".*" if last == "**" else _name_regex(last)))


def _name_regex(pattern: str) -> str:
    return re.sub(r"\[!?\]?[^]]*\]|.", _sign_regex, pattern, flags=re.DOTALL)


def _sign_regex(found: re.Match[str]) -> str:
    sign = found[0]
    if sign in ("*", "?"):
        return "[^/]*" if sign == "*" else "[^/]"
    return fnmatch.translate(sign)[len("(?s:") : -len(r")\Z")]
