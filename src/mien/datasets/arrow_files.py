"""Arrow files, as Hugging Face's ``datasets`` keeps them: ``save_to_disk`` writes ``train/data-00000-of-00001.arrow``.

They are read by `mien.datasets.parquet`, as the same columns in another file. Needs pyarrow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mien.datasets.storage import is_hidden

ARROW_SUFFIX = ".arrow"

STATE_FILE, INFO_FILE = "state.json", "dataset_info.json"
"""Beside Arrow files that were saved: which of them are the data, and what the columns are."""

_LEFTOVERS = ("cache-", "tmp", "indices-")
"""How files begin that ``datasets`` makes on its way."""


def arrow_names(root: Path) -> list[str]:
    """The Arrow files in a folder and below that are data, relative to it; sorted."""
    found = [path for path in root.rglob(f"*{ARROW_SUFFIX}") if path.is_file()]
    found = [path for path in found if not any(map(is_hidden, path.relative_to(root).parts))]
    return sorted(path.relative_to(root).as_posix() for path in found if _is_data(path))


def _is_data(path: Path) -> bool:
    """Whether the state beside a file lists it or, where there is none, it is no leftover."""
    listed = _read_json(path.parent / STATE_FILE).get("_data_files")
    if isinstance(listed, list):
        return path.name in [one.get("filename") for one in listed if isinstance(one, dict)]
    return not path.name.startswith(_LEFTOVERS)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        read = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def features_beside(path: Path) -> Mapping[str, Any]:
    """What ``dataset_info.json`` beside an Arrow file says of its columns; nothing where it is not there."""
    features = _read_json(path.parent / INFO_FILE).get("features")
    return features if isinstance(features, dict) else {}


class ArrowFile:
    """What `mien.datasets.parquet.Shards` asks of a Parquet file, of an Arrow file that is mapped into memory.

    Args:
        table: of pyarrow.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self.schema_arrow = table.schema

    def read(self, columns: Sequence[str]) -> Any:
        """These columns."""
        return self._table.select(columns)

    def cells(self, column: str, rows: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Rows of a column, each as a Python value."""
        values = self._table.column(column)
        return ((row, values[row].as_py()) for row in rows)


@contextmanager
def opened_arrow(arrow: Any, path: Path) -> Iterator[ArrowFile]:
    """Map an Arrow file, a stream of batches or a file of them.

    Args:
        arrow: pyarrow.
        path: of the file.

    Raises:
        ArrowException: of pyarrow, where it is neither.
        OSError: it cannot be read.
    """
    with arrow.memory_map(str(path)) as file:
        try:
            table = arrow.ipc.open_stream(file).read_all()
        except arrow.ArrowInvalid:
            file.seek(0)
            table = arrow.ipc.open_file(file).read_all()
        yield ArrowFile(table)
