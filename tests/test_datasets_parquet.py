"""Parquet files of pictures and classes, as Hugging Face's hub has datasets."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.datasets import open_dataset
from mien.datasets.parquet import Shards
from mien.errors import DataError, MissingExtraError
from mien.labels import EXPRESSIONS, FER2013_INDICES
from mien.preprocessing import InputSpec

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def encoded(value: int) -> bytes:
    return cv2.imencode(".png", np.full((48, 48), value, np.uint8))[1].tobytes()


def write(path: Path, labels: list, *, names: tuple = (), struct: bool = True, group: int = 3, **columns: list) -> Path:
    """Pictures whose pixels are ten times the row's number."""
    pictures = [encoded(10 * row) for row in range(len(labels))]
    cells = [{"bytes": data, "path": f"{row}.png"} for row, data in enumerate(pictures)] if struct else pictures
    table = pa.table({"image": cells, "label": labels, **columns})
    if names:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


def test_a_dataset_of_the_hub(tmp_path):
    names = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
    for split in ("train", "validation", "test"):
        write(tmp_path / "data" / f"{split}-00000-of-00001-1a2b.parquet", list(range(7)), names=names)
    (tmp_path / "README.md").write_text("---\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.format, dataset.classes) == ("Parquet", EXPRESSIONS)
    assert dataset.counts() == {split: dict.fromkeys(EXPRESSIONS, 1) for split in ("train", "val", "test")}
    faces = dataset.load(cache=False).select("val")
    assert faces.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert [faces.classes[label] for label in faces.labels] == list(FER2013_INDICES)
    assert faces.names[1] == "data/validation-00000-of-00001-1a2b.parquet#1"
    assert dataset.read(20, InputSpec(48, 1)).max() == 60


@pytest.mark.parametrize("struct", [True, False])
def test_one_file_with_names_and_a_column_of_splits(tmp_path, struct):
    path = write(tmp_path / "x.parquet", ["Happiness", "sad"], struct=struct, split=["train", "test"])
    dataset = open_dataset(path)
    assert dataset.counts()["train"]["happy"] == dataset.counts()["test"]["sad"] == 1


def test_numbers_are_never_guessed(tmp_path):
    path = write(tmp_path / "x.parquet", [0, 1])
    with pytest.raises(DataError, match=r"classes are numbers \(0, 1\), .*: x\.parquet$"):
        open_dataset(path)
    (tmp_path / "classes.txt").write_text("tired\nawake\n")
    assert open_dataset(path).classes == ("tired", "awake")
    assert open_dataset(path, classes=["sad", "happy"]).counts()["train"]["sad"] == 1


def test_rows_without_a_class_are_passed_over(tmp_path):
    path = write(tmp_path / "test.parquet", [-1, None, 1], names=("happy", "sad"))
    assert open_dataset(path).load(cache=False).images[:, 0, 0, 0].tolist() == [20]
    with pytest.raises(DataError, match="no rows with a class"):
        open_dataset(write(tmp_path / "none.parquet", [-1, -1]))


def test_a_folder_of_a_split_by_itself(tmp_path):
    path = write(tmp_path / "default" / "test" / "0000.parquet", ["happy", "sad"])
    for place in (tmp_path, path.parent, path):
        assert set(open_dataset(place).splits) == {"test"}
    blob = path.rename(tmp_path / "blob")
    path.symlink_to(blob)  # as in the hub's cache
    assert set(open_dataset(path).splits) == {"test"}


def test_numbers_that_pandas_wrote(tmp_path):
    path = write(tmp_path / "x.parquet", [1.0, float("nan"), 0.0, None], names=("happy", "sad"))
    assert open_dataset(path).names.tolist() == ["x.parquet#0", "x.parquet#2"]


def test_numbers_outside_the_names(tmp_path):
    path = write(tmp_path / "x.parquet", [0, 1, -2, 2], names=("happy", "sad"))
    with pytest.raises(DataError, match=r"x\.parquet#2 \(-2\), x\.parquet#3 \(2\)"):
        open_dataset(path)


def test_columns_of_shards_that_became_parquet(tmp_path):
    cells = [encoded(1), encoded(2)]
    pq.write_table(
        pa.table({"jpg": pa.array(cells, pa.large_binary()), "cls": ["happy", "sad"]}), tmp_path / "x.parquet"
    )
    assert open_dataset(tmp_path).counts()["train"]["sad"] == 1
    pq.write_table(pa.table({"image": cells, "label": [["happy"], ["sad"]]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="has no column of classes"):
        open_dataset(tmp_path)


def test_a_row_group_is_never_held_whole(tmp_path):
    noise = np.random.default_rng(0).bytes
    cells = pa.array([noise(2**14) for _ in range(4096)], pa.binary())
    pq.write_table(pa.table({"image": cells, "label": ["happy"] * 4096}), tmp_path / "x.parquet", row_group_size=4096)
    del cells
    shards = Shards(tmp_path, ["x.parquet"])
    before = pa.total_allocated_bytes()
    taken = [pa.total_allocated_bytes() - before for _ in shards.blobs([f"x.parquet#{row}" for row in range(4096)])]
    assert max(taken) < 0.8 * 2**14 * 4096


def test_a_pointer_of_git_lfs(tmp_path):
    (tmp_path / "x.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")
    with pytest.raises(DataError, match="git lfs pull fetches the file itself"):
        open_dataset(tmp_path)


def test_pictures_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "x.parquet"
    cells = [{"bytes": encoded(1), "path": ""}, {"bytes": None, "path": "a.png"}, {"bytes": b"no", "path": ""}]
    pq.write_table(pa.table({"image": cells, "label": ["happy", "sad", "sad"]}), path)
    with pytest.raises(DataError, match="2 of 3 faces cannot be used") as caught:
        open_dataset(path).load(cache=False)
    assert caught.value.items == (
        "x.parquet#1 (holds no picture's bytes)",
        "x.parquet#2 (cannot be decoded as an image)",
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b"x"], "text": ["a"]}, "has no column of classes, such as label, emotion, expression; it has"),
        ({"image": [[1, 2]], "label": ["a"]}, "has no column of pictures' bytes; it has image, label"),
    ],
)
def test_columns_that_are_not_there(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path)


