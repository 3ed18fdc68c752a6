"""What a single file is: a picture, a video, an archive of pictures, or something that is not read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from mien.animations import is_animation
from mien.containers import HEAD, VIDEO_SUFFIXES, is_video_head
from mien.errors import DataError
from mien.frames import in_utf8
from mien.images import IMAGE_SUFFIXES, is_image_name
from mien.items import Item, Kind
from mien.pictures import Archive

ARCHIVE_SUFFIX = ".zip"

PARQUET_SUFFIXES = (".parquet", ".pq")
SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", *PARQUET_SUFFIXES)
"""Endings of files of many pictures, which `mien.batch` reads."""

SHARED_SUFFIXES = frozenset({".ts", ".mts"})
"""Endings of videos, and of TypeScript."""


def items_of(path: Path, place: str) -> list[Item]:
    """A file that was named, found in a folder, or matched."""
    suffix = path.suffix.lower()
    if suffix == ARCHIVE_SUFFIX:
        return members_of(Archive(path))
    if path.name.lower().endswith(SHARD_SUFFIXES) and is_file(path):
        return [Item(Kind.BROKEN, in_utf8(str(path)), path=path, reason="holds many pictures; --engine ray reads it")]
    moving = suffix in VIDEO_SUFFIXES or (
        is_file(path) and (is_animation(path) if suffix in IMAGE_SUFFIXES else looks_like_video(path))
    )
    return [Item(Kind.VIDEO if moving else Kind.PICTURE, in_utf8(str(path)), in_utf8(place), path)]


def missing_item(path: Path, reason: str) -> Item:
    """What stands for a source of which nothing can be read."""
    return Item(Kind.MISSING, in_utf8(str(path)), path=path, reason=reason)


def members_of(archive: Archive) -> list[Item]:
    """The pictures of an archive, or why there are none."""
    path = archive.path
    try:
        names = archive.names()
    except DataError as error:
        archive.close()
        return [Item(Kind.BROKEN, in_utf8(str(path)), path=path, reason=str(error))]
    items = [item for number, name in enumerate(names) for item in _member(archive, number, name)]
    wanted = sum(item.archive is not None for item in items)
    archive.expect(wanted)
    if not wanted:
        archive.close()
    return items or [missing_item(path, "the archive holds no images")]


def _member(archive: Archive, number: int, name: str) -> Iterator[Item]:
    """The member of an archive where it is a picture, or a video, which is not read; nothing otherwise."""
    shown = in_utf8(f"{archive.path}/{name}")
    if name.endswith("/"):
        return
    if is_image_name(name):
        yield Item(Kind.MEMBER, shown, in_utf8(name), number=number, archive=archive)
    elif is_wanted(PurePosixPath(name).name) and PurePosixPath(name).suffix.lower() not in SHARED_SUFFIXES:
        reason = "videos in archives are not read; unpack it first"
        yield Item(Kind.BROKEN, shown, path=archive.path, number=number, reason=reason)


def is_wanted(name: str) -> bool:
    """Whether a file is named like a picture or a video, and not hidden."""
    return is_image_name(name) or (Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith("."))


def is_meant(path: Path) -> bool:
    """Whether it is no other file that shares a video's ending."""
    return path.suffix.lower() not in SHARED_SUFFIXES or looks_like_video(path)


def is_file(path: Path) -> bool:
    """Whether there is a file that can be looked at."""
    return ask(path.is_file)


def ask(question: Callable[[], bool]) -> bool:
    """False where the answer is an error, as for a link to itself."""
    try:
        return question()
    except (OSError, ValueError):
        return False


def looks_like_video(path: Path) -> bool:
    """Whether a file begins as the common kinds of video do."""
    try:
        with path.open("rb") as file:
            return is_video_head(file.read(HEAD))
    except (OSError, ValueError):  # a path may hold what no file's name can
        return False
