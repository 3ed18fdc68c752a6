"""What a part leaves: a table of faces and, where something failed, a table of failures, whole or not at all.

A part's faces are moved into place last, so that their table says that the part is done. Its counts are in the file's
metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from types import TracebackType
from typing import Any, Self

from mien.analysis import ROW_COLUMNS, Analysis
from mien.batch.stores import Store, first_line, parquet_writer, told
from mien.errors import DataError, UsageError
from mien.frames import in_utf8, printable
from mien.rowfiles import need_pyarrow, row_schema

FACES, FAILURES = "faces", "failures"
"""The folders of the two tables."""

_PART = re.compile(r"part-(\d{6,})\.parquet")

WORK = "_work"
"""The folder of files that are not whole yet, and of what workers note while they work."""

BUFFERED = 8192
"""Rows that wait to be written."""

COUNTS_KEY = b"mien.counts"


@dataclass
class Counts:
    """How much was done.

    Attributes:
        pictures: single pictures that were read.
        frames: of videos.
        faces: in both.
        empty: pictures and frames without a face.
        failed: sources that could not be read.
    """

    pictures: int = 0
    frames: int = 0
    faces: int = 0
    empty: int = 0
    failed: int = 0

    def add(self, other: Counts) -> None:
        """Add what another part did."""
        for entry in fields(self):
            setattr(self, entry.name, getattr(self, entry.name) + getattr(other, entry.name))


def part_name(number: int) -> str:
    """What a part's files are called: ``part-000012.parquet``."""
    return f"part-{number:06d}.parquet"


def part_file(folder: Store, table: str, number: int) -> Store:
    """Where a part's rows go: ``faces/part-000012.parquet``."""
    return folder.child(table, part_name(number))


class PartTables:
    """Writes the rows of one part; a context manager: nothing is left of a body that fails."""

    def __init__(self, folder: Store, number: int, classes: Sequence[str], *, keep_empty: bool) -> None:
        self._arrow, _ = need_pyarrow()
        check_columns(classes)
        self._folder, self._number, self._keep_empty = folder, number, keep_empty
        self._faces, self._scratch = part_file(folder, FACES, number), folder.child(WORK)
        self._schema = row_schema(self._arrow, classes)
        self._nothing = dict.fromkeys([*ROW_COLUMNS, *classes])
        self._rows: list[dict[str, Any]] = []
        self._failures: list[tuple[str, str]] = []
        self.counts = Counts()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stream = stack.enter_context(self._faces.replacing(self._scratch))
            self._writer = stack.enter_context(parquet_writer(self._faces, stream, self._schema))
            self._stack = stack.pop_all()  # nothing failed
        return self

    def add(self, analysis: Analysis, *, moving: bool = False) -> None:
        """The faces of a picture, or of a frame of a video."""
        counts = self.counts
        counts.pictures += not moving
        counts.frames += moving
        counts.faces += len(analysis)
        counts.empty += not len(analysis)
        rows = analysis.rows()
        if not rows and self._keep_empty:
            rows = [{**self._nothing, "frame": analysis.frame, "time": analysis.time}]
        source = in_utf8(analysis.source or "")
        self._rows += [{**row, "source": source} for row in rows]
        if len(self._rows) >= BUFFERED:
            self._flush()

    def fail(self, source: str, reason: str) -> None:
        """A source that cannot be read."""
        self._failures.append((in_utf8(source), in_utf8(reason)))
        self.counts.failed += 1

    def _flush(self) -> None:
        with told(self._faces, "written"):
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._stack.__exit__(kind, error, at)

    def _finish(self) -> None:
        """Failures first: once the faces are there, the part is done."""
        self._write_failures()
        self._flush()
        with told(self._faces, "written"):
            self._writer.add_key_value_metadata({COUNTS_KEY: json.dumps(asdict(self.counts)).encode()})

    def _write_failures(self) -> None:
        store = part_file(self._folder, FAILURES, self._number)
        if not self._failures:
            store.delete_file()  # of who wrote them and went no further
            return
        sources, reasons = zip(*self._failures, strict=True)
        table = self._arrow.table({"source": list(sources), "reason": list(reasons)})
        with ExitStack() as stack:
            stream = stack.enter_context(store.replacing(self._scratch))
            writer = stack.enter_context(parquet_writer(store, stream, table.schema))
            stack.enter_context(told(store, "written"))
            writer.write_table(table)


def check_columns(classes: Sequence[str]) -> None:
    """Refuse classes that are named like other columns.

    Raises:
        UsageError: says which.
    """
    clashes = set(classes) & set(ROW_COLUMNS)
    if clashes:
        raise UsageError(f"--model: its class {min(clashes)!r} is named like a column of the table of faces")


def read_counts(folder: Store, number: int) -> Counts:
    """What a part that is done had to do.

    Raises:
        DataError: its table is damaged.
    """
    arrow, parquet = need_pyarrow()
    store = part_file(folder, FACES, number)
    with told(store), store.opened() as stream:
        try:
            metadata = parquet.read_metadata(stream).metadata
            return Counts(**json.loads(metadata[COUNTS_KEY]))
        except (arrow.ArrowException, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{printable(store.shown)}: is damaged ({first_line(error)}); delete it, and --resume does that part "
                "again"
            ) from error


def done_parts(folder: Store) -> set[int]:
    """Numbers of the parts whose tables of faces are there."""
    return set(_part_numbers(folder, FACES))


def _part_numbers(folder: Store, table: str) -> list[int]:
    """Numbers of the parts in a folder, sorted. Temporary files are none, nor is what others put there."""
    found = (_PART.fullmatch(name) for name in folder.child(table).names())
    return sorted(int(name[1]) for name in found if name is not None)


def read_failures(folder: Store, most: int) -> Iterator[tuple[str, str]]:
    """The first failures, in the order of the parts: (source, reason).

    Raises:
        DataError: a table cannot be read, or is damaged.
    """
    for number in _part_numbers(folder, FAILURES):
        if most <= 0:
            return
        table = part_file(folder, FAILURES, number).read_table()
        for row in table.slice(0, most).to_pylist():
            yield row["source"], row["reason"]
        most -= table.num_rows
