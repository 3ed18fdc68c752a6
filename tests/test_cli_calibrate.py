"""``mien calibrate``: what it writes, what it refuses."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from mien.assessing import assess
from mien.calibrating import calibrate_model
from mien.classifier import Classifier
from mien.cli.calibrate import calibrate_command
from mien.datasets import open_dataset
from mien.errors import DataError, MienError, UsageError
from mien.judging import judge_dataset
from mien.modelspec import ModelSpec, write_to_onnx
from models import save_brightness

CLASSES = ("angry", "happy", "sad")
CENTRES = (0.2, 0.5, 0.8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_brightness(tmp_path / "model.onnx", CLASSES, CENTRES, sharpness=60)


def write_data(root: Path, split: str, spread: float, *, n: int = 80, seed: int = 0) -> Path:
    """Grey pictures about each class's level: the wider the spread, the more often a model is wrong and sure."""
    rng = np.random.default_rng(seed)
    for name, centre in zip(CLASSES, CENTRES, strict=True):
        folder = root / split / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, level in enumerate(np.clip(rng.normal(centre, spread, n), 0, 1)):
            cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 8), round(255 * level), np.uint8))
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_data(tmp_path / "data", "train", 0.02, n=3)
    write_data(tmp_path / "data", "val", 0.25)
    return write_data(tmp_path / "data", "test", 0.25, seed=1)


def calibrate(*arguments: object) -> Result:
    app = typer.Typer()
    app.command("calibrate")(calibrate_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_confidence_is_mended_and_no_answer_changes(model: Path, data: Path) -> None:
    opened = open_dataset(data)
    before = judge_dataset(Classifier(model), opened)
    result = calibrate(model, data, "--json")
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout)
    assert (found["split"], found["n"], found["written"], found["at_limit"]) == ("val", 240, str(model), False)
    spec = ModelSpec.from_onnx(model)
    assert spec.temperature == found["temperature"] > 1.5
    assert spec.trained_on["calibration"] == {"split": "val", "n": 240, "format": "class folders"}
    after = judge_dataset(Classifier(model), opened)
    one, other = before.scores["test"], after.scores["test"]
    assert (one.accuracy, one.confusion, one.top2_accuracy) == (other.accuracy, other.confusion, other.top2_accuracy)
    assert other.log_loss < one.log_loss
    assert found["after"]["ece"] < 0.5 * found["before"]["ece"]
    np.testing.assert_allclose(after.answers.uncalibrated, before.answers.probabilities, atol=1e-5)


def test_again_begins_from_the_network_itself(model: Path, data: Path) -> None:
    calibrate(model, data)
    once = ModelSpec.from_onnx(model).temperature
    said = calibrate(model, data).stdout
    assert ModelSpec.from_onnx(model).temperature == pytest.approx(once, rel=1e-3)
    assert f"temperature {once:.3f}, fitted on 240 pictures of val" in said


def test_out_leaves_the_model_as_it_was(model: Path, data: Path, tmp_path: Path) -> None:
    before = model.read_bytes()
    out = tmp_path / "new" / "calibrated.onnx"
    result = calibrate(model, data, "--out", out)
    assert result.exit_code == 0, result.exception
    assert model.read_bytes() == before
    assert ModelSpec.from_onnx(out).temperature > 1.5
    assert [path.name for path in out.parent.iterdir()] == ["calibrated.onnx"]


def test_few_pictures_and_test_splits_are_warned_of(model: Path, tmp_path: Path) -> None:
    few = write_data(tmp_path / "few", "test", 0.25, n=20)
    result = calibrate(model, few, "--split", "test")
    assert result.exit_code == 0, result.exception
    assert "warning: test is for judging at the end" in result.stderr
    assert "60 pictures are few" in result.stdout


@pytest.mark.parametrize(
    ("trained_on", "words"),
    [
        ({}, "does not say that it learned from other"),
        ({"format": "arrays"}, "does not say that it learned from other"),
        ({"format": "class folders"}, "may be of them (class folders)"),
    ],
)
def test_training_is_refused(model: Path, data: Path, trained_on: dict[str, object], words: str) -> None:
    write_to_onnx(model, dataclasses.replace(ModelSpec.from_onnx(model), trained_on=trained_on))
    before = model.read_bytes()
    result = calibrate(model, data, "--split", "train")
    assert isinstance(result.exception, UsageError)
    assert "never fitted on pictures that the model learned from" in str(result.exception)
    assert words in str(result.exception)
    assert model.read_bytes() == before
    with pytest.raises(UsageError, match="must be one split"):
        calibrate_model(model, data, split="all")


def test_folders_without_splits_that_the_model_did_not_learn_from_will_do(model: Path, tmp_path: Path) -> None:
    noted = {"format": "FER2013 folder", "counts": {"train": {"happy": 9}}}
    write_to_onnx(model, dataclasses.replace(ModelSpec.from_onnx(model), trained_on=noted))
    own = write_data(tmp_path / "own", "", 0.25)
    result = calibrate(model, own, "--split", "train")
    assert result.exit_code == 0, result.exception
    spec = ModelSpec.from_onnx(model)
    assert spec.temperature > 1.5
    assert spec.trained_on == noted | {"calibration": {"split": "train", "n": 240, "format": "class folders"}}
    assessment = assess(Classifier(model), open_dataset(own), split="all")
    assert assessment.calibration.flatters("all")


def test_pictures_of_classes_that_the_model_does_not_know_can_be_left_out(model: Path, data: Path) -> None:
    for split in ("train", "val"):
        (data / split / "contempt").mkdir()
        cv2.imwrite(str(data / split / "contempt" / "1.png"), np.zeros((8, 8), np.uint8))
    result = calibrate(model, data)
    assert "'mien calibrate --known-classes' fits without them" in str(result.exception)
    found = json.loads(calibrate(model, data, "--known-classes", "--json").stdout)
    assert found["n"] == 240


def refused(error: type[MienError], message: str, model: Path, *arguments: object) -> None:
    before = model.read_bytes()
    result = calibrate(*arguments)
    assert isinstance(result.exception, error), result.exception
    assert message in str(result.exception)
    assert model.read_bytes() == before


def test_what_cannot_be_fitted(model: Path, data: Path, tmp_path: Path) -> None:
    refused(UsageError, "'public'", model, model, data, "--split", "public")
    refused(UsageError, "no such choice 'exam'", model, model, data, "--split", "exam")
    right = write_data(tmp_path / "right", "val", 0.001)
    refused(DataError, "nothing was written", model, model, right)
    one = tmp_path / "one"
    (one / "val" / "happy").mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(one / "val" / "happy" / f"{number}.png"), np.full((8, 8), 60 * number, np.uint8))
    refused(UsageError, "all of one class", model, model, one)
    other = save_brightness(tmp_path / "other.onnx", ["happy", "sad"], [0.2, 0.8])
    refused(UsageError, "pictures of angry, which the model does not know", other, other, data)


def test_what_cannot_be_written(model: Path, data: Path, tmp_path: Path) -> None:
    refused(UsageError, "bundled with mien", model, "mien-small", data)
    refused(UsageError, "must end in .onnx", model, model, data, "--out", tmp_path / "model.keras")
    with pytest.raises(UsageError, match=r"out: must end in \.onnx"):
        calibrate_model(model, data, out=tmp_path / "model.keras")
    refused(UsageError, "mien export", model, tmp_path / "model.keras", data)
