"""``mien predict``: say what faces show."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from mien.errors import DataError, UsageError, unknown_choice

if TYPE_CHECKING:
    from mien.classifier import Model
    from mien.images import Image
    from mien.results import Prediction

DETECTORS = ("none",)
"""How faces are found: ``none`` takes each picture for a face that is already cut out."""

READ_AHEAD = 64
"""Files that are read and answered together."""

Row = tuple[str, "Prediction"]
Writer = Callable[[Iterable[Row], Sequence[str], TextIO], None]


def predict_command(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Images, folders, glob patterns, .txt lists.", show_default=False),
    ],
    model: Annotated[Path | None, typer.Option(metavar="PATH", help="An .onnx, .keras or .h5 file.")] = None,
    detector: Annotated[str, typer.Option(help="none: each picture is a face, cut out already.")] = "none",
    output_format: Annotated[str, typer.Option("--format", help="table, json, jsonl or csv.")] = "table",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead of printing.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures that go through the network at once.", show_default="by size")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, coreml...; where an .onnx runs.")] = "auto",
) -> None:
    """Say what faces show. Files that cannot be read are named on stderr, and the rest goes on."""
    from mien.classifier import KERAS_SUFFIXES, open_model
    from mien.cli.console import load_keras
    from mien.sources import expand

    if detector not in DETECTORS:
        raise unknown_choice("--detector", detector, DETECTORS)
    if output_format not in WRITERS:
        raise unknown_choice("--format", output_format, WRITERS)
    if model is None:
        raise UsageError(
            "--model: is required, as no model is bundled yet; train one with 'mien train DATA', then give "
            "--model RUN/model.onnx"
        )
    if model.suffix.lower() in KERAS_SUFFIXES:
        load_keras(f"reading {model.suffix} files")
    opened = open_model(model, device=device)
    paths = expand(sources)
    failed: list[str] = []
    with _open_output(out) as stream:
        WRITERS[output_format](_predictions(opened, paths, batch_size, failed), opened.spec.classes, stream)
    if failed:
        raise DataError(f"{len(failed):,} of {len(paths):,} files could not be read", failed)


def _predictions(model: Model, paths: Sequence[Path], batch_size: int | None, failed: list[str]) -> Iterator[Row]:
    """Read and classify a batch at a time; files that cannot be read are named on stderr and added to `failed`."""
    from concurrent.futures import ThreadPoolExecutor

    from mien.classifier import classify

    channels = model.spec.input.channels
    with ThreadPoolExecutor(thread_name_prefix="mien-read") as pool:
        for start in range(0, len(paths), READ_AHEAD):
            batch = paths[start : start + READ_AHEAD]
            images = list(pool.map(lambda path: _read(path, channels), batch))
            for problem in (image for image in images if isinstance(image, DataError)):
                typer.echo(str(problem), err=True)
            readable = {
                path: image for path, image in zip(batch, images, strict=True) if not isinstance(image, DataError)
            }
            failed += [_name(path) for path in batch if path not in readable]
            answers = classify(model, list(readable.values()), batch_size)
            yield from zip(map(_name, readable), answers, strict=True)


def _read(path: Path, channels: int) -> Image | DataError:
    """The picture, or what is wrong with it."""
    from mien.images import read_image

    try:
        return read_image(path, channels=channels)
    except DataError as error:
        return error


def _name(path: Path) -> str:
    """The path as text that every encoding of Unicode can write, whatever bytes the file's name has."""
    return str(path).encode("utf-8", "backslashreplace").decode()


@contextmanager
def _open_output(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears when it is whole."""
    from mien.files import replacing

    if out is None:
        yield sys.stdout
        return
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        yield stream


def _write_table(rows: Iterable[Row], classes: Sequence[str], stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    del classes
    table = Table("expression")
    table.add_column("confidence", justify="right")
    table.add_column("next", no_wrap=True)
    table.add_column("file", overflow="fold")
    for name, answer in rows:
        second = " ".join(f"{other} {share:.0%}" for other, share in answer.ranked()[1:2])
        table.add_row(answer.expression, f"{answer.confidence:.1%}", second, Text(name))
    Console(file=stream, width=None if stream.isatty() else 120).print(table)


def _write_json(rows: Iterable[Row], classes: Sequence[str], stream: TextIO) -> None:
    del classes
    stream.write(json.dumps([_record(row) for row in rows], indent=2) + "\n")


def _write_jsonl(rows: Iterable[Row], classes: Sequence[str], stream: TextIO) -> None:
    del classes
    for row in rows:
        stream.write(json.dumps(_record(row)) + "\n")
        stream.flush()


def _write_csv(rows: Iterable[Row], classes: Sequence[str], stream: TextIO) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "expression", "confidence", *classes])
    for name, answer in rows:
        writer.writerow([name, answer.expression, answer.confidence, *(answer.probabilities[each] for each in classes)])
        stream.flush()


def _record(row: Row) -> dict[str, object]:
    name, answer = row
    return {"file": name, **answer.to_dict()}


WRITERS: dict[str, Writer] = {"table": _write_table, "json": _write_json, "jsonl": _write_jsonl, "csv": _write_csv}
"""How answers are written, by name."""
