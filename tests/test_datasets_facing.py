"""Datasets cut to their faces: found once, kept, streamed; images without a face stay whole."""

import warnings
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

import mien
from mien.assessing import assess
from mien.classifier import Classifier
from mien.cli.trust import trust_lines
from mien.datasets import open_dataset
from mien.datasets.facing import find_boxes, is_crop, needs_detection, with_faces
from mien.errors import UsageError
from mien.preprocessing import InputSpec
from mien.provenance import Provenance
from mien.report_facts import ReportFacts
from models import save_brightness

ASTRONAUT = data.astronaut()[:, :, ::-1]  # NASA, public domain; BGR, as OpenCV writes
FACE = ASTRONAUT[60:220, 145:305]


def tree(root: Path, pictures: dict[str, np.ndarray]) -> Path:
    """Pictures in FER2013's layout."""
    for name, picture in pictures.items():
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    return root


@pytest.fixture
def photos(tmp_path) -> Path:
    """Photographs with a small face; one without any."""
    rng = np.random.default_rng(2)
    pictures = {f"train/happy/{i}": np.roll(ASTRONAUT, (i, 2 * i), (0, 1)) for i in range(4)}
    pictures |= {f"test/happy/PublicTest_{i}": ASTRONAUT[:, ::-1] for i in range(2)}
    pictures["train/sad/none"] = cv2.GaussianBlur(rng.integers(0, 256, (300, 300, 3), np.uint8), (9, 9), 0)
    return tree(tmp_path / "photos", pictures)


@pytest.fixture
def crops(tmp_path) -> Path:
    """Faces as FER2013 has them: 48 x 48, grey."""
    grey = cv2.cvtColor(cv2.resize(FACE, (48, 48), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    pictures = {f"train/happy/{i}": np.clip(grey.astype(int) + i, 0, 255).astype(np.uint8) for i in range(6)}
    pictures |= {"test/happy/PublicTest_1": grey[:, ::-1], "train/sad/flat": np.full((48, 48), 90, np.uint8)}
    return tree(tmp_path / "crops", pictures)


def test_photographs_are_told_from_crops(photos, crops):
    assert needs_detection(open_dataset(photos))
    assert not needs_detection(open_dataset(crops))


def test_large_pictures_that_are_faces_already_are_left_alone(tmp_path):
    tight = cv2.resize(ASTRONAUT[75:195, 165:285], (300, 300))
    root = tree(tmp_path / "tight", {f"train/happy/{i}": np.roll(tight, i, 0) for i in range(5)})
    assert not needs_detection(open_dataset(root))


def test_each_photograph_is_cut_to_its_face(photos):
    whole = open_dataset(photos)
    cut, missed = with_faces(whole)
    assert missed == 1
    (place,) = np.flatnonzero(whole.names == "train/happy/0.png")
    image = cut.source.read(int(place), 3)
    assert 80 < image.shape[0] == image.shape[1] < 200
    brightness = cv2.cvtColor(FACE, cv2.COLOR_BGR2GRAY).mean()
    assert abs(image.mean() - brightness) < 30
    (none,) = np.flatnonzero(whole.names == "train/sad/none.png")
    assert cut.source.read(int(none), 1).shape == (300, 300)


def test_loading_reading_and_streaming_agree(photos):
    spec = InputSpec(32, 1)
    cut, _ = with_faces(open_dataset(photos), True)
    faces = cut.load(spec)
    for row in range(len(cut)):
        np.testing.assert_array_equal(faces.images[row], cut.read(row, spec))
    np.testing.assert_array_equal(cut.load(spec).images, faces.images)  # from the cache
    np.testing.assert_array_equal(cut.select("public").load(spec).images, faces.select("public").images)
    whole = open_dataset(photos).load(spec)
    assert (whole.images != faces.images).any(axis=(1, 2, 3)).sum() == len(cut) - 1


def test_boxes_are_kept_until_a_file_changes(crops, monkeypatch):
    first = find_boxes(open_dataset(crops)).boxes_xyxy
    with monkeypatch.context() as patch:
        patch.setattr("mien.datasets.facing._Finder", None)  # looking again would fail
        np.testing.assert_array_equal(find_boxes(open_dataset(crops)).boxes_xyxy, first)
    (crops / "train" / "happy" / "3.png").unlink()
    assert len(find_boxes(open_dataset(crops)).boxes_xyxy) == len(first) - 1


def test_faces_of_small_crops_are_found(crops):
    found = find_boxes(open_dataset(crops))
    assert found.found.sum() == 7
    sides = found.boxes_xyxy[found.found][:, 2:] - found.boxes_xyxy[found.found][:, :2]
    assert (sides > 15).all()
    assert (sides < 50).all()
    assert is_crop(np.zeros((48, 48), np.uint8))


def test_photographs_that_are_judged_whole_are_told(photos, crops, tmp_path):
    model = Classifier(save_brightness(tmp_path / "model.onnx", ("happy", "sad"), (0.2, 0.8)))
    said = [
        assess(model, open_dataset(data), split="all", detect_faces=asked)
        for data, asked in ((photos, None), (photos, True), (photos, False), (crops, None))
    ]
    assert [one.judgement.photographs for one in said] == [True, False, False, False]
    lines = [" ".join(trust_lines(one, model.spec.trained_on)) for one in said]
    assert ["look like photographs" in line for line in lines] == [True, *[False] * 3]
    provenance = Provenance.gather(model.path, photos, command="mien evaluate")
    facts = ReportFacts.of(said[0].judgement, model.spec, provenance, name="model")
    assert any("--detect-faces cuts each to its face" in line for line in facts.cautions())


def test_load_data_says_how_many_stay_whole(photos, crops):
    with pytest.warns(UserWarning, match="1 of 7 images has no face"):
        loaded = mien.load_data(photos)
    assert loaded.without_face == 1
    assert loaded.x_train.shape == (5, 48, 48, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mien.load_data(crops).without_face is None
        assert mien.load_data(photos, detect_faces=False).without_face is None
    with pytest.warns(UserWarning, match="1 of 8"):
        assert mien.load_data(crops, detect_faces=True).without_face == 1
    with pytest.raises(UsageError, match="detect_faces: must be True, False or 'auto'"):
        mien.load_data(crops, detect_faces="yes")


def test_a_damaged_image_is_named_as_without_detection(photos):
    (photos / "train" / "happy" / "1.png").write_bytes(b"no picture")
    cut, missed = with_faces(open_dataset(photos), True)
    assert missed == 2
    with pytest.raises(mien.DataError, match=r"1\.png"):
        cut.load()
    assert len(cut.load(skip_bad=True)) == 6


def test_arrays_in_a_csv_are_cut_too(crops, tmp_path):
    from mien.datasets import convert

    csv = tmp_path / "fer2013.csv"
    convert(crops, csv)
    cut, missed = with_faces(open_dataset(csv), True)
    assert missed == 1
    assert cut.load().images.shape == (8, 48, 48, 1)
    assert replace(cut).streamable == open_dataset(csv).streamable
