"""Predictions: what can be built, what cannot, and that they survive copying and JSON."""

import copy
import dataclasses
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import UsageError
from mien.results import UNCERTAIN, Box, Face, Prediction


def test_expression_is_the_most_probable_class() -> None:
    prediction = Prediction({"angry": 0.2, "happy": 0.7, "sad": 0.1})
    assert prediction.expression == "happy"
    assert prediction.confidence == 0.7
    assert prediction.ranked() == (("happy", 0.7), ("angry", 0.2), ("sad", 0.1))


def test_below_its_least_confidence_an_expression_is_uncertain_and_the_shares_stay() -> None:
    shares = {"angry": 0.2, "happy": 0.5, "sad": 0.3}
    sure, unsure = Prediction(shares, 0.5), Prediction(shares, 0.51)
    assert (sure.expression, unsure.expression) == ("happy", UNCERTAIN)
    assert (unsure.best, unsure.confidence, unsure.probabilities) == ("happy", 0.5, shares)
    assert unsure.to_dict() == {"expression": "uncertain", "confidence": 0.5, "probabilities": shares}
    assert sure != unsure
    for again in (copy.deepcopy(unsure), pickle.loads(pickle.dumps(unsure))):
        assert again == unsure
        assert hash(again) == hash(unsure)
    face = Face(Box(0, 0, 2, 2), 1.0, unsure)
    assert (face.expression, face.confidence) == (UNCERTAIN, 0.5)
    assert face.to_dict()["expression"] == UNCERTAIN


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_least_confidence_is_a_share(value: float) -> None:
    with pytest.raises(UsageError, match="min_confidence: must be from 0 to 1"):
        Prediction({"happy": 1.0}, value)


def test_the_first_of_equal_classes_wins() -> None:
    prediction = Prediction({"b": 0.5, "a": 0.5})
    assert prediction.expression == "b"
    assert prediction.ranked()[0] == ("b", 0.5)


def test_to_dict_is_json_ready() -> None:
    document = Prediction({"happy": 0.75, "sad": 0.25}).to_dict()
    assert json.loads(json.dumps(document)) == {
        "expression": "happy",
        "confidence": 0.75,
        "probabilities": {"happy": 0.75, "sad": 0.25},
    }


@pytest.mark.parametrize(
    "probabilities",
    [
        {},
        {"": 1.0},
        {"happy": 0.5},
        {"happy": -0.1, "sad": 1.1},
        {"happy": float("nan"), "sad": 1.0},
        {"happy": float("inf"), "sad": 0.0},
        {"happy": 0.9, "sad": 0.9},
        {"happy": None},
        {"happy": "1"},
        {0: 0.5, 1: 0.5},
        [0.5, 0.5],
    ],
)
def test_invalid_probabilities_cannot_be_built(probabilities: Any) -> None:
    with pytest.raises(UsageError, match="probabilities"):
        Prediction(probabilities)


def test_it_cannot_be_changed_from_outside() -> None:
    values = {"happy": 0.6, "sad": 0.4}
    prediction = Prediction(values)
    values["happy"] = 0.0
    assert prediction.confidence == 0.6
    with pytest.raises(TypeError):
        prediction.probabilities["happy"] = 0.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        prediction.probabilities = {}  # type: ignore[misc]


def test_shares_and_points_are_what_json_and_dataclasses_take() -> None:
    face = Face(Box(1, 2, 3, 4), 1.0, Prediction({"happy": 0.75, "sad": 0.25}), {"nose": (2, 3)}, 7)
    assert json.loads(json.dumps([face.probabilities, face.keypoints])) == [
        {"happy": 0.75, "sad": 0.25},
        {"nose": [2.0, 3.0]},
    ]
    assert dataclasses.asdict(face)["prediction"]["probabilities"] == face.probabilities
    assert repr(face.prediction) == "Prediction(probabilities={'happy': 0.75, 'sad': 0.25}, min_confidence=0.0)"
    for again in (copy.copy(face.probabilities), pickle.loads(pickle.dumps(face.probabilities))):
        assert again == face.probabilities
        with pytest.raises(TypeError, match="cannot be changed"):
            again["happy"] = 1.0
    assert {**face.probabilities, "happy": 0.5}["happy"] == (face.probabilities | {"happy": 0.5})["happy"] == 0.5


@pytest.mark.parametrize(
    "change",
    [
        lambda shares: shares.update(happy=1.0),
        lambda shares: shares.pop("happy"),
        lambda shares: shares.popitem(),
        lambda shares: shares.clear(),
        lambda shares: shares.setdefault("fear", 0.0),
        lambda shares: shares.__delitem__("happy"),
        lambda shares: shares.__ior__({"happy": 1.0}),
    ],
)
def test_shares_cannot_be_changed(change: Any) -> None:
    prediction = Prediction({"happy": 0.75, "sad": 0.25})
    with pytest.raises(TypeError, match="cannot be changed"):
        change(prediction.probabilities)
    assert prediction.probabilities == {"happy": 0.75, "sad": 0.25}


