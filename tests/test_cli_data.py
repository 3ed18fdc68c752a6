"""``mien data``: what it prints, writes and returns."""

import json
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from mien.cli.data import data_app
from mien.datasets import open_dataset
from mien.errors import DataError, MissingExtraError, UsageError
from mien.labels import EXPRESSIONS


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path):
    """Three training faces and one public of each expression; the public ones of happy and sad are known."""
    for label, name in enumerate(EXPRESSIONS):
        for number in range(3):
            draw(tmp_path / "data" / "train" / name / f"Training_{number}.png", 10 * label + number)
        draw(tmp_path / "data" / "test" / name / "PublicTest_0.png", 30 if name in ("happy", "sad") else 100 + label)
    return tmp_path / "data"


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8))


def invoke(*arguments: object, code: int = 0):
    result = CliRunner().invoke(data_app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_check_as_json_is_one_document(root):
    result = invoke("check", root, "--json")
    report = json.loads(result.stdout)
    assert report["format"] == "FER2013 folder"
    assert report["n"] == 28
    assert report["counts"]["train"] == dict.fromkeys(EXPRESSIONS, 3)
    assert report["sizes"] == {"48x48 grey": 28}
    assert report["bad"] == 0
    assert report["duplicates"] == {
        "groups": 1,
        "surplus": 2,
        "across_splits": {"public in train": 2},
        "conflicting_labels": 1,
    }


def test_check_prints_a_table(root):
    output = invoke("check", root).stdout
    assert "FER2013 folder, 28 faces" in output
    rows = {line.split("│")[1].strip(): line for line in output.splitlines() if line.startswith("│")}
    assert [cell.strip() for cell in rows["happy"].split("│")[1:-1]] == ["happy", "3", "1", "4"]
    assert [cell.strip() for cell in rows["all"].split("│")[1:-1]] == ["all", "21", "7", "28"]
    assert "2 surplus copies in 1 group, 2 of public also in train; 1 group with conflicting labels" in output
    assert "cannot be used: none" in output


def test_check_ends_with_1_where_files_are_bad(root):
    (root / "train" / "sad" / "Training_0.png").write_bytes(b"rubbish")
    assert "cannot be used: 1: train/sad/Training_0.png (cannot be decoded" in invoke("check", root, code=1).stdout
    report = json.loads(invoke("check", root, "--json", code=1).stdout)
    assert report["bad_files"] == ["train/sad/Training_0.png (cannot be decoded as an image)"]


def test_check_of_a_path_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        invoke("check", tmp_path / "nowhere")


def test_convert(root, tmp_path):
    result = invoke("convert", root, tmp_path / "faces.csv")
    assert "28 faces written to" in result.stdout
    assert "every pixel as mien reads it" in result.stdout
    assert len(open_dataset(tmp_path / "faces.csv")) == 28
    result = invoke("convert", tmp_path / "faces.csv", tmp_path / "small.npz", "--size", 24)
    assert "resized or made grey as asked" in result.stdout


def test_convert_says_how_many_it_left_out(root, tmp_path):
    (root / "train" / "sad" / "Training_0.png").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="--skip-bad goes on without them"):
        invoke("convert", root, tmp_path / "faces.npz")
    result = invoke("convert", root, tmp_path / "faces.npz", "--skip-bad")
    assert "1 bad file or row left out" in result.stderr
    assert "27 faces" in result.stdout


def test_show_writes_a_sheet(root, tmp_path):
    invoke("show", root, "--out", tmp_path / "sheet.png")
    everything = cv2.imread(str(tmp_path / "sheet.png"))
    invoke("show", root, "--out", tmp_path / "sheet.png", "--split", "public")
    public = cv2.imread(str(tmp_path / "sheet.png"))
    assert everything.shape == public.shape
    assert (everything != public).any()


def test_show_with_augmentation(root, tmp_path, monkeypatch):
    seen = []

    def preview(images: np.ndarray, seed: int, policy: object) -> np.ndarray:
        seen.append((images.shape, images.dtype, seed))
        return 255 - images

    monkeypatch.setitem(sys.modules, "mien.augmentation", types.SimpleNamespace(preview=preview))
    invoke("show", root, "--augmented", "--split", "train", "--out", tmp_path / "sheet.png")
    assert seen == [((3, 48, 48, 1), np.uint8, seed) for _ in EXPRESSIONS for seed in (0, 1)]


def test_show_with_augmentation_names_the_extra(root, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingExtraError, match=r"--augmented .*mien\[train\]"):
        invoke("show", root, "--augmented", "--out", tmp_path / "sheet.png")


def test_show_refuses_an_augmentation_that_it_would_not_show(root, tmp_path):
    with pytest.raises(UsageError, match="--augmentation: is for --augmented"):
        invoke("show", root, "--augmentation", "robust", "--out", tmp_path / "sheet.png")


def test_show_refuses_other_kinds_of_pictures(root, tmp_path):
    with pytest.raises(UsageError, match=r"contact sheets are \.png files"):
        invoke("show", root, "--out", tmp_path / "sheet.jpg")


def test_show_finds_out_what_it_cannot_do_before_it_reads_or_loads_keras(root, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(UsageError, match=r"contact sheets are \.png files"):
        invoke("show", tmp_path / "gone", "--augmented", "--out", tmp_path / "sheet.jpg")
    with pytest.raises(UsageError, match="has no 'private'"):
        invoke("show", root, "--augmented", "--split", "private", "--out", tmp_path / "sheet.png")


def test_folders_without_a_split_are_said_to_count_as_training(root):
    with pytest.raises(UsageError, match=r"no 'test' .all of it counts as 'train'.*; choose from train, all"):
        invoke("show", root / "train", "--split", "test")


def test_show_refuses_a_split_that_is_not_there(root):
    with pytest.raises(UsageError, match="choose from train, public, test, all"):
        invoke("show", root, "--split", "private")


def test_sample_hands_on_its_options(tmp_path, monkeypatch):
    calls = []

    def write_samples(folder, *, count, seed, size, channels, progress):
        progress(count, count)
        calls.append((folder, count, seed, size, channels))

    monkeypatch.setitem(sys.modules, "mien.datasets.samples", types.SimpleNamespace(write_samples=write_samples))
    options = ("--count", 9, "--seed", 4, "--size", 64, "--channels", 3)
    assert "9 faces drawn in" in invoke("sample", tmp_path / "new", *options).stdout
    assert calls == [(tmp_path / "new", 9, 4, 64, 3)]


@pytest.mark.parametrize("command", ["check", "convert", "show", "sample"])
def test_help(command):
    assert "Usage" in invoke(command, "--help").stdout
