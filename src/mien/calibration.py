"""Whether a model's probabilities can be believed: reliability, expected calibration error, and fitting a temperature.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. docs/evaluation.md says what each number means.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.answers import Answers
from mien.classifier import apply_temperature
from mien.errors import MissingExtraError, UsageError, many

BINS = 15
"""Bins of equal width, as in the paper; the error depends on it, so compare only errors of as many bins."""

FEWEST = 200
"""From fewer pictures no temperature is fitted in training: it would be the chance of the sample."""

SHARED: dict[str, tuple[str, ...]] = {
    "validation": ("validation", "val", "train", "all"),
    "val": ("val", "validation", "all"),
    "train": ("train", "all"),
    "public": ("public", "test", "all"),
    "private": ("private", "test", "all"),
    "test": ("test", "public", "private", "all"),
}
"""Where a temperature was fitted, to the splits with such pictures. ``validation``: what `mien train` held out."""

LOWEST, HIGHEST = 0.05, 20.0
"""Where temperatures are looked for. A model that is always right would want 0, one that knows nothing infinity."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The pictures whose confidence lies in one interval: a bar of the reliability diagram.

    Attributes:
        low: confidences above this (the first bin also has 0 itself)...
        high: ...up to and with this.
        n: how many pictures, 0 or more.
        confidence: their mean confidence, 0 to 1; None where there are none.
        accuracy: the fraction of them that is right; None where there are none.
    """

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the fields under their names."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far confidence and accuracy are apart at one temperature.

    Attributes:
        temperature: that the probabilities were made with; 1 is the network's own.
        n: how many pictures, 1 or more.
        ece: expected calibration error, 0 to 1: the mean of |accuracy - confidence| of the bins, weighted by n.
        max_error: the largest |accuracy - confidence| of a bin, 0 to 1; bins of few pictures make it large.
        confidence: mean confidence, 0 to 1: above `accuracy`, the model is too sure of itself.
        accuracy: fraction that is right, 0 to 1.
        log_loss: mean of -ln(probability of the true class), in nats, 0 or more.
        bins: of equal width, from 0 to 1, in order.

    Raises:
        UsageError: the bins do not add up.
    """

    temperature: float
    n: int
    ece: float
    max_error: float
    confidence: float
    accuracy: float
    log_loss: float
    bins: tuple[ReliabilityBin, ...]

    def __post_init__(self) -> None:
        if self.n < 1 or sum(part.n for part in self.bins) != self.n:
            raise UsageError(f"bins: must hold n = {many(self.n, 'picture')} together, 1 or more")
        if not 0 <= self.ece <= self.max_error <= 1:
            raise UsageError(f"ece: must be from 0 to max_error, up to 1, received {self.ece} and {self.max_error}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the fields under their names."""
        return {**asdict(self), "bins": [part.to_dict() for part in self.bins]}


@dataclass(frozen=True, slots=True)
class Calibration:
    """The same pictures before and after temperature scaling.

    Attributes:
        before: at temperature 1: what the network says by itself.
        after: at the temperature that the model's file states, which is what users get.
        fitted_on: the split whose pictures the temperature was fitted on, as the file says; None where it does not.
            Where these are the pictures judged here, `after` flatters: see `flatters`.
        same_data: whether that split may be one of the judged data: see `mien.kinship.may_be_fitted`.
    """

    before: Reliability
    after: Reliability
    fitted_on: str | None = None
    same_data: bool = True

    @property
    def temperature(self) -> float:
        """The one that the model's file states."""
        return self.after.temperature

    def flatters(self, split: str) -> bool:
        """Whether `after` is too good to be true on a split, as the temperature was fitted on pictures of it."""
        shared = self.fitted_on is not None and split in SHARED.get(self.fitted_on, (self.fitted_on,))
        return shared and self.same_data

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``temperature``, ``fitted_on``, ``before`` and ``after``."""
        return {
            "temperature": self.temperature,
            "fitted_on": self.fitted_on,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class TemperatureFit:
    """A temperature and what it does to the pictures that it was fitted on.

    Attributes:
        temperature: the best one, `LOWEST` to `HIGHEST`.
        n: how many pictures it was fitted on, 1 or more.
        at_limit: whether one of the limits is as good: the pictures do not say where the best lies.
        before: at temperature 1, on these pictures.
        after: at `temperature`, on these same pictures: better than on others.
    """

    temperature: float
    n: int
    at_limit: bool
    before: Reliability
    after: Reliability

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the fields under their names."""
        return {
            "temperature": self.temperature,
            "n": self.n,
            "at_limit": self.at_limit,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }


def reliability(
    probabilities: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    *,
    temperature: float = 1.0,
    bins: int = BINS,
) -> Reliability:
    """Compare confidence with accuracy.

    Args:
        probabilities: (n, classes), rows summing to 1, as the model gives them.
        labels: integers (n,), the true columns.
        temperature: that they were made with; only noted.
        bins: how many, 1 or more.

    Raises:
        UsageError: there are no pictures, lengths differ, or a label is not a column.
    """
    rows = check_answers(probabilities, labels)
    if bins < 1:
        raise UsageError(f"bins: must be 1 or more, received {bins}")
    confidences, right = rows.max(axis=1), rows.argmax(axis=1) == labels
    parts = _bins(confidences, right, bins)
    gaps = [abs(part.accuracy - part.confidence) for part in parts if part.accuracy is not None and part.confidence]
    weights = [part.n / len(rows) for part in parts if part.n]
    return Reliability(
        temperature=float(temperature),
        n=len(rows),
        ece=min(math.fsum(gap * weight for gap, weight in zip(gaps, weights, strict=True)), max(gaps)),
        max_error=max(gaps),
        confidence=float(confidences.mean()),
        accuracy=float(right.mean()),
        log_loss=_log_loss(rows, labels),
        bins=parts,
    )


def measure_calibration(answers: Answers, *, fitted_on: str | None = None, same_data: bool = True) -> Calibration:
    """Compare what a network says by itself with what its file's temperature makes of it.

    Args:
        answers: at least one.
        fitted_on: the split that the temperature was fitted on; only noted.
        same_data: whether it may be one of the judged data; only noted.
    """
    before = reliability(answers.uncalibrated, answers.labels)
    after = reliability(answers.probabilities, answers.labels, temperature=answers.temperature)
    return Calibration(before, after, fitted_on, same_data)


def fit_temperature(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> TemperatureFit:
    """Find the temperature that makes the log loss smallest: one number, which leaves every decision as it is.

    Args:
        probabilities: (n, classes) at temperature 1, of pictures that the network did not learn from.
        labels: integers (n,), the true columns.

    Raises:
        UsageError: there are no pictures, all have the same label, lengths differ, or a label is not a column.
        MissingExtraError: SciPy is not installed.
    """
    rows = check_answers(probabilities, labels)
    if len(np.unique(labels)) < 2:
        raise UsageError("labels: are all of one class; a temperature is fitted on pictures of two classes or more")
    try:
        from scipy.optimize import minimize_scalar
    except ImportError as error:
        raise MissingExtraError("fitting a temperature", "evaluate") from error
    logs = np.log(np.maximum(rows, np.finfo(np.float32).tiny))

    def loss(log_temperature: float) -> float:
        scaled = logs / math.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        true = scaled[np.arange(len(labels)), labels]
        return float((np.log(np.exp(scaled).sum(axis=1)) - true).mean())

    # The loss is convex in 1 / temperature, so that its only valley is found whatever the scale it is searched on.
    limits = (math.log(LOWEST), math.log(HIGHEST))
    found = minimize_scalar(loss, bounds=limits, method="bounded", options={"xatol": 1e-5})
    temperature = round(math.exp(float(found.x)), 4)
    at_limit = min(map(loss, limits)) <= float(found.fun) + 1e-6  # then a limit is as good, and the best lies beyond
    after = apply_temperature(np.asarray(rows, np.float32), temperature)
    return TemperatureFit(
        temperature, len(rows), at_limit, reliability(rows, labels), reliability(after, labels, temperature=temperature)
    )


def fit_held_out(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> TemperatureFit | None:
    """`fit_temperature` on images that were held out of training; None where they cannot tell.

    That is where there are fewer than `FEWEST`, all of one class, or where no temperature within the limits is best.
    """
    if len(labels) < FEWEST or len(np.unique(labels)) < 2:
        return None
    fit = fit_temperature(probabilities, labels)
    return None if fit.at_limit else fit


def check_answers(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Refuse what are not probabilities with their labels; gives them back as float64 whose rows sum to 1.

    Raises:
        UsageError: says what was received.
    """
    rows = np.asarray(probabilities, np.float64)
    if rows.ndim != 2 or not len(rows) or rows.shape[1] < 2:
        raise UsageError(f"probabilities: must be (n, classes), n 1 or more and two classes, received {rows.shape}")
    sums = rows.sum(axis=1, keepdims=True)
    if not np.all(rows >= 0) or not np.all(np.abs(sums - 1) < 1e-3):
        raise UsageError("probabilities: must be 0 or more and sum to 1 in each row")
    found = np.asarray(labels)
    if found.shape != (len(rows),) or not np.issubdtype(found.dtype, np.integer):
        raise UsageError(f"labels: must be integers ({len(rows)},), received {found.dtype} {found.shape}")
    if found.min() < 0 or found.max() >= rows.shape[1]:
        raise UsageError(f"labels: must be from 0 to {rows.shape[1] - 1}, received {found.min()} to {found.max()}")
    return np.asarray(rows / sums)


def _bins(confidences: NDArray[np.float64], right: NDArray[np.bool_], bins: int) -> tuple[ReliabilityBin, ...]:
    """The bins (low, high], the first with 0."""
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sure = np.bincount(place, confidences, bins)
    hits = np.bincount(place, right, bins)
    return tuple(
        ReliabilityBin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            n=int(n),
            confidence=min(float(sure[i]) / n, 1.0) if n else None,
            accuracy=float(hits[i]) / n if n else None,
        )
        for i, n in enumerate(counts.tolist())
    )


def _log_loss(rows: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    true = rows[np.arange(len(labels)), labels]
    # Never below 0, and finite where float32 has lost a probability altogether.
    return float(-np.log(np.clip(true, np.finfo(np.float32).tiny, 1.0)).mean()) + 0.0
