"""What `mien evaluate --out DIR` leaves: numbers, pictures, the report and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.assessing import Assessment
from mien.cards import write_card
from mien.classifier import Model
from mien.datasets.streaming import in_parts
from mien.errors import MissingExtraError, UsageError
from mien.files import check_writable, write_json
from mien.images import Image
from mien.judging import Judgement
from mien.mistakes import worst_mistakes
from mien.provenance import Provenance, data_digest
from mien.report_facts import ReportFacts, read_history, read_kept_epoch
from mien.report_page import write_report
from mien.reports import plot_confusion
from mien.weights import find_model

EXPLAINED = 100
"""Among so many images of each class the faces of the sheet of explanations are drawn."""


WRITTEN = ("metrics.json", "confusion.png", "report.html", "README.md")
"""What `write_folder` leaves."""


def check_folder(folder: Path) -> None:
    """Find out before any work is done whether `write_folder` will be able to write.

    Raises:
        UsageError: it is a file, cannot be made or written to, or holds files of these names from elsewhere.
        MissingExtraError: Jinja2, PyYAML or Matplotlib is not installed.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out: must be a folder, and {folder} is a file")
    there = [name for name in WRITTEN if (folder / name).exists()]
    if there and not _is_ours(folder / "metrics.json"):
        raise UsageError(
            f"--out: {folder} holds {', '.join(there)}, which 'mien evaluate' would replace but did not write; name "
            "another folder"
        )
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import yaml  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("writing a report", "evaluate") from error
    check_writable(folder / "report.html")


def _is_ours(metrics: Path) -> bool:
    """Whether a ``metrics.json`` is of `mien evaluate`, whose files may be replaced; those of a run say less."""
    try:
        document = json.loads(metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and {"model", "data", "split", "parts"} <= document.keys()


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
    excluded: int = 0,
    other_classes: Mapping[str, int] | None = None,
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
        excluded: how many pictures of the split a list left out.
        other_classes: class that the model does not know to how many pictures of it were left out.

    Returns:
        What was written.
    """
    judgement, spec, file = assessment.judgement, model.spec, find_model(name)
    digest = data_digest(in_parts(judgement.dataset, spec.input))
    history = read_history(file)
    facts = ReportFacts.of(
        judgement,
        spec,
        Provenance.gather(name, data, file=file, data_sha256=digest),
        name=Path(name).stem,
        history=history,
        kept=read_kept_epoch(file, history),
        calibration=assessment.calibration,
        coverage=assessment.coverage,
        comparison=assessment.comparison,
        robustness=assessment.robustness,
        mistakes=worst_mistakes(judgement, spec.input),
        explanations=_explained(model, judgement) if explain else None,
        audit=audit,
        excluded=excluded,
        other_classes=other_classes or {},
    )
    metrics, confusion, report, card = (folder / name for name in WRITTEN)
    write_json(metrics, document)
    return [metrics, plot_confusion(facts.evaluation, confusion), write_report(report, facts), write_card(card, facts)]


def _explained(model: Model, judgement: Judgement) -> Image:
    """The sheet of explanations, of images of each class spread over the split."""
    from mien.explanations import class_sheet

    labels = judgement.answers.labels
    rows = np.concatenate([_spread(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    return class_sheet(model, judgement.load(rows, model.spec.input).images, labels[rows])


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to `EXPLAINED` of some rows, at even distances."""
    return rows[np.linspace(0, len(rows) - 1, min(EXPLAINED, len(rows))).astype(np.int64)]
