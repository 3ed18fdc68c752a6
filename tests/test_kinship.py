"""What is said of pictures that a model may know is said only where its file does not name other data."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.calibration import Calibration, reliability
from mien.cli import app
from mien.cli.trust import _tendency
from mien.evaluation import judge
from mien.kinship import may_be_fitted, may_have_learnt
from mien.modelspec import ModelSpec, write_to_onnx
from models import save_brightness
from pictures import write_grey

FER2013 = {"format": "FER2013 folder", "counts": {"train": {"happy": 30, "sad": 20}, "public": {"happy": 3, "sad": 2}}}
OWN = {"train": {"happy": 9, "sad": 9}, "public": {"happy": 1, "sad": 1}}


@pytest.mark.parametrize(
    ("trained_on", "form", "counts", "expected"),
    [
        (FER2013, "class folders", OWN, False),
        (FER2013, "FER2013 CSV", OWN, True),
        (FER2013, "ICML CSV in a zip archive", OWN, True),
        (FER2013, "FER2013 CSV with FER+ votes (majority)", OWN, True),
        (FER2013, "class folders", {"train": {"happy": 30, "sad": 20, "fear": 0}}, True),  # renamed files
        (FER2013 | {"counts": {"public": {"happy": 0}}}, "class folders", {"public": {"happy": 0}}, False),
        ({"format": "class folders", "counts": {}}, "class folders", OWN, True),  # which may have grown
        ({"format": "class folders", "counts": {}}, "RAF-DB", OWN, False),
        ({"format": "AffectNet (12 rows without an expression passed over)", "counts": {}}, "AffectNet", OWN, True),
        ({"format": "table of files, found by the ends of its paths", "counts": {}}, "table of files", OWN, True),
        ({"format": "class folders", "counts": {}}, "class folders named by numbers (...) in a zip archive", OWN, True),
        ({"format": "arrays", "counts": {}}, "FER2013 folder", OWN, True),  # of load_data, it may be
        ({}, "class folders", OWN, True),
        ({"format": "class folders"}, "FER2013 folder", OWN, True),  # nobody counted
    ],
)
def test_whether_a_model_may_have_learnt_from_a_dataset(trained_on, form, counts, expected) -> None:
    assert may_have_learnt(trained_on, form, counts) is expected


@pytest.mark.parametrize(
    ("noted", "form", "expected"),
    [
        ({"split": "public", "n": 5}, "FER2013 folder", True),
        ({"split": "public", "n": 5}, "class folders", False),
        ({"split": "public", "n": 2}, "class folders", True),  # as many as are judged
        ({"split": "public", "n": 9, "format": "class folders"}, "class folders", True),  # mien calibrate
        ({"split": "public", "n": 9, "format": "class folders"}, "FER2013 folder", False),
        (None, "class folders", True),
    ],
)
def test_whether_a_temperature_may_have_been_fitted_on_it(noted, form, expected) -> None:
    scores = {"public": judge(np.eye(2), np.array([0, 1]), classes=("happy", "sad"), split="public")}
    assert may_be_fitted(FER2013 | {"calibration": noted}, form, OWN, scores) is expected


def save_own_data(folder: Path) -> Path:
    for split in ("train", "test"):
        for name, grey in (("happy", 60), ("sad", 200)):
            for index in range(3):
                write_grey(folder / split / name / f"{index}.png", grey + index)
    return folder


@pytest.mark.parametrize(("form", "known"), [("FER2013 folder", False), ("class folders", True)])
def test_nobody_is_told_that_a_model_knows_pictures_of_other_data(form: str, known: bool, tmp_path: Path) -> None:
    model = save_brightness(tmp_path / "model.onnx", ("happy", "sad"), (0.2, 0.8))
    noted = FER2013 | {"format": form, "validation": "public", "calibration": {"split": "public", "n": 5}}
    write_to_onnx(model, dataclasses.replace(ModelSpec.from_onnx(model), temperature=0.9, trained_on=noted))
    data, out = save_own_data(tmp_path / "own"), tmp_path / "judged"
    result = CliRunner().invoke(app, ["evaluate", str(model), str(data), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert ("fitted on pictures that are judged here" in result.output) is known
    assert (json.loads((out / "metrics.json").read_text())["leakage"] is not None) is known
    card = (out / "README.md").read_text()
    assert ("PublicTest was watched" in card) is known
    assert ("learned from other data than this: FER2013 folder" in card) is not known


def test_a_few_pictures_do_not_tell_whether_a_model_is_too_sure() -> None:
    few = reliability(np.array([[0.9, 0.1], [0.7, 0.3]]), np.array([0, 0]))
    assert "as far as 2 pictures tell" in _tendency(few)
    many = reliability(np.array([[0.9, 0.1], [0.7, 0.3]] * 500), np.array([0, 0] * 500))
    assert _tendency(many) == "not sure enough"


def test_a_temperature_of_other_data_does_not_flatter() -> None:
    found = reliability(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    assert not Calibration(found, found, "public", same_data=False).flatters("public")
