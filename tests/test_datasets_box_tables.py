"""Tables of boxes: a row for each, with its corners."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxed import HEIGHT, WIDTH, Face, write_box_tables, write_picture, write_text
from mien.datasets import open_dataset
from mien.datasets.box_tables import read_rows
from mien.datasets.file_rows import Header
from mien.errors import DataError
from mien.labels import EXPRESSIONS

COLUMNS = "filename,width,height,class,xmin,ymin,xmax,ymax"


def read(lines: str, columns: str = COLUMNS) -> tuple[list, list[str]]:
    header = Header.of(columns.encode())
    assert header is not None
    problems: list[str] = []
    return list(read_rows(io.BytesIO(lines.encode()), "train/x.csv", header, problems)), problems


@given(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(1, 90), st.integers(1, 90))
def test_a_row_is_read_as_it_is_written(left, upper, width, height):
    (row,), problems = read(f"a.png,{WIDTH},{HEIGHT},Happy,{left},{upper},{left + width},{upper + height}")
    assert (row.where, row.file, row.word, row.split, problems) == ("x.csv:2", "a.png", "Happy", "train", [])
    assert row.box == (left, upper, min(left + width, WIDTH), min(upper + height, HEIGHT))
    assert row.size_wh == (WIDTH, HEIGHT)


@given(st.text(alphabet="0123456789.,-e\nab"))
def test_any_rows_are_read_as_boxes_or_problems(text):
    rows, problems = read(text)
    lines = [line for line in text.split("\n") if line.replace(",", "").strip()]
    assert len(rows) + len(problems) == len(lines)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.png,64,48,Happy,1,1,9", "7 fields where 8 are expected"),
        ("a.png,64,48,,1,1,9,9", "no class"),
        (",64,48,Happy,1,1,9,9", "no file"),
        ("a.png,64,48,Happy,1,1,wide,9", "its box or size holds something other than numbers"),
        ("a.png,64,48,Happy,9,1,9,9", "its box has no area"),
        ("a.png,64,48,Happy,70,1,79,9", "its box lies outside the picture"),
    ],
)
def test_what_is_no_box(line, reason):
    assert read(line) == ([], [f"x.csv:2 ({reason})"])


def test_a_split_of_its_own_and_one_that_is_unknown():
    rows, problems = read("a.png,Sad,1,1,9,9,val\nb.png,Sad,1,1,9,9,nowhere", "path,label,xmin,ymin,xmax,ymax,split")
    assert [(row.split, row.size_wh) for row in rows] == [("val", (0, 0))]
    assert problems == ["x.csv:3 (unknown split 'nowhere')"]


def test_a_table_that_is_named(tmp_path):
    dataset = open_dataset(write_box_tables(tmp_path) / "train" / "_annotations.csv")
    assert (dataset.format, len(dataset), set(dataset.splits)) == ("table of boxes", 7, {"train"})


def test_numbers_are_named_by_a_list(tmp_path):
    write_picture(tmp_path / "a.png", [])
    write_text(tmp_path / "x.csv", "path,label,xmin,ymin,xmax,ymax\na.png,3,1,1,9,9\na.png,5,1,9,9,19\n")
    with pytest.raises(DataError, match="classes are numbers"):
        open_dataset(tmp_path)
    write_text(tmp_path / "classes.txt", "\n".join(EXPRESSIONS))
    assert open_dataset(tmp_path).labels.tolist() == [3, 5]


def test_no_row_can_be_used(tmp_path):
    write_picture(tmp_path / "a.png", [])
    write_text(tmp_path / "x.csv", "path,label,xmin,ymin,xmax,ymax\na.png,happy,1,1,1,9\n")
    with pytest.raises(DataError, match=r"no box can be used: x.csv:2"):
        open_dataset(tmp_path)


def test_boxes_in_shares_are_not_taken_for_pixels(tmp_path):
    for name in ("1", "2"):
        write_picture(tmp_path / f"{name}.png", [Face(3, 4, 4, 12)])
    lines = ["filename,class,xmin,ymin,xmax,ymax", "1.png,happy,0.05,0.1,0.45,0.9", "2.png,sad,0,0.5,0.25,1"]
    write_text(tmp_path / "boxes.csv", "\n".join(lines))
    with pytest.raises(DataError, match=r"boxes.csv:2 \(its box lies within one pixel; boxes are in pixels here"):
        open_dataset(tmp_path)
