"""Datasets of boxes in larger pictures: each box is a face, cut out when it is read."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from boxed import FACES, HEIGHT, LAYOUTS, WIDTH, Face, write_picture, write_text, write_yolo, yolo_line
from mien.datasets import beside, convert, open_dataset
from mien.datasets.cutting import CutFiles
from mien.datasets.exclusion import exclude
from mien.datasets.streaming import epoch_batches, survey
from mien.errors import DataError, UsageError
from mien.faces import Detections
from mien.framing import cut_faces
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec
from pictures import write_grey

SPLITS = {"train": "train", "valid": "val"}


def expected(kind: str) -> list[tuple[str, int, str]]:
    """Name without folders, label and split of each face."""
    faces = []
    for split, pictures in FACES.items():
        for stem, drawn in pictures.items():
            for number, face in enumerate(drawn, start=1):
                name = f"{stem}.png#{number}" if len(drawn) > 1 else f"{stem}.png"
                faces.append((name, face.label, "train" if kind.startswith("ExpW") else SPLITS[split]))
    return faces


@pytest.mark.parametrize("packed", ["", "zip", "tar"])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_each_box_is_a_face(tmp_path, kind, packed):
    root = LAYOUTS[kind](tmp_path / "data")
    dataset = open_dataset(shutil.make_archive(str(root), packed, root) if packed else root)
    words = f"{kind.split(',')[0]} boxes"
    assert dataset.format == (f"{words} in a {packed} archive" if packed else words)
    assert (dataset.classes, dataset.problems) == (EXPRESSIONS, ())
    names = [Path(name).name for name in dataset.names]
    assert sorted(zip(names, dataset.labels.tolist(), dataset.splits.tolist(), strict=True)) == expected(kind)
    drawn = {face.value for pictures in FACES.values() for faces in pictures.values() for face in faces}
    faces = dataset.load(InputSpec(16, 1))
    assert {np.unique(image).size for image in faces.images} == {1}
    assert sorted(faces.images[:, 0, 0, 0].tolist()) == sorted(drawn)
    assert faces.labels[faces.images[:, 0, 0, 0] == FACES["train"]["a"][1].value].tolist() == [1]


def test_single_faces_and_batches_are_those_of_the_whole(tmp_path):
    dataset = open_dataset(write_yolo(tmp_path))
    whole = dataset.load(InputSpec(16, 1)).images
    assert all(np.array_equal(dataset.read(row, InputSpec(16, 1)), whole[row]) for row in range(len(dataset)))
    part = dataset.take([5, 1, 6]).load(InputSpec(16, 1), cache=False)
    assert np.array_equal(part.images, whole[[5, 1, 6]])
    assert len(dataset.take([]).load(InputSpec(16, 1), cache=False)) == 0
    pytest.importorskip("grain")
    batches = list(epoch_batches(dataset, InputSpec(16, 1), batch_size=4, shuffle=False))
    assert np.array_equal(np.concatenate([images for images, _ in batches]), whole)


def test_a_picture_is_read_once_for_all_its_faces(tmp_path, monkeypatch):
    dataset = open_dataset(write_yolo(tmp_path))
    read = []
    blobs = dataset.source.storage.blobs
    monkeypatch.setattr(dataset.source.storage, "blobs", lambda names: blobs(read.extend(names) or names))
    done = []
    dataset.source.each(dataset.positions, lambda *_: None, channels=1, progress=lambda *so_far: done.append(so_far))
    assert sorted(read) == sorted(f"{split}/images/{stem}.png" for split, some in FACES.items() for stem in some)
    assert done[-1] == (len(dataset), len(dataset))


def one_box(root: Path, line: str, others: str = "1 0.5 0.5 0.25 0.25") -> CutFiles:
    """The pixels behind a dataset of a picture with one box of its own, and another one."""
    write_picture(root / "images" / "1.png", [Face(0, 0, 0, 10), Face(6, 50, 40, 6)])
    write_text(root / "labels" / "1.txt", line)
    write_picture(root / "images" / "2.png", [])
    write_text(root / "labels" / "2.txt", others)
    write_text(root / "data.yaml", "names: [angry, happy]")
    return open_dataset(root).source


def test_a_box_that_is_the_whole_picture_leaves_it_whole(tmp_path):
    source = one_box(tmp_path, "0 0.5 0.5 1 1")
    whole = cv2.imread(str(tmp_path / "images" / "1.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(source.read(0, 1), whole)
    assert np.array_equal(one_box(tmp_path, "0 0.5 0.5 1.2 1.2").read(0, 1), whole)
    assert one_box(tmp_path, "0 0.5 0.5 0.5 1").read(0, 1).shape == (45, 45)  # 0.93 of 48


def test_a_face_is_the_square_around_its_box_and_the_edge_goes_on(tmp_path):
    image = one_box(tmp_path, f"0 {5 / WIDTH} {14 / HEIGHT} {10 / WIDTH} {28 / HEIGHT}").read(0, 3)
    whole = cv2.imread(str(tmp_path / "images" / "1.png"))
    assert image.shape == (26, 26, 3)  # 0.93 of 28
    assert np.array_equal(image[:, 8:], whole[1:27, :18])
    assert np.array_equal(image[:, :8], np.repeat(whole[1:27, :1], 8, axis=1))


def test_a_box_is_cut_as_that_of_a_caller(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    (tmp_path / "images").mkdir()
    assert cv2.imwrite(str(tmp_path / "images" / "1.png"), picture[..., ::-1])
    write_text(tmp_path / "labels" / "1.txt", "0 0.5 0.5 0.25 0.5\n1 0.25 0.5 0.25 0.25")
    write_text(tmp_path / "data.yaml", "names: [angry, happy]")
    spec = InputSpec(48, 3)
    caller = Detections(boxes_xyxy=[(45, 22.5, 75, 67.5), (15, 33.75, 45, 56.25)], scores=[1, 1])
    assert np.array_equal(open_dataset(tmp_path).load(spec).images, cut_faces(picture, caller, spec))


def test_what_reaches_past_the_picture_is_cut_off_first(tmp_path):
    inside = one_box(tmp_path / "inside", "0 0.125 0.125 0.25 0.25").read(0, 1)
    assert np.array_equal(one_box(tmp_path / "past", "0 0.0 0.0 0.5 0.5").read(0, 1), inside)


def test_faces_do_not_keep_their_pictures(tmp_path):
    assert one_box(tmp_path, "0 0.5 0.5 0.25 0.25").read(0, 1).base is None


def test_boxes_are_of_pictures_that_stand_upright(tmp_path):
    root = write_yolo(tmp_path)
    path = root / "train" / "images" / "b.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    with Image.open(path) as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    dataset = open_dataset(root)
    (row,) = np.flatnonzero(dataset.names == "train/images/b.png")
    assert np.unique(dataset.read(int(row), InputSpec(16, 1))).tolist() == [FACES["train"]["b"][0].value]


@pytest.mark.parametrize("kind", ["COCO", "Pascal VOC"])
def test_a_picture_of_another_size_than_its_boxes_is_told(tmp_path, kind):
    root = LAYOUTS[kind](tmp_path)
    cv2.imwrite(str(root / "train" / "a.png"), np.zeros((WIDTH, HEIGHT), np.uint8))
    with pytest.raises(DataError, match=r"2 of 10 faces cannot be used") as caught:
        open_dataset(root).load()
    reason = "the picture is 48x64, upright, and its boxes were drawn in one of 64x48"
    assert caught.value.items == tuple(f"train/a.png#{number} ({reason})" for number in (1, 2))


def test_a_box_outside_a_picture_of_a_size_that_nothing_says(tmp_path):
    root = LAYOUTS["ExpW"](tmp_path)
    with (root / "label.lst").open("a") as file:
        file.write("b.png 1 10 100 120 30 22.9 0\n")
    with pytest.raises(DataError, match="its box lies outside the picture, which is 64x48") as caught:
        open_dataset(root).load()
    assert caught.value.items[0].startswith("origin/b.png#2 (")
    dataset = open_dataset(root)
    with pytest.raises(DataError, match="its box lies outside the picture"):
        dataset.read(dataset.names.tolist().index("origin/b.png#2"), InputSpec())


def test_pictures_that_cannot_be_read_name_their_faces(tmp_path):
    root = write_yolo(tmp_path)
    (root / "train" / "images" / "a.png").write_bytes(b"no picture")
    dataset = open_dataset(root)
    assert survey(dataset).bad == tuple(f"train/images/a.png#{n} (cannot be decoded as an image)" for n in (1, 2))
    assert len(dataset.load(skip_bad=True)) == 8
    left = exclude(dataset, ["train/images/a.png#1", "train/images/a.png#2"])
    assert len(left.load()) == 8
    (root / "train" / "images" / "b.png").unlink()
    (root / "train" / "images" / "b.png").symlink_to("nowhere")
    assert survey(open_dataset(root)).bad[2].startswith("train/images/b.png (cannot be read")


def test_another_box_makes_another_image(tmp_path):
    root = write_yolo(tmp_path)
    before = open_dataset(root).load(InputSpec(16, 1)).images
    write_text(root / "train" / "labels" / "b.txt", yolo_line(Face(2, 40, 30, 10)))
    after = open_dataset(root).load(InputSpec(16, 1)).images
    assert [row for row in range(len(after)) if not np.array_equal(before[row], after[row])] == [2]


def test_what_stands_beside_the_pictures_of_a_tar_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "FEW", 0)
    root = write_yolo(tmp_path / "data")
    path = shutil.make_archive(str(root), "gztar", root)
    first = open_dataset(path)
    monkeypatch.setattr(beside, "read_many", lambda _, names: dict(names and pytest.fail("reads it again")))
    again = open_dataset(path)
    assert np.array_equal(again.source._index.boxes_xyxy, first.source._index.boxes_xyxy)
    write_text(root / "train" / "labels" / "b.txt", yolo_line(Face(2, 40, 30, 11)))
    shutil.make_archive(str(root), "gztar", root)
    monkeypatch.undo()
    assert not np.array_equal(open_dataset(path).source._index.boxes_xyxy, first.source._index.boxes_xyxy)


def test_faces_of_one_picture_become_files_of_their_own(tmp_path):
    root = write_yolo(tmp_path / "data")
    convert(root, tmp_path / "faces")
    assert (tmp_path / "faces" / "train" / "sad" / "c_face3.png").is_file()
    assert (tmp_path / "faces" / "val" / "happy" / "e.png").is_file()
    converted = open_dataset(tmp_path / "faces")
    assert converted.counts() == open_dataset(root).counts()
    with pytest.raises(UsageError, match="lies in"):
        convert(root, root / "faces")


@pytest.mark.parametrize("kind", [kind for kind in LAYOUTS if not kind.startswith("ExpW")])
def test_boxes_that_only_say_where_faces_are(tmp_path, kind):
    root = LAYOUTS[kind](tmp_path)
    for path in root.rglob("*.*"):
        if path.suffix != ".png":
            text = path.read_text()
            for name in ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"):
                text = text.replace(name, "face")
            path.write_text(text)
    with pytest.raises(DataError, match="of one class, face: they say where it is, and no expression"):
        open_dataset(root)


def test_class_folders_beside_boxes_are_read(tmp_path):
    for name in ("tense", "calm"):
        write_grey(tmp_path / name / "images" / "1.jpg")
        (tmp_path / name / "labels").mkdir()
        (tmp_path / name / "labels" / "1.txt").write_text("0 0.5 0.5 1 1\n")
        (tmp_path / name / "images" / "1.xml").write_text("<annotation/>")
    assert open_dataset(tmp_path).classes == ("calm", "tense")


def test_a_split_that_is_named_by_itself(tmp_path):
    root = LAYOUTS["COCO"](tmp_path)
    assert set(open_dataset(root / "valid").splits) == {"val"}


STRAYS = {
    "faces of COCO": lambda root: write_text(root / "annotations.json", face_document()),
    "half a file of COCO": lambda root: write_text(root / "_annotations.coco.json", "{"),
    "another list": lambda root: write_text(root / "label.lst", "0\t3\t1.png\n"),
    "faces in a table": lambda root: write_text(
        root / "boxes.csv", "filename,class,xmin,ymin,xmax,ymax\n1.png,face,1,1,9,9\n2.png,face,1,1,9,9\n"
    ),
    "faces of YOLO": lambda root: [
        write_text(root / "data.yaml", "names: [face]\n"),
        write_text(root / "labels" / "calm" / "1.txt", "0 0.5 0.5 1 1\n"),
    ],
}


def face_document() -> str:
    pictures = [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": "2.png"}]
    boxes = [{"image_id": picture, "category_id": 1, "bbox": [1, 1, 8, 8]} for picture in (1, 2)]
    return json.dumps({"images": pictures, "annotations": boxes, "categories": [{"id": 1, "name": "face"}]})


@pytest.mark.parametrize("stray", STRAYS)
def test_what_only_says_where_faces_are_leaves_folders_and_tables_to_say_what_they_show(tmp_path, stray):
    for name in ("calm/1.png", "tense/2.png"):
        write_grey(tmp_path / "images" / name)
    STRAYS[stray](tmp_path)
    assert open_dataset(tmp_path).classes == ("calm", "tense")
    write_text(tmp_path / "labels.csv", "path,label\ncalm/1.png,happy\ntense/2.png,sad\n")
    assert open_dataset(tmp_path).format == "table of files"
