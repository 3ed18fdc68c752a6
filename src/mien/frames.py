"""What sources give: frames, the clips they belong to, and the limits under which they are read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mien.errors import DataError, UsageError, listing, unknown_choice
from mien.images import MAX_PIXELS, Image
from mien.numeric import flag, is_real, is_whole

GROUP_BYTES = 48_000_000
"""Pictures are analysed in groups of so many bytes together: enough to share work, few enough to keep memory flat."""

GROUP_FRAMES = 16
"""The most pictures in a group."""

VIDEO_BACKENDS = ("auto", "opencv", "pyav")

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters that do something to a terminal; see `printable`."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One video or stream. Compared by identity: the same file read twice is two clips.

    Attributes:
        name: what messages call it: a path, an address without its password, ``webcam 0``.
        fps: frames a second, on average, as the container says, of those that are given (`Reading.every`); 25 where it
            says nothing.
        frames: how many there are, as the container says or as its length implies, so not always exact; None where it
            is not known.
        size_wh: width and height in pixels, upright and with square pixels, as it is shown.
        live: whether it comes as it happens (webcam, rtsp, multipart stream), so that frames can be dropped.
    """

    name: str
    fps: float
    frames: int | None
    size_wh: tuple[int, int]
    live: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise UsageError(f"fps: must be above 0, received {self.fps}")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    r"""One picture: a still one, or a frame of a video.

    Attributes:
        source: where it comes from, as `Clip.name`; a picture in an archive is ``faces.zip/a/b.png``. Always text that
            UTF-8 can write; bytes of a file's name that are not stand as ``\udcff``. Use `printable` to show it.
        index: number of the frame in its video, from 0, in the order of showing; 0 for a still picture. A live source
            counts dropped frames too.
        time: seconds since the video's first frame, from its timestamps, never decreasing; None for a still picture.
        image: uint8 (height, width, 3) RGB, upright.
        clip: the video it belongs to; None for a still picture.
        place: its path below the folder or archive that was named, with forward slashes: ``a/b.png``. It names what is
            saved.
    """

    source: str
    index: int
    time: float | None
    image: Image
    clip: Clip | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How sources are read.

    Attributes:
        max_pixels: pictures with more pixels are refused before they are decoded; so are videos.
        max_bytes: the largest picture that is fetched from an address. Videos are read as they are needed, without it.
        seconds: an address has this long to give a whole picture, or the next piece of a video; a live source has it to
            give the next frame.
        allow_private: whether addresses may lead into private networks or to this machine.
        video_backend: ``opencv``, ``pyav`` (the extra ``video``), or ``auto``: PyAV where installed, which is about as
            fast and knows better when a file is cut off.
        ahead: frames of a video that are decoded ahead, and pictures that are read ahead.
        every: of videos and streams every so-many-th frame is given, from the first on; the others are decoded only.
            Numbers and times stay those of the video.

    Raises:
        UsageError: a value is out of range.
    """

    max_pixels: int = MAX_PIXELS
    max_bytes: int = 32 * 2**20
    seconds: float = 15.0
    allow_private: bool = False
    video_backend: str = "auto"
    ahead: int = 8
    every: int = 1

    def __post_init__(self) -> None:
        for name, fits in (("max_pixels", is_real), ("max_bytes", is_real), ("seconds", is_real), ("ahead", is_whole)):
            value = getattr(self, name)
            if not (fits(value) and value > 0):
                raise UsageError(f"{name}: must be a number above 0, received {value!r}")
        flag("allow_private", self.allow_private)
        if not (is_whole(self.every) and self.every >= 1):
            raise UsageError(f"every: must be 1 or more, a whole number, received {self.every!r}")
        if self.video_backend not in VIDEO_BACKENDS:
            raise unknown_choice("video_backend", self.video_backend, VIDEO_BACKENDS)


def grouped(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Cut frames into groups that are worked on together: of one clip, or single pictures; live ones alone.

    A group holds no more than `GROUP_FRAMES` frames and `GROUP_BYTES` bytes, or a single frame.

    Raises:
        DataError: what `frames` raises, once the group that was begun has been given.
    """
    group: list[Frame] = []
    held = 0
    failure: list[DataError] = []
    for frame in _until_failure(frames, failure):
        full = len(group) == GROUP_FRAMES or held + frame.image.nbytes > GROUP_BYTES
        if group and (full or frame.clip is not group[0].clip):
            yield group
            group, held = [], 0
        group.append(frame)
        held += frame.image.nbytes
        if frame.clip is not None and frame.clip.live:
            yield group
            group, held = [], 0
    if group:
        yield group
    if failure:
        raise failure[0]


def _until_failure(frames: Iterable[Frame], failure: list[DataError]) -> Iterator[Frame]:
    """The frames up to an error, which is added to `failure`."""
    try:
        yield from frames
    except DataError as error:
        failure.append(error)


def in_utf8(text: str) -> str:
    """The text as UTF-8 can write it, whatever bytes a file's name has."""
    return text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    r"""The text as a terminal shows it: `in_utf8`, with ``\n``, ``\x1b`` and the like spelled out.

    That is all control characters (Unicode's C0, C1, DEL), line and paragraph separators, and those that turn the
    direction of writing.
    """
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), in_utf8(text))


def reason(error: DataError) -> str:
    """The error's message without what it names."""
    return str(error).removesuffix(f": {listing(error.items)}") if error.items else str(error)
