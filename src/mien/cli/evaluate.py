"""``mien evaluate``: judge a model on labelled faces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.errors import UsageError, many, unknown_choice

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mien.assessing import Assessment
    from mien.classifier import Model
    from mien.datasets import Dataset
    from mien.evaluation import Evaluation


def _check_report(out: Path | None, *, wanted: bool) -> None:
    """Find out before any work whether a report could be written, or is asked for without a place.

    Raises:
        UsageError: says what to name.
    """
    if out is None and wanted:
        raise UsageError("--explain and --audit: are for the report; name its folder with --out")
    if out is not None:
        from mien.report_folder import check_folder

        check_folder(out)


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
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Write report.html, a model card and metrics.json there."),
    ] = None,
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
    find_duplicates: Annotated[
        bool,
        typer.Option(
            "--find-duplicates/--no-find-duplicates",
            help="Read DATA's training split too, and score without the pictures that also stand there.",
        ),
    ] = True,
    exclude: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="A list of pictures to leave out, as mien data check --fix writes."),
    ] = None,
    known_classes: Annotated[
        bool, typer.Option("--known-classes", help="Leave out pictures of classes that the model does not know.")
    ] = False,
    compare: Annotated[
        Path | None, typer.Option(metavar="MODEL2", help="Compare with this model on the same pictures.")
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Also judge on blurred, noisy, dark, turned, covered... pictures.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Pictures drawn for --robustness.", show_default="1000")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of what is drawn for --robustness.", show_default="0")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="With --out: the report also shows what answers hang on.")
    ] = False,
    audit: Annotated[bool, typer.Option("--audit", help="With --out: the report also has an audit of DATA.")] = False,
    ferplus: Annotated[
        bool, typer.Option("--ferplus", help="Judge by the majority of votes: FER+'s beside fer2013.csv, or a table's.")
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures that go through the network at once.", show_default="by size")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, coreml...; where an .onnx runs.")] = "auto",
) -> None:
    """Judge a model on labelled faces: accuracy with its interval, confusion, calibration, coverage and more."""
    from mien.assessing import assess
    from mien.cli.console import reading_bar, to_stderr
    from mien.datasets import open_dataset
    from mien.datasets.splits import SPLITS
    from mien.robustness import SAMPLE
    from mien.views import check_tta

    _check_choice("--split", split, (*SPLITS, "all"))
    check_tta(tta, "--tta")
    if limit is not None and not robustness:
        raise UsageError("--limit: is for --robustness; the scores are of all pictures of the split")
    if seed is not None and not robustness:
        raise UsageError("--seed: is for --robustness; nothing else is drawn")
    _check_report(out, wanted=explain or audit)
    opened = _open(model, device)
    rival = _open(compare, device) if compare is not None else None
    whole = open_dataset(data, ferplus="majority" if ferplus else "none")
    models = [one for one in (opened, rival) if one is not None] if known_classes else []
    dataset, left_out = _restricted(whole, split, exclude, models)
    console = to_stderr()
    with reading_bar(console) as progress, reading_bar(console, "spoiling") as spoiling:
        assessment = assess(
            opened,
            dataset,
            rival=rival,
            names=(str(model), str(compare)),
            spoil=robustness,
            limit=limit or SAMPLE,
            seed=seed or 0,
            progress=progress,
            spoiling=spoiling,
            split=split,
            tta=tta,
            batch_size=batch_size,
            skip_bad=skip_bad,
            detect_faces=detect_faces,
            without_duplicates=without_duplicates,
            find_duplicates=find_duplicates,
            learnt_from=whole,  # a model may have learned from what a list leaves out
        )
    document = _document(model, data, exclude, left_out, assessment)
    written = []
    if out is not None:
        from mien.report_folder import write_folder

        audited = _audited(dataset, console) if audit else None
        written = write_folder(
            out,
            document,
            assessment,
            opened,
            name=str(model),
            data=str(data),
            explain=explain,
            audit=audited,
            **left_out,
        )
    if as_json:
        _print_json(document)
    else:
        _print_tables(document, assessment, opened.spec.trained_on, written)


def _open(model: Path, device: str) -> Model:
    from mien.classifier import KERAS_SUFFIXES, open_model
    from mien.cli.console import load_keras, opening

    if model.suffix.lower() in KERAS_SUFFIXES:
        load_keras(f"reading {model.suffix} files")
    with opening(model):
        return open_model(model, device=device)


def _restricted(
    whole: Dataset, split: str, exclude: Path | None, models: Sequence[Model]
) -> tuple[Dataset, dict[str, Any]]:
    """The data without what a list names and, where models are given, without classes that these do not know.

    Returns:
        What is left, and what was left out of the split, as `mien.report_facts.ReportFacts` takes it.
    """
    from mien.datasets.exclusion import exclude as without
    from mien.judging import known_classes

    dataset = whole if exclude is None else without(whole, exclude)
    excluded = 0 if exclude is None else len(whole.select(split)) - len(dataset.select(split))
    other_classes: dict[str, int] = {}
    if models:
        dataset, other_classes = known_classes(dataset, split, *models)
    return dataset, {"excluded": excluded, "other_classes": other_classes}


def _check_choice(option: str, received: str, allowed: Collection[str]) -> None:
    if received not in allowed:
        raise unknown_choice(option, received, allowed)


def _document(
    model: Path, data: Path, exclude: Path | None, left_out: Mapping[str, Any], assessment: Assessment
) -> dict[str, Any]:
    """What ``--json`` prints: the whole split's metrics, its parts, how far to trust them, and what was left out."""
    from mien import __version__

    judgement = assessment.judgement
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
        "photographs": judgement.photographs,
        "duplicates_left_out": judgement.duplicates_left_out,
        "exclude": None if exclude is None else str(exclude),
        **left_out,
        **assessment.to_dict(),
        "mien_version": __version__,
    }


