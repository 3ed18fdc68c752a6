"""How faithful maps are to the model they explain: what it says when pixels go, or come, in the order of a map.

Petsiuk, Das & Saenko 2018, "RISE: randomized input sampling for explanation of black-box models", section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError
from mien.occlusion import blurred, check_targets
from mien.views import Pictures, PredictFn

STEPS = 24
"""A share of 1/24 of the pixels goes or comes at a time."""

HideFn = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""A picture, uint8 (size, size, channels), to what is left of it without its pixels, of the same shape."""


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Scores of one map for each picture.

    Attributes:
        deletion: float64 (n,), the mean probability of the class while pixels are blurred, the map's strongest
            first, 0 to 1. Lower is better: what the map names first is what the model needs.
        insertion: float64 (n,), the same while pixels return to a blurred picture. Higher is better.
    """

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.deletion.shape != self.insertion.shape or self.deletion.ndim != 1:
            raise UsageError(
                f"insertion: must be (n,) as deletion is, received {self.insertion.shape} and {self.deletion.shape}"
            )


def judge_maps(
    predict_fn: PredictFn,
    images: Pictures,
    maps: NDArray[np.float32],
    targets: NDArray[np.int64],
    *,
    steps: int = STEPS,
    hide_fn: HideFn = blurred,
) -> Faithfulness:
    """Score maps by deletion and insertion.

    Args:
        predict_fn: the model that is explained: uint8 (n, size, size, channels) to probabilities (n, classes).
        images: uint8 (n, size, size, channels).
        maps: float (n, size, size), higher where more speaks for the class; only their order counts.
        targets: int64 (n,), indices of the classes that are explained.
        steps: how many times pixels go or come, 1 or more.
        hide_fn: what pixels that are gone look like: a blur of the picture. It favours maps that were made with it.

    Raises:
        UsageError: shapes do not belong together, or `steps` is below 1.
    """
    check_targets(targets, len(images))
    if maps.shape != images.shape[:3] or steps < 1:
        raise UsageError(f"maps: must be {images.shape[:3]} and steps 1 or more, received {maps.shape} and {steps}")
    scores = [
        _judge_one(predict_fn, image, one, int(target), steps, hide_fn(image))
        for image, one, target in zip(images, maps, targets, strict=True)
    ]
    table = np.array(scores, np.float64).reshape(-1, 2)
    return Faithfulness(table[:, 0], table[:, 1])


def _judge_one(
    predict_fn: PredictFn,
    image: NDArray[np.uint8],
    one: NDArray[np.float32],
    target: int,
    steps: int,
    hidden: NDArray[np.uint8],
) -> tuple[float, float]:
    """Deletion and insertion of one map: areas under the curves, by trapezes."""
    rank = np.empty(one.size, np.int64)
    rank[np.argsort(-one.ravel(), kind="stable")] = np.arange(one.size)
    counts = np.round(np.linspace(0, one.size, steps + 1))
    first = (rank < counts[:, None]).reshape(-1, *one.shape, 1)
    pictures = np.concatenate([np.where(first, hidden, image), np.where(first, image, hidden)])
    gone, come = np.split(np.asarray(predict_fn(pictures), np.float64)[:, target], 2)
    return float(np.trapezoid(gone, dx=1 / steps)), float(np.trapezoid(come, dx=1 / steps))
