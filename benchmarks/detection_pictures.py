"""Pictures with faces counted by eye, for detection_quality.py: free ones, photos of a folder, collages."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from mien.images import Image, read_image

Boxes = list[tuple[float, float, float, float]]

PHOTOS: dict[str, tuple[Boxes, Boxes]] = {
    "img12.jpg": ([(223, 64, 355, 253)], []),
    "img16.jpg": ([(292, 62, 483, 326)], [(0, 150, 110, 418), (500, 100, 740, 418)]),
    "img17.jpg": ([(375, 97, 573, 368)], []),
    "img21.jpg": ([(82, 70, 302, 374)], []),
    "img22.jpg": ([(766, 167, 1033, 538)], []),
    "img25.jpg": ([(119, 73, 285, 283)], []),
    "img29.jpg": ([(165, 109, 396, 406)], []),
    "img62.jpg": ([(244, 92, 434, 331)], [(480, 280, 713, 534), (0, 280, 200, 540)]),
    "no-faces.jpg": ([], []),
}
"""Faces counted by eye, and regions where a blurred or cut face may be found or not: neither right nor wrong."""

BACKGROUNDS = ("brick", "grass", "gravel", "coffee", "rocket", "moon", "hubble_deep_field", "retina", "page", "text")
OTHERS = ("coins", "chelsea", "clock", "horse", "colorwheel", "immunohistochemistry", "cell")

FREE: dict[str, Boxes] = {
    "astronaut": [(180, 62, 267, 173)],
    "camera": [(198, 118, 255, 196)],
    **{name: [] for name in (*BACKGROUNDS, *OTHERS)},
}
"""Pictures of scikit-image's data module that come with it, and the faces in them."""


QUALITIES = (50, 70, 75, 80, 85, 90, 95, 100)


@dataclass
class Picture:
    """A picture, the faces that must be found, and regions that do not count."""

    name: str
    image: Image
    faces: Boxes
    ignored: Boxes = field(default_factory=list)
    kind: str = "photos"


def pictures(photos: Path | None, fer2013: Path | None) -> list[Picture]:
    """All there are."""
    whole = [*free_pictures(), *(folder_pictures(photos) if photos else [])]
    with_faces = [picture for picture in whole if picture.faces]
    result = [*whole, *(changed for picture in with_faces for changed in variants(picture)), *mosaics(with_faces)]
    result += collages("LFW collage", lfw_faces(), 8)
    return result + (collages("FER2013 collage", fer_faces(fer2013), 24) if fer2013 else [])


def free_pictures() -> Iterator[Picture]:
    from skimage import data

    for name, faces in FREE.items():
        image = getattr(data, name)()
        image = image if image.dtype == np.uint8 else (np.asarray(image) * 255).astype(np.uint8)
        yield Picture(name, rgb(image), faces, kind="photos" if faces else "no faces")


def re_encoded(whole: list[Picture]) -> Iterator[Picture]:
    """Pictures with faces as JPEG at eight qualities, also shifted by a pixel; one in grey, in 256 colours, resized."""
    for picture in whole:
        if not picture.faces:
            continue
        shifted = np.pad(picture.image, ((1, 0), (1, 0), (0, 0)), mode="edge")[:-1, :-1]
        for image in (picture.image, shifted):
            yield from at_qualities(picture, image)
            if picture.name == "astronaut":
                yield from at_qualities(picture, rgb(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)))
                yield from at_qualities(picture, np.array(PIL.Image.fromarray(image).quantize(256).convert("RGB")))
        if picture.name == "astronaut":
            for scale in (0.5, 0.75, 1.25, 1.5):
                how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
                image = np.asarray(cv2.resize(picture.image, None, fx=scale, fy=scale, interpolation=how), np.uint8)
                boxes = moved(picture.faces, np.array([[scale, 0, 0], [0, scale, 0]]))
                yield from at_qualities(Picture(f"{picture.name} x {scale}", image, boxes), image)


def at_qualities(picture: Picture, image: Image) -> Iterator[Picture]:
    """An image with the faces of a picture, through Pillow's JPEG."""
    for quality in QUALITIES:
        stream = io.BytesIO()
        PIL.Image.fromarray(image).save(stream, "JPEG", quality=quality)
        again = np.array(PIL.Image.open(stream).convert("RGB"))
        yield Picture(f"{picture.name}, {quality}", again, picture.faces, picture.ignored, "re-encoded")


def without_faces() -> Iterator[Picture]:
    """Textures, tissue, machines, text: at three sizes, and upside down."""
    from skimage import data

    grounds = [(picture.name, picture.image) for picture in free_pictures() if not picture.faces]
    folder = Path(data.__file__).parent
    grounds += [(name, read_image(folder / f"{name}.png")) for name in ("motorcycle_left", "color", "microaneurysms")]
    for name, image in grounds:
        for scale in (1, 0.6, 0.35):
            small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            for some in (small, small[::-1]):
                yield Picture(name, np.ascontiguousarray(some), [], kind="no faces, hard")


