"""The worst mistakes: the right rows, with their own pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mien
from mien.answers import Answers
from mien.datasets import open_dataset
from mien.errors import UsageError
from mien.mistakes import Mistake, mistakes_sheet, worst_mistakes, worst_rows
from reporting import judged


def answers_of(rows: list[list[float]], labels: list[int]) -> Answers:
    probabilities = np.array(rows, np.float32)
    n = len(labels)
    return Answers(
        probabilities,
        probabilities,
        np.array(labels, np.int64),
        np.full(n, "public"),
        np.array([f"{i}.png" for i in range(n)]),
        tuple("abc"[: probabilities.shape[1]]),
    )


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.75, 0.9]), st.booleans()), min_size=1, max_size=30))
def test_they_are_the_surest_wrong_ones_in_order(drawn):
    answers = answers_of([[share, 1 - share] for share, _ in drawn], [0 if right else 1 for _, right in drawn])
    found = worst_rows(answers, 5).tolist()
    wrong = [(-share, row) for row, (share, right) in enumerate(drawn) if not right]
    assert found == [row for _, row in sorted(wrong)][:5]


def test_at_least_one_is_asked_for():
    with pytest.raises(UsageError, match="most: must be 1 or more"):
        worst_rows(answers_of([[0.9, 0.1]], [1]), 0)


def test_each_has_the_picture_of_its_name(tmp_path, patterns):
    judgement = judged(tmp_path, patterns, split="public")
    spec = mien.open_model(tmp_path / "model.onnx").spec.input
    found = worst_mistakes(judgement, spec, most=10)
    assert len(found) == 10
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)
    faces = open_dataset(patterns).select("public").load(spec)
    pictures = dict(zip(faces.names.tolist(), faces.images, strict=True))
    for one in found:
        np.testing.assert_array_equal(one.image, pictures[one.name])
        assert f"/{one.truth}/" in f"/{one.name}"
        assert one.predicted != one.truth


def test_where_all_is_right_there_are_none(tmp_path, patterns):
    judgement = judged(tmp_path, patterns, split="public")
    right = judgement.answers.take(judgement.answers.right)
    object.__setattr__(judgement, "answers", right)
    assert worst_mistakes(judgement, mien.open_model(tmp_path / "model.onnx").spec.input) == ()
    assert mistakes_sheet(()).shape[2] == 3


def test_the_sheet_shows_them_by_label():
    def mistake(truth: str, predicted: str) -> Mistake:
        return Mistake("x.png", np.full((8, 8, 1), 90, np.uint8), truth, predicted, 0.9, 0.1)

    one = mistakes_sheet([mistake("sad", "happy")] * 3, columns=3, tile=64)
    two = mistakes_sheet([mistake("sad", "happy"), mistake("fear", "happy")], columns=3, tile=64)
    assert one.shape[1] == two.shape[1]
    assert two.shape[0] > one.shape[0] + 64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"predicted": "sad"}, "another class"),
        ({"confidence": 1.2}, "to 1"),
        ({"truth_probability": 0.95}, "truth_probability"),
        ({"image": np.zeros((4, 4), np.uint8)}, "image"),
    ],
)
def test_what_is_no_mistake_is_refused(changes, words):
    values = {
        "name": "x",
        "image": np.zeros((4, 4, 1), np.uint8),
        "truth": "sad",
        "predicted": "fear",
        "confidence": 0.9,
        "truth_probability": 0.1,
    }
    with pytest.raises(UsageError, match=words):
        Mistake(**{**values, **changes})
