"""The cascade of MTCNN over pictures of one size: P-Net proposes, R-Net refuses, O-Net looks closely, more than once.

Where it departs from the paper, by measurement (docs/faces.md): of neighbouring cells that see the same face, P-Net
gives only the best; proposals of all scales meet in one suppression after regression, not before, which leaves R-Net a
tenth of the work; and each face is looked at again from a little aside, and the answers averaged.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces.boxes import best_of_overlapping, distinct, moved, ranks, squared
from mien.faces.detection import Detections
from mien.faces.options import Options
from mien.faces.pyramid import Level, Pyramid, scales
from mien.faces.running import WINDOW, Networks

Array = NDArray[np.float32]
Indices = NDArray[np.intp]

PEAK_CELLS = 3
"""A cell must score most of so many by so many cells: windows that overlap by more than half, the paper's 0.5."""

PROPOSAL_OVERLAP = 0.7
REFINED_OVERLAP = 0.7
SAME_FACE = 0.7
"""Of two faces, the share of the smaller that the larger may cover."""

ASIDE = ((-0.13, 0.0), (0.13, 0.0), (0.0, -0.1))
"""Where the further looks are taken, x and y in sides of the square: left, right, above. So far aside, what is no face
loses its score; faces keep theirs."""

SECOND_CHANCE = 2.2
"""Log-odds below the threshold at which a face is still looked at again."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes that may be faces: float32 (n, 4), their log-odds (n,), their pictures (n,), keypoints (n, 0 or 5, 2)."""

    boxes: Array
    odds: Array
    owners: Indices
    points: Array

    def take(self, rows: Any) -> Candidates:
        """These rows, integers or booleans."""
        return Candidates(self.boxes[rows], self.odds[rows], self.owners[rows], self.points[rows])

    def above(self, odds: float) -> Candidates:
        """Those with higher log-odds."""
        return self.take(self.odds > odds)

    def best(self, most: int | None) -> Candidates:
        """At most so many for each picture."""
        return self if most is None else self.take(ranks(self.odds, self.owners) < most)


def find(pyramid: Pyramid, networks: Networks, options: Options) -> list[Detections]:
    """The faces of each picture of a pyramid."""
    found = propose(pyramid, networks, options)
    found = found.take(best_of_overlapping(found.boxes, found.odds, found.owners, PROPOSAL_OVERLAP))
    found = found.best(options.most and 2 * options.most)
    found = refine(pyramid, networks, found).above(options.odds[1])
    found = found.take(best_of_overlapping(found.boxes, found.odds, found.owners, REFINED_OVERLAP)).best(options.most)
    found = look(pyramid, networks, squared(found.boxes), found.owners)
    if options.steady:
        found = separate(found.above(options.odds[2] - SECOND_CHANCE))
        found = look_again(pyramid, networks, found)
    found = separate(found.above(options.odds[2]))
    return by_picture(found, pyramid.count)


def by_picture(found: Candidates, count: int) -> list[Detections]:
    """The faces of each of `count` pictures, largest first."""
    order = np.argsort(found.owners, kind="stable")
    faces = to_detections(found.take(order))
    ends = np.searchsorted(found.owners[order], np.arange(count + 1)).tolist()
    parts = [faces.take(range(*pair)) if pair[0] < pair[1] else Detections.none() for pair in itertools.pairwise(ends)]
    return [part.in_order() if len(part) > 1 else part for part in parts]


def propose(pyramid: Pyramid, networks: Networks, options: Options) -> Candidates:
    """P-Net over all scales."""
    wanted = scales(pyramid.height, pyramid.width, options.min_face_size, options.scale_factor)
    parts = [_nothing()]
    for some in (wanted[:1], wanted[1:2], wanted[2:]):  # the first two are larger than all others together
        levels = [pyramid.level(scale) for scale in some]
        cells = networks.propose([level.images for level in levels])
        parts += [_peaks(*pair, options.odds[0]) for pair in zip(levels, cells, strict=True)]
    names = ("boxes", "odds", "owners", "points")
    return Candidates(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _nothing() -> Candidates:
    none = np.empty(0, np.float32)
    return Candidates(none.reshape(0, 4), none, np.empty(0, np.intp), none.reshape(0, 0, 2))


def _peaks(level: Level, cells: Array, least: float) -> Candidates:
    """Cells that score more than `least` and than their neighbours, moved to where they say the face is."""
    odds = cells[:, 4]
    count, rows, columns = odds.shape
    apart = np.full((count, rows + PEAK_CELLS // 2, columns), -np.inf, np.float32)  # from the next picture
    apart[:, :rows] = odds
    around = np.ones((PEAK_CELLS, PEAK_CELLS), np.uint8)
    highest = np.asarray(cv2.dilate(apart.reshape(-1, columns), around)).reshape(apart.shape)[:, :rows]
    owners, i, j = np.nonzero((odds >= highest) & (odds > least))
    scale = np.array(level.scale_xy * 2, np.float32)
    windows = np.stack([2 * j, 2 * i, 2 * j + WINDOW, 2 * i + WINDOW], 1).astype(np.float32) / scale
    boxes = moved(windows, cells[owners, :4, i, j])
    return Candidates(boxes, odds[owners, i, j], owners, np.empty((len(owners), 0, 2), np.float32))


def refine(pyramid: Pyramid, networks: Networks, found: Candidates) -> Candidates:
    """R-Net on the squares around boxes."""
    squares = squared(found.boxes)
    out = networks.judge(pyramid.crops(squares, found.owners, 24))
    return Candidates(moved(squares, out[:, :4]), out[:, 4], found.owners, found.points)


def look(pyramid: Pyramid, networks: Networks, squares: Array, owners: Indices) -> Candidates:
    """O-Net on squares."""
    out = networks.judge(pyramid.crops(squares, owners, 48))
    sides = (squares[:, 2:] - squares[:, :2])[:, None]
    points = squares[:, None, :2] + out[:, 5:].reshape(-1, 2, 5).transpose(0, 2, 1) * sides
    return Candidates(moved(squares, out[:, :4]), out[:, 4], owners, points)


def look_again(
    pyramid: Pyramid, networks: Networks, found: Candidates, aside: Sequence[tuple[float, float]] = ASIDE
) -> Candidates:
    """O-Net again on each face, aside: the mean of all answers, the first too.

    Boxes move by a third as much when the picture is encoded anew, and what is no face loses its score.
    """
    squares = squared(found.boxes)
    sides = squares[:, 2:3] - squares[:, :1]
    more = np.concatenate([squares + sides * np.array(step * 2, np.float32) for step in aside])
    looks = look(pyramid, networks, more, np.tile(found.owners, len(aside)))
    boxes, odds, points = (
        (first + again.reshape(len(aside), *first.shape).sum(0)) / np.float32(len(aside) + 1)
        for first, again in ((found.boxes, looks.boxes), (found.odds, looks.odds), (found.points, looks.points))
    )
    return Candidates(boxes, odds, found.owners, points)


def separate(found: Candidates) -> Candidates:
    """One box for each face."""
    return found.take(distinct(found.boxes, found.odds, found.owners, SAME_FACE))


def to_detections(found: Candidates) -> Detections:
    """Log-odds become scores."""
    scores = 1 / (1 + np.exp(-np.clip(found.odds, -80, 80)))
    return Detections(found.boxes.astype(np.float32), scores.astype(np.float32), found.points.astype(np.float32))
