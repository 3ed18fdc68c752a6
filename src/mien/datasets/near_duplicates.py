"""Faces that are nearly the same picture: cut otherwise, brighter, compressed again, under a watermark, mirrored.

Two pictures are near-duplicates where the correlation of their 16x16 thumbnails is high. All pairs are compared, which
is a product of matrices. On FER2013 this was better than perceptual hashes and than the features of an expression
network: docs/data.md has the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.datasets.pixels import Progress
from mien.errors import MissingExtraError, UsageError

LIKENESS = 0.95
"""Correlation from which thumbnails are the same picture. Of 64 pairs of FER2013 between 0.95 and 0.96, all were."""

FLAT = 4.0
"""Thumbnails whose brightness varies less (standard deviation, of 255) show nothing that could be compared."""

TILE = 1024, 8192
"""How many are compared with how many others at once: 32 MB of correlations."""


@dataclass(frozen=True, eq=False)
class NearPairs:
    """Pairs of like pictures, the more alike first.

    Attributes:
        rows: int64 (m, 2), the smaller row first; each pair once.
        likeness: float32 (m,), the correlation of the thumbnails, up to 1.
        mirrored: bool (m,), whether only the mirror image of one is like the other.
    """

    rows: NDArray[np.int64]
    likeness: NDArray[np.float32]
    mirrored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: NDArray[np.bool_]) -> NearPairs:
        """The pairs where `chosen` (m,) is true."""
        return NearPairs(self.rows[chosen], self.likeness[chosen], self.mirrored[chosen])


def near_pairs(thumbs: NDArray[np.uint8], *, likeness: float = LIKENESS, progress: Progress | None = None) -> NearPairs:
    """Find all pairs of like pictures, identical ones too.

    The time grows with the square of their number: 32,298 take 8 s on one core, ten times as many fifteen minutes.

    Args:
        thumbs: uint8 (n, side, side), such as `mien.datasets.measures.Measures.thumbs`.
        likeness: least correlation, above 0 and up to 1.
        progress: called with how many are compared and how many there are.

    Raises:
        UsageError: `likeness` is out of range.
    """
    if not 0 < likeness <= 1:
        raise UsageError(f"likeness: must be above 0 and at most 1, received {likeness}")
    least = min(likeness, 1 - 1e-6)  # float32 rounds the correlation of a picture with itself
    upright, mirrored = _standardised(thumbs), _standardised(thumbs[:, :, ::-1])
    direct = _pairs(upright, upright, least, progress)
    flipped = _pairs(upright, mirrored, least, None)
    known = np.isin(_keys(flipped[0], len(thumbs)), _keys(direct[0], len(thumbs)))
    rows = np.concatenate([direct[0], flipped[0][~known]])
    values = np.concatenate([direct[1], flipped[1][~known]])
    flags = np.arange(len(rows)) >= len(direct[0])
    order = np.lexsort((rows[:, 1], rows[:, 0], -values))
    return NearPairs(rows[order], values[order], flags[order])


def like_any(thumbs: NDArray[np.uint8], others: NDArray[np.uint8], *, likeness: float = LIKENESS) -> NDArray[np.bool_]:
    """Which pictures are like one of some others, upright or mirrored; identical ones are.

    Args:
        thumbs: uint8 (n, side, side), such as `mien.datasets.measures.thumbnails` gives.
        others: uint8 (m, side, side).
        likeness: least correlation, above 0 and up to 1.

    Returns:
        bool (n,).
    """
    height, width = TILE
    least = min(likeness, 1 - 1e-6)
    ones, found = _standardised(thumbs), np.zeros(len(thumbs), np.bool_)
    for left in range(0, len(others), width):
        block = others[left : left + width]
        for side in (_standardised(block), _standardised(block[:, :, ::-1])):
            for top in range(0, len(ones), height):
                found[top : top + height] |= (ones[top : top + height] @ side.T >= least).any(axis=1)
    return found


def _standardised(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (n, side * side): mean 0, length 1, so that products are correlations; zeros for flat ones."""
    rows = thumbs.reshape(len(thumbs), thumbs.shape[1] * thumbs.shape[2]).astype(np.float32)
    flat = rows.std(axis=1) < FLAT
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    rows[flat] = 0
    return rows


def _pairs(
    ones: NDArray[np.float32], others: NDArray[np.float32], least: float, progress: Progress | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Row numbers (m, 2) and correlations (m,) of all pairs from `least` on, in tiles above the diagonal."""
    height, width = TILE
    found, values = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for top in range(0, len(ones), height):
        part = ones[top : top + height]
        for left in range(top, len(others), width):
            likeness = part @ others[left : left + width].T
            pairs = np.argwhere(likeness >= least)
            values.append(likeness[tuple(pairs.T)])
            found.append(pairs + (top, left))
        if progress:
            progress(min(top + height, len(ones)), len(ones))
    rows, correlations = np.concatenate(found), np.concatenate(values)
    above = rows[:, 0] < rows[:, 1]
    return rows[above], np.minimum(correlations[above], np.float32(1))


def _keys(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return rows[:, 0] * count + rows[:, 1]


def near_groups(groups: NDArray[np.int64], pairs: NearPairs) -> NDArray[np.int64]:
    """Join groups of identical images that hold like ones: what is like something like it is in one group too.

    Args:
        groups: int64 (n,), as `mien.datasets.duplicates.pixel_groups` gives them; images of -1 stand alone.
        pairs: what `near_pairs` found among the same n.

    Returns:
        int64 (n,), the same number for images of one group, counted from 0.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    check_scipy()
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(groups)
    alone = np.where(groups < 0, np.arange(count) + groups.max(initial=0) + 1, groups)
    _, first, inverse = np.unique(alone, return_index=True, return_inverse=True)
    starts = np.concatenate([pairs.rows[:, 0], np.arange(count)])
    ends = np.concatenate([pairs.rows[:, 1], first[inverse]])
    graph = coo_array((np.ones(len(starts), np.bool_), (starts, ends)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def check_scipy() -> None:
    """Find out before any work is done whether near-duplicates can be put in groups.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    try:
        import scipy.sparse.csgraph  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("looking for near-duplicates", "audit") from error
