"""`ReportFacts`: what the report and the model card are made of, so that both say the same."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mien.calibration import Calibration
from mien.comparison import Comparison
from mien.coverage import Coverage
from mien.errors import UsageError, many
from mien.evaluation import Evaluation
from mien.images import Image
from mien.judging import Judgement
from mien.kinship import learnt_from
from mien.leakage import Leakage
from mien.mistakes import Mistake
from mien.modelspec import ModelSpec
from mien.provenance import Provenance
from mien.robustness import Robustness

SPLIT_NAMES: dict[str, str] = {
    "train": "Training",
    "val": "validation",
    "validation": "validation",
    "public": "PublicTest",
    "private": "PrivateTest",
    "test": "all test images",
    "all": "all images",
}
"""Splits as people write them."""

TTA_NAMES: dict[str, str] = {
    "none": "one view of each picture",
    "flip": "each picture and its mirror image",
    "full": "ten views of each picture",
}
"""Test-time augmentations in words."""

ONE_CLASS = "all pictures are of one class, {}: accuracy is how many of it are found, and nothing tells of the others"
"""What must be known of scores of a single class."""


PHOTOGRAPHS = (
    "most of these pictures look like photographs with a smaller face in them, and were judged whole, as the model "
    "learned from faces that were cut out; --detect-faces cuts each to its face"
)
"""What must be known of scores of photographs."""


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """A model, what it scored, and how it can be made again. What was not measured is None, and left out.

    Attributes:
        name: of the model, for people.
        spec: what its file says of itself.
        scores: the split that was judged, first; then its parts.
        provenance: command, versions, hashes.
        format: what the data was found to be, in words.
        history: of the training, as `mien.reports.plot_curves` takes it.
        kept: the epoch of it, from 1, whose model this is; None where that is not known.
        leakage: with and without pictures that also stand in Training.
        calibration: before and after the temperature.
        coverage: accuracy where the least sure answers are left out.
        comparison: with another model.
        robustness: accuracy on spoilt pictures.
        mistakes: the worst, the surest first.
        explanations: uint8 (height, width, 3) RGB, what `mien.explanations.class_sheet` drew.
        audit: what `mien.datasets.audit.Audit.to_dict` gave for the data.
        unlabelled: how many pictures had no label and were left out.
        skipped: how many files could not be used and were left out.
        without_face: how many pictures have no face that was found and stayed whole; None where they were not cut.
        duplicates_left_out: how many pictures that also stand in Training were not judged; None where none was sought.
        excluded: how many pictures of the split a list left out (``--exclude``).
        other_classes: class that the model does not know to how many pictures of it were left out.
        learnt: whether the model may have learned from the data that was judged; False where its file says otherwise.
        photographs: whether these look like photographs and were judged whole without anybody asking for that.
        training_judged: whether pictures of Training are among those judged, where the split is ``all``.

    Raises:
        UsageError: there is no score, or the sheet is not a picture.
    """

    name: str
    spec: ModelSpec
    scores: Mapping[str, Evaluation]
    provenance: Provenance
    format: str = ""
    history: Mapping[str, Any] | None = None
    kept: int | None = None
    leakage: Leakage | None = None
    calibration: Calibration | None = None
    coverage: Coverage | None = None
    comparison: Comparison | None = None
    robustness: Robustness | None = None
    mistakes: tuple[Mistake, ...] = ()
    explanations: Image | None = field(default=None, repr=False)
    audit: Mapping[str, Any] | None = field(default=None, repr=False)
    unlabelled: int = 0
    skipped: int = 0
    without_face: int | None = None
    duplicates_left_out: int | None = None
    excluded: int = 0
    other_classes: Mapping[str, int] = field(default_factory=dict)
    learnt: bool = True
    photographs: bool = False
    training_judged: bool = True

    def __post_init__(self) -> None:
        if not self.scores:
            raise UsageError("scores: must hold at least one split")
        sheet = self.explanations
        if sheet is not None and (sheet.dtype != np.uint8 or sheet.ndim != 3 or sheet.shape[2] != 3):
            raise UsageError(f"explanations: must be uint8 (height, width, 3), received {sheet.dtype} {sheet.shape}")

    @classmethod
    def of(
        cls, judgement: Judgement, spec: ModelSpec, provenance: Provenance, *, name: str, **measured: Any
    ) -> ReportFacts:
        """Take over what a judgement says.

        Args:
            judgement: what `mien.judging.judge_dataset` gave.
            spec: what the model's file says of itself.
            provenance: command, versions, hashes.
            name: of the model, for people.
            measured: what else there is, under the names of the fields.
        """
        return cls(
            name,
            spec,
            judgement.scores,
            provenance,
            format=judgement.format,
            leakage=judgement.leakage,
            unlabelled=judgement.unlabelled,
            skipped=len(judgement.skipped),
            without_face=judgement.without_face,
            duplicates_left_out=judgement.duplicates_left_out,
            learnt=judgement.learnt,
            photographs=judgement.photographs,
            training_judged="train" in judgement.dataset.splits,
            **measured,
        )

    @property
    def evaluation(self) -> Evaluation:
        """Of the whole split."""
        return next(iter(self.scores.values()))

    @property
    def parts(self) -> dict[str, Evaluation]:
        """Of what the split is made of, where it has parts."""
        return dict(list(self.scores.items())[1:])

    @property
    def split_name(self) -> str:
        """The split as people write it."""
        return split_name(self.evaluation.split)

    @property
    def views(self) -> str:
        """The test-time augmentation in words."""
        return TTA_NAMES.get(self.evaluation.tta, self.evaluation.tta)

    @property
    def ece(self) -> float | None:
        """Expected calibration error of the confidences that users get, 0 to 1; None where it was not measured."""
        return None if self.calibration is None else self.calibration.after.ece

    def cautions(self) -> tuple[str, ...]:
        """What a reader must know to take the numbers for what they are, each a sentence or two."""
        seen = (self._watched(), *self._leaked()) if self.learnt else (self._foreign(), self._without_copies())
        whole = _capital(f"{PHOTOGRAPHS}.") if self.photographs else ""
        lines = (self._one_class(), whole, *seen, self._flattered(), *self._left_out())
        return tuple(filter(None, lines))

    def _foreign(self) -> str:
        return (
            f"As its file says, the model learned from other data than this: {self.spec.trained_on.get('format')}. It "
            "was not looked whether these pictures stand there as well."
        )

    def _one_class(self) -> str:
        only = self.evaluation.only_class
        return _capital(f"{ONE_CLASS.format(only)}.") if only else ""

    def _watched(self) -> str:
        return watched_words(self.spec.trained_on, self.evaluation.split, training_judged=self._holds_training())

    def _holds_training(self) -> bool:
        return self.evaluation.split in ("train", "all") and self.training_judged

    def _leaked(self) -> tuple[str, ...]:
        leak = self.leakage
        if self.duplicates_left_out is not None:
            return (self._without_copies(), self._not_learnt())
        if leak is None and self._holds_training():
            return ()
        if leak is None:
            return ("It was not looked whether these pictures also stand in Training.",)
        near = ""
        if leak.near_copies is not None and leak.near_copies > leak.copies:
            near = f" {leak.near_copies:,} do so identically or nearly so: cut otherwise, brighter or mirrored."
        if not leak.copies:
            return ("None of these pictures stands in Training as well, pixel for pixel." + near, self._not_learnt())
        of = f"of the {many(leak.n, 'picture')} also"
        told = f"{many(leak.copies, f'{of} stands', f'{of} stand')} in Training, pixel for pixel.{near}"
        return (f"{told} A model that remembers them looks better than it is.", self._not_learnt())

    def _without_copies(self) -> str:
        if self.duplicates_left_out is None:
            return ""
        return f"Left out {many(self.duplicates_left_out, 'picture')} found in Training as well, pixel for pixel."

    def _not_learnt(self) -> str:
        """What of Training the model did not learn from, as its file says."""
        data = self.spec.trained_on
        if data.get("duplicates_left_out"):
            return (
                "As its file says, the model was trained without the "
                f"{many(data['duplicates_left_out'], 'image')} of Training that also stood in a test split of its data."
            )
        if data.get("excluded"):
            return (
                f"As its file says, the model was trained without {many(data['excluded'], 'image')} that a list named; "
                "copies may be among them, and then it did not learn from those."
            )
        return ""

    def _flattered(self) -> str:
        fit, split = self.calibration, self.evaluation.split
        if fit is None or not fit.flatters(split):
            return ""
        words = _capital(fitted_words(fit))
        if fit.fitted_on == split:
            return f"{words} fitted on these very pictures: calibration looks better here than it is."
        return (
            f"{words} fitted on {split_name(str(fit.fitted_on))}, which is among what is judged here: "
            "calibration looks better than it is."
        )

    def _left_out(self) -> tuple[str, ...]:
        return (
            f"Left out {many(self.excluded, 'picture')} of this split, as a list said." if self.excluded else "",
            f"{other_classes_words(self.other_classes)}." if self.other_classes else "",
            f"Left out {many(self.unlabelled, 'picture')} without a label." if self.unlabelled else "",
            f"Left out {many(self.skipped, 'file')} that could not be used." if self.skipped else "",
            f"No face was found in {many(self.without_face, 'picture')}, left whole." if self.without_face else "",
        )


def watched_words(trained_on: Mapping[str, Any], split: str, *, training_judged: bool) -> str:
    """That a model learned from what it is judged by, or was chosen by it, where its file does not say otherwise.

    Args:
        trained_on: of the model's description.
        split: that was judged.
        training_judged: whether pictures of Training are among those judged.

    Returns:
        A sentence or two; empty where neither is so.
    """
    if training_judged and learnt_from(trained_on) is None:
        return (
            "The model's file does not say what it learned from. If it was these pictures, the scores say how well "
            "they were remembered, not more."
        )
    if training_judged:
        return "These pictures hold those of Training: the scores say how well they were remembered, not more."
    recipe = trained_on.get("recipe") or {}
    if "public" in (recipe.get("validation"), trained_on.get("validation")) and split in ("public", "test", "all"):
        return "PublicTest was watched while this model was trained: scores there are of validation, not of a test."
    return ""


def other_classes_words(counts: Mapping[str, int]) -> str:
    """What was left out as the model has no such class: ``12 pictures of contempt, which ... were left out``."""
    total = sum(counts.values())
    return (
        f"{many(total, 'picture')} of {', '.join(counts)}, which the model does not know, "
        f"{'was' if total == 1 else 'were'} left out"
    )


def fitted_words(calibration: Calibration) -> str:
    """What was fitted: of a file at temperature 1 that says so, an ensemble, it is its members' temperatures."""
    return "the temperatures of its members were" if calibration.temperature == 1 else "the temperature was"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def split_name(split: str) -> str:
    """A split as people write it."""
    return SPLIT_NAMES.get(split, split)


def read_history(model: str | Path) -> dict[str, list[float]] | None:
    """The curves of a model's training: ``history.csv`` in its folder.

    Args:
        model: the model's file.

    Returns:
        Column to one number an epoch, NaN in empty cells; None where there is no such file, or it is not one of
        accuracy and loss.
    """
    path = Path(model).parent / "history.csv"
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        names = rows[0] if rows else ()
        curves = {name: [float("nan" if row[name] == "" else row[name]) for row in rows] for name in names}
    except (OSError, ValueError, TypeError, KeyError, csv.Error):
        return None
    return curves if {"accuracy", "loss"} <= curves.keys() else None


def read_kept_epoch(model: str | Path, history: Mapping[str, Sized] | None) -> int | None:
    """The epoch whose model a training kept: ``metrics.json`` in the model's folder.

    Args:
        model: the model's file.
        history: what `read_history` gave.

    Returns:
        Counted from 1; None where no file says so, or the history has no such epoch.
    """
    try:
        document = json.loads((Path(model).parent / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    epoch = document.get("epoch") if isinstance(document, dict) else None
    return epoch if history and isinstance(epoch, int) and 1 <= epoch <= len(history["loss"]) else None
