"""What reading a face gives: frozen, validated values that turn into JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsFloat

from mien.errors import UsageError, many
from mien.labels import refuse_text
from mien.numeric import is_real, is_whole
from mien.readonly import ReadOnlyDict

UNCERTAIN = "uncertain"
"""What stands for the expression of a face whose confidence is below `Prediction.min_confidence`."""

SUM_TOLERANCE = 1e-3
"""How far from 1 the sum of probabilities may lie: float32, and one division by a temperature, stay well inside."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one face shows.

    Attributes:
        probabilities: class name to probability, in the model's class order; read-only. Each lies in [0, 1], together
            they are 1.
        min_confidence: below this confidence, 0 to 1, the expression is `UNCERTAIN`; the probabilities stay.

    Raises:
        UsageError: there is no class, a name is empty, or the values are not such probabilities.
    """

    probabilities: Mapping[str, float]
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        values = _named_numbers(self.probabilities)
        _check_probabilities(values)
        check_min_confidence(self.min_confidence)
        object.__setattr__(self, "probabilities", ReadOnlyDict(values))

    def __hash__(self) -> int:
        return hash((tuple(self.probabilities.items()), self.min_confidence))

    @classmethod
    def from_row(cls, classes: Sequence[str], row: Sequence[float], min_confidence: float = 0.0) -> Prediction:
        """Name a network's outputs: `row` holds one probability for each of `classes`."""
        refuse_text(classes)
        if len(classes) != len(row):
            raise UsageError(
                f"row: must hold {many(len(classes), 'probability', 'probabilities')}, one for each class, received "
                f"{len(row)}"
            )
        return cls(dict(zip(classes, row, strict=True)), min_confidence)

    @property
    def best(self) -> str:
        """The most probable class, however probable; the first of them where several are equal."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def expression(self) -> str:
        """`best`, or `UNCERTAIN` where its probability is below `min_confidence`."""
        return UNCERTAIN if self.confidence < self.min_confidence else self.best

    @property
    def confidence(self) -> float:
        """The probability of `best`."""
        return self.probabilities[self.best]

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


@dataclass(frozen=True, slots=True)
class Box:
    """Where a face is: pixels of the upright picture, x to the right, y down, (0, 0) its upper left corner.

    Attributes:
        x1: left edge.
        y1: upper edge.
        x2: right edge, above `x1`.
        y2: lower edge, above `y1`.

    Raises:
        UsageError: a value is no finite number, or the box has no area.
    """

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        for name in ("x1", "y1", "x2", "y2"):
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, float(value))
            except (TypeError, ValueError) as error:
                raise UsageError(f"box: {name} must be a number of pixels, received {value!r}") from error
        if not all(math.isfinite(value) for value in self.xyxy):
            raise UsageError(f"box: must be finite numbers, received {self.xyxy}")
        if self.x2 <= self.x1 or self.y2 <= self.y1:
            raise UsageError(f"box: x2 must be above x1 and y2 above y1, received {self.xyxy}")

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2)."""
        return (self.x1, self.y1, self.x2, self.y2)

    @property
    def xywh(self) -> tuple[float, float, float, float]:
        """(x1, y1, width, height)."""
        return (self.x1, self.y1, self.width, self.height)

    @property
    def width(self) -> float:
        """In pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """In square pixels."""
        return self.width * self.height

    def to_dict(self) -> dict[str, float]:
        """JSON-ready: ``{"x1": ..., "y1": ..., "x2": ..., "y2": ...}``, rounded to a hundredth of a pixel."""
        return {name: round(getattr(self, name), 2) for name in ("x1", "y1", "x2", "y2")}


@dataclass(frozen=True, slots=True)
class Face:
    """One face in a picture and what it shows.

    Attributes:
        box: where it is, inside the picture.
        score: how sure the detector is that it is a face, 0 to 1.
        prediction: what it shows.
        keypoints: name (`mien.faces.KEYPOINTS`) to (x, y) in pixels of the picture; left is the person's left. Empty
            where the detector gives none. Read-only.
        track_id: the same number for the same face all along a video, from 1; None in single pictures.

    Raises:
        UsageError: a value is out of range.
    """

    box: Box
    score: float
    prediction: Prediction
    keypoints: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    track_id: int | None = None

    def __post_init__(self) -> None:
        for name, kind in (("box", Box), ("prediction", Prediction)):
            if not isinstance(getattr(self, name), kind):
                raise UsageError(f"{name}: must be a mien.{kind.__name__}, received {getattr(self, name)!r}")
        if not _is_number(self.score) or not 0.0 <= float(self.score) <= 1.0:
            raise UsageError(f"score: must be from 0 to 1, received {self.score!r}")
        object.__setattr__(self, "score", float(self.score))
        object.__setattr__(self, "keypoints", ReadOnlyDict(_named_points(self.keypoints)))
        if self.track_id is not None and not is_whole(self.track_id):
            raise UsageError(f"track_id: must be a whole number or None, received {self.track_id!r}")

    def __hash__(self) -> int:
        return hash((self.box, self.score, self.prediction, tuple(self.keypoints.items()), self.track_id))

    @property
    def expression(self) -> str:
        """The most probable class, or `UNCERTAIN`: see `Prediction.expression`."""
        return self.prediction.expression

    @property
    def confidence(self) -> float:
        """The probability of the most probable class."""
        return self.prediction.confidence

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Class name to probability, in the model's class order."""
        return self.prediction.probabilities

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: track, box, score, expression, confidence, probabilities, keypoints."""
        return {
            "track": self.track_id,
            "box": self.box.to_dict(),
            "score": round(self.score, 4),
            **self.prediction.to_dict(),
            "keypoints": {name: [round(x, 2), round(y, 2)] for name, (x, y) in self.keypoints.items()},
        }


def check_min_confidence(value: float, argument: str = "min_confidence") -> None:
    """Refuse what is not a number from 0 to 1.

    Raises:
        UsageError: says what was received.
    """
    if not isinstance(value, SupportsFloat) or not 0.0 <= float(value) <= 1.0:
        raise UsageError(f"{argument}: must be from 0 to 1, received {value!r}")


def _is_number(value: object) -> bool:
    """Whether it is a number, or an array or tensor of one alone, as rows of Keras's and PyTorch's are made of."""
    return is_real(value) or (getattr(value, "shape", None) == () and isinstance(value, SupportsFloat))


def _named_numbers(probabilities: object) -> dict[str, float]:
    """Class name to probability, as Python's numbers.

    Raises:
        UsageError: it is no mapping of names to numbers.
    """
    if not isinstance(probabilities, Mapping):
        raise UsageError(
            "probabilities: must map class names to probabilities, such as {'happy': 0.9, 'sad': 0.1} "
            f"(Prediction.from_row takes a row of them), received {type(probabilities).__name__}"
        )
    wrong = {name: value for name, value in probabilities.items() if not (isinstance(name, str) and _is_number(value))}
    if wrong:
        raise UsageError(f"probabilities: must map names to numbers, received {wrong}")
    return {name: float(value) for name, value in probabilities.items()}


def _named_points(keypoints: object) -> dict[str, tuple[float, float]]:
    """Name to (x, y), as Python's numbers.

    Raises:
        UsageError: it is no mapping of names to two finite numbers each.
    """
    try:
        points = {name: (float(x), float(y)) for name, (x, y) in dict(keypoints).items()}  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise UsageError(f"keypoints: must map names to (x, y) in pixels, received {keypoints!r}") from error
    if not all(math.isfinite(value) for point in points.values() for value in point):
        raise UsageError(f"keypoints: must be finite numbers, received {points}")
    return points


def _check_probabilities(values: Mapping[str, float]) -> None:
    if not values or not all(values):
        raise UsageError(f"probabilities: must name at least one class, no name empty, received {dict(values)}")
    wrong = {name: value for name, value in values.items() if not 0.0 <= value <= 1.0 + 1e-6}
    if wrong:
        raise UsageError(f"probabilities: each must be from 0 to 1, received {wrong}")
    total = math.fsum(values.values())
    if abs(total - 1.0) > SUM_TOLERANCE:
        raise UsageError(f"probabilities: must sum to 1, received {dict(values)}, which sum to {total:.6g}")
