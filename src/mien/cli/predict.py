"""``mien predict``: find the faces of pictures and videos and say what they show."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.bars import many
from mien.errors import DataError, UsageError, unknown_choice

if TYPE_CHECKING:
    from mien.analysis import Analysis
    from mien.analyzer import Analyzer
    from mien.sources import Frame, Reading

    Taker = Callable[[Frame, Analysis], object]
    """Takes each picture or frame with its result."""

MANY_PATHS = 8
"""More files than these are counted at the end, not named."""

SOURCES_HELP = (
    "Images, videos, folders, glob patterns, .txt lists, .zip, http(s) and rtsp addresses, webcam numbers; "
    "with --engine ray tar shards, Parquet and s3:// addresses too."
)


def predict_command(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help=SOURCES_HELP, show_default=False)],
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="A model file, or a bundled name.")] = None,
    detector: Annotated[str, typer.Option(help="mtcnn, or none: each picture is a face, cut out already.")] = "mtcnn",
    min_face_size: Annotated[
        int | None, typer.Option(min=12, help="Smallest face to look for, pixels.", show_default="20")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Widen boxes by this share on each side.", show_default="the model's")
    ] = None,
    align: Annotated[bool, typer.Option("--align", help="Turn faces so that their eyes are level.")] = False,
    tta: Annotated[str, typer.Option(help="Views of each face to average: none, flip (2) or full (10).")] = "none",
    min_confidence: Annotated[
        float, typer.Option(metavar="SHARE", help="Call a face less sure than this, 0 to 1, uncertain.")
    ] = 0.0,
    output_format: Annotated[
        str | None, typer.Option("--format", help="table, json, jsonl or csv, on stdout.", show_default="table")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write rows there as they come: .jsonl, .json, .csv, .parquet. With --engine ray: a folder.",
        ),
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="DIR", help="Write annotated pictures and videos there.")] = None,
    timeline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Plot each track's probabilities over time.")
    ] = None,
    smooth: Annotated[float, typer.Option(help="Average a video's expressions over so many seconds; 0: not.")] = 0.5,
    detect_every: Annotated[
        int | None,
        typer.Option(min=1, help="Look for faces in every n-th frame, follow them between.", show_default="6"),
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse larger pictures.", show_default="89 million")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Fetch from private network addresses too.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Faces that go through the network at once.", show_default="by size")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, coreml...; where an .onnx runs.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as many as there are cores.")] = 0,
    engine: Annotated[
        str, typer.Option(help="local: in this process; ray: on a Ray cluster, rows as Parquet in the folder --out.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="ray: the cluster's head, or auto.", show_default="RAY_ADDRESS, or this machine"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="ray: go on with the run in --out, or begin it.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="ray: how many.", show_default="as many as there is room for")
    ] = None,
    cpus_per_worker: Annotated[
        int | None, typer.Option(help="ray: cores, and threads, of each worker.", show_default="1")
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(help="ray: GPUs of each worker; 0.5: two share one.", show_default="0")
    ] = None,
    part_size: Annotated[
        int | None, typer.Option(help="ray: pictures that are done together or not at all.", show_default="64 to 2,048")
    ] = None,
    keep_empty: Annotated[
        bool, typer.Option("--keep-empty", help="ray: a row without a box for each picture without a face.")
    ] = False,
    column: Annotated[
        str | None, typer.Option(help="ray: column of Parquet sources with pictures or paths.", show_default="found")
    ] = None,
) -> None:
    """Find faces and say what they show. What cannot be read is named on stderr, and the rest goes on."""
    from mien.cli.predict_ray import predict_on_ray
    from mien.cli.rows import STDOUT_FORMATS
    from mien.images import MAX_PIXELS
    from mien.results import check_min_confidence
    from mien.sources import Reading
    from mien.views import check_tta

    if output_format is not None and output_format not in STDOUT_FORMATS:
        raise unknown_choice("--format", output_format, STDOUT_FORMATS)
    if output_format is not None and out is not None:
        raise UsageError("--format: is for stdout; the ending of --out says how the file is written")
    check_tta(tta, "--tta")
    check_min_confidence(min_confidence, "--min-confidence")
    if not all(sources):
        raise UsageError("SOURCE: must not be empty; . is this folder")
    max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
    ray_only: dict[str, Any] = {
        "address": address,
        "resume": resume,
        "workers": workers,
        "cpus_per_worker": cpus_per_worker,
    }
    ray_only |= {"gpus_per_worker": gpus_per_worker, "part_size": part_size, "keep_empty": keep_empty, "column": column}
    if engine == "ray":
        _refuse_given({"format": output_format, "save": save, "timeline": timeline, "batch_size": batch_size}, engine)
        _refuse_given({"threads": threads}, engine, "--cpus-per-worker")
        asked = {"detector": detector, "min_face_size": min_face_size, "margin": margin, "align": align, "tta": tta}
        asked |= {"min_confidence": min_confidence, "max_pixels": max_pixels, "smooth": smooth}
        asked |= {"detect_every": detect_every, "allow_private": allow_private}
        with _terminated_as_interrupted(), _without_pillows_limit():
            predict_on_ray(sources, model, out, device, asked, ray_only)
        return
    if engine != "local":
        raise unknown_choice("--engine", engine, ("local", "ray"))
    _refuse_given(ray_only, engine)
    options = {"margin": margin, "align": align, "tta": tta, "max_pixels": max_pixels}
    options |= {"min_confidence": min_confidence}
    options |= {"batch_size": batch_size, "device": device, "threads": threads}
    analyzer = _open_analyzer(model, detector, min_face_size, options)
    work = _Work(analyzer, Reading(allow_private=allow_private, max_pixels=max_pixels), smooth, detect_every)
    wanted = _Wanted(output_format or "table", None if out is None else Path(out), save, timeline)
    counts, failures = _Counts(), list[str]()

    def tell() -> None:
        for line in counts.lines(wanted):
            typer.echo(line, err=out is None and wanted.output_format != "table")

    try:
        with _terminated_as_interrupted(), _without_pillows_limit():
            _run(work, sources, wanted, counts, failures)
    except KeyboardInterrupt:
        tell()
        raise
    tell()
    if failures:
        raise DataError(f"{many(len(failures), 'source')} failed", failures)


def _refuse_given(values: dict[str, Any], engine: str, instead: str = "") -> None:
    """Refuse options of the other engine."""
    for name, value in values.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            hint = f"use {instead}" if instead else "leave it out"
            raise UsageError(f"{option}: is not for --engine {engine}; {hint}")


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
            yield f"wrote {len(self.saved):,} files to {wanted.save}"
        else:
            yield from (f"wrote {path}" for path in self.saved)


def _open_analyzer(model: str | None, detector: str, min_face_size: int | None, options: dict[str, Any]) -> Analyzer:
    """Everything that can be wrong with the request is found here, before any source is read."""
    from mien.analyzer import Analyzer
    from mien.classifier import KERAS_SUFFIXES
    from mien.cli.console import load_keras
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
    return Analyzer(model, detector=open_detector(detector, **finding), **options)


def _run(work: _Work, sources: Sequence[str], wanted: _Wanted, counts: _Counts, failures: list[str]) -> None:
    """Analyse everything, handing each result to all who want it; notes what was done and what failed."""
    from mien.cli.bars import AnalysingBar
    from mien.sources import open_sources

    with ExitStack() as stack:
        bar = AnalysingBar(shown=wanted.out is not None or not sys.stdout.isatty())
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


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the body as Ctrl-C does, so that files are finished."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
