"""One generator of frames for any source: pictures, folders, lists, archives, addresses, videos, cameras, streams."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from mien.addresses import resolve
from mien.animations import ANIMATION_SUFFIXES
from mien.decoders import Decoder, open_decoder
from mien.errors import DataError, UsageError
from mien.fetching import FetchLimits
from mien.filekinds import is_file
from mien.finding import find
from mien.frames import Clip, Frame, Reading, reason
from mien.images import Image
from mien.items import Item, Kind
from mien.pictures import check_file, decode_or_say, fetch_picture, read_file
from mien.remote import open_moving
from mien.videos import read_video, share_of

__all__ = ["Clip", "Frame", "Reading", "Sources", "open_sources"]

READERS = 4
"""Threads that read still pictures, at most."""

WAITING_BYTES = 256 * 2**20
"""While decoded pictures that wait take more than that, no further one is read."""

OnFailure = Callable[[str, str], None]

_MOVING = frozenset({Kind.VIDEO, Kind.STREAM, Kind.WEBCAM})
_LIVE = frozenset({Kind.STREAM, Kind.WEBCAM})


def open_sources(
    sources: Sequence[str | Path | int],
    *,
    reading: Reading | None = None,
    on_failure: OnFailure | None = None,
    pictures_only: bool = False,
) -> Sources:
    """Find what is named; nothing is decoded before the first frame is asked for.

    Args:
        sources: each one of

            - an image or video file, by its ending, or by how it begins where the ending says nothing; a GIF, WebP,
              PNG or AVIF of several pictures is a video;
            - a folder: all images and videos in it and in its folders, sorted, without hidden ones and those that
              `mien.outputs.Annotated` wrote; links are followed, each folder is entered once;
            - a glob pattern, where no file has that very name: ``faces/*.png``, ``**`` for any depth; sorted, without
              those that were written;
            - a ``.txt`` file: a source on each line, relative to the list's folder; empty lines and those that begin
              with ``#`` are passed over;
            - a ``.zip`` of images, which is not unpacked: its pictures are named ``faces.zip/a/b.png``; its videos are
              not read;
            - an http(s) address of an image, a video, or a stream of JPEG pictures (``multipart/x-mixed-replace``), or
              an rtsp(s) address; a video is taken for live where neither the server nor its own header tells a length;
            - a webcam's number, 0 to 9999, as an int or as digits where no file has that name; or ``/dev/video0``;
            - ``-``: standard input, as text: a picture, a video, a zip of images, or a list of names, a line each or
              ended by zero bytes, relative to the working folder; its content tells which. A video is read as it comes.
        reading: limits and options.
        on_failure: called with a source's name and what is wrong with it, where it cannot be read or ends too early;
            the rest goes on. None: a `DataError` ends the iteration.
        pictures_only: whether videos, streams and webcams count as what cannot be read; they are not opened. Of an
            animation the first picture is read.

    Raises:
        UsageError: nothing was found at all, or an argument is of another kind.
    """
    given: object = reading
    if not (given is None or isinstance(given, Reading)):
        received = type(given).__name__
        raise UsageError(f"reading: must be a mien.sources.Reading, such as Reading(every=5), received {received}")
    if on_failure is not None and not callable(on_failure):
        raise UsageError(f"on_failure: must be a function of a source's name and a reason, received {on_failure!r}")
    return Sources(find(sources), reading or Reading(), on_failure, pictures_only=pictures_only)


class Sources:
    """Frames of all sources, in the order they were named; iterate over it once, then close it.

    Still pictures are read ahead by a few threads, videos by a thread of their own; both wait where the consumer is
    slow. Live sources do not: they drop old frames.

    Attributes:
        paths: the local files that are read.
    """

    def __init__(
        self,
        items: Sequence[Item],
        reading: Reading,
        on_failure: OnFailure | None,
        *,
        pictures_only: bool = False,
    ) -> None:
        self._items = tuple(map(_still, items)) if pictures_only else tuple(items)
        self._reading, self._on_failure = reading, on_failure
        self._pictures_only = pictures_only
        self._limits = FetchLimits(reading.max_bytes, reading.seconds, reading.allow_private)
        self._running: list[Generator[Frame]] = []
        self.paths = tuple(item.path for item in items if item.path is not None and is_file(item.path))

    @cached_property
    def total(self) -> int | None:
        """Pictures and frames of videos together, as far as headers tell; None with a source that has no end.

        Each video's header is read for it, once.
        """
        items = [item for item in self._items if item.kind not in self._refused_kinds()]
        if any(item.kind in _LIVE for item in items):
            return None
        counts = [self._count(item) for item in items]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def refused(self) -> int:
        """How many sources can but fail: those that are missing, broken or not taken. `total` leaves them out."""
        return sum(item.kind in self._refused_kinds() for item in self._items)

    def _refused_kinds(self) -> set[Kind]:
        return {Kind.BROKEN, Kind.MISSING} | (_MOVING if self._pictures_only else set())

    def _count(self, item: Item) -> int | None:
        if item.kind is not Kind.VIDEO:
            return 1
        if item.file is not None:
            return None
        try:
            decoder = self._open_file(item)
        except DataError:
            return 0
        decoder.close()
        return share_of(decoder.frames, self._reading.every)

    def __iter__(self) -> Iterator[Frame]:
        frames = self._frames()
        self._running.append(frames)
        return frames

    def _frames(self) -> Generator[Frame]:
        pool = ThreadPoolExecutor(min(READERS, os.cpu_count() or 1), thread_name_prefix="mien-read")
        waiting: deque[tuple[Item, Future[Image | None] | None]] = deque()
        coming = iter(self._items)
        try:
            while True:
                self._read_ahead(coming, waiting, pool)
                if not waiting:
                    return
                item, future = waiting.popleft()
                try:
                    yield from self._frames_of(item, future)
                except DataError as error:
                    self._fail(item, reason(error))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _read_ahead(
        self, coming: Iterator[Item], waiting: deque[tuple[Item, Future[Image | None] | None]], pool: ThreadPoolExecutor
    ) -> None:
        """Start reading pictures, up to the next video, as long as there is room."""
        while not waiting or (len(waiting) < self._reading.ahead and waiting[-1][1] and _size(waiting) < WAITING_BYTES):
            item = next(coming, None)
            if item is None:
                return
            waiting.append((item, None if item.kind in _MOVING else pool.submit(self._load, item)))

    def _frames_of(self, item: Item, future: Future[Image | None] | None) -> Iterator[Frame]:
        image = future.result() if future is not None else None
        if image is not None:
            yield Frame(item.name, 0, None, image, None, item.place)
            return
        if self._pictures_only:
            raise DataError("is a video; only pictures are taken")
        opening, live = self._opening(item)
        limits = self._reading
        yield from read_video(
            item.name,
            opening,
            place=item.place,
            live=live,
            ahead=limits.ahead,
            max_pixels=limits.max_pixels,
            every=limits.every,
        )

    def _load(self, item: Item) -> Image | None:
        """A still picture; None where an address leads to a video."""
        if item.kind is Kind.ADDRESS:
            return fetch_picture(item.address, self._limits, self._reading.max_pixels)
        if item.archive is not None:
            return decode_or_say(item.archive.read(item.number), self._reading.max_pixels)
        if item.data:
            return decode_or_say(item.data, self._reading.max_pixels)
        if item.path is None or item.reason:
            raise DataError(item.reason)
        return read_file(item.path, self._reading.max_pixels)

    def _opening(self, item: Item) -> tuple[Callable[[], Decoder], bool]:
        """What opens a video, and whether it is live."""
        if item.kind is Kind.VIDEO:
            return lambda: self._open_file(item), False
        backend, seconds = self._reading.video_backend, self._reading.seconds
        if item.kind is Kind.WEBCAM:
            return lambda: open_decoder(item.number, backend, seconds=seconds), True
        if item.address.lower().startswith("rtsp"):
            address = self._checked(item.address)
            return lambda: open_decoder(address, backend, live=True, seconds=seconds), True
        opening, live = open_moving(item.address, self._limits, backend=backend, max_pixels=self._reading.max_pixels)
        return _look_for_an_end(opening) if live else (opening, False)

    def _open_file(self, item: Item) -> Decoder:
        if item.file is not None:
            return open_decoder(item.file, self._reading.video_backend)
        if item.path is None:
            raise DataError(item.reason)
        if not check_file(item.path):
            raise DataError("is empty (0 bytes)")
        return open_decoder(str(item.path.absolute()), self._reading.video_backend)

    def _checked(self, address: str) -> str:
        """The rtsp address with the IP address that was checked in place of the host's name."""
        parts = urlsplit(address)
        limits = self._limits
        found = resolve(
            parts.hostname or "", parts.port or 554, allow_private=limits.allow_private, seconds=limits.seconds
        )
        ip = found[0][1][0]
        login = parts.netloc.rpartition("@")[0]
        host = f"[{ip}]" if ":" in ip else ip
        return parts._replace(netloc=f"{login}@{host}:{parts.port or 554}".lstrip("@")).geturl()

    def _fail(self, item: Item, why: str) -> None:
        if self._on_failure is None:
            raise DataError(why, [item.name])
        self._on_failure(item.name, why)

    def close(self) -> None:
        """Stop reading; threads end, files and connections close."""
        for frames in self._running:
            frames.close()
        for archive in {item.archive for item in self._items if item.archive is not None}:
            archive.close()
        for file in (item.file for item in self._items if item.file is not None):
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _look_for_an_end(opening: Callable[[], Decoder]) -> tuple[Callable[[], Decoder], bool]:
    """What opens a stream, and whether it is live: one whose own header says how long it is waits, as a file does."""
    decoder = opening()
    return lambda: decoder, not decoder.frames


def _still(item: Item) -> Item:
    """An animation as the picture that it begins with; anything else as it is."""
    moves = item.kind is Kind.VIDEO and item.path is not None and item.path.suffix.lower() in ANIMATION_SUFFIXES
    return replace(item, kind=Kind.PICTURE) if moves else item


def _size(waiting: deque[tuple[Item, Future[Image | None] | None]]) -> int:
    """Bytes of the decoded pictures that wait."""
    done = (future.result() for _, future in waiting if future and future.done() and not future.exception())
    return sum(image.nbytes for image in done if image is not None)
