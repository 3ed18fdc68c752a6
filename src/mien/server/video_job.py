"""One uploaded video: what was asked for, how far it is, what came of it. Shared between threads."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.analysis import Analysis
from mien.frames import Frame
from mien.server.logs import REQUEST_ID
from mien.server.options import Options
from mien.server.problems import Problem
from mien.server.registry import PictureAnalyzer
from mien.server.video_rows import RowFile

VIDEO, ROWS, DRAWN = "video", "rows.jsonl", "drawn"
"""Names in a job's folder: what was uploaded, its rows, the folder of the annotated video."""

STATUSES = ("queued", "running", "done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a video.

    Attributes:
        options: as for pictures.
        smooth: seconds over which a track's probabilities are averaged.
        detect_every: see `mien.Analyzer.stream`.
        annotate: whether the video is drawn on.
    """

    options: Options
    smooth: float = 0.5
    detect_every: int | None = None
    annotate: bool = False


class Stopped(Exception):  # noqa: N818
    """Nobody wants the rest any more."""


class VideoJob:
    """One video. Its worker begins it, adds results and ends it; anybody may stop it, look at it, forget it.

    Attributes:
        id: cannot be guessed.
        source: what the client calls the video.
        wish: what was asked for.
        analyzer: does it.
        folder: its own; nothing else lies there.
        rows: a row a face.
        status: one of `STATUSES`.
        frames_done: frames analysed.
        frames_total: as far as is known; None where it is not.
        error: why it failed.
        annotated: the annotated video, once it is whole.
        stopping: whether somebody has stopped it.
        over: whether no further row comes.
        ended: when that was, on the clock of whoever ends it.
    """

    def __init__(
        self, source: str, wish: Wish, analyzer: PictureAnalyzer, folder: Path, frames_total: int | None
    ) -> None:
        """A job that waits; its video lies in `folder` already."""
        self.id = secrets.token_urlsafe(16)
        self._request_id = REQUEST_ID.get()
        self.source, self.wish, self.analyzer, self.folder = source, wish, analyzer, folder
        self.frames_total = frames_total
        self.rows = RowFile(folder / ROWS)
        self.status = "queued"
        self.frames_done = 0
        self.error: Problem | None = None
        self.annotated: Path | None = None
        self.over = self.forgotten = False
        self.ended = 0.0
        self._begun: float | None = None
        self._seconds = 0.0
        self._lock = threading.Lock()
        self.stopping = False
        self._stop_reading: Callable[[], None] | None = None

    @property
    def video(self) -> Path:
        """What was uploaded; gone once the job is over."""
        return self.folder / VIDEO

    @property
    def seconds(self) -> float:
        """Worked so far."""
        return self._seconds if self._begun is None or self.over else time.monotonic() - self._begun

    def begin(self) -> None:
        """The work begins.

        Raises:
            Stopped: it was stopped while it waited.
        """
        with self._lock:
            self.check()
            self.status, self._begun = "running", time.monotonic()

    def check(self) -> None:
        """Go on?

        Raises:
            Stopped: no.
        """
        if self.stopping:
            raise Stopped

    def wanted(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames, as long as somebody wants them.

        Raises:
            Stopped: nobody does.
        """
        try:
            for frame in frames:
                self.check()
                yield frame
        except Exception:
            self.check()  # a decoder that was stopped has failed
            raise

    @contextmanager
    def stopped_by(self, stop: Callable[[], None]) -> Iterator[None]:
        """Whoever stops the job while the body runs calls this too."""
        with self._lock:
            self.check()
            self._stop_reading = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop_reading = None

    def add(self, analysis: Analysis) -> None:
        """Count a frame and write its rows.

        Raises:
            OSError: the disk is full.
        """
        records = [{**record, "source": self.source} for record in analysis.records()]
        self.rows.write([json.dumps(record, ensure_ascii=False) for record in records])
        self.frames_done += 1

    def stop(self, error: Problem | None = None) -> None:
        """Stop it, if it is not over: it has failed with `error`, or it is cancelled."""
        with self._lock:
            if self.over or self.stopping:
                return
            self.stopping = True
            self.status, self.error = ("cancelled", None) if error is None else ("failed", error)
            if self._stop_reading is not None:
                self._stop_reading()

    def end(self, now: float, error: Problem | None = None) -> None:
        """The worker has finished; what was uploaded is needed no longer."""
        with suppress(OSError):
            self.video.unlink(missing_ok=True)
        with self._lock:
            if self.over:
                return
            if not self.stopping:
                self.status, self.error = ("done", None) if error is None else ("failed", error)
            self._seconds = self.seconds
            self.rows.close()
            self.ended, self.over = now, True

    def remove(self) -> None:
        """Forget its files. Where a worker is still at it, it removes what it writes meanwhile."""
        self.forgotten, self.annotated = True, None
        shutil.rmtree(self.folder, ignore_errors=True)

    def to_dict(self) -> dict[str, Any]:
        """The job's document. Addresses in it are relative to the service's own."""
        address = f"v1/videos/{self.id}"
        annotated = f"{address}/annotated" if self.annotated is not None else None
        return {
            "id": self.id,
            "status": self.status,
            "source": self.source,
            "frames_done": self.frames_done,
            "frames_total": self.frames_total,
            "faces": self.rows.count,
            "seconds": round(self.seconds, 3),
            "error": self.error.to_dict(f"/{address}#{self._request_id}") if self.error is not None else None,
            "links": {"self": address, "rows": f"{address}/rows", "annotated": annotated},
        }
