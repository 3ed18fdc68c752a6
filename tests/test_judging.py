import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mien import judging
from mien.classifier import Classifier
from mien.datasets import open_dataset
from mien.datasets.exclusion import exclude
from mien.datasets.streaming import in_parts
from mien.errors import UsageError
from mien.evaluation import TTA
from mien.judging import judge_answers, judge_dataset
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec
from models import save_brightness
from pictures import write_patterns


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


@pytest.mark.parametrize("limit_bytes", [1000, 2**28])
def test_faces_that_stand_in_training_are_left_out_in_parts_or_whole(tmp_path, model, monkeypatch, limit_bytes):
    data = write_patterns(tmp_path / "data", train=3, test=2)
    learnt = sorted((data / "train" / "happy").iterdir())
    shutil.copy(learnt[0], data / "test" / "happy" / "PublicTest_90.png")
    shutil.copy(learnt[1], data / "test" / "sad" / "PrivateTest_91.png")  # of another class
    shutil.copy(data / "test" / "happy" / "PublicTest_90.png", data / "test" / "sad" / "PrivateTest_92.png")
    (data / "train" / "sad" / "Training_93.png").write_bytes(b"no picture")
    (data / "train" / "sad" / "stray.txt").write_text("no picture either")
    monkeypatch.setattr(in_parts, "__kwdefaults__", {**in_parts.__kwdefaults__, "limit_bytes": limit_bytes})
    whole = judge_dataset(model, open_dataset(data))
    clean = judge_dataset(model, open_dataset(data), without_duplicates=True)
    assert (whole.duplicates_left_out, clean.duplicates_left_out) == (None, 3)
    assert {name: score.n for name, score in whole.scores.items()} == {"test": 31, "public": 15, "private": 16}
    assert {name: score.n for name, score in clean.scores.items()} == {"test": 28, "public": 14, "private": 14}


@pytest.mark.parametrize("split", ["test", "all"])
def test_a_file_that_cannot_be_used_is_counted_once(tmp_path, model, split):
    data = write_patterns(tmp_path / "data", train=1, test=1)
    (data / "train" / "stray.png").write_bytes((data / "train" / "sad" / "Training_5.png").read_bytes())
    assert judge_dataset(model, open_dataset(data), split=split, skip_bad=True).skipped == (
        "train/stray.png (in no class folder)",
    )


@pytest.mark.parametrize("limit_bytes", [1000, 2**28])
def test_images_without_a_face_are_counted_among_those_judged(tmp_path, model, monkeypatch, limit_bytes):
    data = write_patterns(tmp_path / "data", train=2, test=1)
    (data / "test" / "sad" / "PublicTest_90.png").write_bytes(b"no picture")
    shutil.copy(next((data / "train" / "sad").iterdir()), data / "test" / "sad" / "PublicTest_91.png")
    monkeypatch.setattr(in_parts, "__kwdefaults__", {**in_parts.__kwdefaults__, "limit_bytes": limit_bytes})
    found = judge_dataset(
        model, open_dataset(data), split="public", detect_faces=True, skip_bad=True, without_duplicates=True
    )
    assert (found.without_face, len(found.answers), found.duplicates_left_out) == (7, 7, 1)
    assert found.dataset.names.tolist() == found.answers.names.tolist()
    assert found.load([3]).names.tolist() == found.answers.names[[3]].tolist()
    assert judge_dataset(model, open_dataset(data), split="private").without_face is None


def test_a_split_that_is_not_there_is_named(patterns, model):
    with pytest.raises(UsageError, match="val"):
        judge_dataset(model, open_dataset(patterns), split="val")


def test_no_answers_are_refused():
    with pytest.raises(UsageError, match="no face of 'public' has a label"):
        judge_answers([], classes=("a", "b"), split="public")


def test_keras_and_onnx_give_the_same_with_views(patterns, tmp_path):
    keras = pytest.importorskip("keras")
    from mien.export import KerasClassifier, describe, save_keras, save_onnx

    keras.utils.set_random_seed(4)
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten()]
    network = keras.Sequential([keras.Input((16, 16, 1)), *layers, keras.layers.Dense(7, activation="softmax")])
    spec = replace(describe(network, EXPRESSIONS), temperature=0.7)
    save_keras(network, spec, tmp_path / "model.keras")
    save_onnx(network, spec, tmp_path / "model.onnx")
    models = (KerasClassifier(tmp_path / "model.keras"), Classifier(tmp_path / "model.onnx"))
    losses = {
        tta: [judge_dataset(model, open_dataset(patterns), tta=tta).scores["test"].log_loss for model in models]
        for tta in TTA
    }
    assert len({round(one, 6) for one, _ in losses.values()}) == len(TTA)
    for one, other in losses.values():
        assert one == pytest.approx(other, rel=1e-5)


def test_nearly_identical_faces_and_those_that_a_list_left_out_of_training_are_found(tmp_path, model, monkeypatch):
    random = np.random.default_rng(0)
    for place in ("train/happy/Training_1", "train/sad/Training_2", "test/sad/PublicTest_3", "test/happy/PublicTest_4"):
        path = tmp_path / "data" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(random.integers(0, 256, (8, 8), np.uint8), (48, 48)))
    data = tmp_path / "data"
    learnt = cv2.imread(str(data / "train/happy/Training_1.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(data / "test/happy/PublicTest_5.png"), learnt)
    cv2.imwrite(str(data / "test/happy/PublicTest_6.png"), cv2.convertScaleAbs(learnt[:, ::-1], alpha=0.8, beta=9))
    whole = open_dataset(data)
    found = judge_dataset(model, whole, split="public", find_duplicates=True).leakage
    assert (found.n, found.copies, found.near_copies, found.near_clean_n) == (4, 1, 2, 2)
    listed = exclude(whole, ["train/happy/Training_1.png"])
    assert judge_dataset(model, listed, split="public", find_duplicates=True).leakage.copies == 0
    told = judge_dataset(model, listed, split="public", find_duplicates=True, learnt_from=whole)
    assert (told.leakage.copies, told.leakage.near_copies) == (1, 2)
    monkeypatch.setattr(judging, "MOST_PAIRS", 7)  # there are eight
    assert judge_dataset(model, whole, split="public", find_duplicates=True).leakage.near_copies is None
