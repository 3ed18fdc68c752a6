"""How much better a model looks because pictures that it is judged by also stand in what it learned from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mien.answers import Answers
from mien.errors import UsageError
from mien.evaluation import wilson_interval


@dataclass(frozen=True, slots=True)
class Leakage:
    """Accuracy with and without the pictures that also stand in Training, pixel for pixel.

    Attributes:
        n: how many pictures were judged, 1 or more.
        copies: how many of them stand in Training too, 0 to `n`.
        accuracy: on all of them, 0 to 1.
        clean_accuracy: without the copies, 0 to 1; None where nothing is left.
        clean_interval: its 95 % Wilson score interval; None likewise.
        copies_accuracy: on the copies alone, 0 to 1; None where there are none.

    Raises:
        UsageError: the counts do not fit.
    """

    n: int
    copies: int
    accuracy: float
    clean_accuracy: float | None
    clean_interval: tuple[float, float] | None
    copies_accuracy: float | None

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.copies <= self.n:
            raise UsageError(f"copies: must be from 0 to n and n 1 or more, received {self.copies} of {self.n}")

    @property
    def clean_n(self) -> int:
        """How many pictures do not stand in Training."""
        return self.n - self.copies

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, the fields under their names, and ``clean_n``."""
        interval = None if self.clean_interval is None else list(self.clean_interval)
        return {**asdict(self), "clean_n": self.clean_n, "clean_interval": interval}


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
    return Leakage(
        n=len(answers),
        copies=len(copied),
        accuracy=float(answers.right.mean()),
        clean_accuracy=float(fresh.mean()) if len(fresh) else None,
        clean_interval=wilson_interval(int(fresh.sum()), len(fresh)) if len(fresh) else None,
        copies_accuracy=float(copied.mean()) if len(copied) else None,
    )
