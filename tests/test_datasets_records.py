"""JSON Lines and metadata.parquet that name pictures and what they show, as Hugging Face's image folders have them."""

import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets import open_dataset
from mien.datasets.file_rows import read_table
from mien.datasets.record_rows import LOOKED_AT
from mien.datasets.tables import whole_number
from mien.errors import DataError
from mien.labels import EXPRESSIONS
from pictures import write_grey


def lines(path: Path, *rows: dict | str) -> Path:
    """JSON Lines, and a picture for each row that names one by its plain name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def named(dataset) -> dict[str, tuple[str, str]]:
    """Split and class of each file."""
    rows = zip(dataset.names.tolist(), dataset.splits.tolist(), dataset.labels, strict=True)
    return {name: (split, dataset.classes[label]) for name, split, label in rows}


def image_folder(root: Path) -> Path:
    """Hugging Face's layout: the pictures of each split in its folder."""
    for split, word in (("train", "Happiness"), ("validation", "sad"), ("test", "fear")):
        write_grey(root / split / "1.png")
        lines(root / split / "metadata.jsonl", {"file_name": "1.png", "label": word, "age": 30})
    return root


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "split zips"])
def test_metadata_in_the_folder_of_each_split(tmp_path, kind):
    root = image_folder(tmp_path / "faces")
    if kind == "split zips":
        for split in ("train", "validation", "test"):
            shutil.make_archive(str(root / split), "zip", root / split)
            shutil.rmtree(root / split)
    path = root if kind in ("folder", "split zips") else shutil.make_archive(str(tmp_path / "x"), kind, root)
    dataset = open_dataset(path)
    assert dataset.format.startswith("table of files")
    assert named(dataset) == {
        "test/1.png": ("test", "fear"),
        "train/1.png": ("train", "happy"),
        "validation/1.png": ("val", "sad"),
    }
    assert len(dataset.load()) == 3


def metadata(root: Path, kind: str, rows: list[dict]) -> Path:
    if kind == "jsonl":
        return lines(root / "metadata.jsonl", *rows)
    if kind == "csv":
        texts = [",".join(map(str, row.values())) for row in rows]
        return lines(root / "metadata.csv", ",".join(rows[0]), *texts)
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(rows), root / "metadata.parquet")
    return root / "metadata.parquet"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("named_itself", [False, True])
@pytest.mark.parametrize("numbers", [False, True])
def test_one_table_at_the_top_with_the_folders_in_it(tmp_path, kind, named_itself, numbers):
    words = {"train/anna/1.png": "happy", "train/ben/1.png": "sad", "test/ben/1.png": "happy"}
    for file in words:
        write_grey(tmp_path / file)
    if numbers:
        (tmp_path / "classes.txt").write_text("sad\nhappy\n")
    rows = [
        {"file_name": file, "label": ("sad", "happy").index(word) if numbers else word} for file, word in words.items()
    ]
    path = metadata(tmp_path, kind, rows)
    found = named(open_dataset(path if named_itself else tmp_path))
    assert found == {file: (file.partition("/")[0], word) for file, word in words.items()}


def test_class_folders_come_before_metadata(tmp_path):
    for word in EXPRESSIONS:
        write_grey(tmp_path / "train" / word / "1.png")
    lines(tmp_path / "train" / "metadata.jsonl", {"file_name": "happy/1.png", "label": "sad"})
    dataset = open_dataset(tmp_path)
    assert (dataset.format, len(dataset)) == ("class folders", 7)


@pytest.mark.parametrize("row", [{"epoch": 1, "loss": 0.5}, {"file_name": "calm/1.png", "text": "a face"}, "rubbish"])
def test_lines_of_something_else_are_passed_over(tmp_path, row):
    for word in ("calm", "upset"):
        write_grey(tmp_path / word / "1.png")
    path = lines(tmp_path / "log.jsonl", *[row] * 3)
    assert open_dataset(tmp_path).classes == ("calm", "upset")
    with pytest.raises(DataError, match=r"no columns of files and of what they show, .*log\.jsonl"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("name", "words", "folders_win"),
    [
        ("list.jsonl", ("female", "male"), True),
        ("list.jsonl", (0, 1), True),
        ("list.jsonl", ("sad", "happy"), False),
        ("metadata.jsonl", ("female", "male"), False),
    ],
)
def test_class_folders_of_other_names_and_lines_that_name_their_pictures(tmp_path, name, words, folders_win):
    rows = []
    for word, folder in zip(words, ("calm", "upset"), strict=True):
        write_grey(tmp_path / folder / "1.png")
        rows.append({"file_name": f"{folder}/1.png", "category": word})
    path = lines(tmp_path / name, *rows)
    found = {word for _, word in named(open_dataset(tmp_path)).values()}
    assert found == ({"calm", "upset"} if folders_win else set(words))
    if words != (0, 1):
        assert {word for _, word in named(open_dataset(path)).values()} == set(words)


