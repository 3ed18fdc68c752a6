"""What ``mien evaluate`` prints of how far a model can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mien.errors import many

if TYPE_CHECKING:
    from rich.table import Table

    from mien.assessing import Assessment
    from mien.calibration import Calibration, Reliability
    from mien.comparison import Comparison
    from mien.leakage import Leakage
    from mien.robustness import Robustness


ABOUT = 0.005
"""Mean confidence and accuracy that are no further apart count as equal."""


def trust_lines(assessment: Assessment, trained_on: Mapping[str, Any]) -> Iterator[str]:
    """A line or two for each thing that was measured, and what the model's file says of the judged pictures.

    Args:
        assessment: what was measured.
        trained_on: of the model's description.
    """
    from mien.coverage import threshold

    evaluation = next(iter(assessment.judgement.scores.values()))
    if watched := _watched(assessment, trained_on):
        yield f"note: {watched.removesuffix('.')}"
    if evaluation.only_class is not None:
        from mien.report_facts import ONE_CLASS

        yield f"note: {ONE_CLASS.format(evaluation.only_class)}"
    if assessment.judgement.photographs:
        from mien.report_facts import PHOTOGRAPHS

        yield f"note: {PHOTOGRAPHS}"
    yield from _calibration_lines(assessment.calibration, evaluation.split)
    at = assessment.coverage.at_80
    yield (
        f"accuracy on the surest {at.coverage:.0%}: {at.accuracy:.1%} of {many(at.n, 'picture')}, those with a "
        f"confidence of {threshold(at.min_confidence)} and more"
    )
    if assessment.judgement.leakage is not None:
        yield from _leakage_lines(assessment.judgement.leakage)
    if assessment.comparison is not None:
        yield from _comparison_lines(assessment.comparison)


def _watched(assessment: Assessment, trained_on: Mapping[str, Any]) -> str:
    """That the model learned from these pictures, or was chosen by them, as the report says it; else nothing."""
    from mien.report_facts import watched_words

    judgement = assessment.judgement
    split = next(iter(judgement.scores))
    held = split in ("train", "all") and "train" in judgement.dataset.splits
    return watched_words(trained_on, split, training_judged=held) if judgement.learnt else ""


def _calibration_lines(calibration: Calibration, split: str) -> Iterator[str]:
    from mien.report_facts import fitted_words

    before, after = calibration.before, calibration.after
    if calibration.temperature == 1:
        own = " of its own" if calibration.fitted_on else ""
        yield f"calibration error (ECE) {after.ece:.1%}: the model has no temperature{own}; 'mien calibrate' fits one"
    else:
        where = f", fitted on {calibration.fitted_on}" if calibration.fitted_on else ""
        yield (
            f"calibration error (ECE) {after.ece:.1%} at the model's temperature {calibration.temperature:.2f}{where}; "
            f"{before.ece:.1%} without"
        )
    if calibration.flatters(split):
        yield f"  {fitted_words(calibration)} fitted on pictures that are judged here: this looks better than it is"
    yield f"it is {after.confidence:.1%} sure on average and {after.accuracy:.1%} right: {_tendency(after)}"


def _tendency(found: Reliability) -> str:
    from mien.evaluation import wilson_interval

    gap = found.confidence - found.accuracy
    low, high = wilson_interval(round(found.accuracy * found.n), found.n)
    if abs(gap) < ABOUT:
        return "about as sure as it should be, on average"
    if low <= found.confidence <= high:
        return f"as sure as it should be, as far as {many(found.n, 'picture tells', 'pictures tell')}"
    return "too sure" if gap > 0 else "not sure enough"


def _leakage_lines(leakage: Leakage) -> Iterator[str]:
    if leakage.clean_accuracy is None:
        yield f"all {many(leakage.n, 'picture')} also stand in Training"
    elif leakage.copies_accuracy is None:
        yield "no picture also stands in Training, pixel for pixel"
    else:
        yield (
            f"{many(leakage.copies, 'picture also stands', 'pictures also stand')} in Training (accuracy "
            f"{leakage.copies_accuracy:.1%}); without "
            f"them {leakage.clean_accuracy:.2%} of {leakage.clean_n:,}, with them {leakage.accuracy:.2%}"
        )
    if leakage.near_copies is None:
        yield "nearly identical ones were not looked for: there are too many pairs to compare"
    elif leakage.near_copies > leakage.copies:
        rest = leakage.near_clean_accuracy
        score = "" if rest is None else f"; without them {rest:.2%} of {leakage.near_clean_n:,}"
        yield f"{leakage.near_copies:,} stand there identically or nearly so{score}"


def _comparison_lines(found: Comparison) -> Iterator[str]:
    low, high = (100 * bound for bound in found.interval)
    yield (
        f"against {found.second}: {found.first_accuracy:.2%} and {found.second_accuracy:.2%} on the same {found.n:,}, "
        f"{100 * found.difference:+.2f} points (95% interval {low:+.2f} to {high:+.2f})"
    )
    yield (
        f"only this model is right on {found.only_first:,}, only the other on {found.only_second:,}: McNemar "
        f"p = {found.p_value:.2g}{'' if found.significant else ', which may well be chance'}"
    )


def robustness_table(found: Robustness) -> Table:
    """A row for each corruption, a column for each strength; fits 80 columns."""
    from rich import box
    from rich.table import Table

    from mien.corruptions import STRENGTHS

    table = Table(f"spoilt ({found.n:,} of {found.of:,})", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (*map(str, STRENGTHS), "mean"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, row in found.accuracy.items():
        table.add_row(name, *(f"{share:.1%}" for share in (*row, found.means[name])))
    table.add_section()
    table.add_row(f"all (clean: {found.clean:.1%})", *[""] * len(STRENGTHS), f"{found.mean:.1%}")
    return table
