"""``mien evaluate``: judge a model on labelled faces."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.errors import UsageError, unknown_choice

if TYPE_CHECKING:
    from rich.table import Table

    from mien.evaluation import Evaluation
    from mien.judging import Judgement


def evaluate_command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file, or a bundled name.", show_default=False)
    ],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Labelled faces: folder, CSV, archive.", show_default=False)
    ],
    split: Annotated[str, typer.Option(help="train, val, public, private, test (public and private) or all.")] = "test",
    tta: Annotated[
        str, typer.Option(help="Views of each picture to average: none (itself), flip (2) or full (10).")
    ] = "none",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write metrics.json and confusion.png there.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Go on without files that cannot be used.")] = False,
    detect_faces: Annotated[
        bool | None,
        typer.Option(
            "--detect-faces/--no-detect-faces",
            help="Cut each image to the face that MTCNN finds in it, or not.",
            show_default="as the model was trained",
        ),
    ] = None,
    without_duplicates: Annotated[
        bool, typer.Option("--without-duplicates", help="Leave out pictures that also stand in DATA's training split.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures that go through the network at once.", show_default="by size")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, coreml...; where an .onnx runs.")] = "auto",
) -> None:
    """Judge a model on labelled faces: accuracy with its interval, F1, confusion and more."""
    from mien.classifier import KERAS_SUFFIXES, open_model
    from mien.cli.console import load_keras, reading_bar
    from mien.datasets import open_dataset
    from mien.datasets.splits import SPLITS
    from mien.judging import judge_dataset
    from mien.views import check_tta

    _check_choice("--split", split, (*SPLITS, "all"))
    check_tta(tta, "--tta")
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out: must be a folder, and {out} is a file")
    if model.suffix.lower() in KERAS_SUFFIXES:
        load_keras(f"reading {model.suffix} files")
    opened = open_model(model, device=device)
    dataset = open_dataset(data)
    with reading_bar() as progress:
        judgement = judge_dataset(
            opened,
            dataset,
            split=split,
            tta=tta,
            batch_size=batch_size,
            skip_bad=skip_bad,
            detect_faces=detect_faces,
            without_duplicates=without_duplicates,
            progress=progress,
        )
    results = judgement.scores
    document = _document(model, data, judgement)
    written = _write(out, document, results[split]) if out is not None else []
    if as_json:
        _print_json(document)
    else:
        _print_tables(document, results, written)


def _check_choice(option: str, received: str, allowed: Collection[str]) -> None:
    if received not in allowed:
        raise unknown_choice(option, received, allowed)


def _document(model: Path, data: Path, judgement: Judgement) -> dict[str, Any]:
    """What ``--json`` prints: the whole split's metrics, its parts, and what was left out."""
    from mien import __version__

    whole, *parts = judgement.scores.items()
    return {
        "model": str(model),
        "data": str(data),
        "format": judgement.format,
        **whole[1].to_dict(),
        "parts": {name: part.to_dict() for name, part in parts},
        "unlabelled": judgement.unlabelled,
        "skipped": list(judgement.skipped),
        "without_face": judgement.without_face,
        "duplicates_left_out": judgement.duplicates_left_out,
        "mien_version": __version__,
    }


def _write(folder: Path, document: Mapping[str, Any], evaluation: Evaluation) -> list[Path]:
    from mien.files import write_json
    from mien.reports import plot_confusion

    write_json(folder / "metrics.json", document)
    return [folder / "metrics.json", plot_confusion(evaluation, folder / "confusion.png")]


def _print_json(document: Mapping[str, Any]) -> None:
    import json

    typer.echo(json.dumps(document, indent=2))


def _print_tables(document: Mapping[str, Any], results: Mapping[str, Evaluation], written: list[Path]) -> None:
    from rich.console import Console

    from mien.cli.console import scores_table

    console = Console()
    console.print(scores_table(results))
    console.print(_classes_table(next(iter(results.values()))))
    if document["skipped"]:
        console.print(f"{len(document['skipped']):,} files could not be used and were left out")
    if document["without_face"] is not None:
        console.print(f"images were cut to their faces; {document['without_face']:,} of the dataset have none")
    if document["duplicates_left_out"] is not None:
        console.print(f"{document['duplicates_left_out']:,} pictures also stand in Training and were left out")
    if document["unlabelled"]:
        console.print(f"{document['unlabelled']:,} faces have no label and were left out")
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True, markup=False, highlight=False)


def _classes_table(result: Evaluation) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(f"class ({result.split}, tta {result.tta})", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("precision", "recall", "F1", "support"):
        table.add_column(heading, justify="right")
    for name, scores in result.per_class.items():
        shares = (scores.precision, scores.recall, scores.f1)
        table.add_row(Text(name), *(f"{share:.1%}" for share in shares), f"{scores.support:,}")
    return table
