"""Sample faces: labelled drawings, as many as are asked for, to try every part of mien without a dataset.

They are drawn from parameters (`mien.datasets.face_model`) and show the prototypes of Ekman and Friesen's Facial Action
Coding System. They are for demonstrations and tests: a network that has learnt them knows nothing of real faces, and
its scores on them say nothing of its scores on real ones.

Face i of a seed is the same whatever the number asked for. Between machines pixels may differ by rounding, not more.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_drawing import check_picture, draw_picture
from mien.datasets.face_sampling import random_parameters
from mien.datasets.face_series import PROPORTIONS, Series, drawn
from mien.datasets.storage import SAMPLE_MARKER
from mien.errors import UsageError, unknown_choice
from mien.images import Image
from mien.labels import EXPRESSIONS


def draw_face(expression: str, *, seed: int, size: int = 48, channels: int = 1) -> Image:
    """Draw a chance face that shows an expression; one seed gives one person, pose and light in every expression.

    Args:
        expression: one of `mien.labels.EXPRESSIONS`.
        seed: 0 or more.
        size: side in pixels, 16 to 1024.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 (size, size) for one channel, (size, size, 3) RGB for three.

    Raises:
        UsageError: there is no such expression, or seed, size or channels are not as above.
    """
    _check(seed, size, channels)
    parameters = random_parameters(expression, np.random.default_rng(seed))
    return draw_picture(parameters, size=size, channels=channels)


def sample_faces(
    count: int, *, seed: int = 0, size: int = 48, channels: int = 1, proportions: str = "balanced"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw labelled faces.

    Args:
        count: how many, 0 or more.
        seed: 0 or more.
        size: side in pixels, 16 to 1024.
        channels: 1 for grey, 3 for RGB.
        proportions: one of `PROPORTIONS`; where balanced, the class of face i is i % 7.

    Returns:
        Images, uint8 (count, size, size, channels), RGB where channels is 3, and classes, int64 (count,), indices into
        `mien.labels.EXPRESSIONS`.

    Raises:
        UsageError: an argument is not as above.
    """
    series = _series(count, seed, size, channels, proportions)
    images = np.empty((count, size, size, channels), np.uint8)
    start = 0
    for faces in drawn(series):
        images[start : start + len(faces)] = faces
        start += len(faces)
    return images, series.labels()


def write_samples(
    folder: Path,
    *,
    count: int = 2100,
    seed: int = 0,
    size: int = 48,
    channels: int = 1,
    proportions: str = "balanced",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write labelled faces as PNG files in the layout of FER2013.

    ``train/<expression>/Training_<id>.png`` holds 80 % of each class, ``test/<expression>/PublicTest_<id>.png`` and
    ``PrivateTest_<id>.png`` 10 % each. The id is the face's number. A call that is interrupted leaves nothing behind.

    Args:
        folder: where to; it must not exist, or be empty.
        count: how many faces, 1 or more.
        seed: 0 or more.
        size: side in pixels, 16 to 1024.
        channels: 1 for grey, 3 for RGB.
        proportions: one of `PROPORTIONS`.
        progress: called with the number of faces written so far and `count`.

    Raises:
        UsageError: the folder holds something already or is a file, or another argument is not as above.
        OSError: the folder cannot be written.
    """
    series = _series(count, seed, size, channels, proportions)
    if count < 1:
        raise UsageError(f"count: must be at least 1, received {count!r}")
    names = _file_names(series.labels())
    folder = Path(folder).absolute()
    _refuse_occupied(folder)
    with _appearing(folder) as building:
        for parent in sorted({Path(name).parent for name in names}):
            (building / parent).mkdir(parents=True)
        written = 0
        for faces in drawn(series):
            for face in faces:
                (building / names[written]).write_bytes(_png(face))
                written += 1
            if progress is not None:
                progress(written, count)
        (building / SAMPLE_MARKER).write_text(f"Faces drawn by mien, seed {seed}; no photographs.\n", encoding="utf-8")


def _check(seed: int, size: int, channels: int) -> None:
    if seed < 0:
        raise UsageError(f"seed: must be 0 or more, received {seed!r}")
    check_picture(size, channels)


def _series(count: int, seed: int, size: int, channels: int, proportions: str) -> Series:
    _check(seed, size, channels)
    if count < 0:
        raise UsageError(f"count: must be 0 or more, received {count!r}")
    if proportions not in PROPORTIONS:
        raise unknown_choice("proportions", proportions, PROPORTIONS)
    return Series(count, seed, size, channels, proportions)


def _file_names(labels: NDArray[np.int64]) -> list[str]:
    """Where each face goes: of ten of a class, the first eight into training and one into each test."""
    seen, names = [0] * len(EXPRESSIONS), []
    for number, label in enumerate(labels.tolist()):
        turn, expression = seen[label] % 10, EXPRESSIONS[label]
        seen[label] += 1
        split, prefix = ("train", "Training") if turn < 8 else ("test", "PublicTest" if turn == 8 else "PrivateTest")
        names.append(f"{split}/{expression}/{prefix}_{number}.png")
    return names


def _refuse_occupied(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        what = "is not empty" if folder.is_dir() else "is a file"
        raise UsageError(f"folder: must not exist or be empty, received {folder}, which {what}; choose another name")


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill beside its final place, moved there at the end and removed where that is not reached."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.partial")
    building.mkdir()
    try:
        yield building
        if folder.is_dir():
            folder.rmdir()
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _png(image: NDArray[np.uint8]) -> bytes:
    """An image uint8 (size, size, 1 or 3), RGB, as the bytes of a PNG file."""
    written, data = cv2.imencode(".png", image if image.shape[2] == 1 else np.ascontiguousarray(image[:, :, ::-1]))
    if not written:
        raise UsageError(f"image: cannot be written as PNG, received {image.dtype} {image.shape}")
    return bytes(data)
