"""The files of folders, and those that a pattern matches."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from mien.containers import is_marked
from mien.filekinds import ARCHIVE_SUFFIX, SHARED_SUFFIXES, ask, is_file, is_meant, is_wanted, items_of, missing_item
from mien.frames import in_utf8
from mien.items import Item, Kind

HIDDEN_FOLDERS = ("__MACOSX", "@eaDir")
"""Folders of macOS's archives and of Synology's disks, passed over as those that begin with a dot are."""

_BUT_DRAWN = ", but those that mien drew; name one by its own name to read it"


def items_in(folder: Path) -> Iterable[Item]:
    """The pictures and videos in a folder and in its folders, one by one, or why there are none."""
    items = _walk(folder, drawn=False)
    first = next(items, None)
    if first is not None:
        return chain([first], items)
    besides = _BUT_DRAWN if next(_walk(folder, drawn=True), None) else ""
    return [missing_item(folder, f"the folder holds no images or videos{besides}")]


def _walk(root: Path, *, drawn: bool) -> Iterator[Item]:
    """Each folder's files, then those of its folders; `drawn`: also those that mien wrote."""
    entered: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            yield Item(Kind.BROKEN, in_utf8(str(folder)), reason=f"the folder cannot be read ({error.strerror})")
            continue
        for entry in entries:
            path = Path(entry.path)
            if not is_wanted(entry.name):
                continue
            if _leads_nowhere(entry):  # of git-annex or DVC, before its contents are fetched
                yield Item(Kind.BROKEN, in_utf8(str(path)), reason="is a link to a file that is not there")
            elif ask(entry.is_file) and is_meant(path) and (drawn or not is_marked(path)):
                yield from items_of(path, path.relative_to(root).as_posix())
        waiting += [Path(entry.path) for entry in reversed(entries) if ask(entry.is_dir) and not _is_hidden(entry.name)]


def _is_hidden(folder: str) -> bool:
    """Whether a folder in a folder is passed over: what systems keep there are thumbnails and bin contents."""
    return folder.startswith(".") or folder in HIDDEN_FOLDERS


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to a picture or video that is not there; other files share some endings of videos."""
    if Path(entry.name).suffix.lower() in SHARED_SUFFIXES or not ask(entry.is_symlink):
        return False
    try:
        entry.stat()
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ELOOP)
    return False


def items_matching(pattern: Path) -> list[Item]:
    """The pictures, videos and archives that a pattern matches, or why there are none."""
    try:
        names = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 - Path.glob refuses absolute patterns
    except (OSError, ValueError, RecursionError) as error:
        why = "the folders are too deep" if isinstance(error, RecursionError) else error
        return [Item(Kind.BROKEN, in_utf8(str(pattern)), reason=f"the pattern cannot be looked for ({why})")]
    found = sorted(path for path in map(Path, names) if _is_matched(path))
    paths = [path for path in found if not is_marked(path)]
    if not paths:
        return [missing_item(pattern, f"no image or video has such a name{_BUT_DRAWN if found else ''}")]
    fixed = len(pattern.parts) - 1
    while any(glob.has_magic(part) for part in pattern.parts[:fixed]):
        fixed -= 1
    root = Path(*pattern.parts[:fixed])
    return [item for path in paths for item in items_of(path, path.relative_to(root).as_posix())]


def _is_matched(path: Path) -> bool:
    archive = path.suffix.lower() == ARCHIVE_SUFFIX and not path.name.startswith(".")
    return (archive or is_wanted(path.name)) and is_file(path) and is_meant(path)
