"""The YAML at the head of a model card, as Hugging Face reads it.

The form is that of the Hub's documentation (huggingface.co/docs/hub/model-cards); PyYAML writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mien.errors import MissingExtraError
from mien.evaluation import Evaluation
from mien.modelspec import ModelSpec

UNKNOWN_LICENCE = "unknown"
"""Hugging Face's word for it. Whoever trained a model says what its licence is."""

TASK = {"type": "image-classification", "name": "Facial expression recognition"}


def front_matter(
    name: str,
    spec: ModelSpec,
    scores: Mapping[str, Evaluation],
    *,
    licence: str = UNKNOWN_LICENCE,
    ece: float | None = None,
    judged: str = "",
) -> str:
    """The YAML at the head of a card, between its two lines of dashes.

    Args:
        name: of the model.
        spec: what its file says.
        scores: split to evaluation; each becomes a result in ``model-index``.
        licence: as Hugging Face abbreviates it.
        ece: expected calibration error of the first split, where it was measured.
        judged: what the judged data was found to be; empty: what the model learned from.

    Raises:
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("writing a model card", "evaluate") from error
    learnt = str(spec.trained_on.get("format", ""))
    dataset, results = _dataset(learnt), list(_results(judged or learnt, scores, ece))
    tags = ["facial-expression-recognition", "image-classification", "onnx", *([dataset] if dataset else [])]
    document = {
        "license": licence,
        "library_name": "mien",
        "pipeline_tag": TASK["type"],
        "tags": tags,
        **({"datasets": [dataset]} if dataset else {}),
        "metrics": ["accuracy", "f1"],
        **({"model-index": [{"name": name, "results": results}]} if results else {}),
    }
    return f"---\n{yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)}---"


def _results(judged: str, scores: Mapping[str, Evaluation], ece: float | None) -> Iterator[dict[str, Any]]:
    """One result of ``model-index`` for each split of the data that was judged."""
    for place, (split, score) in enumerate(scores.items()):
        note = "" if score.tta == "none" else f", {score.tta} views"
        metrics = [
            {"type": "accuracy", "value": round(score.accuracy, 4), "name": f"Accuracy{note}"},
            {"type": "f1", "value": round(score.macro_f1, 4), "name": f"Macro F1{note}", "args": {"average": "macro"}},
        ]
        if ece is not None and not place:
            metrics.append({"type": "ece", "value": round(ece, 4), "name": f"Expected calibration error{note}"})
        data = {"type": _dataset(judged) or "imagefolder", "name": _data_name(judged), "split": split}
        yield {"task": dict(TASK), "dataset": data, "metrics": metrics}


def _dataset(words: str) -> str | None:
    """A name of the data as Hugging Face spells names; None for somebody's own."""
    return "fer2013" if "FER2013" in words else None


def _data_name(words: str) -> str:
    """For people: scores by FER+ labels are not to be taken for scores by FER2013's own."""
    if not _dataset(words):
        return words or "labelled faces"
    return "FER2013 with FER+ labels" if "FER+" in words else "FER2013"
