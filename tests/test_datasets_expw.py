"""ExpW: its list and its pictures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxed import Face, expw_line, write_expw
from mien.datasets import open_dataset
from mien.datasets.expw import read_lines
from mien.errors import DataError
from mien.labels import EXPRESSIONS, EXPW_NUMBERS


@given(st.integers(0, 6), st.integers(0, 500), st.integers(0, 500), st.integers(1, 500))
def test_a_line_is_read_as_it_is_written(label, left, upper, side):
    (row,), problems = read_lines(expw_line("a b.jpg", 3, Face(label, left, upper, side)).encode(), "label/label.lst")
    assert (row.where, row.file, problems) == ("label.lst:1", "a b.jpg", [])
    assert row.box == (left, upper, left + side, upper + side)


@given(st.binary() | st.text(alphabet="0123456789. -e\nab").map(str.encode))
def test_any_list_is_read_as_boxes_or_problems(data):
    rows, problems = read_lines(data, "label.lst")
    lines = [line for line in data.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    assert len(rows) + len(problems) == len(lines)


def test_its_numbers():
    names = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert [EXPW_NUMBERS[number] for number in range(7)] == names


def test_class_names_that_are_given_do_not_change_its_numbers(tmp_path):
    root = write_expw(tmp_path)
    assert open_dataset(root, classes=EXPRESSIONS).labels.tolist() == open_dataset(root).labels.tolist()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a.png 0 1 1 9 9 20.5 7", "numbers without a name; by ExpW they are 0 angry"),
        ("a.png 0 1 1 9 9 20.5 happy", "some classes are numbers and others are names"),
    ],
)
def test_classes_that_it_has_not(tmp_path, line, problem):
    root = write_expw(tmp_path)
    with (root / "label.lst").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=problem) as caught:
        open_dataset(root)
    assert caught.value.items[0].startswith("label.lst:11 (")


def test_lines_that_cannot_be_used(tmp_path):
    root = write_expw(tmp_path)
    with (root / "label.lst").open("a") as file:
        file.write("\na.png 0 1 1 9 9 0\na.png 0 9 1 9 9 20.5 0\na.png 0 1 one 9 9 20.5 0\nz.png 0 1 1 9 9 20.5 0\n")
    assert open_dataset(root).problems == (
        "label.lst:12 (7 fields where 8 are expected)",
        "label.lst:13 (its box has no area)",
        "label.lst:14 (its box holds something other than numbers)",
        "label.lst:15 (z.png is not there)",
    )


def test_another_list_of_this_name(tmp_path):
    root = write_expw(tmp_path)
    (root / "label.lst").write_text("0\t1.0\torigin/a.png\n")
    with pytest.raises(DataError, match=r"no line is one of ExpW's .8 fields.*label.lst:1 .3 fields"):
        open_dataset(root)


def test_two_lists(tmp_path):
    for name in ("one", "two"):
        write_expw(tmp_path / name)
    with pytest.raises(DataError, match="several lists of ExpW") as caught:
        open_dataset(tmp_path)
    assert caught.value.items == ("one/label.lst", "two/label.lst")


def test_pictures_that_are_not_there(tmp_path):
    root = write_expw(tmp_path)
    (root / "origin").rename(root / "Image")
    for path in (root / "Image").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(DataError, match=r"no file that label\.lst names can be found"):
        open_dataset(root)


def test_pictures_that_are_still_packed_in_parts_are_named(tmp_path):
    root = write_expw(tmp_path)
    for path in (root / "origin").iterdir():
        path.unlink()
    for number in (1, 2):
        (root / "origin" / f"origin.7z.00{number}").write_bytes(b"7z")
    with pytest.raises(DataError, match=r"it holds no images, but origin/origin.7z.001; unpack what is packed there"):
        open_dataset(root)
