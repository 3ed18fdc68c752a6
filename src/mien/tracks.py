"""What one face showed over time, in an amount of memory that has a limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 4096
"""More rows than this are merged, two neighbours into one; they are more than a plot has pixels."""

_SHORTEST_GAP = 0.5
"""Seconds without the face that count as a gap, where frames come often."""

_GAP_FRAMES = 4.0
"""So many usual steps without the face are a gap, where frames come seldom."""


class TrackHistory:
    """Rows of probabilities, each the average over a span of time."""

    def __init__(self, classes: int) -> None:
        """`classes` is how many probabilities a row has."""
        self._rows = np.empty((16, 3 + classes))  # first time, last time, frames, probabilities
        self._count = 0

    @property
    def _filled(self) -> NDArray[np.float64]:
        return self._rows[: self._count]

    @property
    def end(self) -> float:
        """Until when the face was seen: its last frame's time, and that frame's own."""
        return float(self._ends()[-1]) if self._count else 0.0

    @property
    def seconds(self) -> float:
        """How long it was seen, without the gaps."""
        if not self._count:
            return 0.0
        return float((self._ends() - self._filled[:, 0]).sum())

    def add(self, time: float, probabilities: NDArray[np.float32]) -> None:
        """Add one frame."""
        if self._count == MOST_ROWS:
            self._merge()
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        time = max(time, float(self._rows[self._count - 1, 1])) if self._count else time
        self._rows[self._count] = (time, time, 1.0, *probabilities)
        self._count += 1

    def sampled(self, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """The average between each two neighbours of `edges`, float64 (len(edges) - 1, classes).

        Where no row begins, the one before holds as long as it lasts; NaN where the face was not seen.
        """
        rows, bins = self._filled, len(edges) - 1
        places = np.clip(np.searchsorted(edges, rows[:, 0], side="right") - 1, 0, bins - 1)
        sums = np.zeros((bins, rows.shape[1] - 2))
        np.add.at(sums, places, np.concatenate([rows[:, 2:3], rows[:, 3:] * rows[:, 2:3]], axis=1))
        middles = (edges[:-1] + edges[1:]) / 2
        before = np.searchsorted(rows[:, 0], middles, side="right") - 1
        holds = (before >= 0) & (middles < self._ends()[before])
        held = np.where(holds[:, None], rows[before, 3:], np.nan)
        counted = sums[:, :1] > 0
        return np.where(counted, sums[:, 1:] / np.where(counted, sums[:, :1], 1.0), held)

    def _steps(self) -> tuple[NDArray[np.float64], float]:
        """Time from each row's end to the beginning of the next, and from which on it is a gap."""
        steps = self._filled[1:, 0] - self._filled[:-1, 1]
        usual = float(np.median(steps)) if len(steps) else 0.0
        return steps, max(_SHORTEST_GAP, _GAP_FRAMES * usual)

    def _ends(self) -> NDArray[np.float64]:
        """Until when each row holds: to the next, or for one usual step before a gap."""
        steps, gap = self._steps()
        usual = float(np.median(steps)) if len(steps) else 1 / 30
        steps = np.append(np.where(steps > gap, usual, steps), usual)
        return np.asarray(self._filled[:, 1] + steps, np.float64)

    def _merge(self) -> None:
        """Merge each two neighbours into one, unless a gap lies between them."""
        rows = self._filled
        steps, gap = self._steps()
        joined = steps[::2] <= gap
        if joined.mean() < 0.5:  # gaps everywhere: what is kept must shrink all the same
            joined[:] = True
        first, second = rows[: 2 * len(joined) : 2], rows[1 : 2 * len(joined) : 2]
        frames = first[:, 2] + second[:, 2]
        weights = (second[:, 2] / frames)[:, None]
        both = np.concatenate(
            [first[:, :1], second[:, 1:2], frames[:, None], first[:, 3:] * (1 - weights) + second[:, 3:] * weights], 1
        )
        kept = np.ones(len(rows), bool)
        kept[1 : 2 * len(joined) : 2] = ~joined
        rows[: 2 * len(joined) : 2][joined] = both[joined]
        self._count = int(kept.sum())
        self._rows[: self._count] = rows[kept]
