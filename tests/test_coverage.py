import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.coverage import Coverage, CoveragePoint, measure_coverage, threshold
from mien.errors import UsageError


def rows_of(confidences) -> np.ndarray:
    """Two classes, the first as confident as asked (0.5 and more)."""
    sure = np.asarray(confidences, float)
    return np.stack([sure, 1 - sure], axis=1)


def test_the_surest_eighty_of_a_hundred() -> None:
    confidences = np.linspace(0.51, 0.99, 10)
    labels = np.array([1, 1, 0, 0, 1, 0, 0, 0, 0, 0])  # wrong on the two least sure, and on one more
    found = measure_coverage(rows_of(confidences), labels)
    assert found.at_80 == CoveragePoint(0.8, 8, 7 / 8, pytest.approx(confidences[2]))
    assert [point.n for point in found.points] == list(range(1, 11))
    assert found.points[-1].accuracy == 0.7
    steps = [np.mean(labels[::-1][:k] == 0) for k in range(1, 11)]
    assert found.area == pytest.approx(np.mean(steps))
    assert found.to_dict()["at_80"]["n"] == 8


def test_equal_confidences_go_together_whatever_their_order() -> None:
    confidences, labels = np.array([0.9, 0.6, 0.6, 0.6, 0.6]), np.array([0, 0, 0, 1, 1])
    ways = [measure_coverage(rows_of(confidences), labels[order]) for order in ([0, 1, 2, 3, 4], [0, 3, 4, 1, 2])]
    assert ways[0] == ways[1]
    assert ways[0].at_80 == CoveragePoint(1.0, 5, 0.6, 0.6)
    assert [point.n for point in ways[0].points] == [1, 5]


@given(st.integers(0, 1000), st.integers(1, 300))
def test_each_point_is_what_the_threshold_answers(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.round(rng.dirichlet(np.ones(3), n), 2)
    rows[:, 0] = 1 - rows[:, 1] - rows[:, 2]
    rows = np.abs(rows)
    labels = rng.integers(0, 3, n)
    for point in measure_coverage(rows, labels).points:
        answered = rows.max(axis=1) >= point.min_confidence
        assert (point.n, point.coverage) == (answered.sum(), answered.mean())
        assert point.accuracy == pytest.approx((rows.argmax(axis=1) == labels)[answered].mean())


@given(st.floats(0, 1))
def test_a_printed_threshold_is_reached_by_whatever_reaches_the_exact_one(confidence: float) -> None:
    printed = threshold(confidence)
    assert len(printed) == 5
    assert confidence - 0.001 <= float(printed) <= confidence


def test_a_threshold_has_three_digits() -> None:
    assert [threshold(value) for value in (0, 0.29, 0.4996, np.float32(0.5), 1)] == [
        "0.000",
        "0.290",
        "0.499",
        "0.500",
        "1.000",
    ]


def test_what_is_no_curve_is_refused() -> None:
    point = CoveragePoint(0.5, 1, 1.0, 0.9)
    with pytest.raises(UsageError, match="coverage must rise to 1"):
        Coverage(2, (point,), point, 1.0)
    with pytest.raises(UsageError, match="n 1 or more"):
        measure_coverage(np.empty((0, 2)), np.empty(0, np.int64))
