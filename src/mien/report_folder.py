"""What `mien evaluate --out DIR` leaves: numbers, pictures, the report and a model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mien.assessing import Assessment
from mien.cards import write_card
from mien.classifier import Model
from mien.datasets.streaming import in_parts
from mien.files import write_json
from mien.images import Image
from mien.judging import Judgement
from mien.mistakes import worst_mistakes
from mien.provenance import Provenance, data_digest
from mien.report_facts import ReportFacts, read_history
from mien.report_page import write_report
from mien.reports import plot_confusion
from mien.weights import find_model

EXPLAINED = 700
"""Among so many images of the split the faces of the sheet of explanations are drawn."""


def write_folder(
    folder: Path,
    document: Mapping[str, Any],
    assessment: Assessment,
    model: Model,
    *,
    name: str,
    data: str,
    explain: bool = False,
    audit: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write ``metrics.json``, ``confusion.png``, ``report.html`` and ``README.md``, a model card.

    Args:
        folder: where; is made if it is not there.
        document: what ``metrics.json`` holds.
        assessment: what `mien.assessing.assess` gave.
        model: that was judged.
        name: of the model, as it was given.
        data: as it was given.
        explain: whether the report has a sheet that shows what answers hang on; takes half a minute.
        audit: what `mien.datasets.audit.Audit.to_dict` gave for the data.

    Returns:
        What was written.
    """
    judgement, spec, file = assessment.judgement, model.spec, find_model(name)
    judged = judgement.dataset
    digest = data_digest(in_parts(judged, spec.input, skip_bad=bool(judgement.skipped)))
    facts = ReportFacts.of(
        judgement,
        spec,
        Provenance.gather(name, data, file=file, data_sha256=digest),
        name=Path(name).stem,
        history=read_history(file),
        calibration=assessment.calibration,
        coverage=assessment.coverage,
        comparison=assessment.comparison,
        robustness=assessment.robustness,
        mistakes=worst_mistakes(judgement, spec.input),
        explanations=_explained(model, judgement) if explain else None,
        audit=audit,
    )
    write_json(folder / "metrics.json", document)
    return [
        folder / "metrics.json",
        plot_confusion(facts.evaluation, folder / "confusion.png"),
        write_report(folder / "report.html", facts),
        write_card(folder / "README.md", facts),
    ]


def _explained(model: Model, judgement: Judgement) -> Image:
    """The sheet of explanations, of images spread over the split."""
    from mien.explanations import class_sheet

    answers = judgement.answers
    rows = np.unique(np.linspace(0, len(answers) - 1, min(EXPLAINED, len(answers))).astype(np.int64))
    return class_sheet(model, judgement.load(rows, model.spec.input).images, answers.labels[rows])
