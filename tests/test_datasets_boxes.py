"""Datasets of boxes in larger pictures are refused as what they are."""

import shutil

import pytest

from mien.datasets import open_dataset
from mien.errors import DataError
from pictures import write_grey

LAYOUTS = {
    "YOLO": ("train/images/1.jpg", "train/labels/1.txt"),
    "YOLO, splits below": ("images/train/1.jpg", "labels/train/1.txt"),
    "COCO": ("train/1.jpg", "train/_annotations.coco.json"),
    "Pascal VOC": ("train/1.jpg", "train/1.xml"),
    "ExpW": ("origin/angry_1.jpg", "label.lst"),
    "ExpW, as it is handed out": ("image/origin/angry_1.jpg", "label/label.lst"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", LAYOUTS)
def test_boxes_are_named(tmp_path, kind, packed):
    root = tmp_path / "data"
    picture, boxes = (root / file for file in LAYOUTS[kind])
    write_grey(picture)
    boxes.parent.mkdir(parents=True, exist_ok=True)
    boxes.write_text("0 0.5 0.5 1 1\n")
    with pytest.raises(DataError, match=rf"\({kind.split(',')[0]}\) are not read: cut the faces out") as caught:
        open_dataset(shutil.make_archive(str(root), "tar", root) if packed else root)
    assert caught.value.items == (LAYOUTS[kind][1],)


def test_class_folders_beside_boxes_are_read(tmp_path):
    for name in ("tense", "calm"):
        write_grey(tmp_path / name / "images" / "1.jpg")
        (tmp_path / name / "labels").mkdir()
        (tmp_path / name / "labels" / "1.txt").write_text("0 0.5 0.5 1 1\n")
    assert open_dataset(tmp_path).classes == ("calm", "tense")
