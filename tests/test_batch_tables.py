"""Tables of faces: whole or not at all, with what a plain table of `mien predict` holds."""

import os
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest

from batches import FullDisk, write
from mien.analysis import Analysis
from mien.batch import tables
from mien.batch.stores import Store
from mien.batch.tables import (
    FACES,
    FAILURES,
    WORK,
    Counts,
    PartTables,
    done_parts,
    part_file,
    read_counts,
    read_failures,
)
from mien.errors import DataError, UsageError
from mien.results import Box, Face, Prediction
from mien.rowfiles import open_rows

FACE = Face(Box(1, 2, 30, 40), 0.9, Prediction({"happy": 0.75, "sad": 0.25}), {}, 3)
IMAGE = np.zeros((50, 50, 3), np.uint8)
CLASSES = ("happy", "sad")


def analysis(*faces: Face, source: str | None = "a.png", frame: int = 0, time: float | None = None) -> Analysis:
    return Analysis(faces, IMAGE, source, frame, time)


@pytest.fixture
def folder(tmp_path):
    """The folder of a run."""
    return Store.open(str(tmp_path / "run"))


def fill(folder: Store, number: int, *analyses: Analysis, failures: int = 0, keep_empty: bool = False) -> Counts:
    with PartTables(folder, number, CLASSES, keep_empty=keep_empty) as written:
        for one in analyses:
            written.add(one, moving=one.time is not None)
        for one in range(failures):
            written.fail(f"{number}-{one}", f"reason {one}")
    return written.counts


def rows(folder: Store, number: int = 0) -> list[dict]:
    return part_file(folder, FACES, number).read_table().to_pylist()


def test_rows_are_those_of_a_table_of_faces(tmp_path, folder):
    seen = [
        analysis(FACE, FACE),
        analysis(),
        analysis(FACE, source="v.mp4", frame=4, time=0.25),
        analysis(FACE, source=None),
    ]
    fill(folder, 0, *seen)
    with open_rows(tmp_path / "t.parquet", CLASSES) as plain:
        for one in seen:
            plain.write(one)
    expected = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    found = part_file(folder, FACES, 0).read_table()
    assert found.to_pylist() == expected.to_pylist()
    assert found.schema.remove_metadata() == expected.schema.remove_metadata()


def test_counts_go_with_the_table(folder):
    counts = fill(folder, 7, analysis(FACE, FACE), analysis(), analysis(FACE, time=0.5), analysis(time=1.0), failures=3)
    assert counts == Counts(pictures=2, frames=2, faces=3, empty=2, failed=3)
    assert read_counts(folder, 7) == counts
    both = Counts()
    for _ in range(2):
        both.add(counts)
    assert both == Counts(4, 4, 6, 4, 6)


def test_pictures_without_a_face_get_a_row_where_that_is_wanted(folder):
    fill(
        folder,
        0,
        analysis(source="e.png"),
        analysis(FACE),
        analysis(source="v.mp4", frame=3, time=0.5),
        keep_empty=True,
    )
    empty, face, frame = rows(folder)
    assert face["expression"] == "happy"
    nothing = dict.fromkeys(empty, None)
    assert empty == {**nothing, "source": "e.png", "frame": 0}
    assert frame == {**nothing, "source": "v.mp4", "frame": 3, "time": 0.5}


def test_a_part_without_anything_is_done_too(folder):
    fill(folder, 0)
    assert rows(folder) == []
    assert done_parts(folder) == {0}
    assert folder.names() == sorted({FACES, *folder.names()} - {FAILURES})


def test_many_rows(folder, monkeypatch):
    monkeypatch.setattr(tables, "BUFFERED", 3)
    fill(folder, 0, *(analysis(FACE, source=f"{number}") for number in range(10)))
    assert [row["source"] for row in rows(folder)] == [str(number) for number in range(10)]


