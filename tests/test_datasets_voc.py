"""Pascal VOC's boxes: XML files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxed import FACES, HEIGHT, WIDTH, voc_xml, write_picture, write_text, write_voc, write_voc_apart
from mien.datasets import open_dataset
from mien.datasets.voc import read_xml
from mien.errors import DataError

BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]>
<annotation><object><name>&y;</name></object></annotation>"""

OUTSIDE = """<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><object><name>&x;</name></object></annotation>"""


def read(text: str | bytes) -> tuple[list, list[str]]:
    problems: list[str] = []
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_xml(data, "1.xml", "1.jpg", problems)), problems


def box(xmin: object, ymin: object, xmax: object, ymax: object) -> str:
    return (
        f"<annotation><object><name> Happy </name><bndbox><ymin>{ymin}</ymin><xmin>{xmin}</xmin><xmax>{xmax}</xmax>"
        f"<ymax>{ymax}</ymax></bndbox><part><name>nose</name></part></object></annotation>"
    )


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_the_first_pixel_is_one(left, upper, width, height):
    rows, problems = read(box(left, upper, left + width - 1, upper + height - 1))
    assert (problems, rows[0].word) == ([], "Happy")
    assert rows[0].box == (left - 1, upper - 1, left - 1 + width, upper - 1 + height)


@pytest.mark.parametrize("text", [BOMB, OUTSIDE])
def test_entities_are_not_read(text):
    assert read(text) == ([], ["1.xml (has a DOCTYPE, which files of boxes need not have)"])


@given(st.binary() | st.text(alphabet="<annotation/object>bx&;01 '\"=!-").map(str.encode))
def test_any_file_is_read_or_named(data):
    rows, problems = read(data)
    assert not rows
    assert len(problems) <= 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (box(5, 5, 4, 9), "1.xml: object 1 (its box has no area)"),
        (box(5, 5, "wide", 9), "1.xml: object 1 (has no bndbox of four numbers)"),
        (box("nan", 5, 8, 9), "1.xml: object 1 (its box has no area)"),
        ("<annotation><object/></annotation>", "1.xml: object 1 (has no name)"),
        (
            "<?xml version='1.0' encoding='klingon'?><annotation/>",
            "1.xml (is no XML: unknown encoding: klingon)",
        ),
        (b" " * (4 * 1024**2 + 1), "1.xml (larger than 4 MiB)"),
    ],
)
def test_what_is_no_box(text, reason):
    assert read(text) == ([], [reason])


def test_bad_files_and_pictures_without_boxes(tmp_path):
    root = write_voc(tmp_path)
    write_text(root / "train" / "a.xml", "<annotation>")
    write_text(root / "train" / "b.xml", "<annotation/>")
    write_picture(root / "train" / "x.png", [])
    dataset = open_dataset(root)
    assert dataset.problems == ("train/a.xml (is no XML: no element found: line 1, column 12)",)
    assert dataset.format == "Pascal VOC boxes (2 pictures without a box passed over)"


def test_a_folder_of_pictures_and_one_of_annotations(tmp_path):
    for stem, faces in FACES["train"].items():
        write_picture(tmp_path / "images" / f"{stem}.png", faces)
        write_text(tmp_path / "annotations" / f"{stem}.xml", voc_xml(faces))
    assert len(open_dataset(tmp_path)) == 7


def test_nothing_can_be_used(tmp_path):
    root = write_voc_apart(tmp_path)
    for path in root.rglob("*.xml"):
        path.write_text("<annotation>")
    with pytest.raises(DataError, match=r"no box can be used: VOC/Annotations/a\.xml"):
        open_dataset(root)


def test_a_size_of_zero_is_unknown(tmp_path):
    root = write_voc(tmp_path)
    for path in root.rglob("*.xml"):
        path.write_text(path.read_text().replace(f">{WIDTH}</width>", ">0</width>").replace(f">{HEIGHT}</h", ">0</h"))
    assert len(open_dataset(root).load()) == 10


def test_boxes_of_expressions_come_before_folders_of_other_names(tmp_path):
    root = write_voc(tmp_path)
    for old, new in (("train", "part1"), ("valid", "part2")):
        (root / old).rename(root / new)
    dataset = open_dataset(root)
    assert (dataset.format, len(dataset)) == (
        "Pascal VOC boxes",
        sum(map(len, [*FACES["train"].values(), *FACES["valid"].values()])),
    )
    for path in root.rglob("*.xml"):
        path.write_text("<annotation/>")
    assert open_dataset(root).classes == ("part1", "part2")
