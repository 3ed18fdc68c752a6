"""``mien predict`` in this process: rows as they come, annotated pictures and videos, a timeline."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mien.cli.bars import AnalysingBar
from mien.errors import DataError, UsageError, many, unknown_choice

if TYPE_CHECKING:
    from mien.analysis import Analysis
    from mien.analyzer import Analyzer
    from mien.sources import Frame, Reading

    Taker = Callable[[Frame, Analysis], object]
    """Takes each picture or frame with its result."""

MANY_PATHS = 8
"""More files than these are counted at the end, not named."""


def predict_locally(sources: Sequence[str], asked: dict[str, Any]) -> None:
    """Analyse everything and say what came of it.

    Args:
        sources: as they were named.
        asked: the options of the command, by name.

    Raises:
        UsageError: the request is wrong.
        DataError: sources failed.
    """
    from mien.images import MAX_PIXELS
    from mien.sources import Reading

    max_pixels = asked["max_pixels"] or MAX_PIXELS
    names = ("margin", "align", "tta", "min_confidence", "batch_size", "device", "threads")
    options = {**{name: asked[name] for name in names}, "max_pixels": max_pixels}
    analyzer = _open_analyzer(asked["model"], asked["detector"], asked["min_face_size"], options)
    reading = Reading(allow_private=asked["allow_private"], max_pixels=max_pixels, every=asked["every"] or 1)
    work = _Work(analyzer, reading, asked["smooth"], asked["detect_every"])
    out = None if asked["out"] is None else Path(asked["out"])
    wanted = _Wanted(asked["output_format"] or "table", out, asked["save"], asked["timeline"])
    counts, failures = _Counts(), list[str]()

    def tell() -> None:
        for line in counts.lines(wanted):
            typer.echo(line, err=out is None and wanted.output_format != "table")

    try:
        with _without_pillows_limit():
            _run(work, sources, wanted, counts, failures)
    except KeyboardInterrupt:
        tell()
        raise
    tell()
    if failures:
        raise DataError(f"{many(len(failures), 'source')} failed", failures)


@dataclass(frozen=True)
class _Work:
    """How sources are read and analysed."""

    analyzer: Analyzer
    reading: Reading
    smooth: float
    detect_every: int | None


@dataclass(frozen=True)
class _Wanted:
    """What is to be written."""

    output_format: str
    out: Path | None
    save: Path | None
    timeline: Path | None


@dataclass
class _Counts:
    """How much was done."""

    pictures: int = 0
    frames: int = 0
    faces: int = 0
    empty: int = 0
    saved: list[Path] = field(default_factory=list)
    plotted: bool = False

    def __call__(self, frame: Frame, analysis: Analysis) -> None:
        self.pictures += frame.clip is None
        self.frames += frame.clip is not None
        self.faces += len(analysis)
        self.empty += not len(analysis)

    def lines(self, wanted: _Wanted) -> Iterator[str]:
        """What is said at the end."""
        if wanted.out or wanted.save or wanted.timeline or self.pictures + self.frames > 1:
            seen = [many(count, what) for count, what in ((self.pictures, "picture"), (self.frames, "frame")) if count]
            yield f"{' and '.join(seen) or 'no picture'}: {many(self.faces, 'face')}; {self.empty:,} without a face"
        written = [wanted.out] if wanted.out else []
        written += [wanted.timeline] if wanted.timeline and self.plotted else []
        yield from (f"wrote {path}" for path in written if path.exists())
        if wanted.timeline and not self.plotted:
            yield "no timeline: there was no face in a video"
        if len(self.saved) > MANY_PATHS:
            yield f"wrote {many(len(self.saved), 'file')} to {wanted.save}"
        else:
            yield from (f"wrote {path}" for path in self.saved)


def _open_analyzer(model: str | None, detector: str, min_face_size: int | None, options: dict[str, Any]) -> Analyzer:
    """Everything that can be wrong with the request is found here, before any source is read."""
    from mien.analyzer import Analyzer
    from mien.classifier import KERAS_SUFFIXES
    from mien.cli.console import load_keras, opening
    from mien.faces import DETECTORS, open_detector

    if detector not in DETECTORS:
        raise unknown_choice("--detector", detector, DETECTORS)
    if min_face_size is not None and detector == "none":
        raise UsageError("--min-face-size: is for detectors that look for faces, not for 'none'")
    if model is not None and Path(model).suffix.lower() in KERAS_SUFFIXES:
        load_keras(f"reading {Path(model).suffix} files")
    finding = {} if detector == "none" else {"threads": options["threads"]}
    if min_face_size is not None:
        finding["min_face_size"] = min_face_size
    with opening(model):
        return Analyzer(model, detector=open_detector(detector, **finding), **options)


def _run(work: _Work, sources: Sequence[str], wanted: _Wanted, counts: _Counts, failures: list[str]) -> None:
    """Analyse everything, handing each result to all who want it; notes what was done and what failed."""
    from mien.sources import open_sources

    with ExitStack() as stack:
        bar = AnalysingBar("pictures and frames", shown=wanted.out is not None or not sys.stdout.isatty())
        opened = stack.enter_context(open_sources(sources, reading=work.reading, on_failure=bar.note(failures)))
        _refuse_inputs(wanted, opened.paths)
        takers: list[Taker] = [counts, *_takers(stack, wanted, work.analyzer.classes, counts, opened.paths)]
        stack.enter_context(bar.over(opened))
        for frame, analysis in work.analyzer.analyze_frames(opened, smooth=work.smooth, detect_every=work.detect_every):
            for take in takers:
                take(frame, analysis)
            bar.advance()


def _refuse_inputs(wanted: _Wanted, inputs: Sequence[Path]) -> None:
    """What is written must not be what is read."""
    read = {path.resolve() for path in inputs}
    for option, path in (("--out", wanted.out), ("--timeline", wanted.timeline)):
        if path is not None and path.resolve() in read:
            raise UsageError(f"{option}: {path} is one of the sources; name another file")


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Let our own limit on pixels hold alone: Pillow's would warn below it, or stand in the way of --max-pixels."""
    import PIL.Image

    before = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = before


