"""Votes or shares in a table's columns of expressions: what label they give, and what a network learns of them.

FER+ has rules of its own (`mien.datasets.ferplus`), which belong to its ten votes a face. Here nothing is known of who
voted, so no vote is dropped: ``majority`` takes what has more than half of all; ``distribution`` learns the shares as
they are, and judges by the majority.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mien.config import FerPlus
from mien.datasets.class_columns import WITHOUT
from mien.datasets.file_rows import Row
from mien.labels import canonical


def voted(row: Row, mode: FerPlus, split: str) -> Row:
    """A row with the class that its votes give it: "" for none. A row without votes stays as it is.

    Args:
        row: as it was read, its class that which has most votes, "" where several have.
        mode: which votes count.
        split: that of the row; only ``train`` is learned by its distribution.
    """
    if mode == "none" or not row.votes:
        return row
    votes = dict(row.votes)
    leading = max(votes, key=lambda column: votes[column])
    enough = 2 * votes[leading] > sum(votes.values())
    if mode == "distribution" and split == "train":
        enough = votes[leading] > 0
    return replace(row, word=leading if enough and leading not in WITHOUT else "")


def soft_targets(
    rows: Sequence[Row], labels: NDArray[np.int64], splits: Sequence[str], classes: Sequence[str]
) -> NDArray[np.float32]:
    """What a network learns of each face: float32 (n, classes), rows that add up to 1.

    Args:
        rows: of the faces.
        labels: int64 (n,) into `classes`.
        splits: of the faces; but for ``train`` it is the label alone.
        classes: in order.
    """
    targets = np.eye(len(classes), dtype=np.float32)[labels]
    for place, (row, split) in enumerate(zip(rows, splits, strict=True)):
        if row.votes and split == "train":
            targets[place] = 0
            for column, vote in row.votes:
                if column not in WITHOUT:
                    targets[place, classes.index(canonical(column))] += vote
    targets /= targets.sum(axis=1, keepdims=True)
    return targets
