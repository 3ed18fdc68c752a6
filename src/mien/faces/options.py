"""What MTCNN can be told, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mien.errors import UsageError
from mien.numeric import is_real, is_whole

THRESHOLDS = (0.5, 0.6, 0.85)
"""Scores from which on P-Net, R-Net and O-Net pass a face on, by default; docs/faces.md says how they were chosen."""

CROP_THRESHOLDS = (0.3, 0.5, 0.7)
"""The same for crops of faces."""


@dataclass(frozen=True)
class Options:
    """What the cascade is told; `mien.faces.MTCNN` says what each means.

    Raises:
        UsageError: one is out of range, or of a wrong type.
    """

    min_face_size: float = 20
    scale_factor: float = 0.709
    thresholds: Sequence[float] = THRESHOLDS
    steady: bool = True
    most: int | None = None
    border: int = 0

    def __post_init__(self) -> None:
        if not is_real(self.min_face_size) or not 4 <= self.min_face_size < math.inf:
            raise UsageError(f"min_face_size: must be 4 pixels or more, received {self.min_face_size!r}")
        if not is_real(self.scale_factor) or not 0.2 <= self.scale_factor <= 0.95:
            raise UsageError(f"scale_factor: must be from 0.2 to 0.95, received {self.scale_factor!r}")
        object.__setattr__(self, "thresholds", checked_thresholds(self.thresholds))
        if not isinstance(self.steady, bool):
            raise UsageError(f"steady: must be True or False, received {self.steady!r}")
        if self.most is not None and (not is_whole(self.most) or self.most < 1):
            raise UsageError(f"most: must be a whole number from 1, or None for all faces, received {self.most!r}")
        if not is_whole(self.border) or not 0 <= self.border <= 1024:
            raise UsageError(f"border: must be a whole number of pixels from 0 to 1024, received {self.border!r}")

    @property
    def odds(self) -> tuple[float, float, float]:
        """The thresholds as log-odds."""
        first, second, third = (math.log(threshold / (1 - threshold)) for threshold in self.thresholds)
        return first, second, third


def checked_thresholds(thresholds: object) -> tuple[float, ...]:
    """Three scores between 0 and 1, as a tuple.

    Raises:
        UsageError: they are not.
    """
    values = tuple(thresholds) if hasattr(thresholds, "__iter__") else ()
    if len(values) != 3 or not all(is_real(value) and 0 < value < 1 for value in values):
        raise UsageError(
            "thresholds: must be three numbers between 0 and 1 (P-Net, R-Net, O-Net), such as "
            f"{THRESHOLDS}; received {thresholds!r}"
        )
    return values