def _takers(
    stack: ExitStack, wanted: _Wanted, classes: Sequence[str], counts: _Counts, inputs: Sequence[Path]
) -> Iterator[Taker]:
    """Those who take each result; what they write is finished when the stack is closed, whatever happened."""
    from mien.cli.rows import STDOUT_FORMATS

    if wanted.timeline is not None:
        yield _plot(stack, wanted.timeline, classes, counts)
    if wanted.save is not None:
        yield _draw(stack, wanted.save, counts, inputs)
    if wanted.out is None:
        yield stack.enter_context(STDOUT_FORMATS[wanted.output_format](sys.stdout, classes))
    else:
        from mien.outputs import open_rows

        rows = stack.enter_context(open_rows(wanted.out, classes))
        yield lambda _, analysis: rows.write(analysis)


def _draw(stack: ExitStack, folder: Path, counts: _Counts, inputs: Sequence[Path]) -> Taker:
    """Annotated pictures and videos."""
    from mien.drawing import draw_faces
    from mien.outputs import Annotated as Drawn

    drawn = Drawn(folder, inputs=inputs)
    stack.callback(lambda: counts.saved.extend(drawn.paths))
    stack.enter_context(drawn)
    return lambda frame, analysis: drawn.write(frame, draw_faces(frame.image, analysis.faces))


def _plot(stack: ExitStack, path: Path, classes: Sequence[str], counts: _Counts) -> Taker:
    """The timeline, saved at the end."""
    from mien.timeline import Timeline

    Timeline.check_path(path)
    timeline = Timeline(classes)

    def save() -> None:
        counts.plotted = timeline.save(path)

    stack.callback(save)
    return lambda _, analysis: timeline.add(analysis)
