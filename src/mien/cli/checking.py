"""What ``mien data check`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import listing, many

if TYPE_CHECKING:
    from rich.table import Table


def print_report(report: dict[str, Any], written: Sequence[Path] = ()) -> None:
    """Print an audit for people.

    Args:
        report: `mien.datasets.audit.Audit.to_dict`.
        written: files that hold more.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(f"{report['path']}: {report['format']}, {many(report['n'], 'face')}", markup=False)
    console.print(_counts_table(report))
    for line in _lines(report):
        console.print(line, markup=False)
    for path in written:
        console.print(str(path), markup=False)


def _counts_table(report: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("class", *report["counts"], "all")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {name: [counts[name] for counts in report["counts"].values()] for name in report["classes"]}
    for name, numbers in rows.items():
        table.add_row(Text(name), *(f"{number:,}" for number in numbers), f"{sum(numbers):,}")
    totals = [sum(counts.values()) for counts in report["counts"].values()]
    table.add_section()
    table.add_row("all", *(f"{number:,}" for number in totals), f"{sum(totals):,}")
    return table


def _lines(report: dict[str, Any]) -> list[str]:
    """A line for each thing that was looked for."""
    unlabelled = [f"without a label: {report['unlabelled']:,}"] if report["unlabelled"] else []
    sizes = [f"{number:,} of {size}" for size, number in report["sizes"].items()]
    return [
        *unlabelled,
        f"sizes: {listing(sizes) or 'none'}",
        *_spread_lines(report),
        f"blank or nearly: {_named(report['blank']['n'], report['blank']['names'])}",
        _duplicates_line("identical faces", report["duplicates"]),
        _near_line(report["near_duplicates"]),
        *_origin_lines(report["origins"]),
        *_face_lines(report["no_face"]),
        *_label_lines(report["label_issues"]),
        f"cannot be used: {_named(report['bad'], report['bad_files'])}",
    ]


def _named(number: int, names: Sequence[str]) -> str:
    return f"{number:,}: {listing(names)}" if number else "none"


def _spread_lines(report: dict[str, Any]) -> list[str]:
    return [
        f"{quantity}: {spread['median']:.0f} in the middle, {spread['p5']:.0f} to {spread['p95']:.0f} for nine in ten, "
        f"{spread['least']:.0f} to {spread['greatest']:.0f} for all (of 255)"
        for quantity in ("brightness", "contrast")
        if (spread := report[quantity])
    ]


def _duplicates_line(what: str, repeated: dict[str, Any]) -> str:
    if not repeated["groups"]:
        return f"{what}: none"
    across = "".join(
        f", {number:,} of {pair.replace(' in ', ' also in ')}" for pair, number in repeated["across_splits"].items()
    )
    return (
        f"{what}: {many(repeated['surplus'], 'surplus copy', 'surplus copies')} in "
        f"{many(repeated['groups'], 'group')}{across}; "
        f"{many(repeated['conflicting_labels'], 'group')} with conflicting labels"
    )


def _near_line(near: dict[str, Any] | None) -> str:
    if near is None:
        needed = "; it needs pip install 'mien[audit]'" if find_spec("scipy") is None else ""
        return f"nearly identical faces: not looked for (--near does{needed})"
    line = _duplicates_line("identical or nearly so", near)
    return (
        f"{line} ({many(near['pairs'], 'pair is', 'pairs are')} not identical, {near['mirrored']:,} of them mirrored)"
    )


def _origin_lines(found: dict[str, Any] | None) -> list[str]:
    """Whose faces are kept together, and how many stand in two splits."""
    if found is None:
        return []
    kind = found["kind"]
    across = "".join(
        f"; {number:,} of {pair.replace(' in ', f' are of a {kind} that is also in ')}"
        for pair, number in found["across_splits"].items()
    )
    return [f"{kind}s: {found['n']:,}, each of which stays on one side when validation is held out{across}"]


def _face_lines(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    return [f"no face found: {found['n']:,} ({found['share']:.1%}); MTCNN also misses faces that are there"]


def _label_lines(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    first = [f"{face['name']} (looks {face['suggested']})" for face in found["faces"]]
    left_out = f"; not judged: {', '.join(found['left_out'])}" if found["left_out"] else ""
    return [
        f"labels likely wrong: {_named(found['n'], first)}",
        f"  judged out of fold: {many(found['judged'], 'face')}, by a classifier that agrees with "
        f"{found['accuracy']:.1%} of "
        f"the labels; look before you believe it{left_out}",
    ]