def test_names_that_are_not_utf8(folder):
    name = os.fsdecode(b"\xff.png")
    with PartTables(folder, 0, CLASSES, keep_empty=True) as written:
        written.add(analysis(source=name))
        written.fail(name, name)
    assert rows(folder)[0]["source"] == "\\udcff.png"
    assert list(read_failures(folder, 5)) == [("\\udcff.png", "\\udcff.png")]


def test_nothing_is_left_of_a_body_that_fails(folder):
    with pytest.raises(ZeroDivisionError), PartTables(folder, 0, CLASSES, keep_empty=False) as written:
        written.add(analysis(source=str(1 // 0)))
    assert folder.child(FACES).names() == []
    assert done_parts(folder) == set()


def test_errors_of_the_work_are_its_own(tmp_path, folder):
    with pytest.raises(FileNotFoundError), PartTables(folder, 0, CLASSES, keep_empty=False):
        (tmp_path / "no").read_bytes()


def test_failures_of_who_went_no_further_are_gone(folder, monkeypatch):
    def lost(*_: object) -> None:
        raise DataError("the connection broke")

    with monkeypatch.context() as patch:
        patch.setattr(PartTables, "_flush", lost)
        with pytest.raises(DataError):
            fill(folder, 0, failures=2)
    assert folder.child(FAILURES).names() == ["part-000000.parquet"]
    fill(folder, 0, analysis(FACE))
    assert list(read_failures(folder, 5)) == []
    assert read_counts(folder, 0).failed == 0


@pytest.mark.parametrize("room", [0, 500, 4000])
@pytest.mark.parametrize("failures", [0, 3])
def test_a_full_disk(folder, room, failures, monkeypatch):
    monkeypatch.setattr(tables, "BUFFERED", 3)
    full = replace(folder, filesystem=FullDisk(folder.filesystem, room))
    seen = [analysis(FACE, source=f"{number}") for number in range(50)]
    with pytest.raises(
        DataError, match=r"part-000000\.parquet: cannot be written \(No space left on device\)"
    ) as error:
        fill(full, 0, *seen, failures=failures)
    assert error.value.__traceback__ is not None  # whose frames are still there
    assert done_parts(folder) == set()
    assert [name for table in (FACES, WORK) for name in folder.child(table).names()] == []


def test_only_parts_are_taken_for_parts(tmp_path, folder):
    fill(folder, 3, analysis(FACE), failures=1)
    fill(folder, 1_234_567, failures=1)
    for table in (FACES, FAILURES):
        for name in (
            ".0a1b-part-000001.parquet",
            "part-000002.parquet.tmp",
            "part-x.parquet",
            "part-000004 (1).parquet",
        ):
            write(tmp_path / "run" / table / name, b"PAR1")
    assert done_parts(folder) == {3, 1_234_567}
    assert [source for source, _ in read_failures(folder, 9)] == ["3-0", "1234567-0"]


def test_the_first_failures_in_order(folder):
    for number in (2, 0, 1):
        fill(folder, number, failures=2)
    assert [source for source, _ in read_failures(folder, 3)] == ["0-0", "0-1", "1-0"]
    assert list(read_failures(folder, 0)) == []
    assert list(read_failures(folder.child("no"), 3)) == []


def test_damaged_tables_are_named(tmp_path, folder):
    fill(folder, 0, analysis(FACE), failures=1)
    for table in (FACES, FAILURES):
        path = tmp_path / "run" / table / "part-000000.parquet"
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"part-000000\.parquet: is damaged .*delete it, and --resume"):
        read_counts(folder, 0)
    with pytest.raises(DataError, match=r"failures/part-000000\.parquet: is damaged"):
        list(read_failures(folder, 1))
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / "run" / FACES / "part-000000.parquet")
    with pytest.raises(DataError, match="is damaged"):
        read_counts(folder, 0)
    with pytest.raises(DataError, match="cannot be read"):
        read_counts(folder, 1)


def test_a_class_that_is_named_like_a_column(folder):
    with pytest.raises(UsageError, match="class 'score' is named like a column"):
        PartTables(folder, 0, ("happy", "score"), keep_empty=False)
