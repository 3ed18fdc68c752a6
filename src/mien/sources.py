"""From what a user names to image files: files, folders, glob patterns, lists."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mien.errors import UsageError
from mien.images import IMAGE_SUFFIXES, is_image_name

LIST_SUFFIX = ".txt"


def expand(sources: Sequence[str | Path]) -> list[Path]:
    """Find the image files that are meant.

    Args:
        sources: each one of

            - a folder: all images in it and in its folders, sorted; links are followed, each folder is entered once;
            - a glob pattern, where no file has that very name: ``faces/*.png``, ``**`` for any depth; sorted;
            - a ``.txt`` file: a file, folder or pattern on each line, relative to the list's folder; empty lines and
              those that begin with ``#`` are passed over;
            - any other path: itself, even where it does not exist, so that reading it names it and the rest goes on.

    Returns:
        Paths in the order of `sources`, each once.

    Raises:
        UsageError: nothing was found, or a list cannot be read or names another list.
    """
    found = list(dict.fromkeys(path for source in sources for path in _expand_one(Path(source), in_list=False)))
    if not any(path.exists() for path in found):
        named = ", ".join(map(str, sources)) or "nothing"
        raise UsageError(
            f"source: no images found in {named}; name image files, a folder, a glob pattern or a .txt list "
            f"(images end in {', '.join(sorted(IMAGE_SUFFIXES))})"
        )
    return found


def _expand_one(source: Path, *, in_list: bool) -> Iterable[Path]:
    if source.is_dir():
        return _walk(source, set())
    if not source.exists() and glob.has_magic(str(source)):
        return _matches(source)
    if source.suffix.lower() == LIST_SUFFIX:
        if in_list:
            raise UsageError(f"{source}: a list may not name another list; name the images themselves")
        return _read_list(source)
    return [source]


def _walk(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Path]:
    """The folder's images, then those of its folders; `entered` holds (device, inode) of folders already entered."""
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in entered:
        return
    entered.add(identity)
    entries = _list_folder(folder)
    yield from (Path(entry.path) for entry in entries if is_image_name(entry.name) and entry.is_file())
    for entry in entries:
        if entry.is_dir():
            yield from _walk(Path(entry.path), entered)


def _list_folder(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{folder}: the folder cannot be read ({error.strerror})") from error


def _matches(pattern: Path) -> list[Path]:
    names = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 - Path.glob refuses absolute patterns
    return sorted(path for path in map(Path, names) if is_image_name(path.name) and path.is_file())


def _read_list(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the list cannot be read as UTF-8 text ({error})") from error
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return [found for name in names for found in _expand_one(path.parent / name, in_list=True)]
