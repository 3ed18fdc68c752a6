"""What is to be done, cut into parts: written down before the work begins, so that a run can go on from it.

A plan is two tables in the run's folder. ``items.parquet`` names every single picture; ``parts.parquet`` says what each
part reads: a range of those, a piece of a tar, rows of a Parquet file, or a video. A part is done when its table of
faces is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.batch.columns import Column, find_column
from mien.batch.discovery import Found, discover
from mien.batch.settings import PLAN, Settings
from mien.batch.shards import is_parquet_name
from mien.batch.stores import Store, parquet_writer, told
from mien.batch.tars import index_tar, stands_at
from mien.batch.videos import cut_video
from mien.errors import DataError, MienError, UsageError
from mien.frames import Reading, in_utf8, printable, reason
from mien.rowfiles import need_pyarrow

ITEMS, PARTS = f"{PLAN}/items.parquet", f"{PLAN}/parts.parquet"

ITEM_ROWS = 1024
"""Rows of a row group of the table of items: what a worker reads at once."""

PARTS_WANTED = 128
SMALLEST, LARGEST = 64, 2048
"""How many parts there should be, and pictures in a part."""

VIDEOS_EACH = 4
"""With more videos than that for each worker, none is cut: a video that is cut is decoded twice."""


class PlanError(MienError):
    """A plan that cannot be read. It ends a run, where a `DataError` is one source's."""


@dataclass(frozen=True)
class Part:
    """What one worker does at a time.

    Attributes:
        number: from 0; names the part's files.
        kind: ``items``, ``tar``, ``parquet``, ``video``, or ``segment`` of one.
        name: of the shard or video, as rows call it; empty for items.
        target: its absolute path or address.
        start: first item; byte of a tar; row of a Parquet file; frame.
        stop: where the part ends, exclusive; 0 for the end of a tar or video.
        column: of a Parquet file.
        pictures: how many there are; -1 where only reading tells.
        stamp: timestamp of a segment's first frame, in the stream's own units.
        video: number of the part that puts a segment's video together; -1 for what is no segment.
        segments: of a video, how many there are; they stand right before it.
        size: bytes of the shard that a piece was cut from; -1 where it is not cut.
        first: name of the member that a piece of a tar begins with.
        mark: CRC-32 of that member's first block; -1 for what is no piece of a tar.
    """

    number: int
    kind: str
    name: str = ""
    target: str = ""
    start: int = 0
    stop: int = 0
    column: str = ""
    pictures: int = -1
    stamp: int = 0
    video: int = -1
    segments: int = 0
    size: int = -1
    first: str = ""
    mark: int = -1


@dataclass
class _Shards:
    """Shards as they are found: what can be known of them before they are read."""

    column: str | None
    parts: list[Part] = field(default_factory=list)
    tars: list[tuple[Found, NDArray[np.int64]]] = field(default_factory=list)
    tables: list[tuple[Found, Column, list[int], int]] = field(default_factory=list)

    def add(self, found: Found) -> None:
        """Look at a shard.

        Raises:
            DataError: it is damaged.
            UsageError: a Parquet file has no such column as the others.
        """
        store = Store.open(found.target)
        if is_parquet_name(store.path):
            self._add_table(found, *find_column(store, self.column), store.size())
            return
        index = index_tar(store) if len(self.parts) + len(self.tars) < PARTS_WANTED else None  # there are enough parts
        if index is None:
            self.parts.append(Part(0, "tar", found.name, found.target))
        else:
            self.tars.append((found, index))

    def _add_table(self, found: Found, column: Column, rows: list[int], size: int) -> None:
        if self.tables and self.tables[0][1] != column:
            other, before, *_ = self.tables[0]
            raise UsageError(
                f"{printable(found.name)}: keeps its pictures as {column.kind} in {column.name!r}, but "
                f"{printable(other.name)} as {before.kind} in {before.name!r}; name one column of all files with "
                "--column, or read them in two runs"
            )
        self.tables.append((found, column, rows, size))

    @property
    def pictures(self) -> int:
        """How many are known of."""
        return sum(len(index) - 1 for _, index in self.tars) + sum(sum(rows) for _, _, rows, _ in self.tables)

    def cut(self, size: int) -> Iterator[Part]:
        """Pieces of about so many pictures."""
        yield from self.parts
        for found, index in self.tars:
            for first in range(0, max(1, len(index) - 1), size):
                last = min(first + size, len(index) - 1)
                yield _piece(found, int(index[first]), int(index[last]), last - first, int(index[-1]))
        for found, column, rows, held in self.tables:
            ranges = _cut(sum(rows), size) if column.kind == "path" else _joined(rows, size)
            for first, last in ranges:
                yield Part(0, "parquet", found.name, found.target, first, last, column.name, last - first, size=held)


