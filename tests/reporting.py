"""Facts for reports: a real judgement of a small model, and everything that can be measured of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mien
from mien.calibration import Calibration, reliability
from mien.comparison import compare
from mien.corruptions import CORRUPTIONS
from mien.coverage import measure_coverage
from mien.datasets import open_dataset
from mien.datasets.audit import audit
from mien.judging import Judgement, judge_dataset
from mien.labels import EXPRESSIONS
from mien.mistakes import worst_mistakes
from mien.provenance import Provenance
from mien.report_facts import ReportFacts
from mien.robustness import Robustness
from models import save_brightness

HISTORY = {
    "accuracy": [0.3, 0.4, 0.5],
    "loss": [1.8, 1.5, 1.2],
    "val_accuracy": [0.3, 0.45, 0.42],
    "val_loss": [1.7, 1.4, 1.6],
}


def judged(folder: Path, data: Path, *, split: str = "test", classes: Sequence[str] = EXPRESSIONS) -> Judgement:
    """Judge a model that knows brightness alone, and is wrong about most."""
    model = mien.open_model(
        save_brightness(folder / "model.onnx", classes, np.linspace(0.3, 0.5, len(classes)).tolist())
    )
    return judge_dataset(model, open_dataset(data), split=split, find_duplicates=True)


def bare_facts(folder: Path, data: Path, *, split: str = "test", **others: Any) -> ReportFacts:
    """What every judgement gives."""
    judgement = judged(folder, data, split=split)
    model = folder / "model.onnx"
    provenance = Provenance.gather(
        model, data, command=f"mien evaluate model.onnx FER2013 --split {split} --out judged"
    )
    return ReportFacts.of(judgement, mien.open_model(model).spec, provenance, name="brightness", **others)


def full_facts(folder: Path, data: Path) -> ReportFacts:
    """Every section of the report."""
    judgement = judged(folder, data)
    answers, spec = judgement.answers, mien.open_model(folder / "model.onnx").spec
    half = Calibration(
        reliability(answers.uncalibrated, answers.labels),
        reliability(answers.probabilities, answers.labels, temperature=1.25),
        "val",
    )
    return bare_facts(
        folder,
        data,
        history=HISTORY,
        calibration=half,
        coverage=measure_coverage(answers.probabilities, answers.labels),
        comparison=compare(answers.right, ~answers.right, first="this", second="the other", resamples=200),
        robustness=Robustness(84, 84, 0, "none", 0.5, dict.fromkeys(CORRUPTIONS, (0.5, 0.4, 0.3, 0.2, 0.1))),
        mistakes=worst_mistakes(judgement, spec.input, most=7),
        explanations=np.full((40, 90, 3), 200, np.uint8),
        audit=audit(open_dataset(data)).to_dict(),
    )
