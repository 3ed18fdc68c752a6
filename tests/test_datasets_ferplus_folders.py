"""FER+'s folders of pictures, each with a file of votes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mien.datasets import open_dataset
from mien.datasets.ferplus import FERPLUS_CLASSES
from mien.errors import DataError
from mien.labels import FERPLUS_COLUMNS, canonical
from pictures import write_grey

FOLDERS = {"FER2013Train": "train", "FER2013Valid": "public", "FER2013Test": "private"}


def write_folders(root: Path) -> Path:
    """A face of each of the ten columns in each folder, eight votes for it and two for neutral."""
    number = 0
    for folder in FOLDERS:
        lines = []
        for column in range(10):
            votes = [0] * 10
            votes[column] += 8
            votes[0] += 2
            name = f"fer{number:07d}.png"
            write_grey(root / folder / name, 20 * column)
            lines.append(f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}')
            number += 1
        (root / folder / "label.csv").write_text("\n".join(lines) + "\n")
    return root


def shown(dataset) -> list[str | None]:
    return [None if label < 0 else dataset.classes[label] for label in dataset.labels]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
@pytest.mark.parametrize("mode", ["none", "majority"])
def test_the_authors_layout(tmp_path, kind, mode):
    root = write_folders(tmp_path / "FERPlus" / "data").parent
    dataset = open_dataset(root if kind == "folder" else shutil.make_archive(str(root), kind, root), ferplus=mode)
    assert dataset.format.startswith("FER+ folders (majority)")
    assert dataset.classes == FERPLUS_CLASSES
    expected = [None if name in ("unknown", "NF") else canonical(name) for name in FERPLUS_COLUMNS]
    order = np.argsort([int(Path(name).stem[3:]) for name in dataset.names])
    assert [shown(dataset)[place] for place in order] == 3 * expected
    assert {Path(name).parent.name: split for name, split in zip(dataset.names, dataset.splits, strict=True)} == FOLDERS
    assert len(dataset.load().labelled()) == 24


def test_the_distribution_is_learned_and_the_majority_judged_by(tmp_path):
    dataset = open_dataset(write_folders(tmp_path), ferplus="distribution")
    neutral, happy = FERPLUS_CLASSES.index("neutral"), FERPLUS_CLASSES.index("happy")
    targets = dataset.select("train").targets
    assert targets[1, [happy, neutral]] == pytest.approx([1, 0])  # eight of ten votes are enough
    assert dataset.select("public").targets[1, happy] == 1
    line = (tmp_path / "FER2013Train" / "label.csv").read_text().splitlines()[1].replace("2,8,", "4,6,")
    (tmp_path / "FER2013Train" / "label.csv").write_text(line)
    dataset = open_dataset(tmp_path, ferplus="distribution")
    assert dataset.select("train").targets[0, [happy, neutral]] == pytest.approx([0.6, 0.4])


def test_one_of_the_folders_by_itself(tmp_path):
    assert set(open_dataset(write_folders(tmp_path) / "FER2013Valid").splits) == {"public"}


def test_rows_that_cannot_be_used_are_named(tmp_path):
    path = write_folders(tmp_path) / "FER2013Train" / "label.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["gone.png,box,1,2", lines[1][:-2], lines[2], lines[2], *lines[3:]]))
    dataset = open_dataset(tmp_path)
    assert [problem.partition(" (")[0] for problem in dataset.problems] == [
        f"FER2013Train/label.csv:{line}" for line in (1, 2, 4)
    ]
    assert "gone.png is not there" in dataset.problems[0]
    assert "are not ten whole numbers" in dataset.problems[1]


def test_votes_without_their_pictures_are_none(tmp_path):
    for path in write_folders(tmp_path).rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"votes, but none of the pictures; its generate_training_data\.py makes them"):
        open_dataset(tmp_path)
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels\n3,{' '.join(['1'] * 64)}\n")
    assert open_dataset(tmp_path).format == "FER2013 CSV"


def test_votes_without_their_pictures_do_not_hide_class_folders(tmp_path):
    for path in write_folders(tmp_path / "FERPlus" / "data").rglob("*.png"):
        path.unlink()
    for name in ("train/happy", "train/sad"):
        write_grey(tmp_path / "FER2013" / name / "1.png")
    assert len(open_dataset(tmp_path)) == 2


def test_votes_that_are_no_csv(tmp_path):
    path = write_folders(tmp_path) / "FER2013Test" / "label.csv"
    path.write_bytes(b'fer0000020.png,"(0')
    with pytest.raises(DataError, match="cannot be read as CSV"):
        open_dataset(tmp_path)
