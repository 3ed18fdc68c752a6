"""``mien data``: check, show, convert and draw datasets of labelled faces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.console import load_keras, reading_bar
from mien.errors import unknown_choice

if TYPE_CHECKING:
    from mien.datasets import Dataset
    from mien.datasets.duplicates import Duplicates
    from mien.datasets.streaming import Survey

app = typer.Typer(name="data", help="Check, show, convert and draw datasets of labelled faces.", no_args_is_help=True)
data_app = app

Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="Labelled faces: a folder, CSV, npz, zip or tar.", show_default=False)
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without files that cannot be used.")]


@app.command()
def check(
    data: Data,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Say what a dataset is, how many faces it has, and what is wrong with it: exit 1 where files cannot be used."""
    from mien.datasets import open_dataset
    from mien.datasets.duplicates import count_duplicates
    from mien.datasets.streaming import survey

    dataset = open_dataset(data)
    with reading_bar(what="reading faces") as progress:
        found = survey(dataset, progress=progress)
    usable = dataset.take(found.usable)
    repeated = count_duplicates(found.groups[found.usable], usable.labels, usable.splits)
    report = _report(dataset, found, repeated)
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print_report(report)
    if report["bad"]:
        raise typer.Exit(1)


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
    typer.echo(f"{done.count:,} faces written to {done.path} ({done.format}; {change})")
    if done.skipped:
        typer.echo(f"{len(done.skipped):,} bad files or rows left out", err=True)


@app.command()
def show(
    data: Data,
    split: Annotated[str, typer.Option(help="train, val, public, private, test (public and private) or all.")] = "all",
    augmented: Annotated[bool, typer.Option("--augmented", help="Show what training will see.")] = False,
    augmentation: Annotated[str, typer.Option(help="With --augmented: seed, standard or none.")] = "seed",
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the picture goes.")] = Path("faces.png"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed shows other faces.")] = 0,
) -> None:
    """Draw a contact sheet: some faces of every class."""
    from mien.datasets import open_dataset
    from mien.datasets.sheets import SHEET_SPEC, dataset_sheet, write_sheet
    from mien.preprocessing import InputSpec

    dataset = open_dataset(data)
    spec = InputSpec() if augmented else SHEET_SPEC
    sheet = dataset_sheet(
        dataset, split=split, seed=seed, spec=spec, augment=_preview(augmentation) if augmented else None
    )
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
    typer.echo(f"{count:,} faces drawn in {folder}")


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


def _report(dataset: Dataset, found: Survey, repeated: Duplicates) -> dict[str, Any]:
    """The answer of ``check``, ready for JSON."""
    bad = [*dataset.problems, *found.bad]
    return {
        "path": str(dataset.path),
        "format": dataset.format,
        "classes": list(dataset.classes),
        "n": len(dataset),
        "counts": dataset.counts(),
        "unlabelled": int((dataset.labels < 0).sum()),
        "sizes": found.sizes(),
        "bad": len(bad),
        "bad_files": bad,
        "duplicates": {
            "groups": repeated.groups,
            "surplus": repeated.surplus,
            "across_splits": repeated.across,
            "conflicting_labels": repeated.conflicting,
        },
    }


def _print_report(report: dict[str, Any]) -> None:
    from rich.console import Console

    from mien.errors import listing

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{report['path']}: {report['format']}, {report['n']:,} faces", markup=False)
    console.print(_counts_table(report))
    if report["unlabelled"]:
        console.print(f"without a label: {report['unlabelled']:,}")
    sizes = [f"{number:,} of {size}" for size, number in report["sizes"].items()]
    console.print(f"sizes: {listing(sizes) or 'none'}", markup=False)
    console.print(_duplicates_line(report["duplicates"]))
    bad = f": {listing(report['bad_files'])}" if report["bad"] else ""
    console.print(f"cannot be used: {report['bad'] or 'none'}{bad}", markup=False)


def _counts_table(report: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("class", *report["counts"], "all")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {name: [counts[name] for counts in report["counts"].values()] for name in report["classes"]}
    for name, numbers in rows.items():
        table.add_row(name, *(f"{number:,}" for number in numbers), f"{sum(numbers):,}")
    totals = [sum(counts.values()) for counts in report["counts"].values()]
    table.add_section()
    table.add_row("all", *(f"{number:,}" for number in totals), f"{sum(totals):,}")
    return table


def _duplicates_line(repeated: dict[str, Any]) -> str:
    if not repeated["groups"]:
        return "identical faces: none"
    across = "".join(
        f", {number:,} of {pair.replace(' in ', ' also in ')}" for pair, number in repeated["across_splits"].items()
    )
    return (
        f"identical faces: {repeated['surplus']:,} surplus copies in {repeated['groups']:,} groups{across}; "
        f"{repeated['conflicting_labels']:,} groups with conflicting labels"
    )
