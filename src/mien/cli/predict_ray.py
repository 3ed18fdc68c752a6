"""``mien predict --engine ray``: the same work on a Ray cluster, rows as Parquet in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from mien.cli.bars import AnalysingBar, many
from mien.cli.console import without_library_talk
from mien.errors import DataError, UsageError, unknown_choice

if TYPE_CHECKING:
    from mien.batch import Done

SHOWN = 5
"""Failures that are named at the end; all of them are in the table."""


def predict_on_ray(
    sources: Sequence[str], model: str | None, out: str | None, device: str, asked: dict[str, Any], ray: dict[str, Any]
) -> None:
    """Run a batch and say what came of it.

    Args:
        sources: as they were named.
        model: a file or name.
        out: the folder.
        device: of the workers.
        asked: fields of `mien.batch.Settings`.
        ray: what is for this engine only, by the names of the options.

    Raises:
        UsageError: the request is wrong.
        DataError: sources failed, or the work did.
    """
    from mien.batch import Settings, Workers, run_batch
    from mien.faces import DETECTORS

    if out is None:
        raise UsageError("--out: --engine ray writes into a folder; name one that all machines of the cluster share")
    if asked["detector"] not in DETECTORS:
        raise unknown_choice("--detector", asked["detector"], DETECTORS)
    kept = {name: ray[name] for name in ("keep_empty", "column", "part_size")}
    cpus = 1 if ray["cpus_per_worker"] is None else ray["cpus_per_worker"]
    workers = Workers(ray["workers"], cpus, ray["gpus_per_worker"] or 0.0, device)
    bar = AnalysingBar(shown=True)
    seen = [0, 0]

    def tell(parts: int, of: int) -> None:
        seen[:] = parts, of
        move(parts, of)

    try:
        with without_library_talk(), bar.counting() as move:
            done = run_batch(
                sources,
                out,
                model=model,
                settings=Settings(**asked, **kept),
                workers=workers,
                address=ray["address"],
                resume=ray["resume"],
                progress=lambda parts, of, _: tell(parts, of),
            )
    except KeyboardInterrupt:
        if seen[1]:
            typer.echo(f"of {many(seen[1], 'part')}, {seen[0]:,} are done; --resume does the rest", err=True)
        raise
    _tell(done)
    if done.counts.failed:
        _tell_failures(out, done)


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
