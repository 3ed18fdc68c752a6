"""Tables of faces, written as they grow: whatever ends the program, the rows that were finished can be read.

JSON Lines, CSV and JSON are whole at their own path after every row; JSON by writing each row together with the closing
bracket, over the bracket before, in one call. A kill -9 inside that call can still leave JSON without its end (seen
once in some 90 kills of a program that did nothing but write); JSON Lines and CSV then end in part of a line.

Parquet has its index at the end and cannot grow: its rows go to a journal beside it (JSON Lines), which becomes the
Parquet file at the end, also where that is Ctrl-C or an error.
"""

from __future__ import annotations

import csv
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from mien.analysis import ROW_COLUMNS, Analysis, flat_row
from mien.errors import DataError, MissingExtraError, UsageError, many, unknown_choice
from mien.files import check_writable, replacing
from mien.frames import in_utf8
from mien.labels import refuse_text

JOURNAL_SUFFIX = ".partial.jsonl"
ROW_GROUP = 16_384
"""Rows that go to a Parquet file at once."""

Record = dict[str, Any]


def open_rows(path: str | Path, classes: Sequence[str]) -> RowWriter:
    """Write one row for each face.

    Args:
        path: ends in ``.jsonl``, ``.json``, ``.csv`` or ``.parquet`` (the extra ``parquet``). JSON rows are nested, as
            `Analysis.records` gives them; CSV and Parquet flat, as `Analysis.rows`. A file of an earlier run is
            replaced with the first row, or at the end where there is none.
        classes: the model's class names, in order.

    Raises:
        UsageError: another ending, the path cannot be written, a class is named like a column, or a Parquet file's
            journal is there, left by a run that was killed.
        MissingExtraError: Parquet needs pyarrow, which is not installed.
    """
    refuse_text(classes)
    path = Path(path)
    kind = ROW_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise unknown_choice(f"{path}: the ending", path.suffix, ROW_FORMATS)
    clashes = set(classes) & set(ROW_COLUMNS)
    if clashes and kind is not JsonLines and kind is not JsonArray:
        raise UsageError(f"{path}: the class {clashes.pop()!r} is named like a column; write .jsonl, which nests them")
    check_writable(path)
    return kind(path, tuple(classes))


class RowWriter(ABC):
    """Writes faces to a file; a context manager, or close it.

    Attributes:
        path: where they go.
        rows: how many were written.
    """

    def __init__(self, path: Path, classes: tuple[str, ...]) -> None:
        self.path = path
        self.rows = 0
        self._classes = classes
        self._file: BinaryIO | None = None

    def write(self, analysis: Analysis) -> None:
        """Write the faces of a picture or frame; they can be read as soon as this returns.

        Raises:
            DataError: the disk is full, or the file went away.
        """
        self._check_kept()
        for record in analysis.records():
            with self._named():
                self._write_row({**record, "source": in_utf8(record["source"] or "")})
            self.rows += 1

    @contextmanager
    def _named(self, kept: str = "") -> Iterator[None]:
        """Turn what a full disk raises into `DataError`; `kept` says where the rows are, if not in the file itself."""
        try:
            yield
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)  # pyarrow's own words are long
            raise DataError(f"{self.path}: cannot be written ({why}) after {many(self.rows, 'row')}{kept}") from error

    def _write_row(self, record: Record) -> None:
        file = self._opened()
        self._put(file, file.tell(), self._encode(record))

    def _put(self, file: BinaryIO, place: int, data: bytes, before: bytes = b"") -> None:
        """Write in one call; where the disk is full, put back what was there: `before`, and nothing behind it."""
        try:
            file.seek(place)
            done = file.write(data)
            while done < len(data):
                done += file.write(data[done:])
        except OSError:
            with suppress(OSError):
                file.seek(place)
                file.write(before)
                file.truncate()
            raise

    def _opened(self) -> BinaryIO:
        """The file, unbuffered, so that each row is one call; replaced and begun where this is the first."""
        if self._file is None:
            with replacing(self.path) as temporary:
                temporary.write_bytes(self._head())
            self._file = self.path.open("r+b", buffering=0)
            self._file.seek(0, os.SEEK_END)
        return self._file

    def _head(self) -> bytes:
        return b""

    @abstractmethod
    def _encode(self, record: Record) -> bytes:
        """The record as the file holds it."""

    def _check_kept(self) -> None:
        """Refuse to write on where the file was deleted, or another one put in its place: its rows would be lost."""
        if self._file is not None and not self._file.closed and _is_gone(self._file):
            raise DataError(
                f"{self.path}: was deleted or replaced while it was written, perhaps by another run with the same "
                f"file, and its {many(self.rows, 'row is', 'rows are')} lost; name another file"
            )

    def close(self) -> None:
        """Finish the file; without any row, an empty table.

        Raises:
            DataError: the disk is full, or the file went away.
        """
        try:
            with self._named():
                self._opened()
            self._check_kept()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None or self.rows:
            self.close()
        else:
            self._let_go()


class JsonLines(RowWriter):
    """A JSON object a line."""

    def _encode(self, record: Record) -> bytes:
        return _line(record)


