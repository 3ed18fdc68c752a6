"""What reading a face gives: frozen, validated values that turn into JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mien.errors import UsageError

SUM_TOLERANCE = 1e-3
"""How far from 1 the sum of probabilities may lie: float32, and one division by a temperature, stay well inside."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one face shows.

    Attributes:
        probabilities: class name to probability, in the model's class order; read-only. Each lies in [0, 1], together
            they are 1.

    Raises:
        UsageError: there is no class, a name is empty, or the values are not such probabilities.
    """

    probabilities: Mapping[str, float]

    def __post_init__(self) -> None:
        values = {name: float(value) for name, value in self.probabilities.items()}
        _check_probabilities(values)
        object.__setattr__(self, "probabilities", MappingProxyType(values))

    def __reduce__(self) -> tuple[type[Prediction], tuple[dict[str, float]]]:
        """Pickle and copy by value: the read-only view itself cannot be pickled."""
        return (type(self), (dict(self.probabilities),))

    @classmethod
    def from_row(cls, classes: Sequence[str], row: Sequence[float]) -> Prediction:
        """Name a network's outputs: `row` holds one probability for each of `classes`."""
        if len(classes) != len(row):
            raise UsageError(f"row: must hold {len(classes)} probabilities, one for each class, received {len(row)}")
        return cls(dict(zip(classes, row, strict=True)))

    @property
    def expression(self) -> str:
        """The most probable class; the first of them where several are equal."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of `expression`."""
        return self.probabilities[self.expression]

    def ranked(self) -> tuple[tuple[str, float], ...]:
        """All (class, probability) pairs, the most probable first."""
        return tuple(sorted(self.probabilities.items(), key=lambda pair: -pair[1]))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: ``{"expression": ..., "confidence": ..., "probabilities": {...}}``."""
        return {
            "expression": self.expression,
            "confidence": self.confidence,
            "probabilities": dict(self.probabilities),
        }


def _check_probabilities(values: Mapping[str, float]) -> None:
    if not values or not all(values):
        raise UsageError(f"probabilities: must name at least one class, no name empty, received {dict(values)}")
    wrong = {name: value for name, value in values.items() if not 0.0 <= value <= 1.0 + 1e-6}
    if wrong:
        raise UsageError(f"probabilities: each must be from 0 to 1, received {wrong}")
    total = math.fsum(values.values())
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise UsageError(f"probabilities: must sum to 1, received {dict(values)}, which sum to {total:.6g}")