def folder_pictures(folder: Path) -> Iterator[Picture]:
    for name, (faces, ignored) in PHOTOS.items():
        if (folder / name).is_file():
            yield Picture(name, read_image(folder / name), faces, ignored, "photos" if faces else "no faces")


def variants(picture: Picture) -> Iterator[Picture]:
    """Half and a fifth of the size, turned, mirrored, darker."""
    height, width = picture.image.shape[:2]
    turns = {"turned 15": (15, 0.9), "turned -15": (-15, 0.9), "half": (0, 0.5), "a fifth": (0, 0.22)}
    for name, (angle, scale) in turns.items():
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
        size = (round(width * scale), round(height * scale)) if not angle else (width, height)
        if not angle:
            image = cv2.resize(picture.image, size, interpolation=cv2.INTER_AREA)
            matrix = np.array([[size[0] / width, 0, 0], [0, size[1] / height, 0]])
        else:
            image = cv2.warpAffine(picture.image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        yield Picture(f"{picture.name} {name}", image, *(moved(b, matrix) for b in both(picture)), "variants")
    dark = (picture.image * np.float32(0.45)).astype(np.uint8)
    yield Picture(f"{picture.name} dark", dark, picture.faces, picture.ignored, "variants")


def both(picture: Picture) -> tuple[Boxes, Boxes]:
    return picture.faces, picture.ignored


def moved(boxes: Boxes, matrix: NDArray[np.float64]) -> Boxes:
    """Boxes of the same proportions around the moved centres."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    result = []
    for x1, y1, x2, y2 in boxes:
        x, y = matrix @ [(x1 + x2) / 2, (y1 + y2) / 2, 1]
        w, h = (x2 - x1) * scale / 2, (y2 - y1) * scale / 2
        result.append((x - w, y - h, x + w, y + h))
    return result


def mosaics(pictures: list[Picture]) -> Iterator[Picture]:
    """All pictures with faces in one, as in a crowd: three sizes."""
    for cell in (110, 180, 300):
        columns = 4
        rows = -(-len(pictures) // columns)
        canvas = np.zeros((rows * cell, columns * cell, 3), np.uint8)
        faces: Boxes = []
        ignored: Boxes = []
        for number, picture in enumerate(pictures):
            scale = cell / max(picture.image.shape[:2])
            small = cv2.resize(picture.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            y, x = number // columns * cell, number % columns * cell
            canvas[y : y + small.shape[0], x : x + small.shape[1]] = small[:cell, :cell]
            matrix = np.array([[scale, 0, x], [0, scale, y]])
            faces += moved(picture.faces, matrix)
            ignored += moved(picture.ignored, matrix)
        yield Picture(f"mosaic of {cell} px", canvas, faces, ignored, "mosaics")


def lfw_faces() -> list[Image]:
    """The first 100 pictures of 25 x 25 that come with scikit-image are faces of Labeled Faces in the Wild."""
    from skimage import data

    return [(face * 255).astype(np.uint8) for face in data.lfw_subset()[:100]]


def fer_faces(folder: Path) -> list[Image]:
    paths = sorted((folder / "train").rglob("*.jpg"))
    chosen = np.random.default_rng(2013).choice(len(paths), 300, replace=False)
    return [read_image(paths[i], channels=1) for i in chosen]


def collages(kind: str, faces: list[Image], count: int) -> list[Picture]:
    """Faces of 40 to 160 pixels, turned by up to 20 degrees, on backgrounds without faces."""
    from skimage import data

    result = []
    for number in range(count):
        rng = np.random.default_rng(number)
        ground = rgb(getattr(data, BACKGROUNDS[number % len(BACKGROUNDS)])())
        canvas = cv2.resize(ground, (800, 600), interpolation=cv2.INTER_AREA)
        boxes: Boxes = []
        for row in range(3):
            for column in range(4):
                side = int(rng.integers(40, 160))
                face = rgb(faces[int(rng.integers(len(faces)))])
                x, y = column * 200 + int(rng.integers(200 - side)), row * 200 + int(rng.integers(200 - side))
                paste(canvas, face, x, y, side, float(rng.uniform(-20, 20)))
                boxes.append((x + 0.1 * side, y + 0.05 * side, x + 0.9 * side, y + 0.95 * side))
        result.append(Picture(f"{kind} {number}", canvas, boxes, kind=kind))
    return result


def paste(canvas: Image, face: Image, x: int, y: int, side: int, angle: float) -> None:
    """Lay a face on a picture, turned around its centre, within its square."""
    n = face.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1)
    grow = np.array([[side / n, 0, 0], [0, side / n, 0], [0, 0, 1]])
    matrix = turn @ grow
    inside = cv2.warpAffine(np.full((n, n), 255, np.uint8), matrix, (side, side))
    laid = cv2.warpAffine(face, matrix, (side, side), flags=cv2.INTER_CUBIC)
    target = canvas[y : y + side, x : x + side]
    target[inside > 127] = laid[inside > 127]


def rgb(image: Image) -> Image:
    image = image if image.ndim == 2 else image[..., :3]
    return np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[..., None], 3, 2))