class JsonArray(RowWriter):
    """One JSON document, an array of objects, whole after each row."""

    _END = b"\n]\n"

    def _head(self) -> bytes:
        return b"[" + self._END

    def _write_row(self, record: Record) -> None:
        file = self._opened()
        place = file.seek(-len(self._END), os.SEEK_END)
        self._put(file, place, (b",\n" if self.rows else b"\n") + self._encode(record) + self._END, self._END)

    def _encode(self, record: Record) -> bytes:
        return _line(record).rstrip()


class Csv(RowWriter):
    """Comma-separated values, UTF-8, a head, one line a face."""

    def _head(self) -> bytes:
        return csv_line([*ROW_COLUMNS, *self._classes]).encode()

    def _encode(self, record: Record) -> bytes:
        row = flat_row(record)
        return csv_line([row[name] for name in (*ROW_COLUMNS, *self._classes)]).encode()


class Parquet(RowWriter):
    """Apache Parquet; see the module's first lines for its journal."""

    def __init__(self, path: Path, classes: tuple[str, ...]) -> None:
        super().__init__(path, classes)
        need_pyarrow()
        self._journal = path.with_name(path.name + JOURNAL_SUFFIX)
        if _has_rows(self._journal):
            raise UsageError(
                f"{self._journal}: holds the rows of a run that was killed, or still goes on, a JSON object each; "
                f"mien.outputs.recover_rows turns it into {path.name}; move or delete it to begin anew"
            )
        self._journal.unlink(missing_ok=True)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = self._journal.open("xb", buffering=0)
        return self._file

    def _encode(self, record: Record) -> bytes:
        return _line(flat_row(record))

    def close(self) -> None:
        """Turn the journal into the Parquet file."""
        if self._file is None or not self._file.closed:
            super().close()
            kept = f"; they are in {self._journal}: make room, then mien.outputs.recover_rows makes the file of them"
            with self._named(kept if self.rows else ""):
                _to_parquet(self._journal, self.path, self._classes)
            self._journal.unlink()


def recover_rows(path: str | Path) -> int:
    """Turn the journal that a killed run left beside a Parquet file into that file, and delete it.

    Args:
        path: the Parquet file that the run was to write.

    Returns:
        How many rows there were.

    Raises:
        UsageError: there is no journal, or it holds no row.
    """
    path = Path(path)
    journal = path.with_name(path.name + JOURNAL_SUFFIX)
    if not _has_rows(journal):
        raise UsageError(f"{journal}: there is no such file, or no row in it")
    first = next(_read_journal(journal))
    rows = _to_parquet(journal, path, tuple(name for name in first if name not in ROW_COLUMNS))
    journal.unlink()
    return rows


def _has_rows(journal: Path) -> bool:
    """Whether a journal is there and holds a whole line, damaged or not."""
    if not journal.exists():
        return False
    with journal.open("rb") as lines:
        return any(line.endswith(b"\n") for line in lines)


def _read_journal(journal: Path) -> Iterator[Record]:
    """The whole lines; a last one that was cut by the kill is left out.

    Raises:
        DataError: a line is damaged.
    """
    with journal.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith(b"\n"):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise DataError(f"{journal}: line {number} is damaged ({error}); delete it, or the file") from error


def _to_parquet(journal: Path, path: Path, classes: tuple[str, ...]) -> int:
    arrow, parquet = need_pyarrow()
    schema, rows, count = row_schema(arrow, classes), [], 0
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(path))
        stream = stack.enter_context(temporary.open("wb"))  # pyarrow itself opens only names that are UTF-8
        writer = stack.enter_context(parquet.ParquetWriter(stream, schema))
        for row in _read_journal(journal):
            rows.append(row)
            count += 1
            if len(rows) == ROW_GROUP:
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
                rows = []
        writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
    return count


def row_schema(arrow: Any, classes: Sequence[str]) -> Any:
    """The Arrow schema of flat rows: `ROW_COLUMNS`, then each class."""
    types = {"source": arrow.string(), "frame": arrow.int64(), "time": arrow.float64(), "track": arrow.int64()}
    types["expression"] = arrow.string()
    columns = [*ROW_COLUMNS, *classes]
    return arrow.schema([arrow.field(name, types.get(name, arrow.float32())) for name in columns])


def need_pyarrow(feature: str = "writing .parquet") -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(feature, "parquet") from error
    return pyarrow, pyarrow.parquet


def _is_gone(file: BinaryIO) -> bool:
    """Whether no path leads to an open file any more."""
    try:
        found = os.fstat(file.fileno())
        if found.st_nlink:
            return False
        return not os.path.samestat(found, Path(file.name).stat())  # some file systems count no links
    except OSError:  # no such path; or "stale file handle", as network file systems say
        return True


def csv_line(values: Sequence[Any]) -> str:
    r"""A row of CSV that ends in ``\n``. Before Python 3.13, csv quotes only those line ends that it writes."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _line(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


ROW_FORMATS: dict[str, Callable[[Path, tuple[str, ...]], RowWriter]] = {
    ".jsonl": JsonLines,
    ".json": JsonArray,
    ".csv": Csv,
    ".parquet": Parquet,
}
"""Ending to kind of file."""
