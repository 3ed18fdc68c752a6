"""Scoring past one machine: the same `mien.Analyzer` as workers of a Ray cluster, rows as partitioned Parquet.

A run is planned first: everything that the sources name is found and cut into parts, and the plan is written into the
run's folder. Workers then do parts, each whole or not at all. A part that is done is never done again, and one that was
lost with its worker is done by another, so that a run that was killed ends, after going on, with exactly the rows of an
undisturbed one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mien.batch.discovery import discover
from mien.batch.locations import is_store
from mien.batch.plan import Part, make_plan, read_parts
from mien.batch.settings import RUN, SUMMARY, ModelFile, Settings, Workers, begin, check_folder, describe
from mien.batch.stores import Store
from mien.batch.tables import WORK, Counts, done_parts, read_counts
from mien.batch.work import done_segments, forget_notes
from mien.errors import DataError, UsageError, many
from mien.finding import check_sources

if TYPE_CHECKING:
    from mien.faces import Detector

__all__ = ["Counts", "Progress", "Settings", "Workers", "run_batch"]

Progress = Callable[[int, int, Counts], None]
"""Called with parts done, parts in all, and what was done so far."""


@dataclass(frozen=True)
class Done:
    """What a run gave.

    Attributes:
        folder: its address, as it may be shown.
        counts: what was done, earlier sittings included.
        parts: how many parts there are.
        before: how many of them were done before.
    """

    folder: str
    counts: Counts
    parts: int
    before: int


def run_batch(
    sources: Sequence[str | Path | int],
    out: str | Path,
    *,
    model: str | Path | None = None,
    settings: Settings | None = None,
    workers: Workers | None = None,
    address: str | None = None,
    resume: bool = False,
    detector: Detector | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Done:
    """Find the faces of any number of pictures and videos and say what they show, on a Ray cluster.

    Args:
        sources: see `mien.batch.discovery.discover`.
        out: the run's folder, new or empty: a path that all machines share, or an address such as ``s3://bucket/run``.
            It will hold ``faces/`` and ``failures/``, Parquet files of rows as `mien.Analysis.rows` gives them and of
            what could not be read.
        model: an ``.onnx`` file, or the name of a bundled model; None for the bundled default.
        settings: what decides the rows.
        workers: how many, and what each may use.
        address: of the cluster, ``HOST:PORT``; None starts Ray on this machine, unless ``RAY_ADDRESS`` names a cluster.
        resume: go on with the run that the folder holds; begins one where it holds none. Where nothing is left to do,
            Ray is not started.
        detector: takes the place of the one that the settings name; it must pickle.
        progress: called as parts are done.
        say: called with a line as each stage begins.

    Raises:
        UsageError: a source, a setting, the folder or the address is wrong.
        DataError: the folder cannot be written to, or a worker cannot work.
        MissingExtraError: Ray or pyarrow is not installed.
    """
    check_sources(sources)
    if not isinstance(out, str | Path) or not str(out):
        raise UsageError(f"out: must be a folder or an address, received {out!r}")
    settings, workers, say = settings or Settings(), workers or Workers(), say or _silent
    model_file = ModelFile.read(model)
    folder = Store.open(str(out))
    asked = describe(settings, model_file, sources)
    tally = _Tally(folder, progress) if check_folder(folder, asked, resume=resume) else None
    if tally is not None and not tally.waiting:  # there is no need of Ray
        say(f"0 of {many(len(tally.parts), 'part')} to do; for files added since the run was planned, name a new --out")
        return tally.finish()
    from mien.batch.cluster import connected, count_workers, do_parts, need_ray, on_this_machine

    need_ray()
    if tally is None:
        next(discover(sources))  # which says so where there is nothing, before anything is started
    here = on_this_machine(address)
    say("Starting Ray on this machine" if here else "Connecting to Ray")
    with connected(address) as ray:
        count = count_workers(ray, workers, grows=not here, say=say)
        if tally is None:
            say("Finding what there is to read")
            check = partial(check_folder, folder, asked, resume=False)  # that nobody else has begun one meanwhile
            make_plan(folder, sources, settings=settings, workers=count, check=check)
            begin(folder, asked, model_file)
            tally = _Tally(folder, progress)
        else:
            forget_notes(folder)
        run = folder.child(RUN).read().decode()
        waiting = len(tally.waiting)
        say(f"{waiting:,} of {many(len(tally.parts), 'part')} to do, workers: {min(count, waiting):,}")
        place = str(out) if is_store(str(out)) else folder.path
        for stage in _stages(tally.waiting):
            do_parts(ray, place, run, stage, settings, workers, min(count, len(stage)), detector, done=tally.add)
    return tally.finish()


def _stages(waiting: Sequence[Part]) -> list[list[Part]]:
    """In what order parts are done: first all but videos that were cut, then those."""
    stages = [[part for part in waiting if not part.segments], [part for part in waiting if part.segments]]
    return [stage for stage in stages if stage]


class _Tally:
    """Counts what is done of a run that was planned, and writes it down at the end.

    Attributes:
        parts: all of them.
    """

    def __init__(self, folder: Store, progress: Progress | None) -> None:
        self._folder, self._progress, self.parts = folder, progress, read_parts(folder)
        finished, answered = done_parts(folder), done_segments(folder)
        self._done = {
            part.number for part in self.parts if {part.number, part.video} & finished or part.number in answered
        }
        self._before = len(self._done)
        self._counts = Counts()
        for number in sorted(finished):
            self._counts.add(read_counts(folder, number))
        self._tell()

    @property
    def waiting(self) -> list[Part]:
        """What is still to be done."""
        return [part for part in self.parts if part.number not in self._done]

    def add(self, number: int, counts: Counts) -> None:
        """One more part is done."""
        if number not in self._done:
            self._done.add(number)
            self._counts.add(counts)
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(len(self._done), len(self.parts), self._counts)

    def finish(self) -> Done:
        """Write ``summary.json``, which says that the run is complete.

        Raises:
            DataError: it is not.
        """
        if missing := len(self.waiting):
            raise DataError(
                f"{self._folder.shown}: {missing:,} of {many(len(self.parts), 'part')} came to nothing; --resume does "
                "them"
            )
        self._folder.child(WORK).delete_folder()
        document = {"parts": len(self.parts), **asdict(self._counts)}
        self._folder.child(SUMMARY).write((json.dumps(document, indent=2) + "\n").encode())
        return Done(self._folder.shown, self._counts, len(self.parts), self._before)


def _silent(line: str) -> None:
    """Say nothing."""