def test_it_survives_pickle_and_copy() -> None:
    prediction = Prediction({"happy": 0.6, "sad": 0.4})
    assert pickle.loads(pickle.dumps(prediction)) == prediction
    assert copy.deepcopy(prediction) == prediction


def test_from_row_wants_one_probability_for_each_class() -> None:
    assert Prediction.from_row(("a", "b"), [0.25, 0.75]).probabilities == {"a": 0.25, "b": 0.75}
    with pytest.raises(UsageError, match="2 probabilities"):
        Prediction.from_row(("a", "b"), [1.0])


class Scalar:
    """What a row of PyTorch's or JAX's is made of: a tensor of one number, which is none to `numbers`."""

    shape = ()

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


@pytest.mark.parametrize("kind", [np.float32, np.array, Scalar])
def test_numbers_may_be_arrays_of_one(kind: Any) -> None:
    prediction = Prediction.from_row(("a", "b"), [kind(0.25), kind(0.75)])
    assert prediction.probabilities == {"a": 0.25, "b": 0.75}
    assert Face(Box(0, 0, 1, 1), kind(0.5), prediction).score == 0.5
    with pytest.raises(UsageError, match="score: must be from 0 to 1"):
        Face(Box(0, 0, 1, 1), np.array([0.5]), prediction)  # type: ignore[arg-type]


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=20))
def test_any_normalised_weights_are_a_prediction(weights: list[float]) -> None:
    total = sum(weights)
    names = [f"class {index}" for index in range(len(weights))]
    prediction = Prediction.from_row(names, [weight / total for weight in weights])
    assert prediction.confidence == max(prediction.probabilities.values())
    assert prediction.ranked()[0] == (prediction.expression, prediction.confidence)


ANSWER = Prediction({"happy": 0.75, "sad": 0.25})


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ((5, 0, 5, 9), "x2 must be above x1"),
        ((0, 9, 5, 3), "y2 above y1"),
        ((0, 0, float("nan"), 3), "finite"),
        (("a", 0, 5, 5), "x1 must be a number"),
    ],
)
def test_boxes_have_an_area(corners, message):
    with pytest.raises(UsageError, match=message):
        Box(*corners)


def test_a_box_says_its_size():
    box = Box(1, 2, 4, 8)
    assert (box.xyxy, box.xywh, box.width, box.height, box.area) == ((1, 2, 4, 8), (1, 2, 3, 6), 3, 6, 18)
    assert box.to_dict() == {"x1": 1.0, "y1": 2.0, "x2": 4.0, "y2": 8.0}


def test_a_face_turns_into_json_and_travels():
    face = Face(Box(1, 2, 4, 8), 0.98765, ANSWER, {"nose": (2.123, 5)}, 7)
    record = json.loads(json.dumps(face.to_dict()))
    assert record == {
        "track": 7,
        "box": {"x1": 1.0, "y1": 2.0, "x2": 4.0, "y2": 8.0},
        "score": 0.9877,
        "expression": "happy",
        "confidence": 0.75,
        "probabilities": {"happy": 0.75, "sad": 0.25},
        "keypoints": {"nose": [2.12, 5.0]},
    }
    assert pickle.loads(pickle.dumps(face)) == face
    with pytest.raises(TypeError):
        face.keypoints["nose"] = (0, 0)


@pytest.mark.parametrize(
    "points", [[1, 2], {"nose": 3}, {"nose": (1, 2, 3)}, {"nose": ("a", 1)}, {"nose": (1, math.nan)}]
)
def test_keypoints_are_named_pairs_of_numbers(points):
    with pytest.raises(UsageError, match="keypoints: must"):
        Face(Box(0, 0, 1, 1), 1.0, ANSWER, points)


def test_a_tracks_number_is_whole():
    assert Face(Box(0, 0, 1, 1), 1.0, ANSWER, track_id=np.int64(3)).track_id == 3
    with pytest.raises(UsageError, match="track_id: must be a whole number or None, received '3'"):
        Face(Box(0, 0, 1, 1), 1.0, ANSWER, track_id="3")


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_scores_lie_between_0_and_1(score):
    with pytest.raises(UsageError, match="score: must be from 0 to 1"):
        Face(Box(0, 0, 1, 1), score, ANSWER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": (1, 2, 4, 8)}, r"box: must be a mien.Box, received \(1, 2, 4, 8\)"),
        ({"prediction": {"happy": 1.0}}, "prediction: must be a mien.Prediction"),
        ({"score": "high"}, "score: must be from 0 to 1, received 'high'"),
        ({"score": 1.5}, "score: must be from 0 to 1, received 1.5"),
    ],
)
def test_a_face_is_made_of_a_box_a_score_and_a_prediction(change, message):
    with pytest.raises(UsageError, match=message):
        Face(**{"box": Box(1, 2, 4, 8), "score": 0.9, "prediction": ANSWER, **change})