def test_a_damaged_file(tmp_path):
    path = write(tmp_path / "x.parquet", ["happy"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"is no Parquet file that can be read .*: x\.parquet"):
        open_dataset(path)


def test_without_pyarrow(tmp_path, monkeypatch):
    path = write(tmp_path / "x.parquet", ["happy"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"reading \.parquet needs .* pip install 'mien\[parquet\]'"):
        open_dataset(path)


def write_arrow(path: Path, labels: list, *, names: tuple = (), stream: bool = True) -> Path:
    """Pictures whose pixels are ten times the row's number, as ``datasets`` saves them."""
    source = pq.read_table(write(path.parent / "x.parquet", labels, names=names))
    (path.parent / "x.parquet").unlink()
    with pa.OSFile(str(path), "wb") as file:
        opened = (pa.ipc.new_stream if stream else pa.ipc.new_file)(file, source.schema)
        with opened as writer:
            writer.write_table(source, max_chunksize=3)
    return path


@pytest.mark.parametrize("stream", [True, False])
def test_a_dataset_that_was_saved_to_disk(tmp_path, stream):
    names = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
    for split in ("train", "test"):
        folder = tmp_path / "faces" / split
        write_arrow(folder / "data-00000-of-00001.arrow", list(range(7)), names=names, stream=stream)
        (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
        write_arrow(folder / "cache-0a1b.arrow", [0, 1])
    dataset = open_dataset(tmp_path / "faces")
    assert (dataset.format, dataset.classes) == ("Arrow", EXPRESSIONS)
    assert dataset.counts() == {split: dict.fromkeys(EXPRESSIONS, 1) for split in ("train", "test")}
    faces = dataset.load(cache=False).select("test")
    assert faces.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert [faces.classes[label] for label in faces.labels] == list(FER2013_INDICES)
    assert dataset.read(5, InputSpec(48, 1)).max() == 50


def test_names_of_arrow_files_beside_them(tmp_path):
    path = write_arrow(tmp_path / "fer-train-00000-of-00002.arrow", [1, 0])
    with pytest.raises(DataError, match="classes are numbers"):
        open_dataset(path)
    features = {"label": {"names": ["sad", "happy"], "_type": "ClassLabel"}}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"features": features}))
    assert open_dataset(path).counts()["train"]["sad"] == 1
    assert open_dataset(tmp_path).labels.tolist() == open_dataset(path).labels.tolist()


def test_an_arrow_file_that_is_none(tmp_path):
    (tmp_path / "x.arrow").write_bytes(b"no")
    with pytest.raises(DataError, match=r"is no Arrow file that can be read \(.*\): x\.arrow"):
        open_dataset(tmp_path / "x.arrow")


@pytest.mark.parametrize("labels", [[3, 4], [True, True]])
def test_a_column_of_names_comes_before_bare_numbers(tmp_path, labels):
    path = write(tmp_path / "x.parquet", labels, emotion=["sad", "happy"])
    dataset = open_dataset(path)
    assert [dataset.classes[label] for label in dataset.labels] == ["sad", "happy"]
    named = write(tmp_path / "y.parquet", [1, 0], names=("Happy", "Sad"), emotion=["fear", "fear"])
    assert open_dataset(named).counts()["train"]["sad"] == 1


def test_a_column_of_persons(tmp_path):
    path = write(tmp_path / "x.parquet", ["sad", "happy"] * 5, subject_id=[at // 2 for at in range(10)])
    assert open_dataset(path).origins.numbers.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