def _audited(dataset: Dataset, console: Console) -> dict[str, Any]:
    from mien.datasets.audit import audit

    console.print("Auditing the data", style="bold", highlight=False)
    return audit(dataset).to_dict()


def _print_json(document: Mapping[str, Any]) -> None:
    import json

    typer.echo(json.dumps(document, indent=2))


def _print_tables(
    document: Mapping[str, Any], assessment: Assessment, trained_on: Mapping[str, Any], written: list[Path]
) -> None:
    from rich.console import Console

    from mien.cli.console import scores_table
    from mien.cli.trust import robustness_table, trust_lines
    from mien.report_facts import other_classes_words

    console, results = Console(emoji=False), assessment.judgement.scores
    console.print(scores_table(results))
    console.print(_classes_table(next(iter(results.values()))))
    if assessment.robustness is not None:
        console.print(robustness_table(assessment.robustness))
    for line in trust_lines(assessment, trained_on):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if document["skipped"]:
        console.print(f"left out {many(len(document['skipped']), 'file')} that could not be used")
    if document["without_face"] is not None:
        console.print(
            f"images were cut to their faces; no face was found in {document['without_face']:,} of those judged"
        )
    if document["duplicates_left_out"] is not None:
        console.print(f"left out {many(document['duplicates_left_out'], 'picture')} found in Training as well")
    if document["excluded"]:
        console.print(f"left out {many(document['excluded'], 'picture')} of this split, as the list says")
    if document["other_classes"]:
        console.print(other_classes_words(document["other_classes"]), soft_wrap=True, markup=False, highlight=False)
    if document["unlabelled"]:
        console.print(f"left out {many(document['unlabelled'], 'face')} without a label")
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True, markup=False, highlight=False)


def _classes_table(result: Evaluation) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(f"class ({result.split}, tta {result.tta})", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("precision", "recall", "F1", "support"):
        table.add_column(heading, justify="right")
    named = [sum(column) for column in zip(*result.confusion, strict=True)]
    for (name, scores), predicted in zip(result.per_class.items(), named, strict=True):
        known = (
            (scores.precision, predicted),
            (scores.recall, scores.support),
            (scores.f1, predicted + scores.support),
        )
        shares = (f"{share:.1%}" if of else "-" for share, of in known)  # of no picture there is no share
        table.add_row(Text(name), *shares, f"{scores.support:,}")
    return table
