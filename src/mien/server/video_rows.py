"""Rows of a video in a file that grows: one writer, any number of readers, each as slow as it likes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mien.server.video_store import open_private

MARK_ROWS = 1024
"""The place of every so-manieth row is noted, so that a reader need not begin at the first."""

PIECE = 64 * 1024
"""Bytes that a reader gets at once, at most."""


class RowFile:
    """The writer's side. Readers see a row once it is written whole.

    Attributes:
        path: the file.
        count: rows so far.
        size: their bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = self.size = 0
        self._marks = [0]
        self._file = open_private(path)

    def write(self, lines: Sequence[str]) -> None:
        """Add rows, each given without its line end.

        Raises:
            OSError: the disk is full; rows so far stay.
        """
        encoded = [f"{line}\n".encode() for line in lines]
        _write_all(self._file, b"".join(encoded))
        for line in encoded:
            self.size += len(line)
            self.count += 1
            if self.count % MARK_ROWS == 0:
                self._marks.append(self.size)

    def find(self, row: int) -> tuple[int, int]:
        """The last place noted before a row, 0 or more: (offset in bytes, rows from there on to it)."""
        mark = min(row // MARK_ROWS, len(self._marks) - 1)
        return self._marks[mark], row - mark * MARK_ROWS

    def close(self) -> None:
        """No further row comes."""
        os.close(self._file)


class RowReader:
    """A reader's side; close it."""

    def __init__(self, rows: RowFile, after: int) -> None:
        """Pass over the first `after` rows, whether they are there yet or not.

        Raises:
            OSError: the file is gone.
        """
        self._rows = rows
        self._place, self._skip = rows.find(after)
        self._file = rows.path.open("rb", buffering=0)
        self._file.seek(self._place)

    @property
    def behind(self) -> bool:
        """Whether there is something to read."""
        return self._place < self._rows.size

    def read(self) -> bytes:
        """The next `PIECE` bytes or fewer, which may end within a row; empty where no more is written yet."""
        while self.behind:
            piece = self._file.read(min(PIECE, self._rows.size - self._place)) or b""
            self._place += len(piece)
            piece = self._after_skipped(piece)
            if piece:
                return piece
        return b""

    def _after_skipped(self, piece: bytes) -> bytes:
        place = 0
        while self._skip and (end := piece.find(b"\n", place)) >= 0:
            self._skip -= 1
            place = end + 1
        return b"" if self._skip else piece[place:]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
