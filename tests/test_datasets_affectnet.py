"""AffectNet's folders of pictures and annotations."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mien.datasets import open_dataset
from mien.datasets.affectnet import read_number
from mien.errors import DataError
from mien.labels import AFFECTNET_NUMBERS, EXPRESSIONS
from pictures import write_grey


def makers(root: Path, numbers: range = range(8)) -> Path:
    """Two training faces and one to validate by of each number, and the other annotations that there are."""
    for folder, places in (("train_set", range(2 * len(numbers))), ("val_set", range(len(numbers)))):
        (root / folder / "annotations").mkdir(parents=True)
        for place in places:
            number = numbers[place % len(numbers)]
            write_grey(root / folder / "images" / f"{place}.jpg", 10 * number)
            for kind, value in (("exp", number), ("val", -0.5), ("aro", 0.25)):
                np.save(root / folder / "annotations" / f"{place}_{kind}.npy", np.array(str(value)))
    return root


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_the_makers_layout(tmp_path, kind):
    root = makers(tmp_path / "data" / "AffectNet").parent
    dataset = open_dataset(root if kind == "folder" else shutil.make_archive(str(root), kind, root))
    assert dataset.format.startswith("AffectNet")
    assert dataset.classes == tuple(sorted([*EXPRESSIONS, "contempt"]))
    assert dataset.counts() == {"train": dict.fromkeys(dataset.classes, 2), "val": dict.fromkeys(dataset.classes, 1)}
    for name, label in zip(dataset.names, dataset.labels, strict=True):
        assert dataset.classes[label] == AFFECTNET_NUMBERS[int(Path(name).stem) % 8]


def test_seven_classes_where_contempt_is_left_out_and_rows_without_an_expression_passed_over(tmp_path):
    root = makers(tmp_path, range(7))
    np.save(root / "val_set" / "annotations" / "0_exp.npy", np.array(10))
    dataset = open_dataset(root)
    assert dataset.classes == EXPRESSIONS
    assert dataset.format == "AffectNet (1 row without an expression passed over)"


def test_pictures_without_an_annotation_are_named(tmp_path):
    (makers(tmp_path) / "train_set" / "annotations" / "3_exp.npy").unlink()
    with pytest.raises(DataError, match="1 of 24 faces cannot be used") as caught:
        open_dataset(tmp_path).load()
    assert caught.value.items[0].startswith("train_set/images/3.jpg (train_set/annotations/3_exp.npy is not there")


def test_a_number_that_affectnet_has_not(tmp_path):
    root = makers(tmp_path)
    np.save(root / "train_set" / "annotations" / "5_exp.npy", np.array("12"))
    with pytest.raises(DataError, match="numbers without a name; by AffectNet they are 0 neutral"):
        open_dataset(root)


def test_other_folders_of_annotations_say_nothing(tmp_path):
    for name in ("happy", "sad"):
        write_grey(tmp_path / "images" / name / "a.png")
    (tmp_path / "annotations").mkdir()
    assert len(open_dataset(tmp_path)) == 2


@pytest.mark.parametrize("value", [3, "3", 3.0, np.array(["3"])])
def test_numbers_of_any_form(tmp_path, value):
    np.save(tmp_path / "x.npy", np.asarray(value))
    assert read_number((tmp_path / "x.npy").read_bytes()) == "3"


@pytest.mark.parametrize("data", [None, b"", b"rubbish", b"\x93NUMPY", b"PK\x03\x04rubbish"])
def test_what_is_no_number(data):
    assert read_number(data) == ""


@pytest.mark.parametrize("value", ["happy", 1j, [1, 2], np.datetime64("NaT", "s")])
def test_values_that_are_no_number(tmp_path, value):
    np.save(tmp_path / "x.npy", np.asarray(value))
    assert read_number((tmp_path / "x.npy").read_bytes()) == ""


def test_an_archive_of_arrays_is_no_number(tmp_path):
    np.savez(tmp_path / "x.npz", np.array(3))
    assert read_number((tmp_path / "x.npz").read_bytes()) == ""
