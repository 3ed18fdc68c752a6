"""Drawn datasets of boxes in larger pictures, as YOLO, COCO, Pascal VOC and ExpW write them down."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mien.labels import EXPRESSIONS, EXPW_NUMBERS

WIDTH, HEIGHT = 64, 48

NAMES = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
"""Spellings of the seven, in their order."""


@dataclass(frozen=True)
class Face:
    """A square in a picture, and the expression that is said of it, by its number in `EXPRESSIONS`."""

    label: int
    left: int
    upper: int
    side: int

    @property
    def value(self) -> int:
        """Its grey; no two faces of `FACES` have the same."""
        return 40 + 25 * self.label + self.side


Pictures = dict[str, Sequence[Face]]
"""What stands in each picture, by its name without ending."""

FACES: dict[str, Pictures] = {
    "train": {
        "a": [Face(0, 4, 4, 12), Face(1, 30, 10, 20)],
        "b": [Face(2, 0, 0, 16)],
        "c": [Face(3, 44, 28, 20), Face(4, 2, 30, 16), Face(5, 20, 2, 10)],
        "d": [Face(6, 20, 20, 14)],
    },
    "valid": {"e": [Face(3, 10, 10, 22)], "f": [Face(6, 8, 8, 24), Face(6, 40, 8, 18)]},
}
"""All seven expressions in training, in pictures with one face and with more."""


def write_picture(path: Path, faces: Sequence[Face]) -> Path:
    """A PNG file of black with grey squares."""
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    for face in faces:
        picture[face.upper : face.upper + face.side, face.left : face.left + face.side] = face.value
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def yolo_line(face: Face) -> str:
    x, y = face.left + face.side / 2, face.upper + face.side / 2
    return f"{face.label} {x / WIDTH} {y / HEIGHT} {face.side / WIDTH} {face.side / HEIGHT}"


def write_yolo(root: Path, images: str = "{}/images", labels: str = "{}/labels", names: bool = True) -> Path:
    for split, pictures in FACES.items():
        for stem, faces in pictures.items():
            write_picture(root / images.format(split) / f"{stem}.png", faces)
            write_text(root / labels.format(split) / f"{stem}.txt", "\n".join(map(yolo_line, faces)) + "\n")
    if names:
        write_text(root / "data.yaml", f"train: ../train/images\nval: ../valid/images\nnc: 7\nnames: {list(NAMES)}\n")
    return root


def write_yolo_splits_below(root: Path) -> Path:
    return write_yolo(root, "images/{}", "labels/{}")


def write_darknet(root: Path) -> Path:
    root = write_yolo(root, "{}", "{}", names=False)
    write_text(root / "classes.txt", "\n".join(NAMES))
    return root


def coco_document(pictures: Pictures) -> dict[str, list]:
    """What Roboflow writes: category 0 is that of all others, and has no boxes."""
    document: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": 0, "name": "faces"}]}
    document["categories"] += [{"id": 1 + place, "name": name} for place, name in enumerate(NAMES)]
    for place, (stem, faces) in enumerate(pictures.items()):
        document["images"].append({"id": place, "file_name": f"{stem}.png", "width": WIDTH, "height": HEIGHT})
        for face in faces:
            box = {"bbox": [face.left, face.upper, face.side, face.side], "category_id": 1 + face.label, "iscrowd": 0}
            document["annotations"].append({"id": len(document["annotations"]), "image_id": place, **box})
    return document


def write_coco(root: Path, images: str = "{}", boxes: str = "{}/_annotations.coco.json") -> Path:
    for split, pictures in FACES.items():
        for stem, faces in pictures.items():
            write_picture(root / images.format(split) / f"{stem}.png", faces)
        write_text(root / boxes.format(split), json.dumps(coco_document(pictures)))
    return root


def write_coco_apart(root: Path) -> Path:
    return write_coco(root, "{}2017", "annotations/instances_{}2017.json")


def write_box_tables(root: Path) -> Path:
    """Roboflow's form for TensorFlow."""
    for split, pictures in FACES.items():
        lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
        for stem, faces in pictures.items():
            write_picture(root / split / f"{stem}.png", faces)
            for face in faces:
                box = f"{face.left},{face.upper},{face.left + face.side},{face.upper + face.side}"
                lines.append(f"{stem}.png,{WIDTH},{HEIGHT},{NAMES[face.label]},{box}")
        write_text(root / split / "_annotations.csv", "\n".join([*lines, ""]))
    return root


def voc_xml(faces: Sequence[Face]) -> str:
    objects = "".join(
        f"<object><name>{NAMES[face.label]}</name><bndbox><xmin>{face.left + 1}</xmin><ymin>{face.upper + 1}</ymin>"
        f"<xmax>{face.left + face.side}</xmax><ymax>{face.upper + face.side}</ymax></bndbox></object>"
        for face in faces
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>1</depth></size>"
    return f"<?xml version='1.0'?><annotation><folder>elsewhere</folder>{size}{objects}</annotation>"


def write_voc(root: Path) -> Path:
    for split, pictures in FACES.items():
        for stem, faces in pictures.items():
            write_picture(root / split / f"{stem}.png", faces)
            write_text(root / split / f"{stem}.xml", voc_xml(faces))
    return root


def write_voc_apart(root: Path) -> Path:
    for split, pictures in FACES.items():
        for stem, faces in pictures.items():
            write_picture(root / "VOC" / "JPEGImages" / f"{stem}.png", faces)
            write_text(root / "VOC" / "Annotations" / f"{stem}.xml", voc_xml(faces))
        word = {"valid": "val"}.get(split, split)
        write_text(root / "VOC" / "ImageSets" / "Main" / f"{word}.txt", "".join(f"{stem}\n" for stem in pictures))
    return root


def expw_line(name: str, place: int, face: Face) -> str:
    number = next(number for number, name in EXPW_NUMBERS.items() if name == EXPRESSIONS[face.label])
    right, lower = face.left + face.side, face.upper + face.side
    return f"{name} {place} {face.upper} {face.left} {right} {lower} 22.9362 {number}"


def write_expw(root: Path, images: str = "origin", listed: str = "label.lst") -> Path:
    lines = []
    for pictures in FACES.values():
        for stem, faces in pictures.items():
            write_picture(root / images / f"{stem}.png", faces)
            lines += [expw_line(f"{stem}.png", place, face) for place, face in enumerate(faces)]
    write_text(root / listed, "\n".join(lines) + "\n")
    return root


def write_expw_apart(root: Path) -> Path:
    return write_expw(root, "image/origin", "label/label.lst")


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "YOLO": write_yolo,
    "YOLO, splits below": write_yolo_splits_below,
    "YOLO, side by side": write_darknet,
    "COCO": write_coco,
    "COCO, apart": write_coco_apart,
    "table of, by Roboflow": write_box_tables,
    "Pascal VOC": write_voc,
    "Pascal VOC, apart": write_voc_apart,
    "ExpW": write_expw,
    "ExpW, as it is handed out": write_expw_apart,
}
