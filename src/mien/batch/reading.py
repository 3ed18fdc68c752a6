"""From a part to its pictures, in order: bytes are read ahead and decoded by as many threads as the worker has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

from mien.batch.columns import read_parquet
from mien.batch.discovery import Found
from mien.batch.plan import Part, read_items
from mien.batch.shards import Entry, load_address, load_stored
from mien.batch.stores import Store
from mien.batch.tables import FACES, part_name
from mien.batch.tars import read_tar, stands_at
from mien.errors import DataError, many
from mien.fetching import FetchLimits
from mien.frames import Frame, Reading, in_utf8, printable, reason
from mien.images import Image
from mien.pictures import Archive, decode_or_say, read_file
from mien.sources import WAITING_BYTES

FAR_READERS = 8
"""Threads that fetch pictures over a network, at least: they wait more than they work."""

Failed = Callable[[str, str], None]
"""Takes the name of what cannot be read, and why."""


def entries_of(folder: Store, part: Part, reading: Reading) -> Iterator[Entry]:
    """The pictures of a part that is no video.

    Raises:
        DataError: a shard is damaged, from here on, or is not the one that was cut into parts.
    """
    if part.kind == "items":
        yield from _items(folder, part, reading)
    else:
        store = Store.open(part.target)
        _refuse_another(store, part)
        shown = Store(part.name, store.path, store.filesystem)
        if part.kind == "tar":
            yield from read_tar(shown, part.start, part.stop, reading.max_pixels)
        else:
            limits = _limits(reading)
            yield from read_parquet(shown, part.column, part.start, part.stop, reading.max_pixels, limits)


def _refuse_another(store: Store, part: Part) -> None:
    """See that a shard is as long as when it was cut, and that a piece of a tar begins with the same member.

    Pieces of another would begin anywhere, or hold other pictures than those that the parts before it have read.

    Raises:
        DataError: it is not.
    """
    kind, size = store.look() if part.size >= 0 else ("", 0)
    change = ""
    if kind == "file" and size != part.size:
        change = f"{many(part.size, 'byte')} then, {size:,} now"
    elif kind == "file" and part.mark >= 0:
        there, mark = stands_at(store, part.start)
        if mark != part.mark:
            now = "no file begins" if not there else "another" if there == part.first else printable(there)
            change = f"{now} where {printable(part.first)} was, at byte {part.start:,}"
    if change:
        raise DataError(
            f"was changed after the run was planned ({change}); put back what it was, delete "
            f"{FACES}/{part_name(part.number)} and go on with --resume, or read it in a new run"
        )


def _limits(reading: Reading) -> FetchLimits:
    return FetchLimits(reading.max_bytes, reading.seconds, reading.allow_private)


def _items(folder: Store, part: Part, reading: Reading) -> Iterator[Entry]:
    limits, archives = _limits(reading), dict[str, _Archive]()
    try:
        for found in read_items(folder, part.start, part.stop):
            if found.kind == "member" and found.target not in archives:
                archives[found.target] = _Archive(found.target)
            load = partial(_load, found, archives.get(found.target), limits, reading.max_pixels)
            yield Entry(found.name, load, found.kind in ("stored", "address"))
    finally:
        for archive in archives.values():
            archive.close()


class _Archive:
    """A zip as it is now, which may not be as it was planned."""

    def __init__(self, path: str) -> None:
        self._archive = Archive(Path(path))
        self._problem = ""
        self._names: list[str] = []
        try:
            self._names = self._archive.names()
        except DataError as error:
            self._problem = str(error)

    def load(self, number: int, name: str, max_pixels: int) -> Image:
        """Decode a member, by its place and what it is called.

        Raises:
            DataError: says what is wrong.
        """
        if self._problem:
            raise DataError(f"the archive {self._problem}")
        if number >= len(self._names) or not name.endswith(in_utf8(f"/{self._names[number]}")):
            raise DataError("is no longer in the archive")
        return decode_or_say(self._archive.read(number), max_pixels)

    def close(self) -> None:
        """Let go of the file."""
        self._archive.close()


def _load(found: Found, archive: _Archive | None, limits: FetchLimits, max_pixels: int) -> Image:
    if found.kind == "picture":
        return read_file(Path(found.target), max_pixels)
    if found.kind == "stored":
        return load_stored(found.target, max_pixels)
    if found.kind == "member" and archive is not None:
        return archive.load(found.number, found.name, max_pixels)
    if found.kind == "address":
        return load_address(found.target, limits, max_pixels)
    raise DataError(found.reason)


def read_entries(entries: Iterable[Entry], *, threads: int, ahead: int, failed: Failed) -> Iterator[Frame]:
    """Decode pictures, in order.

    Args:
        entries: what to read; taken in the calling thread.
        threads: how many decode; 1 decodes in the calling thread, each picture when it is asked for. Where the first
            one is far, at least `FAR_READERS` wait for the network.
        ahead: pictures that are read ahead, at most.
        failed: is called with what cannot be read.
    """
    coming = iter(entries)
    first = next(coming, None)
    if first is None:
        return
    coming = chain([first], coming)
    if first.far:
        threads = max(threads, min(FAR_READERS, ahead))
    if threads <= 1:
        for entry in coming:
            yield from _frame(entry, entry.load, failed)
        return
    waiting: deque[tuple[Entry, Future[Image]]] = deque()
    with ThreadPoolExecutor(threads, "mien-read") as pool:
        try:
            while True:
                while len(waiting) < ahead and _held(waiting) < WAITING_BYTES:
                    following = next(coming, None)
                    if following is None:
                        break
                    waiting.append((following, pool.submit(following.load)))
                if not waiting:
                    return
                entry, future = waiting.popleft()
                yield from _frame(entry, future.result, failed)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _frame(entry: Entry, load: Callable[[], Image], failed: Failed) -> Iterator[Frame]:
    try:
        yield Frame(entry.name, 0, None, load(), None)
    except DataError as error:
        failed(entry.name, reason(error))


def _held(waiting: deque[tuple[Entry, Future[Image]]]) -> int:
    """Bytes of the decoded pictures that wait."""
    done = (future.result() for _, future in waiting if future.done() and not future.exception())
    return sum(image.nbytes for image in done)