def test_lines_of_other_classes_where_no_folder_is_a_class(tmp_path):
    for name in "ab":
        write_grey(tmp_path / "pictures" / f"{name}.png")
    lines(tmp_path / "list.jsonl", {"path": "a.png", "label": "calm"}, {"path": "b.png", "label": "upset"})
    assert open_dataset(tmp_path).classes == ("calm", "upset")
    lines(tmp_path / "list.jsonl", {"path": "c.png", "label": "calm"})
    with pytest.raises(DataError, match=r"no file that list\.jsonl names can be found"):
        open_dataset(tmp_path)


def test_many_lines_of_something_else_are_not_read_to_their_end():
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            line = b'{"text": "a face"}\n'
            buffer[:] = (line * (len(buffer) // len(line) + 1))[: len(buffer)]
            return len(buffer)

    assert read_table("x.jsonl", lambda _: io.BufferedReader(Endless(), 19 * LOOKED_AT)) is None


def test_a_folder_of_pixels_with_lines_beside_it(tmp_path):
    lines(tmp_path / "log.jsonl", {"file_name": "1.png", "label": "happy"})
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n3,{' '.join(['7'] * 2304)},Training\n")
    assert open_dataset(tmp_path).format == "FER2013 CSV"


def test_lines_that_cannot_be_used_are_named_with_their_file(tmp_path):
    write_grey(tmp_path / "train" / "1.png")
    rows = [
        {"file_name": "1.png", "label": "happy"},
        "",
        "[1, 2]",
        '{"file_name": "2.png", "label"',
        "[" * 100_000,
        {"file_name": "2.png", "label": None},
        {"label": "sad"},
        {"file_name": "2.png", "label": ["sad"]},
        {"file_name": "3.png", "label": "sad"},
    ]
    lines(tmp_path / "train" / "metadata.jsonl", *rows)
    assert open_dataset(tmp_path).problems == (
        "train/metadata.jsonl:3 (is no JSON object)",
        "train/metadata.jsonl:4 (is no JSON object)",
        "train/metadata.jsonl:5 (is no JSON object)",
        "train/metadata.jsonl:6 (no class)",
        "train/metadata.jsonl:7 (no file)",
        "train/metadata.jsonl:8 (no class)",
        "train/metadata.jsonl:9 (3.png is not there)",
    )


def test_a_parquet_file_of_pictures_is_no_table_of_files(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    data = write_grey(tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").unlink()
    rows = [{"id": "1", "image": {"bytes": data, "path": "1.png"}, "label": "happy"}]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    for path in (tmp_path, tmp_path / "metadata.parquet"):
        assert open_dataset(path).format == "Parquet"


def test_a_parquet_file_that_is_none(tmp_path):
    pytest.importorskip("pyarrow")
    write_grey(tmp_path / "x.png")
    (tmp_path / "metadata.parquet").write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"is no Parquet file that can be read .*metadata\.parquet"):
        open_dataset(tmp_path)


TEXTS = st.text(min_size=1, max_size=12).map(lambda text: text.encode("utf-8", "replace").decode().strip()).filter(bool)


@given(st.lists(st.tuples(TEXTS, TEXTS | st.integers() | st.booleans(), TEXTS | st.none()), min_size=1, max_size=6))
def test_rows_come_back_as_they_were_written(rows):
    written = [json.dumps({"Label": word, "file-name": file, "split": split}) for file, word, split in rows]
    data = "\n".join(written).encode()
    found = read_table("t.jsonl", lambda _: io.BytesIO(data))
    assert found is not None
    assert not found.problems
    expected = [(file, whole_number(str(word)), split or "") for file, word, split in rows]
    assert [(row.file, row.word, row.split) for row in found.rows] == expected
    assert [row.where for row in found.rows] == [f"t.jsonl:{line}" for line in range(1, len(rows) + 1)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "label", "x"]), inner),
    max_leaves=6,
).map(lambda value: json.dumps(value).encode())


@given(st.lists(JSON | st.binary(max_size=30), max_size=6), st.booleans())
def test_any_lines_are_rows_or_a_named_problem(noise, table):
    first = [b'{"path": "a.png", "label": "sad"}'] if table else []
    found = read_table("t.jsonl", lambda _: io.BytesIO(b"\n".join([*first, *noise])))
    assert found is not None or not table
    assert found is None or all(row.file and row.word for row in found.rows)
    assert found is None or all(problem.startswith("t.jsonl:") for problem in found.problems)
