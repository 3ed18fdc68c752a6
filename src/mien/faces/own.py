"""Detectors of the user's own, which need have no more than `detect`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mien.errors import UsageError
from mien.faces.detection import Detections, Detector
from mien.faces.mtcnn import MTCNN
from mien.faces.whole import WholePicture
from mien.images import Image


def own_detector(detector: Any) -> Detector:
    """A detector that was handed over: mien's own as it is, another with its answers checked and what it lacks added.

    Raises:
        UsageError: it is a class, or finds no faces.
    """
    finds = any(_method(detector, name) for name in ("detect", "detect_batch"))
    if isinstance(detector, type) or not finds:
        made = f"the class {detector.__name__}; make one of it" if isinstance(detector, type) else None
        received = made or f"{type(detector).__name__}, which has no detect"
        raise UsageError(f"detector: must be a name or a mien.faces.Detector, received {received}")
    return detector if isinstance(detector, MTCNN | WholePicture | OwnDetector) else OwnDetector(detector)


def follows_faces(detector: Detector) -> bool:
    """Whether it can look for faces near where they were; otherwise every frame of a video is searched."""
    return not isinstance(detector, OwnDetector) or detector.follows


def _method(own: object, name: str) -> Any:
    """A method of the user's own; None where there is none, or only what a class made of `Detector` takes from that."""
    method = getattr(own, name, None)
    return method if callable(method) and getattr(method, "__func__", None) is not getattr(Detector, name) else None


class OwnDetector:
    """A detector of the user's own, of which `detect` or `detect_batch` is enough. See `Detector`.

    Attributes:
        own: what the user has handed over.
        name: its own, or that of its class.
        follows: whether it can follow.
    """

    def __init__(self, own: Any) -> None:
        self.own = own
        self.name = str(getattr(own, "name", None) or type(own).__name__)
        self.follows = _method(own, "follow") is not None

    def detect(self, image: Image) -> Detections:
        """See `Detector`."""
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """See `Detector`; largest first, whatever its own order.

        Raises:
            UsageError: it gave something else than `Detections` for each picture, or boxes the wrong way round.
        """
        several = _method(self.own, "detect_batch")
        given = [self.own.detect(image) for image in images] if several is None else several(images)
        found = list(given) if isinstance(given, Iterable) else [given]
        if len(found) != len(images):
            raise UsageError(
                f"detector: its detect_batch must give mien.faces.Detections for each picture, received {len(found)} "
                f"for {len(images)}"
            )
        return [_checked(faces).in_order() for faces in found]

    def follow(self, image: Image, before: Detections) -> Detections:
        """See `Detector`; where it cannot, all are out of sight until the picture is searched."""
        if self.follows:
            after = _checked(self.own.follow(image, before))
            if len(after) != len(before):
                raise UsageError(
                    f"detector: its follow must give as many faces as it was given, {len(before)}, those out of sight "
                    f"with a score below 0.5; received {len(after)}"
                )
            return after
        return Detections(before.boxes_xyxy, np.zeros(len(before), np.float32), before.keypoints)


def _checked(faces: object) -> Detections:
    if not isinstance(faces, Detections):
        raise UsageError(
            f"detector: its detect must give mien.faces.Detections (Detections.none() without a face), received "
            f"{type(faces).__name__}"
        )
    boxes = faces.boxes_xyxy
    wrong = np.flatnonzero(~(boxes[:, 2:] >= boxes[:, :2]).all(axis=1))
    if len(wrong):
        raise UsageError(
            "detector: its boxes must be left, upper, right, lower edge, received "
            f"{tuple(boxes[wrong[0]].tolist())}; of (x, y, width, height) make (x, y, x + width, y + height)"
        )
    if not np.isfinite(faces.keypoints).all():
        raise UsageError(
            "detector: its keypoints must be finite numbers of pixels; where some are not known, leave all out: "
            "Detections(boxes_xyxy, scores)"
        )
    return faces
