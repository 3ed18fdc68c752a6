"""Metrics, against values worked out by hand and against scikit-learn's own."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from mien.calibration import fit_temperature, reliability
from mien.coverage import measure_coverage
from mien.errors import UsageError
from mien.evaluation import (
    TTA,
    Evaluation,
    align_labels,
    evaluate,
    evaluate_splits,
    judge,
    judge_splits,
    wilson_interval,
)

CLASSES = ("happy", "sad", "angry")


def answering(predicted: list[int], confidence: float = 0.8) -> NDArray[np.float32]:
    """Probabilities whose most probable classes are these, the rest shared."""
    rest = (1 - confidence) / (len(CLASSES) - 1)
    return np.where(np.eye(len(CLASSES))[predicted] > 0, confidence, rest).astype(np.float32)


def blank(n: int) -> NDArray[np.uint8]:
    return np.zeros((n, 8, 8, 1), np.uint8)


def test_metrics_by_hand() -> None:
    truth = np.array([0, 0, 0, 1, 1, 2])
    result = judge(answering([0, 0, 1, 1, 2, 2]), truth, classes=CLASSES, split="public")
    assert result.n == 6
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert result.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert result.per_class["happy"].precision == 1
    assert result.per_class["happy"].recall == pytest.approx(2 / 3)
    assert result.per_class["angry"].f1 == pytest.approx(2 / 3)
    assert [scores.support for scores in result.per_class.values()] == [3, 2, 1]
    assert result.macro_f1 == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert result.log_loss == pytest.approx(-(4 * math.log(0.8) + 2 * math.log(0.1)) / 6, rel=1e-5)


def test_top2_counts_the_second_guess() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    result = judge(probabilities, np.array([0, 1, 2]), classes=CLASSES)
    assert result.accuracy == pytest.approx(1 / 3)
    assert result.top2_accuracy == pytest.approx(2 / 3)


def test_equal_probabilities_go_to_the_first_class() -> None:
    result = judge(np.full((3, 3), 1 / 3), np.array([0, 1, 2]), classes=CLASSES)
    assert result.confusion == ((1, 0, 0), (1, 0, 0), (1, 0, 0))
    assert result.top2_accuracy == pytest.approx(2 / 3)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_agrees_with_scikit_learn(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.concatenate([[0, 1, 2], random.integers(0, 3, n)])
    probabilities = random.dirichlet([0.5] * 3, n + 3)
    predicted = probabilities.argmax(axis=1)
    result = judge(probabilities, truth, classes=CLASSES)
    assert result.accuracy == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert result.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    assert result.macro_f1 == pytest.approx(metrics.f1_score(truth, predicted, average="macro", zero_division=0))
    assert result.top2_accuracy == pytest.approx(metrics.top_k_accuracy_score(truth, probabilities, k=2))
    assert np.array_equal(result.confusion, metrics.confusion_matrix(truth, predicted))


def test_one_class_alone_works_without_warnings() -> None:
    result = judge(answering([0, 0, 1]), np.array([0, 0, 0]), classes=CLASSES)
    assert result.accuracy == result.balanced_accuracy == pytest.approx(2 / 3)
    assert result.per_class["angry"] == dataclasses.replace(result.per_class["angry"], precision=0, recall=0, support=0)


def test_certain_and_wrong_is_finite() -> None:
    result = judge(np.eye(3)[[0, 0]], np.array([0, 1]), classes=CLASSES)
    assert 0 < result.log_loss < math.inf


def test_flip_is_the_mean_of_both_views() -> None:
    images = np.zeros((2, 8, 8, 1), np.uint8)
    images[0, :, 0] = 255  # the bright column lies left in the first picture, right in the second
    images[1, :, -1] = 255

    def is_left(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        left = (batch[:, 0, 0, 0] > 0).astype(np.float32)[:, None]
        return np.concatenate([left, 1 - left], axis=1)

    labels = np.array([0, 0])
    assert evaluate(is_left, images, labels, classes=("left", "right")).accuracy == 0.5
    flipped = evaluate(is_left, images, labels, classes=("left", "right"), tta="flip")
    assert flipped.log_loss == pytest.approx(math.log(2))
    assert flipped.tta == "flip"


def test_every_tta_is_noted_beside_the_score() -> None:
    for tta in TTA:
        result = evaluate(
            lambda images: answering([0] * len(images)), blank(3), np.array([0] * 3), classes=CLASSES, tta=tta
        )
        assert (result.tta, result.to_dict()["tta"], result.accuracy, result.n) == (tta, tta, 1.0, 3)


def test_it_shows_itself_in_a_line() -> None:
    result = evaluate(lambda _: answering([0, 1, 1]), blank(3), [0, 1, 0], classes=CLASSES)
    assert repr(result).startswith("<Evaluation of test, tta none: accuracy 66.7% (95% interval 20.8% to 93.9%), macro")
    assert repr(result).endswith(", n = 3>")


def test_to_dict_is_json_ready_with_the_promised_keys() -> None:
    document = judge(answering([0, 1]), np.array([0, 1]), classes=CLASSES, split="public").to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert {"accuracy", "n", "split", "tta", "accuracy_interval", "per_class", "confusion", "classes"} <= set(document)
    assert document["per_class"]["sad"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}


def test_splits_of_test_are_given_apart_and_predicted_once() -> None:
    calls = []

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append(len(images))
        return answering([0] * len(images))

    splits = np.array(["public", "private", "public", "test"])
    labels = np.array([0, 1, 0, 1])
    results = evaluate_splits(predict, blank(4), labels, splits, classes=CLASSES)
    assert {name: (result.n, result.accuracy) for name, result in results.items()} == {
        "test": (4, 0.5),
        "public": (2, 1.0),
        "private": (1, 0.0),
    }
    assert [result.split for result in results.values()] == ["test", "public", "private"]
    assert calls == [4]


def test_other_splits_stand_alone() -> None:
    results = evaluate_splits(
        lambda images: answering([0] * len(images)),
        blank(2),
        np.array([0, 0]),
        ["public", "public"],
        classes=CLASSES,
        split="public",
    )
    assert list(results) == ["public"]


def test_splits_of_another_length() -> None:
    with pytest.raises(UsageError, match="splits: must have one name for each of 2"):
        evaluate_splits(lambda _: answering([0, 0]), blank(2), np.array([0, 0]), ["test"], classes=CLASSES)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, -1]), r"1 of 2 are not, such as -1"),
        (np.array([0, 3]), "from 0 to 2"),
        (np.array([0]), r"must be integers \(2,\)"),
        (np.array([0.0, 1.0]), "must be integers"),
        (np.array([[0], [1]]), "must be integers"),
    ],
)
def test_labels_that_cannot_be_judged(labels: NDArray[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(lambda _: answering([0, 0]), blank(2), labels, classes=CLASSES)


def test_lists_are_judged_as_arrays_are() -> None:
    truth, rows = [0, 1, 2], answering([0, 1, 1])
    for labels in (truth, np.array(truth, np.uint8)):
        assert evaluate(lambda images: rows, blank(3), labels, classes=CLASSES).accuracy == pytest.approx(2 / 3)
    assert judge(rows.tolist(), truth, classes=CLASSES).n == 3
    both = judge_splits(rows.tolist(), truth, ["public", "private", "private"], classes=CLASSES)
    assert both["private"].accuracy == pytest.approx(1 / 2)
    assert reliability(rows.tolist(), truth).n == fit_temperature(rows.tolist(), truth).n == 3
    assert measure_coverage(rows.tolist(), truth).at_80.n == 3


def test_what_is_no_function_or_index_is_named() -> None:
    with pytest.raises(UsageError, match=r"predict_fn: must be a function of pictures.* received ndarray"):
        evaluate(answering([0]), blank(1), [0], classes=CLASSES)
    with pytest.raises(UsageError, match="indices of the classes, received <U5"):
        evaluate(lambda images: answering([0]), blank(1), ["happy"], classes=CLASSES)
    with pytest.raises(UsageError, match=r"argmax\(axis=1\) makes them of one-hot rows"):
        evaluate(lambda images: answering([0]), blank(1), np.eye(3)[:1], classes=CLASSES)


def test_an_empty_split() -> None:
    with pytest.raises(UsageError, match="'public' holds no pictures"):
        evaluate(lambda _: answering([]), blank(0), np.array([], np.int64), classes=CLASSES, split="public")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.full((1, 3), 1 / 3), "a row for each of 2"),
        (np.full((2, 2), 1 / 2), r"shape \(n, 3\)"),
        (np.full((2, 3), 1.0), "sum to 1"),
        (np.full((2, 3), np.nan), "sum to 1"),
        (np.array([[2.0, -1.0, 0.0]] * 2), "0 or more"),
    ],
)
def test_answers_that_are_not_probabilities(output: NDArray[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(lambda _: output, blank(2), np.array([0, 1]), classes=CLASSES)


def test_an_unknown_tta_lists_the_choices() -> None:
    with pytest.raises(UsageError, match="no such choice 'ten-crop'; choose from flip, full, none"):
        evaluate(lambda _: answering([0]), blank(1), np.array([0]), classes=CLASSES, tta="ten-crop")


def test_labels_are_mapped_by_name() -> None:
    labels = np.array([0, 1, 2, -1, 9])
    aligned = align_labels(labels, ("Anger", "happy", "sad"), ("sad", "angry", "happy", "fear"))
    assert aligned.tolist() == [1, 2, 0, -1, -1]
    assert aligned.dtype == np.int64


def test_classes_the_model_lacks_are_named_where_pictures_have_them() -> None:
    with pytest.raises(UsageError, match="pictures of contempt, which the model does not know"):
        align_labels(np.array([0, 1]), ("happy", "contempt"), ("happy", "sad"))
    assert align_labels(np.array([0, 0]), ("happy", "contempt"), ("happy", "sad")).tolist() == [0, 0]


def test_wilson_interval_of_a_known_case() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263.
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_fraction(case: tuple[int, int]) -> None:
    successes, n = case
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    assert low < high


@pytest.mark.parametrize("case", [(-1, 3), (4, 3), (0, 0)])
def test_wilson_interval_refuses(case: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="successes"):
        wilson_interval(*case)


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy": 1.5},
        {"accuracy_interval": (0.9, 1.0)},
        {"log_loss": -1.0},
        {"log_loss": math.nan},
        {"n": 3},
        {"confusion": ((1, 1), (1, 1))},
    ],
)
def test_numbers_that_do_not_belong_together_cannot_be_built(changes: dict[str, Any]) -> None:
    valid: Evaluation = judge(answering([0, 1]), np.array([0, 0]), classes=CLASSES)
    with pytest.raises(UsageError):
        dataclasses.replace(valid, **changes)
