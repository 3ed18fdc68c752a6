"""`assess`: everything that is measured of a model on a split, in one pass over its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mien.calibration import Calibration, measure_calibration
from mien.classifier import Model
from mien.comparison import Comparison, compare_answers
from mien.coverage import Coverage, measure_coverage
from mien.datasets.dataset import Dataset
from mien.datasets.pixels import Progress
from mien.evaluation import align_labels
from mien.judging import Judgement, judge_dataset
from mien.kinship import may_be_fitted, noted_calibration
from mien.robustness import SAMPLE, Robustness, draw, measure_robustness


@dataclass(frozen=True)
class Assessment:
    """What is known of a model on a split of a dataset.

    Attributes:
        judgement: its scores, and what it said of each image.
        calibration: whether its confidences can be believed.
        coverage: what it scores where it may leave images out.
        comparison: with another model on the same images; None where there is none.
        robustness: on spoilt images; None where it was not asked for.
    """

    judgement: Judgement
    calibration: Calibration
    coverage: Coverage
    comparison: Comparison | None = None
    robustness: Robustness | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: calibration, coverage, leakage, comparison and robustness; null for what was not measured."""
        measured = (self.judgement.leakage, self.comparison, self.robustness)
        leakage, comparison, robustness = (None if one is None else one.to_dict() for one in measured)
        return {
            "calibration": self.calibration.to_dict(),
            "coverage": self.coverage.to_dict(),
            "leakage": leakage,
            "comparison": comparison,
            "robustness": robustness,
        }


def assess(
    model: Model,
    dataset: Dataset,
    *,
    rival: Model | None = None,
    names: tuple[str, str] = ("first", "second"),
    spoil: bool = False,
    limit: int | None = SAMPLE,
    seed: int = 0,
    progress: Progress | None = None,
    spoiling: Progress | None = None,
    **judging: Any,
) -> Assessment:
    """Judge a model, and measure how far it can be trusted.

    Args:
        model: what `mien.open_model` gave.
        dataset: what `mien.open_dataset` gave.
        rival: a model to compare it with on the same images.
        names: of the two models.
        spoil: whether to measure robustness, which asks the model 36 times more.
        limit: how many images are drawn for that; None for all.
        seed: of what is drawn.
        progress: called with how many images are read and how many there are.
        spoiling: called with how many rounds of robustness are done and how many there are.
        **judging: what else `mien.judging.judge_dataset` takes.

    Raises:
        UsageError, DataError: see `mien.judging.judge_dataset`; also of the rival.
    """
    if rival is not None:  # before any work is done
        chosen = dataset.select(judging.get("split", "test"))
        for one, name in zip((model, rival), names, strict=True):
            align_labels(chosen.labels, chosen.classes, one.spec.classes, name=f"the model {name}")
    judgement = judge_dataset(model, dataset, progress=progress, **{"find_duplicates": True, **judging})
    answers = judgement.answers
    comparison = robustness = None
    if rival is not None:
        alone = {**judging, "without_duplicates": False, "find_duplicates": False}
        other = judge_dataset(rival, dataset, progress=progress, **alone)
        comparison = compare_answers(answers, other.answers, first_name=names[0], second_name=names[1], seed=seed)
    if spoil:
        rows = draw(len(answers), limit, seed)
        images, batch_size = judgement.load(rows, model.spec.input).images, judging.get("batch_size")
        robustness = measure_robustness(
            lambda pictures: model.predict(pictures, batch_size),
            images,
            answers.labels[rows],
            tta=judging.get("tta", "none"),
            seed=seed,
            of=len(answers),
            progress=spoiling,
        )
    source, noted = judging.get("learnt_from") or dataset, model.spec.trained_on
    same_data = may_be_fitted(noted, source.format, source.counts(), judgement.scores)
    return Assessment(
        judgement,
        measure_calibration(answers, fitted_on=fitted_on(model), same_data=same_data),
        measure_coverage(answers.probabilities, answers.labels),
        comparison,
        robustness,
    )


def fitted_on(model: Model) -> str | None:
    """The split that a model's temperature, or its members', was fitted on, as its file says; else None."""
    noted = noted_calibration(model.spec.trained_on)
    return str(noted["split"]) if noted is not None and "split" in noted else None
