"""What a face detector gives, and what it must be able to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import UsageError
from mien.images import Image

KEYPOINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
"""The five points of a face, in the order of the columns. Left is the person's left: in a picture of a person who faces
the camera, the first of each pair lies further left in the picture."""


def _as_floats(name: str, values: ArrayLike) -> NDArray[np.float32]:
    try:
        return np.atleast_1d(np.asarray(values, np.float32))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: must be numbers, received {type(values).__name__} ({error})") from error


@dataclass(frozen=True, eq=False, init=False)
class Detections:
    """The faces of one picture, in columns; largest first, equal ones from left to right, then top to bottom.

    Lists become arrays.

    Attributes:
        boxes_xyxy: float32 (n, 4), pixels: left, upper, right, lower edge. May reach past the picture's edge.
        scores: float32 (n,) in [0, 1].
        keypoints: float32 (n, 5, 2), pixels (x, y), in the order of `KEYPOINTS`; (n, 0, 2) where there are none.

    Raises:
        UsageError: the arrays do not fit together.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    keypoints: NDArray[np.float32]

    def __init__(self, boxes_xyxy: ArrayLike, scores: ArrayLike, keypoints: ArrayLike = ()) -> None:
        for name, values in (("boxes_xyxy", boxes_xyxy), ("scores", scores), ("keypoints", keypoints)):
            object.__setattr__(self, name, _as_floats(name, values))
        n = len(self.scores)
        if not self.keypoints.size:  # an empty list is one-dimensional
            points = self.keypoints.shape[-2] if self.keypoints.ndim == 3 and not n else 0
            object.__setattr__(self, "keypoints", self.keypoints.reshape(n, points, 2))
        if not n and not self.boxes_xyxy.size:
            object.__setattr__(self, "boxes_xyxy", self.boxes_xyxy.reshape(0, 4))
        shapes = (self.boxes_xyxy.shape, self.scores.shape, self.keypoints.shape)
        if shapes not in (((n, 4), (n,), (n, 5, 2)), ((n, 4), (n,), (n, 0, 2))):
            raise UsageError(f"boxes, scores, keypoints: must be (n, 4), (n,), (n, 5 or 0, 2), received {shapes}")

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> Detections:
        """No face."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32))

    def take(self, rows: ArrayLike) -> Detections:
        """These faces, in this order: integers, or booleans (n,)."""
        chosen = np.asarray(rows)
        chosen = chosen if chosen.size else np.empty(0, np.int64)
        return Detections(self.boxes_xyxy[chosen], self.scores[chosen], self.keypoints[chosen])

    def in_order(self) -> Detections:
        """Largest first, equal ones from left to right, then top to bottom."""
        left, top, right, bottom = self.boxes_xyxy.T
        return self.take(np.lexsort((top, left, -(right - left) * (bottom - top))))


class FindsFaces(Protocol):
    """What a detector that is handed to `mien.Analyzer` must have; see `Detector`."""

    def detect(self, image: Image) -> Detections:
        """The faces of one picture."""


class Detector(Protocol):
    """Finds faces. Safe to share between threads.

    One that is handed to `mien.Analyzer` need have no more than `detect`: `FindsFaces`. Pictures are uint8, (height,
    width) grey or (height, width, 3) RGB, upright.
    """

    @property
    def name(self) -> str:
        """What ``--detector`` calls it."""

    def detect(self, image: Image) -> Detections:
        """The faces of one picture."""

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """The faces of each picture, which may differ in size: the same answers as one by one, faster."""

    def follow(self, image: Image, before: Detections) -> Detections:
        """Look for the faces of the frame before, near where they were: much faster than `detect`.

        Args:
            image: the next frame of a video.
            before: its faces in the frame before.

        Returns:
            As many as `before`, in the same order, with boxes, scores and keypoints brought up to date; the score is
            low (below 0.5) where the face is no longer seen.
        """
