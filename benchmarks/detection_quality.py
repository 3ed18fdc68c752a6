"""How well faces are found: mien's MTCNN against mtcnn 1.0.0 on pictures with faces counted by eye.

python benchmarks/detection_quality.py [--photos FOLDER] [--fer2013 FOLDER]

Needs scikit-image for its pictures, and mtcnn with TensorFlow to compare with. detection_pictures.py says which
pictures, and what was counted.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection_pictures import Picture, pictures, re_encoded, without_faces
from mien.faces import MTCNN
from mien.faces.boxes import overlaps
from mien.images import Image
from reporting import publish

Found = tuple[NDArray[np.float32], NDArray[np.float32]]
Detect = Callable[[Image], Found]

JPEG = (80, 85, 90, 95)
SHIFTS = ((1, 0), (0, 1), (1, 1))
SAME = 0.5
"""Intersection over union from which two boxes are of the same face."""


@dataclass
class Count:
    """Of one detector on pictures of one kind."""

    faces: int = 0
    found: int = 0
    false: int = 0
    double: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder with the photos that detection_pictures.py counts")
    parser.add_argument("--fer2013", type=Path, help="FER2013, for collages of its faces")
    options = parser.parse_args()
    chosen = pictures(options.photos, options.fer2013)
    detectors = {"mtcnn 1.0.0": theirs(), "mien": ours()}
    plain = {name: [detect(picture.image) for picture in chosen] for name, detect in detectors.items()}
    rows = [row for name in detectors for row in counted(name, chosen, plain[name])]
    more = [*re_encoded([picture for picture in chosen if picture.kind == "photos"]), *without_faces()]
    for name, detect in detectors.items():
        rows += counted(name, more, [detect(picture.image) for picture in more])[:-1]
    with_faces = [i for i, picture in enumerate(chosen) if picture.faces]
    for name, detect in detectors.items():
        rows += steadiness(name, detect, [(chosen[i], plain[name][i]) for i in with_faces])
    rows.append(agreement(plain["mtcnn 1.0.0"], plain["mien"]))
    command = "python benchmarks/detection_quality.py"
    command += f"{' --photos photos' * bool(options.photos)}{' --fer2013 FER2013' * bool(options.fer2013)}"
    note = (
        f"{len(chosen)} pictures, {sum(len(picture.faces) for picture in chosen)} faces; both detectors with their "
        "defaults (smallest face 20 pixels). A face is found where a box overlaps it by 0.3, or lies in it and "
        "overlaps it by 0.12; double: a second box on a face. Re-encoded: pictures with faces through Pillow's JPEG at "
        "eight qualities, also shifted by a pixel; one also in grey, in 256 colours, resized. Hard: pictures without "
        "faces at three sizes, also upside down. Steady: over JPEG at 80, 85, 90, 95, over shifts by "
        "a pixel, the share of boxes that are found again (overlap of 0.5), how far they overlap; under false, new "
        "boxes per box."
    )
    header = ("detector", "pictures", "faces found", "false", "double")
    publish("detection-quality", "Faces found, and how steadily", command, note, header, rows)


def ours() -> Detect:
    detector = MTCNN()

    def detect(image: Image) -> Found:
        faces = detector.detect(image)
        return faces.boxes_xyxy, faces.scores

    return detect


def theirs() -> Detect:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import mtcnn

    detector = mtcnn.MTCNN()

    def detect(image: Image) -> Found:
        faces = detector.detect_faces(image, box_format="xyxy")
        boxes = np.array([face["box"] for face in faces], np.float32).reshape(-1, 4)
        return boxes, np.array([face["confidence"] for face in faces], np.float32)

    return detect


def counted(name: str, chosen: list[Picture], found: Iterable[Found]) -> list[tuple[object, ...]]:
    counts: dict[str, Count] = defaultdict(Count)
    for picture, (boxes, _) in zip(chosen, found, strict=True):
        count = counts[picture.kind]
        hits = matched(boxes, picture)
        right = hits[hits >= 0]
        count.faces += len(picture.faces)
        count.found += len(set(right))
        count.double += len(right) - len(set(right))
        count.false += sum(not ignored(box, picture) for box in boxes[hits < 0])
    rows = [(name, kind, f"{c.found} of {c.faces}", c.false, c.double) for kind, c in counts.items()]
    total = [sum(getattr(c, field) for c in counts.values()) for field in ("found", "faces", "false", "double")]
    return [*rows, (name, "all", f"{total[0]} of {total[1]}", total[2], total[3])]


def matched(boxes: NDArray[np.float32], picture: Picture) -> NDArray[np.intp]:
    """The face that each box shows, or -1."""
    faces = np.array(picture.faces, np.float32).reshape(-1, 4)
    if not len(faces) or not len(boxes):
        return np.full(len(boxes), -1)
    shared = overlaps(boxes, faces)
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    inside = ((centres > faces[None, :, :2]) & (centres < faces[None, :, 2:])).all(2)
    shared[~((shared >= 0.3) | (inside & (shared >= 0.12)))] = 0
    return np.where(shared.max(1) > 0, shared.argmax(1), -1)


def ignored(box: NDArray[np.float32], picture: Picture) -> bool:
    x, y = (box[:2] + box[2:]) / 2
    return any(x1 < x < x2 and y1 < y < y2 for x1, y1, x2, y2 in picture.ignored)


def steadiness(name: str, detect: Detect, before: list[tuple[Picture, Found]]) -> list[tuple[object, ...]]:
    encoded = [(f, detect(jpeg(p.image, q))[0]) for p, f in before for q in JPEG]
    shifted = [(f, detect(shift(p.image, *by))[0] - np.float32(by * 2)) for p, f in before for by in SHIFTS]
    rows: list[tuple[object, ...]] = []
    for change, pairs in (("JPEG", encoded), ("shifted", shifted)):
        best: list[float] = []
        new = 0
        for (boxes, _), after in pairs:
            shared = overlaps(boxes, after)
            highest = shared.max(1, initial=0)
            best += highest[highest >= SAME].tolist()
            new += int((shared.max(0, initial=0) < SAME).sum())
        again, of = len(best), sum(len(boxes) for (boxes, _), _ in pairs)
        rows.append(
            (name, f"steady: {change}", f"{again / of:.2%}, overlap {np.mean(best):.3f}", f"{new / of:.2%}", "")
        )
    return rows


def jpeg(image: Image, quality: int) -> Image:
    _, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1])


def shift(image: Image, right: int, down: int) -> Image:
    height, width = image.shape[:2]
    return np.ascontiguousarray(np.pad(image, ((down, 0), (right, 0), (0, 0)), mode="edge")[:height, :width])


def agreement(theirs: list[Found], ours: list[Found]) -> tuple[object, ...]:
    """With the boxes of theirs that score 0.98 or more."""
    best: list[float] = []
    for (boxes, scores), (mine, _) in zip(theirs, ours, strict=True):
        best += overlaps(boxes[scores >= 0.98], mine).max(1, initial=0).tolist()
    share = np.mean(np.array(best) >= 0.7)
    text = f"{share:.2%} of {len(best)} overlap by 0.7; mean {np.mean(best):.3f}"
    return ("mien", "boxes that mtcnn scores 0.98 or more", text, "", "")


if __name__ == "__main__":
    main()
