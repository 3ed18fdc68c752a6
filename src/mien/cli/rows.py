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
from mien.results import Prediction

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
    shares: Counter[str] = field(default_factory=Counter)
    min_confidence: float = 0.0

    def add(self, time: float, prediction: Prediction) -> None:
        """Take the face as it is in one more frame."""
        self.end = time
        self.shares.update(prediction.probabilities)
        self.min_confidence = prediction.min_confidence

    def average(self) -> Prediction:
        """What it shows on average."""
        total = self.shares.total()
        return Prediction({name: share / total for name, share in self.shares.items()}, self.min_confidence)


class Table(Printer):
    """A line a face of a picture; a line a track of a video, with the averages of its probabilities."""

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
            place = f"{face.box.width:.0f}x{face.box.height:.0f} at {face.box.x1:.0f},{face.box.y1:.0f}"
            self._line(*_told(face.prediction), place, printable(frame.source))
        if not analysis:
            self._line("no face", "", "", "", printable(frame.source))

    def close(self) -> None:
        """See `Printer`."""
        self._tell_tracks()

    def _note(self, frame: Frame, analysis: Analysis) -> None:
        time = frame.time or 0.0
        for face in analysis:
            self._tracks.setdefault(face.track_id or 0, _Track(time, time)).add(time, face.prediction)

    def _tell_tracks(self) -> None:
        for number, track in self._tracks.items():
            span = f"track {number}, {track.begin:.1f}-{track.end:.1f} s"
            self._line(*_told(track.average()), span, self._name)
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


def _told(prediction: Prediction) -> tuple[str, str, str]:
    """The first three cells of a line: the expression, how sure, and the next; of what is uncertain the best."""
    after = int(prediction.expression == prediction.best)
    second = " ".join(f"{name} {share:.0%}" for name, share in prediction.ranked()[after : after + 1])
    return prediction.expression, f"{prediction.confidence:.1%}", second


def _records(analysis: Analysis) -> list[dict[str, Any]]:
    return [{**record, "source": in_utf8(record["source"] or "")} for record in analysis.records()]


STDOUT_FORMATS: dict[str, Callable[[TextIO, Sequence[str]], Printer]] = {
    "table": Table,
    "json": JsonArray,
    "jsonl": JsonLines,
    "csv": Csv,
}
"""What ``--format`` takes."""
