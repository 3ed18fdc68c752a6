"""The short model card that every run writes: what the model is, what it learned from, what it scored, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mien.evaluation import Evaluation
from mien.modelspec import ModelSpec

LIMITS = """\
It names the look of a face in a still picture, one of the classes above, as people labelled such pictures. It does not
know what a person feels. Labels of expressions are noisy, and differ between people and cultures; scores differ
between groups that the data shows unevenly.

Not for deciding about people. In the European Union, inferring the emotions of people at work or in education is
prohibited (AI Act, Article 5(1)(f))."""


def run_card(record: Mapping[str, Any], spec: ModelSpec, scores: Mapping[str, Evaluation]) -> str:
    """Write the card of a run.

    Args:
        record: what the run's config.json holds.
        spec: what the model files say about themselves.
        scores: split to evaluation.

    Returns:
        Markdown.
    """
    data = spec.trained_on
    environment = record.get("environment", {})
    colour = "grey" if spec.input.channels == 1 else "RGB"
    return f"""\
# {spec.network}

A facial-expression classifier: {spec.input.size}x{spec.input.size} {colour} faces to {", ".join(spec.classes)}.
{spec.parameters:,} parameters. Made by mien {spec.mien_version}.

## Data

{data["format"]}: trained on {data["n_train"]:,} images of its training split.{_left_out(data)} {_held(data)}

## Scores

{_table(scores)}

One run, one view of each picture. {_honesty(record, data)}

## How it was made

    {record.get("command", "mien.fit(...)")}

Python {environment.get("python", "?")}, {environment.get("system", "?")}, Keras on {environment.get("backend", "?")}.
All settings and versions are in config.json, every epoch in history.csv.

## Limits

{LIMITS}
"""


def _left_out(data: Mapping[str, Any]) -> str:
    """Training images that were not used, as a test split has them too."""
    count = data.get("duplicates_left_out")
    return "" if count is None else f" {count:,} that also stand in a test split were left out."


def _held(data: Mapping[str, Any]) -> str:
    """What was looked at while training."""
    if not data["n_validation"]:
        return "None were held out."
    if data.get("validation") == "public":
        return f"The {data['n_validation']:,} of PublicTest were watched while training."
    return f"{data['n_validation']:,} were held out to choose the epoch."


def _honesty(record: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Which scores are tests."""
    if data.get("validation") != "public":
        return (
            'Test splits were read once, after everything was chosen; "validation" chose the epoch and is therefore no '
            "test."
        )
    last = record["training"]["keep"] == "last"
    kept = "the last epoch was kept, whatever it scored" if last else "it chose the epoch"
    return (
        f"PublicTest was watched while training ({kept}), and recipes are chosen on it: of these splits only "
        "PrivateTest is a test."
    )


def _table(scores: Mapping[str, Evaluation]) -> str:
    """Accuracy and the like by split, as a Markdown table."""
    if not scores:
        return "Not judged: the data had neither validation nor test images."
    rows = ["| split | n | accuracy | 95 % interval | balanced | macro F1 |", "|---|---|---|---|---|---|"]
    for name, score in scores.items():
        low, high = score.accuracy_interval
        rows.append(
            f"| {name} | {score.n:,} | {score.accuracy:.1%} | {low:.1%} to {high:.1%} "
            f"| {score.balanced_accuracy:.1%} | {score.macro_f1:.3f} |"
        )
    return "\n".join(rows)
