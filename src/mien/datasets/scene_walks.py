"""How the people of a generated video move and change their expression: smooth functions of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.labels import EXPRESSIONS

FADE = 0.2
"""Seconds in which one expression turns into the next."""

_LEAVING = 1.2
"""Seconds in which a person sinks out of the picture, and comes back."""


@dataclass(frozen=True, eq=False)
class Step:
    """Where a person is at one moment, and what the face shows.

    Attributes:
        centre: float64 (2,), the point between the eyes, x and y in pixels.
        scale: size, where 1 is as drawn; 0.7 to 1.
        before, after, share: the expression is `after` to this share, 0 to 1, and `before` to the rest.
    """

    centre: NDArray[np.float64]
    scale: float
    before: str
    after: str
    share: float

    @property
    def expression(self) -> str:
        """The one of which there is more."""
        return self.after if self.share >= 0.5 else self.before


class Walk:
    """One person's way through a picture; asked for times in any order."""

    def __init__(self, seed: Sequence[int], size_wh: tuple[int, int], unit: float) -> None:
        """`unit` is the head unit in pixels."""
        rng = np.random.default_rng(seed)
        self._size, self._unit = np.array(size_wh, float), unit
        self._reach = np.array([rng.uniform(0.26, 0.36), rng.uniform(0.03, 0.08)]) * size_wh
        self._periods = np.array([rng.uniform(7, 13), rng.uniform(3, 6)])
        self._phases = rng.uniform(0, 2 * np.pi, 3)
        self._every, self._away, self._first = rng.uniform(15, 25), rng.uniform(0.8, 2.0), rng.uniform(6, 15)
        self._rng = np.random.default_rng([*seed, 1])
        self._ends: list[float] = [0.0]
        self._names: list[str] = [EXPRESSIONS[int(self._rng.integers(len(EXPRESSIONS)))]]

    def at(self, time: float) -> Step:
        """Place and expression at a time in seconds, 0 or more."""
        waves = np.sin(2 * np.pi * time / self._periods + self._phases[:2])
        centre = np.array([0.5, 0.42]) * self._size + self._reach * waves
        centre[1] += self._sunk(time) * (self._size[1] * 0.75 + 1.5 * self._unit)
        scale = 0.85 + 0.15 * float(np.sin(2 * np.pi * time / 11.0 + self._phases[2]))
        return Step(centre, scale, *self._expression(time))

    def _sunk(self, time: float) -> float:
        """0 in the picture, 1 out of it below."""
        since = (time - self._first) % self._every if time >= self._first else -1.0
        out = min(since, _LEAVING * 2 + self._away - since) / _LEAVING
        share = min(max(out, 0.0), 1.0)
        return share * share * (3.0 - 2.0 * share)

    def _expression(self, time: float) -> tuple[str, str, float]:
        while self._ends[-1] <= time:
            self._ends.append(self._ends[-1] + float(self._rng.uniform(1.0, 2.0)))
            others = [name for name in EXPRESSIONS if name != self._names[-1]]
            self._names.append(others[int(self._rng.integers(len(others)))])
        place = int(np.searchsorted(self._ends, time, side="right"))
        if place == 0:
            return self._names[0], self._names[0], 1.0
        return self._names[place - 1], self._names[place], min((time - self._ends[place - 1]) / FADE, 1.0)
