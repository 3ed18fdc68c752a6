import dataclasses

import numpy as np
import pytest

from mien.answers import Answers, ask
from mien.classifier import Classifier
from mien.datasets import open_dataset
from mien.errors import UsageError
from mien.evaluation import TTA
from mien.judging import judge_dataset
from mien.labels import EXPRESSIONS
from mien.leakage import Leakage, measure_leakage
from mien.modelspec import ModelSpec, write_to_onnx
from mien.preprocessing import InputSpec
from mien.views import predict_views
from models import save_brightness


@pytest.mark.parametrize("tta", TTA)
def test_both_temperatures_are_asked_for_at_once(tmp_path, tta: str) -> None:
    path = save_brightness(tmp_path / "model.onnx", EXPRESSIONS, np.linspace(0.1, 0.9, 7))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    plain = predict_views(Classifier(path).predict, images, tta)
    write_to_onnx(path, dataclasses.replace(ModelSpec.from_onnx(path), temperature=2.5))
    warm = Classifier(path)
    probabilities, uncalibrated = ask(warm, images, tta=tta)
    np.testing.assert_allclose(uncalibrated, plain, atol=1e-5)
    np.testing.assert_array_equal(probabilities, predict_views(warm.predict, images, tta))
    assert np.abs(probabilities - plain).max() > 0.01


def test_answers_of_a_dataset_know_their_pictures(patterns, tmp_path) -> None:
    model = Classifier(save_brightness(tmp_path / "model.onnx", EXPRESSIONS[::-1], np.linspace(0.1, 0.9, 7)))
    judgement = judge_dataset(model, open_dataset(patterns), split="public", find_duplicates=True)
    answers = judgement.answers
    assert len(answers) == judgement.scores["public"].n == 42
    assert answers.right.mean() == judgement.scores["public"].accuracy
    assert answers.classes == EXPRESSIONS[::-1]
    for name, label in zip(answers.names, answers.labels, strict=True):
        assert f"/{EXPRESSIONS[::-1][label]}/PublicTest_" in f"/{name}"
    rows = [30, 2, 17]
    faces = judgement.load(rows, InputSpec(size=8))
    assert faces.names.tolist() == answers.names[rows].tolist()
    np.testing.assert_array_equal(model.predict(faces.images), answers.probabilities[rows])
    np.testing.assert_array_equal(answers.confidences, answers.probabilities[np.arange(42), answers.predicted])
    assert (judgement.leakage.n, judgement.leakage.copies) == (42, 0)


def small(right: list[bool], in_training: list[bool] | None) -> Answers:
    rows = np.array([[0.9, 0.1] if mark else [0.1, 0.9] for mark in right], np.float32).reshape(-1, 2)
    n = len(right)
    marks = None if in_training is None else np.array(in_training, np.bool_)
    names = np.array([str(number) for number in range(n)], np.str_)
    return Answers(rows, rows, np.zeros(n, np.int64), np.full(n, "public"), names, ("a", "b"), 1.0, marks)


def test_leakage_by_hand() -> None:
    found = measure_leakage(small([True, True, False, True, False], [True, True, False, False, False]))
    assert found is not None
    assert (found.n, found.copies, found.clean_n, found.accuracy) == (5, 2, 3, 0.6)
    assert (found.clean_accuracy, found.copies_accuracy) == (pytest.approx(1 / 3), 1.0)
    low, high = found.clean_interval
    assert low < 1 / 3 < high
    assert found.to_dict()["clean_n"] == 3
    assert measure_leakage(small([True], None)) is None
    nothing_left = measure_leakage(small([True], [True]))
    assert (nothing_left.clean_accuracy, nothing_left.clean_interval) == (None, None)
    assert measure_leakage(small([True], [False])).copies_accuracy is None
    with pytest.raises(UsageError, match="copies"):
        Leakage(2, 3, 0.5, None, None, None)
    with pytest.raises(UsageError, match="near_copies"):
        Leakage(3, 2, 0.5, 1.0, (0.1, 1.0), 0.5, near_copies=1)


def test_near_copies_by_hand() -> None:
    answers = small([True, True, False, True, False], [True, False, False, False, False])
    found = measure_leakage(dataclasses.replace(answers, like_training=np.array([True, True, False, False, False])))
    assert found is not None
    assert (found.copies, found.clean_n, found.clean_accuracy) == (1, 4, 0.5)
    assert (found.near_copies, found.near_clean_n, found.near_clean_accuracy) == (2, 3, pytest.approx(1 / 3))
    document = found.to_dict()
    assert (document["near_clean_n"], type(document["near_clean_interval"])) == (3, list)
    plain = measure_leakage(answers)
    assert plain is not None
    assert (plain.near_copies, plain.near_clean_n, plain.to_dict()["near_clean_interval"]) == (None, None, None)


def test_parts_are_joined_and_lengths_checked() -> None:
    whole = small([True, False, True], [False, True, False])
    joined = Answers.joined([whole.take([0]), whole.take([]), whole.take([1, 2])])
    for item in dataclasses.fields(Answers):
        np.testing.assert_array_equal(getattr(joined, item.name), getattr(whole, item.name))
    with pytest.raises(UsageError, match="must all be of 3 pictures"):
        dataclasses.replace(whole, names=whole.names[:2])
