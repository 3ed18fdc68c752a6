"""Finding faces: `Detector` is the protocol, `DETECTORS` the kinds there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mien.errors import unknown_choice
from mien.faces.detection import KEYPOINTS, Detections, Detector, FindsFaces
from mien.faces.mtcnn import MTCNN, detect_faces
from mien.faces.whole import WholePicture

__all__ = [
    "DETECTORS",
    "KEYPOINTS",
    "MTCNN",
    "Detections",
    "Detector",
    "FindsFaces",
    "WholePicture",
    "detect_faces",
    "open_detector",
]

DETECTORS: dict[str, Callable[..., Detector]] = {"mtcnn": MTCNN, "none": WholePicture}
"""Name to kind: what ``--detector`` takes."""


def open_detector(name: str = "mtcnn", **options: Any) -> Detector:
    """Make a detector by name.

    Args:
        name: a key of `DETECTORS`.
        **options: passed on to it, such as ``min_face_size`` for ``mtcnn``.

    Raises:
        UsageError: an unknown name, or options out of range.
    """
    if name not in DETECTORS:
        raise unknown_choice("detector", name, DETECTORS)
    return DETECTORS[name](**options)
