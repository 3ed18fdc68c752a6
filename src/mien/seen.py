"""Pictures in which faces were found, and what is given once these are classified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.faces import KEYPOINTS, Detections
from mien.faces.boxes import clipped
from mien.frames import Frame
from mien.results import Box, Face, Prediction


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture and the faces found in it, before they are classified."""

    frame: Frame
    faces: Detections
    track_ids: NDArray[np.int64] | None = None


def build_faces(
    seen: Seen, shares: NDArray[np.float32], classes: Sequence[str], min_confidence: float
) -> tuple[Face, ...]:
    """Validated values from columns.

    Args:
        seen: the picture and its faces.
        shares: float32 (n, classes), probabilities of each face.
        classes: their names.
        min_confidence: see `Prediction`.
    """
    faces = seen.faces
    names = KEYPOINTS if faces.keypoints.size else ()
    boxes = clipped(faces.boxes_xyxy, seen.frame.image).tolist()
    points = faces.keypoints.tolist()
    ids = [None] * len(faces) if seen.track_ids is None else seen.track_ids.tolist()
    return tuple(
        Face(
            Box(*boxes[row]),
            min(max(float(faces.scores[row]), 0.0), 1.0),
            Prediction.from_row(classes, shares[row].tolist(), min_confidence),
            {name: (x, y) for name, (x, y) in zip(names, points[row], strict=True)},
            ids[row],
        )
        for row in range(len(faces))
    )