def _piece(found: Found, start: int, stop: int, pictures: int, size: int) -> Part:
    """A piece of a tar, with what tells whether the tar is still the same when it is read."""
    first, mark = "", -1
    with suppress(DataError):  # which whoever reads the piece will run into
        first, mark = stands_at(Store.open(found.target), start)
    return Part(0, "tar", found.name, found.target, start, stop, pictures=pictures, size=size, first=first, mark=mark)


def _joined(rows: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """Ranges of about `size` rows. Row groups are not cut: who reads a part of one reads all that comes before it."""
    first = last = 0
    for count in rows:
        if last > first and last + count - first > size:
            yield first, last
            first = last
        last += count
    if last > first:
        yield first, last


def make_plan(
    folder: Store,
    sources: Sequence[str | Path | int],
    *,
    settings: Settings,
    workers: int,
    reading: Reading | None = None,
    check: Callable[[], object] | None = None,
) -> int:
    """Find everything that the sources name, and write down what is to be done.

    Args:
        folder: the run's.
        sources: see `mien.batch.discovery.discover`.
        settings: of the run.
        workers: for how many it is made: where there are fewer videos than that, long ones are spread by segment.
        reading: how videos are read.
        check: called when all is found, which may take long, before anything is put in place; what it raises stops it.

    Returns:
        How many parts there are.

    Raises:
        UsageError: nothing was found, or the shards do not fit together.
        DataError: the folder cannot be written to.
    """
    shards, videos = _Shards(settings.column), list[Found]()
    with _ItemsWriter(folder.child(*ITEMS.split("/"))) as items:
        for found in discover(sources):
            if found.kind == "video":
                videos.append(found)
            elif found.kind != "shard":
                items.add(found)
            else:
                try:
                    shards.add(found)
                except DataError as error:
                    why = reason(error).removeprefix(f"{printable(found.name)}: ")
                    items.add(Found("broken", found.name, found.target, reason=why))
        size = settings.part_size or good_size(items.count + shards.pictures)
        parts = _numbered_parts(items.count, shards, size)
        spread = len(videos) < VIDEOS_EACH * workers
        for video in videos:
            starts = cut_video(video.target, reading or Reading(), settings.detect_every) if spread else []
            parts += _video_parts(video, starts, len(parts))
        if check is not None:
            check()
    _write_parts(folder, parts)
    return len(parts)


def _numbered_parts(items: int, shards: _Shards, size: int) -> list[Part]:
    """Single pictures and shards, in parts of about so many pictures."""
    ranges = _cut(items, size)
    parts = [Part(0, "items", start=first, stop=last, pictures=last - first) for first, last in ranges]
    return [replace(part, number=number) for number, part in enumerate([*parts, *shards.cut(size)])]


def _video_parts(video: Found, starts: Sequence[tuple[int, int]], first: int) -> Iterator[Part]:
    """The segments of a video and what puts them together, numbered from `first`; one part where it is not cut."""
    whole = first + len(starts)
    ends = [start for start, _ in starts[1:]] + [0]
    for number, ((start, stamp), stop) in enumerate(zip(starts, ends, strict=False), first):
        yield Part(number, "segment", video.name, video.target, start, stop, stamp=stamp, video=whole)
    yield Part(whole, "video", video.name, video.target, segments=len(starts))


def good_size(pictures: int) -> int:
    """Pictures in a part, so that there are enough parts to share and each is worth its while; a multiple of 16."""
    wanted = -(-pictures // PARTS_WANTED)
    return min(max(SMALLEST, 16 * (-(-wanted // 16))), LARGEST)


def _cut(count: int, size: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + size, count)) for first in range(0, count, size))


class _ItemsWriter:
    """Writes the table of items as they are found; a context manager: nothing is left of a body that fails."""

    def __init__(self, store: Store) -> None:
        self._arrow, _ = need_pyarrow()
        arrow = self._arrow
        self._schema = arrow.schema(
            [
                *(("kind", arrow.string()), ("name", arrow.string()), ("target", arrow.binary())),
                *(("number", arrow.int64()), ("reason", arrow.string())),
            ]
        )
        self._store = store
        self._rows: list[dict[str, Any]] = []
        self.count = 0

    def __enter__(self) -> _ItemsWriter:
        with ExitStack() as stack:
            stream = stack.enter_context(self._store.replacing())
            self._writer = stack.enter_context(parquet_writer(self._store, stream, self._schema))
            self._stack = stack.pop_all()  # nothing failed
        return self

    def add(self, found: Found) -> None:
        """Add one."""
        texts = {"name": in_utf8(found.name), "reason": in_utf8(found.reason), "target": os.fsencode(found.target)}
        self._rows.append({**asdict(found), **texts})
        self.count += 1
        if len(self._rows) == ITEM_ROWS:
            self._flush()

    def _flush(self) -> None:
        with told(self._store, "written"):
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema), ITEM_ROWS)
        self._rows.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self._flush()
        except BaseException as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._stack.__exit__(kind, error, at)


def read_items(folder: Store, start: int, stop: int) -> Iterator[Found]:
    """Some rows of the table of items.

    Raises:
        PlanError: it cannot be read.
    """
    store = folder.child(*ITEMS.split("/"))
    for group in range(start // ITEM_ROWS, -(-stop // ITEM_ROWS)):
        base = group * ITEM_ROWS
        yield from _read_group(store, group)[max(0, start - base) : stop - base]


def _read_group(store: Store, group: int) -> list[Found]:
    _, parquet = need_pyarrow()
    with _plan_told(store), told(store), store.opened() as stream:
        rows = parquet.ParquetFile(stream, pre_buffer=False).read_row_group(group, use_threads=False).to_pylist()
        return [Found(**{**row, "target": os.fsdecode(row["target"])}) for row in rows]


@contextmanager
def _plan_told(store: Store) -> Iterator[None]:
    """Turn what a damaged plan raises into `PlanError`."""
    try:
        yield
    except DataError as error:
        raise PlanError(f"{error}; where the plan is damaged, begin anew in another folder") from error
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            f"{printable(store.shown)}: is no plan of this version of mien ({error}); begin anew in another folder"
        ) from error


def _write_parts(folder: Store, parts: Sequence[Part]) -> None:
    arrow, _ = need_pyarrow()
    names = [entry.name for entry in fields(Part)]
    columns: dict[str, list[Any]] = {name: [getattr(part, name) for part in parts] for name in names}
    columns["target"] = [os.fsencode(part.target) for part in parts]
    table, store = arrow.table(columns), folder.child(*PARTS.split("/"))
    with store.replacing() as stream, parquet_writer(store, stream, table.schema) as writer, told(store, "written"):
        writer.write_table(table)


def read_parts(folder: Store) -> list[Part]:
    """All parts of a plan.

    Raises:
        PlanError: the plan cannot be read.
    """
    store = folder.child(*PARTS.split("/"))
    with _plan_told(store):
        rows = store.read_table().to_pylist()
        return [Part(**{**row, "target": os.fsdecode(row["target"])}) for row in rows]
