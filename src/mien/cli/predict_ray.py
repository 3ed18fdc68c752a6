"""``mien predict --engine ray``: the same work on a Ray cluster, rows as Parquet in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from mien.cli.bars import AnalysingBar
from mien.cli.console import without_library_talk
from mien.errors import DataError, UsageError, many, unknown_choice

if TYPE_CHECKING:
    from mien.batch import Done, Settings, Workers

SHOWN = 5
"""Failures that are named at the end; all of them are in the table."""

SETTINGS = (
    *("detector", "min_face_size", "margin", "align", "tta", "min_confidence", "smooth", "detect_every"),
    *("allow_private", "keep_empty", "column", "part_size"),
)
"""Options that are fields of `mien.batch.Settings`."""


def predict_on_ray(sources: Sequence[str], asked: dict[str, Any]) -> None:
    """Run a batch and say what came of it.

    Args:
        sources: as they were named.
        asked: the options of the command, by name.

    Raises:
        UsageError: the request is wrong.
        DataError: sources failed, or the work did.
    """
    from mien.batch import Settings, Workers
    from mien.faces import DETECTORS
    from mien.frames import in_utf8
    from mien.images import MAX_PIXELS

    if asked["out"] is None:
        raise UsageError("--out: --engine ray writes into a folder; name one that all machines of the cluster share")
    if asked["detector"] not in DETECTORS:
        raise unknown_choice("--detector", asked["detector"], DETECTORS)
    for name in (*sources, asked["out"]):
        if name != in_utf8(name):
            raise UsageError(
                f"{in_utf8(name)}: Ray takes no names on the command line that are not UTF-8; rename it, or name "
                "the folder that it is in, or a pattern in quotes"
            )
    chosen = {name: asked[name] for name in SETTINGS}
    settings = Settings(**chosen, max_pixels=asked["max_pixels"] or MAX_PIXELS)
    cpus = 1 if asked["cpus_per_worker"] is None else asked["cpus_per_worker"]
    workers = Workers(asked["workers"], cpus, asked["gpus_per_worker"] or 0.0, asked["device"])
    done = _run(sources, asked, settings, workers)
    _tell(done)
    if done.counts.failed:
        _tell_failures(asked["out"], done)


def _run(sources: Sequence[str], asked: dict[str, Any], settings: Settings, workers: Workers) -> Done:
    """Run the batch behind a bar; where it is ended from outside, say how much is done."""
    from mien.batch import run_batch

    bar, seen = AnalysingBar("parts", shown=True), [0, 0]

    def tell(parts: int, of: int) -> None:
        seen[:] = parts, of
        move(parts, of)

    try:
        with without_library_talk(), bar.counting() as move:
            return run_batch(
                sources,
                asked["out"],
                model=asked["model"],
                settings=settings,
                workers=workers,
                address=asked["address"],
                resume=asked["resume"],
                progress=lambda parts, of, _: tell(parts, of),
                say=bar.say,
            )
    except KeyboardInterrupt:
        if seen[1]:
            typer.echo(f"of {many(seen[1], 'part')}, {seen[0]:,} are done; --resume does the rest", err=True)
        raise


def _tell(done: Done) -> None:
    counts = done.counts
    told = [many(counts.pictures, "picture")] if counts.pictures or not counts.frames else []
    told += [many(counts.frames, "frame")] if counts.frames else []
    typer.echo(f"{' and '.join(told)}: {many(counts.faces, 'face')}; {counts.empty:,} without a face")
    if done.before:
        typer.echo(f"of {many(done.parts, 'part')}, {done.before:,} done before")
    typer.echo(f"wrote {done.folder}/faces")


def _tell_failures(out: str, done: Done) -> None:
    from mien.batch.stores import Store
    from mien.batch.tables import read_failures
    from mien.frames import printable

    shown = list(read_failures(Store.open(out), SHOWN))
    for source, reason in shown:
        typer.echo(f"{printable(source)}: {printable(reason)}", err=True)
    raise DataError(
        f"{many(done.counts.failed, 'source')} failed; all are in {done.folder}/failures",
        [printable(source) for source, _ in shown] if done.counts.failed <= SHOWN else [],
    )
