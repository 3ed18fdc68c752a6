"""The page's example: four drawn people, of whom each is read as what it shows.

``python tests/test_page_example.py`` draws it anew.
"""

import cv2
import numpy as np

import mien
from mien.datasets.scene_people import Canvas, draw_person
from mien.images import decode
from mien.server.pages import FOLDER

PICTURE = FOLDER / "page" / "example.jpg"
PEOPLE = ((0, "happy"), (1, "surprise"), (4, "sad"), (2, "happy"))
"""Seed and expression, from left to right."""

WALLS = ((233, 226, 211), (212, 224, 222), (230, 217, 212), (217, 219, 229))
SIZE_WH = (300, 370)
"""Of each person's part, in pixels."""


def drawn() -> np.ndarray:
    """uint8 (height, width, 3) RGB."""
    return np.hstack([portrait(*person, wall) for person, wall in zip(PEOPLE, WALLS, strict=True)])


def portrait(seed: int, expression: str, wall: tuple[int, int, int]) -> np.ndarray:
    width, height = SIZE_WH
    canvas = Canvas(np.full((height, width, 3), wall, np.uint8))
    look = draw_person([seed, 7], width / 3, (expression,)).look(expression)
    canvas.paste(look, np.array([width / 2, 0.45 * height]), 1.0)
    return canvas.image


def test_the_example_is_read_as_what_it_shows() -> None:
    faces = mien.Analyzer("mien-small").analyze(PICTURE.read_bytes()).faces
    found = sorted((face.box.x1, face.expression, face.confidence) for face in faces)
    assert [expression for _, expression, _ in found] == [expression for _, expression in PEOPLE]
    assert min(confidence for *_, confidence in found) > 0.5


def test_the_example_is_what_this_file_draws() -> None:
    stored = decode(PICTURE.read_bytes(), name="example.jpg").astype(float)
    first = portrait(*PEOPLE[0], WALLS[0])
    assert stored.shape == (first.shape[0], first.shape[1] * len(PEOPLE), 3)
    assert np.abs(stored[:, : SIZE_WH[0]] - first).mean() < 3
    assert PICTURE.stat().st_size < 60_000


if __name__ == "__main__":
    written = cv2.imencode(".jpg", drawn()[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    PICTURE.write_bytes(written.tobytes())
