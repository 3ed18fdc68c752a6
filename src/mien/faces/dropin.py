"""Answers in the words of the ``mtcnn`` distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mien.errors import UsageError
from mien.faces.detection import Detections
from mien.faces.options import Options, checked_thresholds

NAMES = {"nose": 2, "mouth_right": 4, "right_eye": 1, "left_eye": 0, "mouth_left": 3}
"""Its keypoints and their columns; its left is the picture's left, the person's right."""


STAGES = "face_and_landmarks_detection"
"""The one of its ``stages`` that there is here: P-Net, R-Net and O-Net."""

FIXED: dict[str, tuple[Any, ...]] = {
    "stages": (STAGES,),
    "output_type": ("json",),
    "postprocess": (True,),
    "batch_stack_justification": (
        "center",
        "top",
        "bottom",
        "left",
        "right",
        "topleft",
        "topright",
        "bottomleft",
        "bottomright",
    ),
    "min_size": (12,),
    "nms_pnet1": (0.5,),
    "nms_pnet2": (0.7,),
    "nms_rnet": (0.7,),
    "nms_onet": (0.7,),
}
"""Its options that cannot be chosen here, and the values that change nothing."""

THRESHOLD_NAMES = ("threshold_pnet", "threshold_rnet", "threshold_onet")


@dataclass(frozen=True)
class Wording:
    """How answers are worded.

    Attributes:
        box_format: ``xywh`` for [x, y, width, height], ``xyxy`` for [x1, y1, x2, y2].
        fit_to_image: whether boxes are cut at the picture's edges.
        limit_boundaries_landmarks: whether, with `fit_to_image`, keypoints are moved inside, too.

    Raises:
        UsageError: there is no such format.
    """

    box_format: str = "xywh"
    fit_to_image: bool = True
    limit_boundaries_landmarks: bool = False

    def __post_init__(self) -> None:
        if self.box_format not in ("xywh", "xyxy"):
            raise UsageError(f"box_format: must be 'xywh' or 'xyxy', received {self.box_format!r}")


def check_fixed(options: Mapping[str, Any]) -> None:
    """See to it that options of `FIXED` have a value that means what is done here.

    Raises:
        UsageError: one has another value, or is none of them; it names those that can be chosen.
    """
    unknown = sorted(set(options) - set(FIXED))
    if unknown:
        known = sorted({field.name for kind in (Options, Wording) for field in fields(kind)} | set(THRESHOLD_NAMES))
        raise UsageError(f"not supported: {', '.join(unknown)}; detect_faces takes {', '.join(known)}")
    for name, value in options.items():
        if not any(type(value) is type(one) and value == one for one in FIXED[name]):
            only = " or ".join(map(repr, FIXED[name]))
            raise UsageError(f"{name}: mien supports only {only}, received {value!r}")


def to_told(given: Mapping[str, Any], thresholds: Sequence[float]) -> dict[str, Any]:
    """What the cascade is to be told, by the names of `Options`.

    Args:
        given: options of `Options`, `THRESHOLD_NAMES` and `FIXED`.
        thresholds: those that hold where none are given.

    Raises:
        UsageError: an option is unknown, or not supported with that value; or thresholds are out of range.
    """
    rest = dict(given)
    told = {field.name: rest.pop(field.name) for field in fields(Options) if field.name in rest}
    three = checked_thresholds(told.get("thresholds", thresholds))
    told["thresholds"] = tuple(rest.pop(name, value) for name, value in zip(THRESHOLD_NAMES, three, strict=True))
    check_fixed(rest)
    return told


def to_dicts(faces: Detections, size_hw: tuple[int, ...], wording: Wording) -> list[dict[str, Any]]:
    """One dict for each face, numbers rounded to whole pixels.

    Args:
        faces: what was found.
        size_hw: height and width of the picture.
        wording: of the answer.
    """
    boxes, five = faces.boxes_xyxy, faces.keypoints
    last = np.array([size_hw[1], size_hw[0]], np.float32) - 1
    if wording.fit_to_image:
        boxes = np.clip(boxes, 0, np.tile(last, 2))
        five = np.clip(five, 0, last) if wording.limit_boundaries_landmarks else five
    if wording.box_format == "xywh":
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    whole, points = (values.round().astype(int).tolist() for values in (boxes, five))
    return [
        {"box": box, "confidence": float(score), "keypoints": {name: row[i] for name, i in NAMES.items()}}
        for box, score, row in zip(whole, faces.scores, points, strict=True)
    ]
