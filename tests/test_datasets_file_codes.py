"""Datasets whose files are called by what they show, and CK+, whose numbers stand in files beside them."""

import shutil
from pathlib import Path

import pytest

from mien.datasets import open_dataset
from mien.errors import DataError
from mien.labels import CKPLUS_NUMBERS, EXPRESSIONS
from pictures import write_grey

CODES = {
    "JAFFE": ("AN", "DI", "FE", "HA", "NE", "SA", "SU"),
    "KDEF": ("AN", "DI", "AF", "HA", "NE", "SA", "SU"),
    "RaFD": ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"),
}
NAMES = {
    "JAFFE": "jaffe/KA.{}1.{number}.tiff",
    "KDEF": "KDEF/AF0{number}/AF0{number}{}HL.JPG",
    "RaFD": "Rafd090_0{number}_Caucasian_female_{}_frontal.jpg",
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", CODES)
def test_the_makers_names(tmp_path, name, packed):
    root = tmp_path / "data"
    for number in (1, 2):
        for code in CODES[name]:
            write_grey(root / NAMES[name].format(code, number=number))
    dataset = open_dataset(shutil.make_archive(str(root), "zip", root) if packed else root)
    assert dataset.format.startswith(name)
    assert dataset.classes == EXPRESSIONS
    assert dataset.counts() == {"train": dict.fromkeys(EXPRESSIONS, 2)}
    for file, label in zip(dataset.names, dataset.labels, strict=True):
        assert CODES[name][label] in file


def test_contempt_of_rafd_and_splits_of_folders(tmp_path):
    for split in ("train", "test"):
        for word in ("contemptuous", "happy"):
            write_grey(tmp_path / split / f"Rafd045_01_Moroccan_male_{word}_left.jpg")
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("contempt", "happy")
    assert sorted(dataset.splits) == ["test", "test", "train", "train"]


def test_a_file_that_is_called_otherwise_is_named(tmp_path):
    for number in range(10, 30):
        write_grey(tmp_path / f"AM{number}ANS.JPG")
    write_grey(tmp_path / "AM31H.JPG")
    assert open_dataset(tmp_path).problems == ("AM31H.JPG (is not called as files of KDEF are)",)


def test_folders_called_like_expressions_come_first(tmp_path):
    write_grey(tmp_path / "happy" / "KA.AN1.39.tiff")
    write_grey(tmp_path / "sad" / "KA.AN2.40.tiff")
    assert open_dataset(tmp_path).counts()["train"]["happy"] == 1


def write_kdef(root: Path, folder: str, codes: tuple[str, ...], start: int = 1) -> None:
    for number in range(start, start + 3):
        for code in codes:
            write_grey(root / folder / f"AF{number:02d}{code}S.JPG")


def test_the_averages_that_come_with_kdef(tmp_path):
    write_kdef(tmp_path / "KDEF", "AF01", CODES["KDEF"])
    write_grey(tmp_path / "AKDEF" / "MAFHR.JPG")
    dataset = open_dataset(tmp_path)
    assert (dataset.format, dataset.counts()["train"]["fear"], dataset.problems) == ("KDEF", 4, ())


@pytest.mark.parametrize("split", ["", "train/"])
def test_a_users_own_classes_come_first(tmp_path, split):
    write_kdef(tmp_path, f"{split}pleasant", ("HA", "SU"))
    write_kdef(tmp_path, f"{split}unpleasant", ("AN", "DI", "AF", "SA"))
    dataset = open_dataset(tmp_path)
    assert dataset.classes == ("pleasant", "unpleasant")
    assert dataset.counts()["train"] == {"pleasant": 6, "unpleasant": 12}


def test_folders_that_hold_all_expressions_say_nothing_unless_they_are_named(tmp_path):
    for start, folder in ((1, "women"), (11, "men")):
        write_kdef(tmp_path, folder, CODES["KDEF"], start)
    assert open_dataset(tmp_path).classes == EXPRESSIONS
    assert open_dataset(tmp_path, classes=EXPRESSIONS).classes == EXPRESSIONS
    assert open_dataset(tmp_path, classes=["men", "women"]).counts()["train"] == {"men": 21, "women": 21}
    (tmp_path / "classes.txt").write_text("women\nmen\n")
    assert open_dataset(tmp_path).classes == ("women", "men")


def write_ckplus(root: Path) -> Path:
    """A sequence of three pictures for each number but 0, whose last one has a label; and one without."""
    for number in range(1, 9):
        for frame in (1, 2, 3):
            write_grey(root / f"cohn-kanade-images/S{number:03d}/001/S{number:03d}_001_{frame:08d}.png")
        if number < 8:
            path = root / f"Emotion/S{number:03d}/001/S{number:03d}_001_00000003_emotion.txt"
            path.parent.mkdir(parents=True)
            path.write_text(f"   {number}.0000000e+00\n")
    return root


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_ckplus_as_its_makers_hand_it_out(tmp_path, kind):
    root = write_ckplus(tmp_path / "data" / "CK+").parent
    dataset = open_dataset(root if kind == "folder" else shutil.make_archive(str(root), kind, root))
    assert dataset.format.startswith("CK+")
    assert dataset.classes == tuple(sorted([*EXPRESSIONS, "contempt"]))
    assert [dataset.classes[label] for label in dataset.labels] == [CKPLUS_NUMBERS[number] for number in range(1, 8)]
    assert all(Path(name).stem.endswith("_00000003") for name in dataset.names)


def test_a_file_without_a_number_is_named_and_a_wrong_number_refused(tmp_path):
    path = write_ckplus(tmp_path) / "Emotion/S002/001/S002_001_00000003_emotion.txt"
    path.write_text("")
    assert open_dataset(tmp_path).problems[0].startswith("Emotion/S002/001/")
    path.write_text("9")
    with pytest.raises(DataError, match=r"by CK\+ they are 0 neutral, 1 angry, 2 contempt"):
        open_dataset(tmp_path)
