"""What is left of a model's accuracy when pictures are blurred, noisy, dark, turned, covered: `mien.corruptions`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from mien.datasets.pixels import Progress
from mien.errors import UsageError, many
from mien.views import PredictFn, predict_views

SAMPLE = 1_000
"""Pictures that are drawn by default: each is judged 36 times. Their accuracy is known to 3 points to either side."""


@dataclass(frozen=True, slots=True)
class Robustness:
    """Accuracy on the same pictures, clean and spoilt.

    Attributes:
        n: how many pictures were spoilt, 1 or more.
        of: how many there were to draw them from, `n` or more.
        seed: that they were drawn and spoilt by.
        tta: the test-time augmentation, a key of `mien.views.TTA`.
        clean: accuracy on the pictures as they are, 0 to 1.
        accuracy: corruption, a key of `mien.corruptions.CORRUPTIONS`, to accuracy at each of `STRENGTHS`, 0 to 1.

    Raises:
        UsageError: a number is out of range, or a strength is missing.
    """

    n: int
    of: int
    seed: int
    tta: str
    clean: float
    accuracy: Mapping[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.of:
            raise UsageError(f"n: must be from 1 to of = {self.of}, received {self.n}")
        if not self.accuracy or {len(row) for row in self.accuracy.values()} != {len(STRENGTHS)}:
            raise UsageError(f"accuracy: must have {many(len(STRENGTHS), 'value')} for each corruption")
        if not all(0 <= value <= 1 for row in (*self.accuracy.values(), (self.clean,)) for value in row):
            raise UsageError("accuracy: must be from 0 to 1")

    @property
    def means(self) -> dict[str, float]:
        """Corruption to its mean accuracy over the strengths."""
        return {name: fmean(row) for name, row in self.accuracy.items()}

    @property
    def mean(self) -> float:
        """Mean accuracy over all corruptions and strengths, 0 to 1."""
        return fmean(self.means.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``n``, ``of``, ``seed``, ``tta``, ``clean``, ``mean``, ``strengths``, ``accuracy``, ``means``."""
        return {
            "n": self.n,
            "of": self.of,
            "seed": self.seed,
            "tta": self.tta,
            "clean": self.clean,
            "mean": self.mean,
            "strengths": list(STRENGTHS),
            "accuracy": {name: list(row) for name, row in self.accuracy.items()},
            "means": self.means,
        }


def measure_robustness(
    predict_fn: PredictFn,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    tta: str = "none",
    seed: int = 0,
    of: int | None = None,
    progress: Progress | None = None,
) -> Robustness:
    """Judge a model on pictures spoilt in every way and strength.

    Args:
        predict_fn: uint8 (n, size, size, channels) to probabilities (n, classes).
        images: uint8 (n, size, size, channels), at least one.
        labels: integers (n,), the true columns.
        tta: a key of `mien.views.TTA`.
        seed: of what is done by chance.
        of: how many pictures these were drawn from; None: they are all.
        progress: called with how many of the rounds are done and how many there are.

    Raises:
        UsageError: there are no pictures, lengths differ, or `tta` is unknown.
    """
    if not len(images) or np.shape(labels) != (len(images),):
        raise UsageError(f"labels: must be ({len(images)},), at least one, received {np.shape(labels)}")
    rounds, done = 1 + len(CORRUPTIONS) * len(STRENGTHS), 0

    def score(pictures: NDArray[np.uint8]) -> float:
        nonlocal done
        right = predict_views(predict_fn, pictures, tta).argmax(axis=1) == labels
        done += 1
        if progress:
            progress(done, rounds)
        return float(right.mean())

    clean = score(images)
    accuracy = {
        name: tuple(score(corrupt(images, name, strength, seed=seed)) for strength in STRENGTHS) for name in CORRUPTIONS
    }
    return Robustness(len(images), of or len(images), seed, tta, clean, accuracy)


def draw(n: int, limit: int | None, seed: int = 0) -> NDArray[np.int64]:
    """Draw `limit` of n rows without putting back; all of them where there are no more.

    Returns:
        int64, rising.

    Raises:
        UsageError: `limit` is below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit: must be 1 or more, received {limit}")
    if limit is None or limit >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))
