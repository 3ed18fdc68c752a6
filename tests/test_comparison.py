import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.answers import Answers
from mien.comparison import Comparison, compare, compare_answers
from mien.errors import UsageError


def marks(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    one = [True] * both + [True] * first + [False] * second + [False] * neither
    other = [True] * both + [False] * first + [True] * second + [False] * neither
    return np.array(one), np.array(other)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_sign_test(first: int, second: int) -> None:
    one, other = marks(3, first, second, 2)
    found = compare(one, other, resamples=100)
    n = first + second
    tail = sum(math.comb(n, k) for k in range(min(first, second) + 1)) / 2**n
    assert found.p_value == pytest.approx(min(1.0, 2 * tail))
    assert (found.both_right, found.only_first, found.only_second, found.both_wrong) == (3, first, second, 2)
    assert found.difference == pytest.approx(found.first_accuracy - found.second_accuracy)


def test_the_interval_is_near_the_normal_one() -> None:
    one, other = marks(600, 130, 90, 180)
    found = compare(one, other, first="a", second="b")
    spread = (one.astype(float) - other).std() / math.sqrt(1000)
    assert found.difference == pytest.approx(0.04)
    assert found.interval == pytest.approx((0.04 - 1.96 * spread, 0.04 + 1.96 * spread), abs=0.002)
    assert found.significant
    assert found.p_value == pytest.approx(0.0085, abs=0.001)
    assert found == compare(one, other, first="a", second="b")
    assert found.to_dict()["interval"] == list(found.interval)


def test_a_model_against_itself() -> None:
    one, _ = marks(5, 3, 0, 0)
    found = compare(one, one)
    assert (found.difference, found.interval, found.p_value, found.significant) == (0.0, (0.0, 0.0), 1.0, False)


def test_always_against_never_right() -> None:
    found = compare(np.ones(20, bool), np.zeros(20, bool))
    assert (found.difference, found.interval) == (1.0, (1.0, 1.0))
    assert found.p_value == pytest.approx(2 * 0.5**20)


def answers(names: list[str], right: list[bool]) -> Answers:
    rows = np.array([[0.9, 0.1] if mark else [0.1, 0.9] for mark in right], np.float32)
    n = len(names)
    return Answers(rows, rows, np.zeros(n, np.int64), np.full(n, "public"), np.array(names), ("a", "b"))


def test_answers_are_matched_by_name() -> None:
    first = answers(["x", "y", "z"], [True, True, False])
    second = answers(["w", "z", "y", "x"], [True, True, False, True])
    found = compare_answers(first, second)
    assert (found.n, found.both_right, found.only_first, found.only_second) == (3, 1, 1, 1)
    with pytest.raises(UsageError, match="no answer to 1 picture, such as w"):
        compare_answers(second, first)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="as long as first_right"):
        compare(np.ones(3, bool), np.ones(2, bool))
    with pytest.raises(UsageError, match="1 or more"):
        compare(np.ones(0, bool), np.ones(0, bool))
    with pytest.raises(UsageError, match="resamples"):
        compare(np.ones(3, bool), np.ones(3, bool), resamples=3)
    with pytest.raises(UsageError, match="sum of the four counts"):
        Comparison("a", "b", 3, 0.5, 0.5, 0.0, (0.0, 0.0), 1, 0, 0, 1, 1.0)
