"""Tables of files that are no text in columns: JSON Lines, and ``metadata.parquet`` of Hugging Face's image folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from mien.datasets.tables import column_name
from mien.errors import DataError
from mien.rowfiles import need_pyarrow

LINES_ENDING, PARQUET_NAME = ".jsonl", "metadata.parquet"
"""How JSON Lines end, and what a Parquet file of files is called (others hold pictures)."""

RECORD_ENDINGS = (LINES_ENDING, PARQUET_NAME)

LOOKED_AT = 1000
"""The columns of JSON Lines are the keys that stand in so many of the first lines."""


@dataclass
class Records:
    """The rows of such a table.

    Attributes:
        names: of the columns (`mien.datasets.tables.column_name`).
        lines: where each row stands, and its values as text, "" for those that it lacks or that are no plain value.
        problems: lines that are none, each with the reason.
    """

    names: tuple[str, ...] = ()
    lines: list[tuple[str, list[str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_record_table(name: str) -> bool:
    """Whether a file is called as these tables are."""
    return name.lower().endswith(RECORD_ENDINGS)


def read_records(file: IO[bytes], name: str, is_table: Callable[[tuple[str, ...]], bool]) -> Records:
    """Read such a table.

    Args:
        file: standing at its beginning.
        name: relative to the root; messages call it so, since there is one of this name in each split's folder.
        is_table: whether columns of these names are those of a table; where not, the rows are not read.

    Raises:
        MissingExtraError: it is a Parquet file, and pyarrow is not installed.
        DataError: it is no Parquet file.
        OSError: it cannot be read.
    """
    return _read_parquet(file, name) if name.lower().endswith(PARQUET_NAME) else _read_lines(file, name, is_table)


def _read_lines(file: IO[bytes], name: str, is_table: Callable[[tuple[str, ...]], bool]) -> Records:
    """Read JSON Lines."""
    found = Records()
    objects: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(file, start=1):
        if number == LOOKED_AT + 1 and not is_table(_names(objects)):
            return Records()
        value = _parsed(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        if isinstance(value, dict):
            objects.append((f"{name}:{number}", {column_name(key): one for key, one in value.items()}))
        elif line.strip():
            found.problems.append(f"{name}:{number} (is no JSON object)")
    found.names = _names(objects[:LOOKED_AT])
    found.lines = [(where, [_text(value.get(key)) for key in found.names]) for where, value in objects]
    return found


def _names(objects: Sequence[tuple[str, dict[str, Any]]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for _, value in objects for key in value))


def _parsed(line: bytes) -> Any:
    """What a line of JSON says; None where it is none."""
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _text(value: Any) -> str:
    """A plain value as tables write it; characters that are no Unicode text become question marks."""
    plain = isinstance(value, str | int | float)
    return str(value).encode("utf-8", "replace").decode("utf-8").strip() if plain else ""


def _read_parquet(file: IO[bytes], name: str) -> Records:
    """Read a Parquet file; one of pictures' bytes has no rows here."""
    arrow, parquet = need_pyarrow(f"reading {PARQUET_NAME}")
    try:
        with parquet.ParquetFile(file) as opened:
            fields = list(opened.schema_arrow)
            if any("binary" in str(one.type) for one in fields):
                return Records()
            plain = [one.name for one in fields if not one.type.num_fields]
            columns = opened.read(columns=plain).to_pydict()
    except arrow.ArrowException as error:
        raise DataError(f"is no Parquet file that can be read ({str(error).partition(chr(10))[0]})", [name]) from error
    rows = zip(*(columns[one] for one in plain), strict=True)
    lines = [(f"{name}#{place}", [_text(value) for value in row]) for place, row in enumerate(rows)]
    return Records(tuple(map(column_name, plain)), lines)
