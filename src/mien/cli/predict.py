"""``mien predict``: find the faces of pictures and videos and say what they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.cli.predict_local import predict_locally
from mien.cli.predict_ray import predict_on_ray
from mien.errors import UsageError, unknown_choice

ENGINES: dict[str, Callable[[Sequence[str], dict[str, Any]], None]] = {"local": predict_locally, "ray": predict_on_ray}
"""Name to what does the work, with the sources and the options by name."""

RAY_ONLY = (
    *("address", "resume", "workers", "cpus_per_worker", "gpus_per_worker"),
    *("part_size", "keep_empty", "column"),
)

NOT_FOR: dict[str, dict[str, str]] = {
    "local": dict.fromkeys(RAY_ONLY, "leave it out, or choose --engine ray"),
    "ray": {
        "output_format": "rows go to --out, as Parquet",
        "save": "nothing is drawn there",
        "timeline": "nothing is drawn there",
        "batch_size": "leave it out",
        "threads": "use --cpus-per-worker",
        "every": "all frames are read there",
    },
}
"""For each engine, options that are for the other one only, and what to do instead."""

SOURCES_HELP = (
    "Images, videos, folders, glob patterns, .txt lists, .zip, http(s) and rtsp addresses, webcam numbers, - for "
    "standard input; "
    "with --engine ray tar shards, Parquet and s3:// addresses too."
)


def predict_command(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help=SOURCES_HELP, show_default=False)],
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
    as_json: Annotated[bool, typer.Option("--json", help="As --format json.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
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
        typer.Option(
            min=1,
            help="Look for faces in every n-th frame, follow them between.",
            show_default="6, less below 20 a second",
        ),
    ] = None,
    every: Annotated[
        int | None, typer.Option(min=1, help="Of videos, read every n-th frame only.", show_default="1")
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
    asked = dict(locals())
    asked.pop("sources")
    if asked.pop("engine") not in ENGINES:
        raise unknown_choice("--engine", engine, ENGINES)
    if asked.pop("as_json"):
        if output_format not in (None, "json"):
            raise UsageError(f"--json: is --format json, and --format {output_format} was asked for; leave one out")
        asked["output_format"] = "json"
    _check(sources, asked)
    _refuse_others(engine, sources, asked)
    ENGINES[engine](sources, asked)


def _check(sources: Sequence[str], asked: dict[str, Any]) -> None:
    """What both engines refuse, before anything is opened."""
    from mien.cli.rows import STDOUT_FORMATS
    from mien.results import check_min_confidence
    from mien.views import check_tta

    wanted = asked["output_format"]
    if wanted is not None and wanted not in STDOUT_FORMATS:
        raise unknown_choice("--format", wanted, STDOUT_FORMATS)
    if wanted is not None and asked["out"] is not None:
        raise UsageError("--format: is for stdout, as is --json; the ending of --out says how the file is written")
    if asked["out"] == "-":
        raise UsageError("--out: leave it out for stdout; --format json, jsonl or csv says how rows are written there")
    check_tta(asked["tta"], "--tta")
    check_min_confidence(asked["min_confidence"], "--min-confidence")
    if not all(sources):
        raise UsageError("SOURCE: must not be empty; . is this folder")


def _refuse_others(engine: str, sources: Sequence[str], asked: dict[str, Any]) -> None:
    """Refuse sources and options of the other engine."""
    if engine == "ray" and "-" in sources:
        raise UsageError("SOURCE -: standard input is not for --engine ray; name files, or a .txt list of them")
    for name, instead in NOT_FOR[engine].items():
        if asked[name]:
            option = "format" if name == "output_format" else name.replace("_", "-")
            raise UsageError(f"--{option}: is not for --engine {engine}; {instead}")
