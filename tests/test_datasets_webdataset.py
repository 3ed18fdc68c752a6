"""WebDataset's shards: the class of each picture in a file beside it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mien.datasets import open_dataset
from mien.errors import DataError
from mien.preprocessing import InputSpec
from pictures import write_grey


def shard(root: Path, name: str, texts: dict[str, str], kind: str = "tar") -> Path:
    """An archive of a picture for each text's file, beside it."""
    for file, text in texts.items():
        write_grey((root / file).with_suffix(".png"))
        (root / file).write_text(text)
    return Path(shutil.make_archive(str(root.parent / name), kind, root))


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("ending", ["cls", "json"])
def test_the_class_of_each_picture_beside_it(tmp_path, kind, ending):
    words = {"0001": "Happiness", "0002": "sad"}
    texts = {f"{name}.{ending}": f'{{"label": "{one}"}}' if ending == "json" else one for name, one in words.items()}
    dataset = open_dataset(shard(tmp_path / "x", "val-000", texts, kind))
    assert dataset.format == f"WebDataset in a {kind} archive"
    assert dataset.counts()["val"]["happy"] == dataset.counts()["val"]["sad"] == 1
    assert len(dataset.load()) == 2


def test_numbers_are_never_guessed(tmp_path):
    path = shard(tmp_path / "x", "train-000", {"1.cls": "0", "2.cls": "1"})
    with pytest.raises(DataError, match=r"classes are numbers \(0, 1\), .*: train-000$"):
        open_dataset(path)
    assert open_dataset(path, classes=["awake", "tired"]).classes == ("awake", "tired")
    (tmp_path / "classes.txt").write_text("tired\nawake\n")
    assert open_dataset(path).classes == ("tired", "awake")
    assert open_dataset(
        shard(tmp_path / "y", "b", {"1.json": '{"label": 1.0}', "2.json": '{"label": 0}'})
    ).labels.tolist() == [1, 0]
    (tmp_path / "x" / "classes.txt").write_text("happy\nsad\n")
    assert open_dataset(tmp_path / "x").counts()["train"]["sad"] == 1


def test_names_with_points(tmp_path):
    for picture, facts, word in (("1.face.png", "1.cls", "happy"), ("2.1.png", "2.1.cls", "sad")):
        write_grey(tmp_path / "x" / picture)
        (tmp_path / "x" / facts).write_text(word)
    assert open_dataset(tmp_path / "x").counts()["train"]["sad"] == 1


def test_pictures_without_a_class_are_named(tmp_path):
    texts = {"1.cls": "sad", "2.cls": " ", "3.json": "[1]", "4.json": "{", "5.json": '{"label": null}'}
    dataset = open_dataset(shard(tmp_path / "x", "a", texts))
    assert [problem.partition(" ")[0] for problem in dataset.problems] == ["2.png", "3.png", "4.png", "5.png"]
    assert dataset.problems[0] == "2.png (no class in 2.cls or .json)"


def test_a_picture_of_another_kind_beside_a_face_is_none(tmp_path):
    texts = {"1.json": '{"emotion": "happy"}', "2.json": '{"emotion": "sad"}'}
    for stem in ("1", "2"):
        write_grey(tmp_path / "x" / f"{stem}.seg.png")
    dataset = open_dataset(shard(tmp_path / "x", "train-000", texts))
    assert dataset.names.tolist() == ["1.png", "2.png"]
    assert dataset.format == "WebDataset (2 pictures beside faces passed over) in a tar archive"
    (tmp_path / "x" / "1.seg.cls").write_text("fear")
    assert open_dataset(shard(tmp_path / "x", "train-001", texts)).names.tolist() == ["1.png", "1.seg.png", "2.png"]


@pytest.mark.parametrize("label", ["true", '"face"', "1", "0.5"])
def test_a_label_that_is_no_expression_beside_an_emotion(tmp_path, label):
    words = {"1": "happy", "2": "sad"}
    texts = {f"{stem}.json": f'{{"label": {label}, "Emotion": "{word}"}}' for stem, word in words.items()}
    dataset = open_dataset(shard(tmp_path / "x", "train-000", texts))
    assert [dataset.classes[label] for label in dataset.labels] == ["happy", "sad"]


def test_facts_that_name_a_person(tmp_path):
    texts = {f"{at}.json": f'{{"label": "{("happy", "sad")[at % 2]}", "subject": {at // 2}}}' for at in range(10)}
    dataset = open_dataset(shard(tmp_path / "x", "train-000", texts))
    assert (dataset.origins.kind, dataset.origins.count()) == ("person", 5)


def test_shards_are_listed_and_their_facts_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    for number in range(2):
        texts = {f"{at}.cls": ("happy", "sad")[at % 2] for at in range(30 * number, 30 * number + 30)}
        shard(tmp_path / "x" / str(number), f"train-00{number}", texts)
    for place in (tmp_path / "x").iterdir():
        if place.is_dir():
            shutil.rmtree(place)
    first = open_dataset(tmp_path / "x")
    monkeypatch.setattr("mien.datasets.archives.Tar._read_members", None)
    monkeypatch.setattr("mien.datasets.archives.Tar.blobs", None)
    again = open_dataset(tmp_path / "x")
    assert again.names.tolist() == first.names.tolist()
    assert np.array_equal(again.read(40, InputSpec(16, 1)), np.zeros((16, 16, 1)))
    with pytest.raises(TypeError):
        open_dataset(tmp_path / "x", cache=False)
    monkeypatch.undo()
    shutil.make_archive(str(tmp_path / "x" / "train-001"), "tar", tmp_path / "cache")
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    assert len(open_dataset(tmp_path / "x")) == 30


def test_an_index_in_the_cache_that_is_damaged_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    path = shard(tmp_path / "x", "train-000", {"1.cls": "happy", "2.cls": "sad"})
    names = open_dataset(path).names.tolist()
    for file in (tmp_path / "cache").rglob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert open_dataset(path).names.tolist() == names
