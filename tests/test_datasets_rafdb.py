"""RAF-DB: the list and pictures of its makers, and Kaggle's edition with tables."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets import open_dataset
from mien.datasets.rafdb import LIST_FILES, read_list
from mien.errors import DataError
from mien.labels import EXPRESSIONS, RAFDB_NUMBERS
from pictures import write_grey

KINDS = ["folder", "zip", "gztar"]


def faces() -> list[tuple[str, int]]:
    """Name and number of two training faces and a test face of each expression."""
    train = [(f"train_{place:05}", place % 7 + 1) for place in range(14)]
    return train + [(f"test_{place:05}", place % 7 + 1) for place in range(7)]


def makers(root: Path, listed: str = LIST_FILES[0], folders: tuple[str, ...] = ("aligned", "original")) -> Path:
    """The layout as it is handed out."""
    for name, number in faces():
        for folder in folders:
            suffix = "_aligned" if folder == "aligned" else ""
            write_grey(root / "Image" / folder / f"{name}{suffix}.jpg", 10 * number + (folder == "original"))
    (root / "EmoLabel").mkdir()
    lines = [f"{name}.jpg {number}" for name, number in faces()]
    (root / "EmoLabel" / listed).write_text("\r\n".join([*lines, ""]), encoding="utf-8")
    return root


def kaggle(root: Path) -> Path:
    for split in ("train", "test"):
        rows = [(f"{name}_aligned.jpg", number) for name, number in faces() if name.startswith(split)]
        for name, number in rows:
            write_grey(root / "DATASET" / split / str(number) / name, number)
        text = "\n".join(["image,label", *(f"{name},{number}" for name, number in rows), ""])
        (root / f"{split}_labels.csv").write_text(text, encoding="utf-8")
    return root


def check(dataset) -> None:
    assert dataset.format.startswith("RAF-DB")
    assert (dataset.classes, dataset.problems) == (EXPRESSIONS, ())
    assert dataset.counts() == {"train": dict.fromkeys(EXPRESSIONS, 2), "test": dict.fromkeys(EXPRESSIONS, 1)}
    numbers = dict(faces())
    for name, label in zip(dataset.names, dataset.labels, strict=True):
        assert dataset.classes[label] == RAFDB_NUMBERS[numbers[Path(name).stem.removesuffix("_aligned")]]


@pytest.mark.parametrize("folder", [".", "labels", "RAF/basic"])
def test_the_list_and_the_pictures_in_other_folders(tmp_path, folder):
    root = makers(tmp_path / "made", folders=("aligned",))
    (tmp_path / "data" / folder).mkdir(parents=True)
    shutil.move(root / "EmoLabel" / LIST_FILES[0], tmp_path / "data" / folder)
    shutil.move(root / "Image" / "aligned", tmp_path / "data" / "aligned")
    check(open_dataset(tmp_path / "data"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("listed", LIST_FILES)
def test_the_makers_layout(tmp_path, kind, listed):
    root = makers(tmp_path / "RAF" / "basic", listed).parent
    path = root if kind == "folder" else shutil.make_archive(str(tmp_path / "packed"), kind, root)
    dataset = open_dataset(path)
    check(dataset)
    assert all("/aligned/" in name for name in dataset.names)
    assert dataset.load().images.shape == (21, 48, 48, 1)


def test_the_original_pictures_where_there_are_no_aligned_ones(tmp_path):
    dataset = open_dataset(makers(tmp_path, folders=("original",)))
    check(dataset)
    assert all("/original/" in name for name in dataset.names)


@pytest.mark.parametrize("kind", KINDS)
def test_kaggles_edition(tmp_path, kind):
    root = kaggle(tmp_path / "raf")
    check(open_dataset(root if kind == "folder" else shutil.make_archive(str(tmp_path / "packed"), kind, root)))


def test_kaggles_folders_without_the_tables_are_not_guessed_at(tmp_path):
    dataset = open_dataset(kaggle(tmp_path) / "DATASET")
    assert dataset.classes == tuple("1234567")


def test_missing_pictures_and_bad_lines_are_named(tmp_path):
    root = makers(tmp_path)
    (root / "Image" / "aligned" / "train_00003_aligned.jpg").unlink()
    with (root / "EmoLabel" / LIST_FILES[0]).open("a") as file:
        file.write("train_00001 four\n")
    with pytest.raises(DataError, match="2 of 22 faces cannot be used") as caught:
        open_dataset(root).load()
    assert caught.value.items == (
        "list_patition_label.txt:22 (is no line such as train_00001.jpg 5)",
        "list_patition_label.txt:4 (train_00003_aligned.jpg is not there)",
    )
    assert len(open_dataset(root).load(skip_bad=True)) == 20


def test_a_list_without_its_pictures(tmp_path):
    root = makers(tmp_path)
    shutil.rmtree(root / "Image")
    with pytest.raises(DataError, match=r"none of the pictures that EmoLabel/list_patition_label\.txt names is there"):
        open_dataset(root)


def test_the_compound_expressions_have_other_numbers(tmp_path):
    root = makers(tmp_path)
    path = root / "EmoLabel" / LIST_FILES[0]
    path.write_text(path.read_text().replace("train_00002.jpg 3", "train_00002.jpg 11"))
    with pytest.raises(DataError, match=r"by RAF-DB they are 1 surprise, .*: list_patition_label\.txt:3 \(11\)"):
        open_dataset(root)


def test_two_lists_side_by_side(tmp_path):
    makers(tmp_path / "basic")
    makers(tmp_path / "compound")
    with pytest.raises(DataError, match="several lists of RAF-DB"):
        open_dataset(tmp_path)


@given(st.lists(st.tuples(st.sampled_from(["train", "test"]), st.integers(0, 99999), st.integers(0, 12)), max_size=9))
def test_lines_come_back_as_they_were_written(lines):
    data = "".join(f"{split}_{number:05}.jpg {word}\n" for split, number, word in lines).encode()
    table = read_list(data, "EmoLabel/x.txt", aligned=True)
    assert table.problems == []
    assert [(row.file, row.word, row.split) for row in table.rows] == [
        (f"{split}_{number:05}_aligned.jpg", str(word), split) for split, number, word in lines
    ]


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_named_problems(data):
    table = read_list(data, "x.txt", aligned=False)
    assert all(row.split in ("train", "test") for row in table.rows)
    assert all(problem.startswith("x.txt:") for problem in table.problems)
