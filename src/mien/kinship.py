"""Whether judged data may be what a model learned from, or what its temperature was fitted on, as its file says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mien.evaluation import Evaluation

FER2013 = ("FER2013", "ICML", "Kaggle", "CSV")
"""How the names of formats begin in which FER2013 comes."""

ARRAYS = "arrays"
"""The format of faces that were handed over in Python, wherever they are from: `mien.datasets.dataset.Faces.format`."""

Counts = Mapping[str, Mapping[str, int]]
"""Split to class to how many pictures, as `mien.Dataset.counts` gives them."""


def learnt_from(trained_on: Mapping[str, Any]) -> str | None:
    """The format of the data that a model learned from, as its file says; None where it does not tell which data.

    Args:
        trained_on: of the model's description.
    """
    said = trained_on.get("format")
    return said if isinstance(said, str) and said != ARRAYS else None


def may_have_learnt(trained_on: Mapping[str, Any], form: str, counts: Counts) -> bool:
    """Whether a model may have learned from a dataset: False only where its file says that it was another.

    Args:
        trained_on: of the model's description.
        form: what the dataset was found to be, in words.
        counts: of the dataset.
    """
    learnt = learnt_from(trained_on)
    if learnt is None:
        return True
    return _alike(learnt, form) or _same_split(trained_on.get("counts"), counts)


def noted_calibration(trained_on: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a file says of where its temperature was fitted; of an ensemble without one of its own, a member's.

    Args:
        trained_on: of the model's description.
    """
    members = trained_on.get("members")
    said = [trained_on, *(members if isinstance(members, list) else ())]
    found = (one.get("calibration") for one in said if isinstance(one, Mapping))
    return next((noted for noted in found if isinstance(noted, Mapping)), None)


def may_be_fitted(trained_on: Mapping[str, Any], form: str, counts: Counts, scores: Mapping[str, Evaluation]) -> bool:
    """Whether a model's temperature may have been fitted on a dataset; the splits are looked at elsewhere.

    Args:
        trained_on: of the model's description.
        form: what the dataset was found to be, in words.
        counts: of the dataset.
        scores: split to what was scored on it.
    """
    noted = noted_calibration(trained_on)
    if noted is None:
        return True
    judged = scores.get(str(noted.get("split")))
    if judged is not None and judged.n == noted.get("n"):
        return True
    if isinstance(noted.get("format"), str):
        return _alike(noted["format"], form)
    return may_have_learnt(trained_on, form, counts)


def _alike(one: str, other: str) -> bool:
    return _family(one) == _family(other)


def _family(form: str) -> str:
    """What a format is called, without its archive, its labels, and what was met in one copy of it."""
    words = re.split(r" in a | with | named by |,| \(", form)[0]
    return FER2013[0] if words.startswith(FER2013) else words


def _same_split(noted: object, counts: Counts) -> bool:
    """Whether one split has the very numbers of a class that were noted, under whatever name of the split."""
    if not isinstance(noted, Mapping):
        return True
    splits = [_occurring(split) for split in noted.values() if isinstance(split, Mapping)]
    return any(_occurring(split) in splits for split in counts.values() if any(split.values()))


def _occurring(split: Mapping[str, Any]) -> dict[str, Any]:
    return {name: n for name, n in split.items() if n}
