import numpy as np
import pytest

from mien.classifier import Classifier
from mien.datasets import open_dataset
from mien.datasets.streaming import in_parts
from mien.errors import UsageError
from mien.judging import judge_answers, judge_dataset
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec
from models import save_brightness


@pytest.fixture
def model(tmp_path):
    return Classifier(save_brightness(tmp_path / "model.onnx", EXPRESSIONS[::-1], np.linspace(0.1, 0.9, 7)))


def test_parts_are_the_whole(patterns):
    dataset = open_dataset(patterns).select("test")
    whole = next(in_parts(dataset, InputSpec()))
    assert len(whole) == 84
    parts = list(in_parts(dataset, InputSpec(), limit_bytes=48 * 48 * 20))
    assert [len(part) for part in parts] == [20, 20, 20, 20, 4]
    np.testing.assert_array_equal(np.concatenate([part.images for part in parts]), whole.images)


def test_a_dataset_in_parts_scores_what_it_scores_whole(patterns, model, monkeypatch):
    dataset = open_dataset(patterns)
    whole = judge_dataset(model, dataset, tta="flip")
    monkeypatch.setattr(in_parts, "__kwdefaults__", {**in_parts.__kwdefaults__, "limit_bytes": 1000})
    parts = judge_dataset(model, dataset, tta="flip")
    assert parts.scores == whole.scores
    assert set(whole.scores) == {"test", "public", "private"}
    assert whole.scores["test"].n == 84


def test_a_split_that_is_not_there_is_named(patterns, model):
    with pytest.raises(UsageError, match="val"):
        judge_dataset(model, open_dataset(patterns), split="val")


def test_no_answers_are_refused():
    with pytest.raises(UsageError, match="no face of 'public' has a label"):
        judge_answers([], classes=("a", "b"), split="public")
