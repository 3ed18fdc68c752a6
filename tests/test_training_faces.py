"""Training on photographs: cut to their faces, recorded, and judged the way it was trained."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from mien import train
from mien.classifier import open_model
from mien.config import TrainingConfig
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.framing import FER2013_MARGIN
from mien.judging import judge_dataset
from mien.materials import Selection
from mien.modelspec import ModelSpec, write_to_onnx
from mien.runs import RunFolder
from models import save_brightness
from tiny import TINY

CONFIG = TrainingConfig(network=TINY, epochs=1, batch_size=8, validation_fraction=0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """The astronaut, bright and dark, moved about; two pictures without a face."""
    root = tmp_path_factory.mktemp("photos") / "FER2013"
    picture = data.astronaut()[:, :, ::-1]
    pictures = {}
    for i in range(6):
        moved = np.roll(picture, (3 * i, -5 * i), (0, 1))
        pictures[f"train/happy/{i}.jpg"], pictures[f"train/sad/{i}.jpg"] = moved, moved // 2
    pictures["test/happy/PublicTest_1.jpg"], pictures["test/sad/PublicTest_2.jpg"] = picture, picture // 2
    pictures["train/sad/none.jpg"] = pictures["test/sad/PublicTest_3.jpg"] = np.full((256, 256, 3), 90, np.uint8)
    for name, image in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    return root


@pytest.mark.parametrize("streaming", [False, True])
def test_photographs_are_cut_to_faces_by_themselves(photos, tmp_path, streaming):
    if streaming:
        pytest.importorskip("grain", exc_type=ImportError)
    said = []
    result = train(photos, CONFIG, out=tmp_path / "run", selection=Selection(streaming=streaming), say=said.append)
    assert any("left whole, as MTCNN finds none: 2" in line for line in said)
    assert result.spec.crop_margin == FER2013_MARGIN
    assert result.spec.trained_on["detect_faces"] is True
    assert result.spec.trained_on["without_face"] == 2
    model = open_model(tmp_path / "run" / "model.onnx")
    as_trained = judge_dataset(model, open_dataset(photos), split="public")
    assert as_trained.without_face == 1
    assert as_trained.scores["public"].log_loss == pytest.approx(result.scores["public"].log_loss, rel=1e-4)
    whole = judge_dataset(model, open_dataset(photos), split="public", detect_faces=False)
    assert whole.without_face is None
    assert whole.scores["public"].log_loss != pytest.approx(result.scores["public"].log_loss, rel=1e-4)


def test_it_can_be_left_out(photos, tmp_path):
    result = train(photos, CONFIG, out=tmp_path / "run", selection=Selection(detect_faces=False))
    assert result.spec.trained_on["detect_faces"] is False
    assert RunFolder(tmp_path / "run").read_config()["selection"]["detect_faces"] is False


def test_a_split_that_is_not_there_is_refused_before_faces_are_looked_for(photos, tmp_path, monkeypatch):
    path = save_brightness(tmp_path / "model.onnx", ("happy", "sad"), (0.3, 0.6))
    write_to_onnx(path, dataclasses.replace(ModelSpec.from_onnx(path), trained_on={"detect_faces": True}))
    model = open_model(path)
    monkeypatch.setattr("mien.datasets.facing.find_boxes", None)
    with pytest.raises(MienError, match="private"):
        judge_dataset(model, open_dataset(photos), split="private")
