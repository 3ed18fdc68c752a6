"""The report: one HTML file that holds everything, asks no network for anything, and reads well on a phone or paper."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.charts import coverage_chart, curve_charts, kind_name, reliability_chart, robustness_charts
from mien.corruptions import STRENGTHS
from mien.coverage import threshold
from mien.errors import MissingExtraError, many
from mien.evaluation import Evaluation
from mien.files import write_text
from mien.images import Image
from mien.report_facts import ReportFacts, split_name

TEMPLATE = "report.html.j2"

JPEG_QUALITY = 88
"""Of the sheet of explanations, which would be several times as large as PNG."""


def write_report(path: str | Path, facts: ReportFacts) -> Path:
    """Write the report of a judged model, whole or not at all.

    Args:
        path: the file to write, such as ``judged/report.html``.
        facts: what it says; a section whose facts are None is left out.

    Returns:
        The path.

    Raises:
        UsageError: the file cannot be written.
        MissingExtraError: Jinja2 or Matplotlib is not installed.
    """
    write_text(path, render_report(facts))
    return Path(path)


def render_report(facts: ReportFacts) -> str:
    """The report as HTML; see `write_report`."""
    sections = list(_sections(facts))
    return str(_template(TEMPLATE).render(facts=facts, sections=sections, strengths=STRENGTHS, **_drawings(facts)))


def _sections(facts: ReportFacts) -> Iterator[tuple[str, str]]:
    """(id, heading) of the sections that have something to say, in order."""
    present: list[tuple[str, str, object]] = [
        ("training", "Training", facts.history),
        ("confusion", "Confusion", True),
        ("classes", "Class by class", True),
        ("calibration", "Calibration", facts.calibration),
        ("coverage", "Leaving out the unsure", facts.coverage),
        ("comparison", "Against another model", facts.comparison),
        ("robustness", "Spoilt pictures", facts.robustness),
        ("mistakes", "Worst mistakes", facts.mistakes),
        ("explanations", "What the answers hang on", None if facts.explanations is None else True),
        ("data", "The data", facts.audit),
        ("origin", "How to make this again", True),
    ]
    yield from ((name, heading) for name, heading, has in present if has)


def _drawings(facts: ReportFacts) -> dict[str, Any]:
    """The charts of the sections that are there."""
    calibration = facts.calibration
    reliability = []
    if calibration is not None:
        pairs = [("Before: the network by itself", calibration.before)]
        if calibration.temperature != 1:
            pairs.append((f"After: temperature {calibration.temperature:.2f}", calibration.after))
        reliability = [reliability_chart(part, title, f"reliability-{i}") for i, (title, part) in enumerate(pairs)]
    return {
        "curves": () if facts.history is None else curve_charts(facts.history, facts.kept),
        "reliability": reliability,
        "coverage_chart": None if facts.coverage is None else coverage_chart(facts.coverage),
        "robustness": () if facts.robustness is None else robustness_charts(facts.robustness),
    }


def _template(name: str) -> Any:
    """One of the templates, with everything that it prints escaped."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("writing a report", "evaluate") from error
    environment = Environment(
        loader=PackageLoader("mien"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., object]] = {
        "pct": percent,
        "threshold": threshold,
        "points": points,
        "count": count,
        "many": many,
        "picture": picture_address,
        "shares": row_shares,
        "split_name": split_name,
        "kind": kind_name,
        "pair_name": pair_name,
    }
    environment.filters |= filters
    return environment.get_template(name)


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage: ``66.7%``."""
    return "–" if value is None else f"{value:.{digits}%}"


def points(value: float) -> str:
    """A difference of fractions as percentage points, with a real minus sign: ``−1.2``."""
    return f"{100 * value:+.1f}".replace("-", "−")


def count(value: int) -> str:
    """A number of things: ``3,589``."""
    return f"{value:,}"


def pair_name(pair: str) -> str:
    """``PublicTest also in Training`` for ``public in train``."""
    one, _, other = pair.partition(" in ")
    return f"{split_name(one)} also in {split_name(other)}"


def row_shares(evaluation: Evaluation) -> list[list[float]]:
    """The confusion matrix as shares of its rows, 0 to 1; 0 in a row without pictures."""
    counts = np.asarray(evaluation.confusion, np.float64)
    shares: list[list[float]] = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).tolist()
    return shares


def picture_address(image: Image, kind: str = "png") -> str:
    """A picture as an address that holds it: ``data:image/png;base64,...``.

    Args:
        image: uint8 (height, width, 1) or (height, width, 3) RGB.
        kind: ``png`` or ``jpeg``.
    """
    colours = np.ascontiguousarray(image if image.shape[2] == 1 else image[..., ::-1])
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind == "jpeg" else []
    _, data = cv2.imencode(".jpg" if kind == "jpeg" else ".png", colours, options)
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
