"""How much better a model looks because pictures that it is judged by also stand in what it learned from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.answers import Answers
from mien.errors import UsageError
from mien.evaluation import wilson_interval


@dataclass(frozen=True, slots=True)
class Leakage:
    """Accuracy with and without the pictures that also stand in Training, pixel for pixel or nearly so.

    Attributes:
        n: how many pictures were judged, 1 or more.
        copies: how many of them stand in Training too, 0 to `n`.
        accuracy: on all of them, 0 to 1.
        clean_accuracy: without the copies, 0 to 1; None where nothing is left.
        clean_interval: its 95 % Wilson score interval; None likewise.
        copies_accuracy: on the copies alone, 0 to 1; None where there are none.
        near_copies: how many stand in Training identically or nearly so (cut otherwise, brighter, mirrored), `copies`
            to `n`; None where that was not looked for.
        near_clean_accuracy: without these, 0 to 1; None where nothing is left, or they were not looked for.
        near_clean_interval: its 95 % Wilson score interval; None likewise.

    Raises:
        UsageError: the counts do not fit.
    """

    n: int
    copies: int
    accuracy: float
    clean_accuracy: float | None
    clean_interval: tuple[float, float] | None
    copies_accuracy: float | None
    near_copies: int | None = None
    near_clean_accuracy: float | None = None
    near_clean_interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.copies <= self.n:
            raise UsageError(f"copies: must be from 0 to n and n 1 or more, received {self.copies} of {self.n}")
        if self.near_copies is not None and not self.copies <= self.near_copies <= self.n:
            raise UsageError(
                f"near_copies: must be from copies = {self.copies} to n = {self.n}, received {self.near_copies}"
            )

    @property
    def clean_n(self) -> int:
        """How many pictures do not stand in Training."""
        return self.n - self.copies

    @property
    def near_clean_n(self) -> int | None:
        """How many pictures stand in Training neither identically nor nearly so; None where it was not looked for."""
        return None if self.near_copies is None else self.n - self.near_copies

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the fields under their names, ``clean_n`` and ``near_clean_n``."""
        counts = {"clean_n": self.clean_n, "near_clean_n": self.near_clean_n}
        fields = asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields} | counts


def measure_leakage(answers: Answers) -> Leakage | None:
    """Compare what a model says of pictures that stand in Training with what it says of the others.

    Args:
        answers: at least one.

    Returns:
        The comparison; None where it was not looked which pictures these are.
    """
    if answers.in_training is None:
        return None
    copied, fresh = answers.right[answers.in_training], answers.right[~answers.in_training]
    like = answers.like_training
    accuracy, interval = _scored(fresh)
    near_accuracy, near_interval = (None, None) if like is None else _scored(answers.right[~like])
    return Leakage(
        n=len(answers),
        copies=len(copied),
        accuracy=float(answers.right.mean()),
        clean_accuracy=accuracy,
        clean_interval=interval,
        copies_accuracy=float(copied.mean()) if len(copied) else None,
        near_copies=None if like is None else int(like.sum()),
        near_clean_accuracy=near_accuracy,
        near_clean_interval=near_interval,
    )


def _scored(right: NDArray[np.bool_]) -> tuple[float, tuple[float, float]] | tuple[None, None]:
    """Accuracy and its interval; None twice where there is nothing to score."""
    if not len(right):
        return None, None
    return float(right.mean()), wilson_interval(int(right.sum()), len(right))
