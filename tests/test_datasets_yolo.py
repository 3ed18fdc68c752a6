"""YOLO's boxes: lines, names of classes, layouts."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxed import FACES, NAMES, Face, write_darknet, write_picture, write_text, write_yolo, yolo_line
from mien.datasets import open_dataset
from mien.datasets.tables import RowError
from mien.datasets.yolo import box_of, read_boxes
from mien.datasets.yolo_names import Names, read_yaml
from mien.errors import DataError, MissingExtraError
from mien.labels import EXPRESSIONS

SHARES = st.floats(0, 1)


@given(SHARES, SHARES, SHARES, SHARES)
def test_centre_and_size_are_read_as_they_are_written(x, y, width, height):
    box = box_of([repr(value) for value in (x, y, width, height)])
    assert box == pytest.approx((x - width / 2, y - height / 2, x + width / 2, y + height / 2))


@given(st.lists(st.tuples(SHARES, SHARES), min_size=3, max_size=9))
def test_a_polygon_is_read_as_the_box_around_it(points):
    box = box_of([repr(value) for point in points for value in point])
    xs, ys = zip(*points, strict=True)
    assert box == (min(xs), min(ys), max(xs), max(ys))


def test_a_score_and_points_of_a_pose_are_passed_over():
    box = box_of(["0.5", "0.5", "0.2", "0.2"])
    assert box_of(["0.5", "0.5", "0.2", "0.2", "0.9"]) == box
    assert box_of(["0.5", "0.5", "0.2", "0.2", *["0.1", "0.2", "2"] * 4], poses=True) == box


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("0.5 0.5 0.2", "4 fields where 5 are expected"),
        ("0.5 0.5 0.2 0.2 0.1 0.1 0.1", "8 fields where 5 are expected"),
        ("0.5 0.5 wide 0.2", "other than numbers"),
        ("0.5 0.5 nan 0.2", "finite"),
        ("320 240 100 100", "no shares of the picture"),
    ],
)
def test_what_is_no_box(fields, reason):
    with pytest.raises(RowError, match=reason):
        box_of(fields.split())


@given(st.binary() | st.text(alphabet="0123456789. -e\n\tnaif").map(str.encode))
def test_any_text_is_read_as_boxes_or_problems(data):
    found = read_boxes([(0, "1.txt", data)], ["1.jpg"], Names("data.yaml", {0: "happy", 1: "sad"}))
    assert len(found.rows) == len(found.places)
    lines = [line for line in data.decode("utf-8-sig", "replace").splitlines() if line.split()]
    assert len(found.rows) + len(found.problems) == len(lines)
    assert bool(found.passed) == (not lines)
    for row in found.rows:
        x1, y1, x2, y2 = row.box
        assert 0 <= x1 < x2 <= 1
        assert 0 <= y1 < y2 <= 1


@pytest.mark.parametrize(
    "text",
    [
        "names: [Anger, 'Sad', \"no\"]",
        "names:\n- Anger\n- Sad\n- no",
        "names:\n  0: Anger\n  1: Sad\n  2: no\nnc: 3",
        "nc: 3\nnames: [\n  Anger,\n  Sad,  # the second\n  no,\n]\nroboflow: {version: 3}",
    ],
)
def test_names_in_yaml(text):
    assert read_yaml(text.encode(), "data.yaml").words == {0: "Anger", 1: "Sad", 2: "no"}


@given(st.binary() | st.text(alphabet="names: [],-{}'\"\n01ab&*!<").map(lambda text: f"names: {text}".encode()))
def test_any_yaml_is_read_as_names_or_none(data):
    names = read_yaml(data, "data.yaml")
    assert names is None or (names.words and all(words and isinstance(words, str) for words in names.words.values()))


@pytest.mark.parametrize(
    "text", ["names: happy", "names: [[a], b]", "names: {one: a}", "names: []", "[" * 700, "a: *b"]
)
def test_yaml_that_names_no_classes(text):
    assert read_yaml(text.encode(), "data.yaml") is None


def test_yaml_makes_no_objects():
    assert read_yaml(b"names: !!python/object/apply:os.getcwd []", "data.yaml") is None


def test_bad_lines_are_named_and_skipped(tmp_path):
    root = write_yolo(tmp_path)
    with (root / "train" / "labels" / "b.txt").open("a") as file:
        file.write("\n9 0.5 0.5 0.1 0.1\n1 0.5 0.5 0 0.1\nhappy 0.5 0.5 0.1 0.1\n1 1.3 0.5 0.1 0.1\n")
    dataset = open_dataset(root)
    assert dataset.problems == (
        "train/labels/b.txt:3 (class 9 has no name)",
        "train/labels/b.txt:4 (its box has no area)",
        "train/labels/b.txt:5 (begins with 'happy', which is no number of a class)",
        "train/labels/b.txt:6 (its box lies outside the picture)",
    )
    with pytest.raises(DataError, match="4 of 14 faces cannot be used"):
        dataset.load()
    assert len(dataset.load(skip_bad=True)) == 10


def test_pictures_without_boxes_are_no_faces(tmp_path):
    root = write_yolo(tmp_path)
    write_picture(root / "train" / "images" / "x.png", [])
    write_text(root / "train" / "labels" / "x.txt", "\n")
    write_picture(root / "train" / "images" / "y.png", [])
    dataset = open_dataset(root)
    assert (len(dataset), dataset.problems) == (10, ())
    assert dataset.format == "YOLO boxes (2 pictures without a box passed over)"


def test_numbers_without_names(tmp_path):
    root = write_yolo(tmp_path, names=False)
    with pytest.raises(DataError, match=r"nothing says what these mean; .* data\.yaml .* or classes\.txt") as caught:
        open_dataset(root)
    assert caught.value.items == ("train/labels/a.txt",)
    assert open_dataset(root, classes=NAMES).classes == EXPRESSIONS
    write_text(root / "train" / "labels" / "classes.txt", "\n".join(NAMES))
    assert len(open_dataset(root)) == 10


def test_a_broken_yaml_is_named(tmp_path):
    root = write_yolo(tmp_path, names=False)
    write_text(root / "data.yaml", "names: [happy, sad")
    with pytest.raises(DataError, match=r"nothing says what these mean \(data\.yaml has no names: .*, or is no YAML\)"):
        open_dataset(root)


def test_flat_folders_below_others_and_another_name_of_the_yaml(tmp_path):
    write_yolo(tmp_path / "archive" / "YOLO_format", "images", "labels", names=False)
    write_text(tmp_path / "archive" / "YOLO_format" / "affectnet.yml", f"names: {list(NAMES)}")
    dataset = open_dataset(tmp_path)
    assert (len(dataset), set(dataset.splits)) == (10, {"train"})
    assert dataset.names[0] == "archive/YOLO_format/images/a.png#1"


def test_the_yaml_stands_for_its_folder(tmp_path):
    dataset = open_dataset(write_yolo(tmp_path) / "data.yaml")
    assert (len(dataset), dataset.path) == (10, tmp_path)


def test_splits_that_only_the_yaml_says(tmp_path):
    root = write_yolo(tmp_path, "images/{}_part", "labels/{}_part", names=False)
    for folder in ("images", "labels"):
        (root / folder / "train_part").rename(root / folder / "one")
        (root / folder / "valid_part").rename(root / folder / "two")
    write_text(root / "data.yaml", f"path: ../somewhere\ntrain: images/one\nval: [images/two]\nnames: {list(NAMES)}")
    counts = {split: sum(some.values()) for split, some in open_dataset(root).counts().items()}
    assert counts == {"train": 7, "val": 3}


def test_contempt_and_spellings_that_mean_the_same(tmp_path):
    root = write_yolo(tmp_path)
    write_text(root / "data.yaml", f"names: {[*NAMES, 'Contempt', 'happiness']}")
    write_text(root / "train" / "labels" / "b.txt", "2 0.5 0.5 0.1 0.1\n7 0.5 0.5 0.5 0.5\n8 0.5 0.5 0.25 0.25\n")
    dataset = open_dataset(root)
    assert dataset.classes == tuple(sorted([*EXPRESSIONS, "contempt"]))
    assert dataset.counts()["train"]["happy"] == 2


def test_a_class_that_is_no_expression_must_be_listed(tmp_path):
    root = write_yolo(tmp_path)
    write_text(root / "data.yaml", f"names: {[*NAMES, 'face']}")
    assert open_dataset(root).classes == EXPRESSIONS  # no box has it
    write_text(root / "train" / "labels" / "b.txt", "7 0.5 0.5 0.5 0.5\n")
    with pytest.raises(DataError, match="unknown class") as caught:
        open_dataset(root)
    assert caught.value.items == ("train/labels/b.txt:1 (face)",)
    write_text(root / "classes.txt", "\n".join([*EXPRESSIONS, "face"]))
    assert open_dataset(root).classes == (*EXPRESSIONS, "face")


def test_names_that_are_numbers_mean_nothing(tmp_path):
    root = write_yolo(tmp_path)
    write_text(root / "data.yaml", "names: ['0', '1', '2', '3', '4', '5', '6']")
    with pytest.raises(DataError, match="classes are numbers"):
        open_dataset(root)
    write_text(root / "classes.txt", "\n".join(NAMES))
    assert open_dataset(root).classes == EXPRESSIONS


def test_two_files_of_names_must_agree(tmp_path):
    root = write_yolo(tmp_path)
    write_text(root / "train" / "data.yaml", f"names: {list(NAMES)}")
    assert len(open_dataset(root)) == 10
    write_text(root / "train" / "data.yaml", f"names: {list(reversed(NAMES))}")
    with pytest.raises(DataError, match="different names") as caught:
        open_dataset(root)
    assert caught.value.items == ("data.yaml", "train/data.yaml")


def test_captions_beside_pictures_are_no_boxes(tmp_path):
    root = write_darknet(tmp_path)
    for path in root.rglob("?.txt"):
        path.write_text("a face that laughs\n")
    with pytest.raises(DataError, match="no class folders"):
        open_dataset(root)


def test_lines_of_which_none_can_be_used(tmp_path):
    root = write_yolo(tmp_path)
    for path in root.glob("*/labels/*.txt"):
        path.write_text("a face that laughs\n")
    with pytest.raises(DataError, match=r"no box can be used: train/labels/a\.txt:1"):
        open_dataset(root)


def test_polygons_give_the_faces_that_boxes_give(tmp_path):
    boxes = open_dataset(write_yolo(tmp_path / "boxes"))
    root = write_yolo(tmp_path / "polygons")
    for split, pictures in FACES.items():
        for stem, faces in pictures.items():
            write_text(root / split / "labels" / f"{stem}.txt", "\n".join(map(polygon_line, faces)))
    polygons = open_dataset(root)
    assert np.array_equal(polygons.load().images, boxes.load().images)


def polygon_line(face: Face) -> str:
    """The same box as a polygon of its corners."""
    number, *values = yolo_line(face).split()
    x, y, width, height = map(float, values)
    corners = [(x + i * width / 2, y + j * height / 2) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]
    return f"{number} " + " ".join(f"{a} {b}" for a, b in corners)


def test_a_table_beside_texts_that_are_no_boxes_is_read(tmp_path):
    root = write_yolo(tmp_path)
    for path in root.glob("*/labels/*.txt"):
        path.write_text("a face that laughs\n")
    rows = [f"{path.relative_to(root).as_posix()},happy" for path in sorted(root.rglob("*.png"))]
    write_text(root / "faces.csv", "\n".join(["path,label", *rows, ""]))
    assert open_dataset(root).format == "table of files"


def test_yaml_needs_a_package(tmp_path, monkeypatch):
    root = write_yolo(tmp_path)
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"classes\.txt will do instead.*mien\[audit\]"):
        open_dataset(root)
    (root / "data.yaml").unlink()
    write_text(root / "classes.txt", "\n".join(NAMES))
    assert len(open_dataset(root)) == 10


@pytest.mark.parametrize("front", ["./images/", "/content/drive/faces/images/", "images\\"])
@pytest.mark.parametrize("told", ["train: train.txt\nval: lists/valid.txt\n", None])
def test_lists_of_pictures_say_their_splits(tmp_path, told, front):
    root = write_yolo(tmp_path, "images", "labels", names=told is not None)
    if told is None:
        write_text(root / "obj.names", "\n".join(NAMES))
    else:
        write_text(root / "data.yaml", f"{told}names: {list(NAMES)}\n")
    for word, place in (("train", "train.txt"), ("valid", "lists/valid.txt" if told else "valid.txt")):
        write_text(root / place, "".join(f"{front}{stem}.png\n" for stem in FACES[word]))
    dataset = open_dataset(root)
    splits = dict(zip((name.partition("#")[0] for name in dataset.names), dataset.splits, strict=True))
    assert {name: split for name, split in splits.items() if split == "val"} == {
        "images/e.png": "val",
        "images/f.png": "val",
    }
    assert len(splits) == 6


def test_folders_and_no_list_say_splits_where_both_do(tmp_path):
    root = write_yolo(tmp_path)
    write_text(root / "data.yaml", f"train: all.txt\nnames: {list(NAMES)}\n")
    write_text(root / "all.txt", "./train/images/a.png\n./valid/images/e.png\n")
    assert set(open_dataset(root).splits) == {"train", "val"}


def test_folders_of_splits_are_below_the_path_that_is_given(tmp_path):
    write_yolo(tmp_path / "faces", "fold-{}-1/images", "fold-{}-1/labels", names=False)
    folders = "path: ../faces\ntrain: fold-train-1/images\nval: fold-valid-1/images\n"
    write_text(tmp_path / "data.yaml", f"{folders}names: {list(NAMES)}\n")
    assert set(open_dataset(tmp_path).splits) == {"train", "val"}


def write_parts(root, told: str):
    """Pictures of training in ``one/images``, the others in ``two/images``, and a YAML file that says so or not."""
    write_yolo(root, "{}_part/images", "{}_part/labels", names=False)
    (root / "train_part").rename(root / "one")
    (root / "valid_part").rename(root / "two")
    write_text(root / "data.yaml", f"{told}names: {list(NAMES)}\n")
    return open_dataset(root)


@pytest.mark.parametrize(
    "told",
    [
        "train: /content/drive/train_data/faces/one/images\nval: /content/drive/train_data/faces/two/images\n",
        "train: C:\\Users\\anna\\faces\\one\\images\nval: C:\\Users\\anna\\faces\\two\\images\n",
        "path: /home/anna/faces\ntrain: one\nval: two\n",
        "train: ../../faces/one/images\nval: ../../faces/two/images\n",
    ],
)
def test_folders_of_another_machine_are_found_by_the_ends_of_their_paths(tmp_path, told):
    counts = {split: sum(some.values()) for split, some in write_parts(tmp_path, told).counts().items()}
    assert counts == {"train": 7, "val": 3}


def test_folders_of_splits_that_are_not_there(tmp_path):
    dataset = write_parts(tmp_path, "train: /data/three/pictures\nval: /data/four/pictures\n")
    assert dataset.format == "YOLO boxes, of no folder that data.yaml names: all are train"


def test_an_end_that_two_folders_have_says_nothing(tmp_path):
    dataset = write_parts(tmp_path, "train: /data/three/images\nval: /data/four/images\n")
    assert set(dataset.splits) == {"train"}


def test_a_list_of_another_machine_stands_beside_the_yaml(tmp_path):
    root = write_yolo(tmp_path, "images", "labels", names=False)
    write_text(root / "data.yaml", f"train: /data/faces/train.txt\nval: /data/faces/val.txt\nnames: {list(NAMES)}\n")
    for word, name in (("train", "train.txt"), ("valid", "val.txt")):
        write_text(root / name, "".join(f"/data/faces/images/{stem}.png\n" for stem in FACES[word]))
    assert set(open_dataset(root).splits) == {"train", "val"}
