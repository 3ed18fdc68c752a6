"""Accuracy against coverage: what a model scores where it may leave out the pictures it is least sure of.

Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.calibration import check_answers
from mien.errors import UsageError

AT = 0.8
"""The coverage whose accuracy is given by default."""

STEPS = 100
"""The curve has a point for each hundredth of the pictures."""


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """What is scored on the most confident pictures.

    Attributes:
        coverage: which fraction of the pictures is answered, above 0 to 1. At least what was asked for: pictures of
            equal confidence are answered together.
        n: how many that are, 1 or more.
        accuracy: which fraction of these is right, 0 to 1.
        min_confidence: the lowest confidence among them: ``--min-confidence`` with this number answers just these.
    """

    coverage: float
    n: int
    accuracy: float
    min_confidence: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the fields under their names."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Accuracy against coverage.

    Attributes:
        n: how many pictures, 1 or more.
        points: from the most confident hundredth to all pictures, coverage rising.
        at_80: the point at 80 % coverage.
        area: mean accuracy over all coverages, 0 to 1: the area under the curve, each picture a step.

    Raises:
        UsageError: coverages do not rise to 1.
    """

    n: int
    points: tuple[CoveragePoint, ...]
    at_80: CoveragePoint
    area: float

    def __post_init__(self) -> None:
        shares = [point.coverage for point in self.points]
        if not shares or shares[-1] != 1 or any(a >= b for a, b in pairwise(shares)):
            raise UsageError(f"points: coverage must rise to 1, received {shares}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the fields under their names."""
        return {
            "n": self.n,
            "area": self.area,
            "at_80": self.at_80.to_dict(),
            "points": [point.to_dict() for point in self.points],
        }


def threshold(min_confidence: float) -> str:
    """A lowest confidence as it is printed: three digits, rounded down, so that whatever has it is answered."""
    return str(Decimal(str(float(min_confidence))).quantize(Decimal("0.001"), ROUND_FLOOR))


def measure_coverage(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> Coverage:
    """Score a model on its most confident answers, for every coverage.

    Args:
        probabilities: (n, classes), rows summing to 1.
        labels: integers (n,), the true columns.

    Raises:
        UsageError: see `mien.calibration.check_answers`.
    """
    rows = check_answers(probabilities, labels)
    # As they were given: whoever sets --min-confidence compares with these, not with the normalised ones.
    confidences = np.asarray(probabilities, np.float64).max(axis=1)
    right = rows.argmax(axis=1) == labels
    order = np.argsort(-confidences, kind="stable")
    sure, hits = confidences[order], np.cumsum(right[order])
    # Where a run of equal confidences ends, counted as how many pictures are answered with it.
    ends = np.append(np.flatnonzero(np.diff(sure)) + 1, len(sure))

    def point(wanted: float) -> CoveragePoint:
        least = max(1, math.ceil(wanted * len(sure) - 1e-9))
        n = int(ends[np.searchsorted(ends, least)])
        return CoveragePoint(n / len(sure), n, float(hits[n - 1] / n), float(sure[n - 1]))

    points = {found.n: found for found in map(point, np.arange(1, STEPS + 1) / STEPS)}
    return Coverage(len(sure), tuple(points.values()), point(AT), _area(hits, ends))


def _area(hits: NDArray[np.int64], ends: NDArray[np.int64]) -> float:
    """Mean over k of the accuracy of the k most confident; within a run of equal ones, that of the whole run."""
    sizes = np.diff(ends, prepend=0)
    return float(np.average(hits[ends - 1] / ends, weights=sizes))
