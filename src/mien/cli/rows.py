"""What ``mien predict`` prints: a table for people; JSON, JSON Lines and CSV for programs, a face each."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from mien.frames import in_utf8, printable

if TYPE_CHECKING:
    from mien.analysis import Analysis
    from mien.sources import Frame

HEADINGS = ("expression", "sure", "next", "face", "source")
WIDTHS = (12, 7, 15, 20, 0)


class Printer(ABC):
    """Takes results one by one; what must stand at the end is written when it is closed."""

    def __init__(self, stream: TextIO, classes: Sequence[str]) -> None:
        self.stream = stream
        self.classes = classes

    @abstractmethod
    def __call__(self, frame: Frame, analysis: Analysis) -> None:
        """Print one picture's faces."""

    def close(self) -> None:
        """Print what stands at the end."""
        self.stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class JsonLines(Printer):
    """A JSON object a face, a line each."""

    def __call__(self, frame: Frame, analysis: Analysis) -> None:
        """See `Printer`."""
        del frame
        for record in _records(analysis):
            self.stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.stream.flush()


class JsonArray(Printer):
    """One JSON document: the list of all faces."""

    def __init__(self, stream: TextIO, classes: Sequence[str]) -> None:
        super().__init__(stream, classes)
        self._before = "["

    def __call__(self, frame: Frame, analysis: Analysis) -> None:
        """See `Printer`."""
        del frame
        for record in _records(analysis):
            self.stream.write(f"{self._before}\n{json.dumps(record, ensure_ascii=False)}")
            self._before = ","

    def close(self) -> None:
        """See `Printer`."""
        self.stream.write("[]\n" if self._before == "[" else "\n]\n")


class Csv(Printer):
    """A line a face, after a line of headings."""

    def __init__(self, stream: TextIO, classes: Sequence[str]) -> None:
        from mien.analysis import ROW_COLUMNS
        from mien.rowfiles import csv_line

        super().__init__(stream, classes)
        self._columns = (*ROW_COLUMNS, *classes)
        self.stream.write(csv_line(self._columns))

    def __call__(self, frame: Frame, analysis: Analysis) -> None:
        """See `Printer`."""
        from mien.analysis import flat_row
        from mien.rowfiles import csv_line

        del frame
        for row in map(flat_row, _records(analysis)):
            self.stream.write(csv_line([row[name] for name in self._columns]))
        self.stream.flush()


@dataclass
class _Track:
    """What is known of one face of a video so far."""

    begin: float
    end: float
    seen: Counter[str] = field(default_factory=Counter)


class Table(Printer):
    """A line a face of a picture, a line a track of a video."""

    def __init__(self, stream: TextIO, classes: Sequence[str]) -> None:
        super().__init__(stream, classes)
        self._clip: object = None
        self._name = ""
        self._tracks: dict[int, _Track] = {}
        self._headed = False

    def __call__(self, frame: Frame, analysis: Analysis) -> None:
        """See `Printer`."""
        if frame.clip is not self._clip:
            self._tell_tracks()
            self._clip, self._name = frame.clip, printable(frame.source)
        if frame.clip is not None:
            self._note(frame, analysis)
            return
        for face in analysis:
            after = int(face.expression == face.prediction.best)  # an uncertain face's best stands here
            second = " ".join(f"{name} {share:.0%}" for name, share in face.prediction.ranked()[after : after + 1])
            place = f"{face.box.width:.0f}x{face.box.height:.0f} at {face.box.x1:.0f},{face.box.y1:.0f}"
            self._line(face.expression, f"{face.confidence:.1%}", second, place, printable(frame.source))
        if not analysis:
            self._line("no face", "", "", "", printable(frame.source))

    def close(self) -> None:
        """See `Printer`."""
        self._tell_tracks()

    def _note(self, frame: Frame, analysis: Analysis) -> None:
        time = frame.time or 0.0
        for face in analysis:
            track = self._tracks.setdefault(face.track_id or 0, _Track(time, time))
            track.end = time
            track.seen[face.expression] += 1

    def _tell_tracks(self) -> None:
        for number, track in self._tracks.items():
            total = track.seen.total()
            shares = [(name, count / total) for name, count in track.seen.most_common(2)]
            second = " ".join(f"{name} {share:.0%}" for name, share in shares[1:])
            span = f"track {number}, {track.begin:.1f}-{track.end:.1f} s"
            self._line(shares[0][0], f"{shares[0][1]:.1%}", second, span, self._name)
        if self._clip is not None and not self._tracks:
            self._line("no face", "", "", "", self._name)
        self._tracks = {}

    def _line(self, *cells: str) -> None:
        if not self._headed:
            self._headed = True
            self._line(*HEADINGS)
        # A cell that is too long takes room from the next rather than being cut.
        padded = [f"{cell:<{width}}" if width else cell for cell, width in zip(cells, WIDTHS, strict=True)]
        self.stream.write(" ".join(padded).rstrip() + "\n")
        self.stream.flush()


def _records(analysis: Analysis) -> list[dict[str, Any]]:
    return [{**record, "source": in_utf8(record["source"] or "")} for record in analysis.records()]


STDOUT_FORMATS: dict[str, Callable[[TextIO, Sequence[str]], Printer]] = {
    "table": Table,
    "json": JsonArray,
    "jsonl": JsonLines,
    "csv": Csv,
}
"""What ``--format`` takes."""
