"""``mien data``: check, show, convert and draw datasets of labelled faces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.console import load_keras, reading_bar
from mien.cli.flags import App
from mien.errors import UsageError, many, unknown_choice
from mien.files import check_writable, write_json

if TYPE_CHECKING:
    from mien.datasets.audit import Audit

app = App(name="data", help="Check, show, convert and draw datasets of labelled faces.", no_args_is_help=True)
data_app = app

Data = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Labelled faces: a folder, CSV, Parquet, npz, zip or tar.", show_default=False),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without files that cannot be used.")]


@app.command()
def check(
    data: Data,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    faces: Annotated[bool, typer.Option("--faces", help="Look for a face in every image, with MTCNN.")] = False,
    labels: Annotated[
        bool, typer.Option("--labels", help="Look for labels that are likely wrong, by cleanlab.")
    ] = False,
    near: Annotated[
        bool | None,
        typer.Option("--near/--no-near", help="Look for nearly identical faces.", show_default="up to 200,000 faces"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write audit.html and audit.json there.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="LIST", help="Write the faces to leave out, for --exclude.")
    ] = None,
) -> None:
    """Say what a dataset is, how many faces it has, and what is wrong with it: exit 1 where files cannot be used."""
    from mien.cli.checking import print_report
    from mien.datasets import open_dataset
    from mien.datasets.audit import audit

    _check_outputs(out, fix)
    found = audit(open_dataset(data), near=near, faces=faces, labels=labels, watch=lambda what: reading_bar(what=what))
    report = found.to_dict()
    written = _write_audit(found, report, out, fix)
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print_report(report, written)
    if report["bad"]:
        raise typer.Exit(1)


def _check_outputs(out: Path | None, fix: Path | None) -> None:
    """Find out before any work is done whether the results can be written.

    Raises:
        UsageError: a path cannot be written to, or the list would replace a file that is none.
        MissingExtraError: Jinja2 is needed and not installed.
    """
    if out is not None:
        from mien.datasets.audit_report import check_jinja

        if out.exists() and not out.is_dir():
            raise UsageError(f"--out: must be a folder, and {out} is a file")
        check_jinja()
        check_writable(out / "audit.html")
    if fix is not None:
        from mien.datasets.cleaning import is_cleaning

        check_writable(fix)
        if fix.exists() and not is_cleaning(fix):
            raise UsageError(
                f"--fix: {fix} exists and is no list that 'mien data check' wrote; name another file, or remove it"
            )


def _write_audit(found: Audit, report: dict[str, Any], out: Path | None, fix: Path | None) -> list[Path]:
    """Write what was asked for; gives the files."""
    written = []
    if out is not None:
        from mien.datasets.audit_report import write_report

        write_json(out / "audit.json", report)
        written += [write_report(found, out / "audit.html"), out / "audit.json"]
    if fix is not None:
        from mien.datasets.cleaning import clean
        from mien.datasets.exclusion import write_list

        cleaning = clean(found)
        write_list(fix, cleaning.reasons, suggestions=cleaning.suggestions, heading=cleaning.heading(found))
        written.append(fix)
    return written


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="What to read.", show_default=False)],
    destination: Annotated[
        Path, typer.Argument(metavar="DESTINATION", help="A new .csv, .npz or folder.", show_default=False)
    ],
    size: Annotated[int | None, typer.Option(help="Resize faces to this side in pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="1 for grey, 3 for colour.")] = None,
    skip_bad: SkipBad = False,
) -> None:
    """Write a dataset in another form; nothing is resized or made grey unless you say so."""
    from mien.datasets import convert as convert_dataset

    with reading_bar(what="converting") as progress:
        done = convert_dataset(source, destination, size=size, channels=channels, skip_bad=skip_bad, progress=progress)
    change = "every pixel as mien reads it" if done.exact else "resized or made grey as asked"
    typer.echo(f"{many(done.count, 'face')} written to {done.path} ({done.format}; {change})")
    if done.skipped:
        typer.echo(f"{many(len(done.skipped), 'bad file or row', 'bad files or rows')} left out", err=True)


@app.command()
def show(
    data: Data,
    split: Annotated[str, typer.Option(help="train, val, public, private, test (public and private) or all.")] = "all",
    augmented: Annotated[bool, typer.Option("--augmented", help="Show what training will see.")] = False,
    augmentation: Annotated[
        str | None, typer.Option(help="With --augmented: seed, standard, wide, robust or none.", show_default="seed")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the picture goes.")] = Path(
        "faces.png"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Another seed shows other faces.")] = 0,
) -> None:
    """Draw a contact sheet: some faces of every class."""
    from mien.datasets import open_dataset
    from mien.datasets.sheets import SHEET_SPEC, check_sheet, dataset_sheet, write_sheet
    from mien.preprocessing import InputSpec

    if augmentation is not None and not augmented:
        raise UsageError("--augmentation: is for --augmented; add that, or leave it out")
    check_sheet(out)
    dataset = open_dataset(data)
    dataset.select(split)  # refuses what is not there before Keras is loaded
    spec = InputSpec() if augmented else SHEET_SPEC
    augment = _preview(augmentation or "seed") if augmented else None
    sheet = dataset_sheet(dataset, split=split, seed=seed, spec=spec, augment=augment)
    typer.echo(write_sheet(out, sheet))


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, help="How many faces.")] = 2100,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same faces.")] = 0,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 48,
    channels: Annotated[int, typer.Option(help="1 for grey, 3 for colour.")] = 1,
) -> None:
    """Draw sample faces with the seven expressions, in FER2013's layout."""
    from mien.datasets.samples import write_samples

    with reading_bar(what="drawing faces") as progress:
        write_samples(folder, count=count, seed=seed, size=size, channels=channels, progress=progress)
    typer.echo(f"{many(count, 'face')} drawn in {folder}")


def _preview(policy: str) -> Callable[[Any, int], Any]:
    """What shows augmentation.

    Raises:
        MissingExtraError: Keras is not installed.
    """
    from mien.config import AUGMENTATIONS

    if policy not in AUGMENTATIONS:
        raise unknown_choice("--augmentation", policy, AUGMENTATIONS)
    load_keras("--augmented")
    from mien.augmentation import preview

    return lambda images, seed: preview(images, seed, AUGMENTATIONS[policy])
