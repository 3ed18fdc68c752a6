import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from mien.calibration import (
    FEWEST,
    HIGHEST,
    LOWEST,
    Calibration,
    Reliability,
    ReliabilityBin,
    fit_held_out,
    fit_temperature,
    reliability,
)
from mien.classifier import apply_temperature
from mien.errors import UsageError


def drawn(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose labels are drawn from their own softmax at a temperature: which is then the best one."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (n, 7))
    true = softmax(logits / temperature, axis=1)
    labels = np.array([rng.choice(7, p=row) for row in true])
    return softmax(logits, axis=1), labels


def by_hand(confidences, right, bins):
    """The error as the paper's equation 3 says it, bin by bin in plain Python."""
    total, largest = 0.0, 0.0
    for m in range(bins):
        low, high = m / bins, (m + 1) / bins
        inside = [i for i, c in enumerate(confidences) if low < c <= high or (m == 0 and c == 0)]
        if inside:
            gap = abs(np.mean([right[i] for i in inside]) - np.mean([confidences[i] for i in inside]))
            total += len(inside) / len(confidences) * gap
            largest = max(largest, gap)
    return total, largest


@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([1, 4, 10, 16]))
def test_the_error_is_that_of_the_paper(seed: int, n: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(4, 0.4), n)
    labels = rng.integers(0, 4, n)
    found = reliability(rows, labels, bins=bins)
    ece, largest = by_hand(rows.max(axis=1), rows.argmax(axis=1) == labels, bins)
    assert found.ece == pytest.approx(ece, abs=1e-9)
    assert found.max_error == pytest.approx(largest, abs=1e-9)
    assert sum(part.n for part in found.bins) == n


def test_a_worked_example() -> None:
    rows = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    found = reliability(rows, np.array([0, 0, 1, 1]), bins=5)
    assert [part.n for part in found.bins] == [0, 0, 1, 0, 3]
    assert found.bins[2] == ReliabilityBin(0.4, pytest.approx(0.6), 1, pytest.approx(0.6), 1.0)
    assert found.bins[0].accuracy is None
    assert found.ece == pytest.approx(3 / 4 * (0.9 - 2 / 3) + 1 / 4 * 0.4)
    assert found.max_error == pytest.approx(0.4)
    assert (found.accuracy, found.confidence) == (0.75, pytest.approx(0.825))
    assert found.log_loss == pytest.approx(-np.mean(np.log([0.9, 0.9, 0.1, 0.6])))
    assert found.to_dict()["bins"][0] == {"low": 0.0, "high": 0.2, "n": 0, "confidence": None, "accuracy": None}


def test_the_log_loss_is_scikit_learns() -> None:
    from sklearn.metrics import log_loss

    rows, labels = drawn(300, 1.0)
    assert reliability(rows, labels).log_loss == pytest.approx(log_loss(labels, rows, labels=range(7)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature: float) -> None:
    rows, labels = drawn(6_000, temperature)
    fit = fit_temperature(rows, labels)
    assert fit.temperature == pytest.approx(temperature, rel=0.06)
    assert (fit.n, fit.at_limit) == (6_000, False)
    assert fit.after.ece < 0.02
    assert fit.after.log_loss <= fit.before.log_loss
    assert fit.before.accuracy == fit.after.accuracy


def test_no_other_temperature_is_better() -> None:
    rows, labels = drawn(400, 1.7, seed=3)
    fit = fit_temperature(rows, labels)
    best = reliability(apply_temperature(np.float32(rows), fit.temperature), labels).log_loss
    for other in np.geomspace(LOWEST, HIGHEST, 200):
        assert best <= reliability(apply_temperature(np.float32(rows), float(other)), labels).log_loss + 1e-6


@given(st.integers(0, 1_000), st.floats(LOWEST, HIGHEST))
def test_no_decision_changes_with_a_temperature(seed: int, temperature: float) -> None:
    rows = np.random.default_rng(seed).dirichlet(np.ones(7), 50).astype(np.float32)
    after = apply_temperature(rows, temperature)
    assert (rows.argmax(axis=1) == after.argmax(axis=1)).all()


def test_always_right_and_never_right_are_at_a_limit() -> None:
    labels = np.arange(300) % 3
    sure = softmax(4.0 * np.eye(3)[labels], axis=1)
    assert fit_temperature(sure, labels).at_limit
    assert fit_temperature(sure, (labels + 1) % 3).at_limit
    assert fit_held_out(sure, labels) is None


def test_few_held_out_images_leave_the_temperature() -> None:
    rows, labels = drawn(FEWEST, 2.0)
    assert fit_held_out(rows[:-1], labels[:-1]) is None
    assert fit_held_out(rows, np.zeros(FEWEST, np.int64)) is None
    fit = fit_held_out(rows, labels)
    assert fit is not None
    assert fit.temperature > 1.4


def test_a_calibration_says_both() -> None:
    rows, labels = drawn(100, 2.0)
    before, after = reliability(rows, labels), reliability(rows, labels, temperature=1.5)
    document = Calibration(before, after, "val").to_dict()
    assert (document["temperature"], document["fitted_on"]) == (1.5, "val")
    assert document["before"]["ece"] == before.ece


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.empty((0, 3)), np.empty(0, np.int64), "n 1 or more"),
        (np.full((2, 3), 1 / 3), np.array([0, 3]), "labels: must be from 0 to 2"),
        (np.full((2, 3), 1 / 3), np.array([0]), "labels: must be integers"),
        (np.full((2, 3), 0.5), np.array([0, 1]), "sum to 1"),
        (np.full((2, 3), 1 / 3), np.array([1, 1]), "all of one class"),
    ],
)
def test_what_cannot_be_fitted(rows, labels, message) -> None:
    with pytest.raises(UsageError, match=message):
        fit_temperature(rows, labels)


def test_bins_and_counts_are_checked() -> None:
    with pytest.raises(UsageError, match="bins: must be 1 or more"):
        reliability(np.array([[0.5, 0.5]]), np.array([0]), bins=0)
    with pytest.raises(UsageError, match="must hold n = 2"):
        Reliability(1.0, 2, 0.1, 0.1, 0.5, 0.5, 0.7, (ReliabilityBin(0, 1, 1, 0.5, 0.5),))
    with pytest.raises(UsageError, match="ece"):
        Reliability(1.0, 1, 0.2, 0.1, 0.5, 0.5, math.log(2), (ReliabilityBin(0, 1, 1, 0.5, 0.5),))


@pytest.mark.parametrize(
    ("fitted_on", "split", "flatters"),
    [
        ("public", "public", True),
        ("public", "test", True),
        ("public", "all", True),
        ("public", "private", False),
        ("validation", "val", True),
        ("val", "val", True),
        ("validation", "public", False),
        ("test", "private", True),
        ("mine", "mine", True),
        (None, "public", False),
    ],
)
def test_a_temperature_flatters_wherever_its_pictures_are_judged(fitted_on, split, flatters) -> None:
    found = reliability(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    assert Calibration(found, found, fitted_on).flatters(split) is flatters
