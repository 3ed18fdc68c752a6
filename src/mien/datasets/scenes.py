"""Generated scenes and videos: drawn people before a background, with the box and the expression of every face known.

They are for demonstrations, tests and benchmarks of finding and following faces. The people are those of
`mien.datasets.samples`, a little calmer and softer, so that detectors trained on photographs see them as faces.

A box frames a face as MTCNN does: between the temples, from the middle of the forehead to the chin. Equal seeds give
equal scenes; between machines pixels may differ by rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.scene_people import HIGHEST, Canvas, Person, draw_person
from mien.datasets.scene_walks import Walk
from mien.errors import UsageError, many, unknown_choice
from mien.files import replacing
from mien.images import Image
from mien.labels import EXPRESSIONS

BACKGROUNDS = ("soft", "busy", "plain")
"""What may lie behind the people: a blur of colours, a wall of shapes, one colour."""

_CELL = (2.5, 3.0)
"""Room that a person takes among others, width and height in head units: enough that no face is covered."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of one picture.

    Attributes:
        boxes_xyxy: float32 (n, 4), pixels: left, upper, right, lower edge of each face. May reach past the edge.
        ids: the number of each face's person, from 1; the same all along a video.
        expressions: what each face shows, one of `mien.labels.EXPRESSIONS`.
    """

    boxes_xyxy: NDArray[np.float32]
    ids: tuple[int, ...]
    expressions: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Scene(Truth):
    """A generated picture and what is known of it; see `Truth`.

    Attributes:
        image: uint8 (height, width, 3) RGB.
    """

    image: Image

    def truth(self) -> Truth:
        """The same without the pixels."""
        return Truth(self.boxes_xyxy, self.ids, self.expressions)


def draw_scene(
    seed: int,
    *,
    size_wh: tuple[int, int] = (1280, 720),
    faces: int = 2,
    background: str = "soft",
    heights: tuple[float, float] | None = None,
) -> Scene:
    """Draw people beside each other, none covering another's face.

    Args:
        seed: 0 or more.
        size_wh: width and height of the picture in pixels, 32 or more each.
        faces: how many, 0 or more.
        background: one of `BACKGROUNDS`.
        heights: the smallest and largest height of a face's box in pixels, where there is room; None: 0.6 to 1 of what
            there is room for.

    Raises:
        UsageError: an argument is not as above, or so many faces have no room.
    """
    _check(seed, size_wh, faces)
    rng = np.random.default_rng([seed, 1])
    canvas = Canvas(_background(background, size_wh, rng))
    columns, rows, unit = _layout(faces, size_wh)
    cells = rng.permutation(columns * rows)[:faces]
    truths = []
    for number, cell in enumerate(sorted(cells.tolist()), 1):
        row, column = divmod(cell, columns)
        scale = unit * _scale(rng, unit, heights)
        free = np.array([size_wh[0] / columns, size_wh[1] / rows]) - scale * np.array(_CELL)
        place = np.array([column, row]) * size_wh / np.array([columns, rows]) + free * rng.uniform(0.2, 0.8, 2)
        expression = EXPRESSIONS[int(rng.integers(len(EXPRESSIONS)))]
        person = draw_person([seed, number], scale, (expression,))
        centre = place + scale * np.array([_CELL[0] / 2, HIGHEST])
        look = person.look(expression)
        canvas.paste(look, centre, 1.0)
        truths.append((look.box(centre, 1.0), number, expression))
    return _scene(canvas.image, truths)


def scene_video(
    seed: int,
    *,
    frames: int,
    fps: float = 30.0,
    size_wh: tuple[int, int] = (1280, 720),
    faces: int = 2,
    background: str = "soft",
) -> Iterator[Scene]:
    """People who move about: they pass in front of each other, leave and come back, and change their expression.

    A face is listed while at least `mien.datasets.scene_people.VISIBLE` of its box can be seen; those in front last.

    Args:
        seed: 0 or more.
        frames: how many, 0 or more.
        fps: frames a second, above 0.
        size_wh: width and height in pixels, even, 32 or more each.
        faces: how many people, 0 or more.
        background: one of `BACKGROUNDS`.

    Raises:
        UsageError: an argument is not as above.
    """
    _check(seed, size_wh, faces)
    if frames < 0 or not fps > 0:
        raise UsageError(f"frames: must be 0 or more, fps above 0, received {frames!r} and {fps!r}")
    ground = _background(background, size_wh, np.random.default_rng([seed, 1]))
    return _frames(seed, frames, fps, size_wh, faces, ground)


def _frames(seed: int, frames: int, fps: float, size_wh: tuple[int, int], faces: int, ground: Image) -> Iterator[Scene]:
    unit = min(size_wh[1] / 5.5, size_wh[0] / (2.2 * max(faces, 2)))
    people = [draw_person([seed, number], unit, EXPRESSIONS) for number in range(1, faces + 1)]
    walks = [Walk([seed, number, 2], size_wh, unit) for number in range(1, faces + 1)]
    for frame in range(frames):
        canvas = Canvas(ground.copy())
        drawn = []
        for number, (person, walk) in enumerate(zip(people, walks, strict=True), 1):
            step = walk.at(frame / fps)
            look = person.between(step.before, step.after, step.share)
            canvas.paste(look, step.centre, step.scale)
            drawn.append((look.box(step.centre, step.scale), number, step.expression))
        seen = canvas.seen([box for box, _, _ in drawn])
        yield _scene(canvas.image, [truth for truth, visible in zip(drawn, seen, strict=True) if visible])


def write_scene_video(
    path: str | Path,
    seed: int = 0,
    *,
    frames: int,
    fps: int = 30,
    size_wh: tuple[int, int] = (1280, 720),
    faces: int = 2,
    background: str = "soft",
) -> list[Truth]:
    """Write `scene_video` as an ``.mp4``: H.264 where PyAV is installed, MPEG-4 by OpenCV otherwise.

    Args:
        path: the file to write.
        seed: as the others, see `scene_video`.
        frames: see there.
        fps: see there; a whole number.
        size_wh: see there.
        faces: see there.
        background: see there.

    Returns:
        What each frame shows.

    Raises:
        UsageError: see `scene_video`; or the path does not end in ``.mp4``, a side is odd, or no encoder starts.
    """
    if Path(path).suffix.lower() != ".mp4" or size_wh[0] % 2 or size_wh[1] % 2:
        raise UsageError(f"path: must end in .mp4, size_wh be even, received {str(path)!r} and {size_wh}")
    scenes = scene_video(seed, frames=frames, fps=fps, size_wh=size_wh, faces=faces, background=background)
    truths = []
    with replacing(path) as temporary, _writer(temporary, fps, size_wh) as writer:
        for scene in scenes:
            writer(scene.image)
            truths.append(scene.truth())
    return truths


class _Writer(Protocol):
    def __call__(self, image: Image, /) -> object: ...


@contextmanager
def _writer(path: Path, fps: int, size_wh: tuple[int, int]) -> Iterator[_Writer]:
    try:
        import av
    except ImportError:
        with _write_with_opencv(path, fps, size_wh) as writer:
            yield writer
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = *size_wh, "yuv420p"

        def write(image: Image) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))

        yield write
        container.mux(stream.encode())


@contextmanager
def _write_with_opencv(path: Path, fps: int, size_wh: tuple[int, int]) -> Iterator[_Writer]:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size_wh)
    if not video.isOpened():
        raise UsageError(f"{path}: this OpenCV writes no MPEG-4; pip install 'mien[video]'")
    try:
        yield lambda image: video.write(np.ascontiguousarray(image[:, :, ::-1]))
    finally:
        video.release()


def _scene(image: Image, truths: list[tuple[NDArray[np.float32], int, str]]) -> Scene:
    boxes = np.array([box for box, _, _ in truths], np.float32).reshape(-1, 4)
    return Scene(boxes, tuple(number for _, number, _ in truths), tuple(name for _, _, name in truths), image)


def _check(seed: int, size_wh: tuple[int, int], faces: int) -> None:
    if seed < 0 or faces < 0 or min(size_wh) < 32:
        raise UsageError(
            f"seed, faces: must be 0 or more, size_wh 32 or more each, received {seed!r}, {faces!r} and {size_wh}"
        )


def _layout(faces: int, size_wh: tuple[int, int]) -> tuple[int, int, float]:
    """Columns, rows and head unit in pixels of the grid that leaves each person the most room."""
    width, height = size_wh
    grids = [(columns, -(-faces // columns)) for columns in range(1, faces + 1)] or [(1, 1)]
    units = [min(width / columns / _CELL[0], height / rows / _CELL[1]) for columns, rows in grids]
    best = int(np.argmax(units))
    if units[best] < Person.SMALLEST_UNIT:
        raise UsageError(f"faces: {many(faces, 'has', 'have')} no room in {width} x {height} pixels; ask for fewer")
    return *grids[best], units[best]


def _scale(rng: np.random.Generator, unit: float, heights: tuple[float, float] | None) -> float:
    """Share of the room that a person takes."""
    share = float(rng.uniform(0.6, 1.0))
    if heights is not None:
        share = float(rng.uniform(*heights)) / (Person.BOX_HEIGHT * unit)
    return min(max(share, Person.SMALLEST_UNIT / unit), 1.0)


def _background(kind: str, size_wh: tuple[int, int], rng: np.random.Generator) -> Image:
    if kind not in BACKGROUNDS:
        raise unknown_choice("background", kind, BACKGROUNDS)
    width, height = size_wh
    cells = (1, 1) if kind == "plain" else (4, 7)
    level, colours = rng.uniform(70, 190), rng.uniform(-45, 45, (*cells, 3))
    ground = cv2.resize((level + colours).astype(np.float32), size_wh, interpolation=cv2.INTER_CUBIC)
    if kind != "plain":
        ground += rng.standard_normal((height, width, 1), np.float32) * 2.0
    image = np.clip(ground, 0, 255).astype(np.uint8)
    return _with_shapes(image, rng) if kind == "busy" else image


def _with_shapes(image: Image, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    for _ in range(60):
        corner = rng.uniform(-0.1, 1.0, 2) * (width, height)
        other = corner + rng.uniform(0.02, 0.25, 2) * height
        colour = rng.integers(30, 225, 3).tolist()
        points = [tuple(map(int, point)) for point in (corner, other)]
        thickness = int(rng.choice([-1, 2, 5]))
        cv2.rectangle(image, points[0], points[1], colour, thickness, cv2.LINE_AA)
    return image
