"""FER+: ten people's votes on each face of FER2013, in a CSV file of their own (``fer2013new.csv``).

Barsoum et al. 2016, "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution".
Its rows are those of ``fer2013.csv`` in the same order, and nothing else links the two: so the order is checked in
every way there is before a label is believed.

Which votes count follows the paper and its authors' program. A single vote for anything is taken for a slip and
dropped. Then, of the votes that are left,

- ``majority``: the label is what has more than half of them; without such, or where that is ``unknown`` or ``NF`` (not
  a face), the face has no label.
- ``distribution``: labels are taken in falling order of their votes, equal ones together, until three quarters of the
  votes or three labels are reached, or ``unknown`` or ``NF`` stands next. They must hold more than half of the votes
  and be three at most, or the face has none. Their votes, as shares, are what a network learns.

Faces whose image name is empty were taken out of FER+ and have no label. Validation and test faces are judged by the
majority, whatever was learned.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mien.config import FerPlus
from mien.datasets.dataset import Dataset
from mien.datasets.splits import USAGES
from mien.errors import DataError, many
from mien.labels import FERPLUS_COLUMNS, canonical, class_order

VOTES_FILE = "fer2013new.csv"
"""The name of the votes' file, which lies beside ``fer2013.csv``."""

EMOTIONS = len(FERPLUS_COLUMNS) - 2
"""The first columns are expressions; the last two are ``unknown`` and ``NF``."""

FERPLUS_CLASSES = class_order({canonical(name) for name in FERPLUS_COLUMNS[:EMOTIONS]})
"""The eight classes in the order of a network's outputs: the seven expressions and contempt, alphabetical."""

MAX_VOTES_BYTES = 64 * 1024**2
"""The file has 1.6 MB; one that is larger than this is some other file."""

MOST_LABELS = 3
"""A face with more labels than these in its distribution says nothing."""

ENOUGH = 0.75
"""Share of the votes at which no further label is taken."""

LEAST_AGREEMENT = 0.2
"""Cohen's kappa between the majority and FER2013's own labels, below which the rows cannot be of the same faces."""

COMPARABLE = 200
"""Kappa is looked at where this many faces have both labels."""

RUN = 500
"""Kappa is also looked at for each run of about so many faces, so that no stretch of rows can be moved."""

MOST_CHANCE = 0.5
"""Where one label is so frequent that chance alone agrees more often, kappa says nothing."""

_CLASS_OF_COLUMN = np.array([FERPLUS_CLASSES.index(canonical(name)) for name in FERPLUS_COLUMNS[:EMOTIONS]])
_IMAGE_NAME = re.compile(r"\D*(\d{1,12})\.\w+")
_BAD_ROW = re.compile(r":(\d+) \(")  # in "fer2013.csv:17 (2,303 pixels where ...)"


@dataclass(frozen=True, eq=False)
class Votes:
    """The rows of a votes' file.

    Attributes:
        counts: int64 (n, 10), votes in the order of `mien.labels.FERPLUS_COLUMNS`.
        splits: (n,) of `mien.datasets.splits.SPLITS`.
        numbers: int64 (n,) the number in each image's name, -1 where the face was taken out and has none.
    """

    counts: NDArray[np.int64] = field(repr=False)
    splits: NDArray[np.str_] = field(repr=False)
    numbers: NDArray[np.int64] = field(repr=False)

    def __len__(self) -> int:
        return len(self.counts)


def read_votes(data: bytes, name: str = VOTES_FILE) -> Votes:
    """Read a votes' file; its columns are found by name.

    Args:
        data: the file's bytes.
        name: what messages call it.

    Raises:
        DataError: a column is missing, there is no row, or rows cannot be read: all of them are named.
    """
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        places = _places(next(rows, []), name)
        numbered = [(f"{name}:{rows.line_num}", row) for row in rows if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read as CSV ({error}); fetch FER+'s {VOTES_FILE} again", [name]) from error
    read = [_row(row, places) for _, row in numbered]
    bad = [f"{place} ({row})" for (place, _), row in zip(numbered, read, strict=True) if isinstance(row, str)]
    if bad:
        raise DataError(f"{many(len(bad), 'row')} of votes cannot be used; fetch FER+'s {VOTES_FILE} again", bad)
    good = [row for row in read if not isinstance(row, str)]
    if not good:
        raise DataError("no rows of votes", [name])
    splits, numbers, counts = zip(*good, strict=True)
    return Votes(np.array(counts, np.int64), np.array(splits, np.str_), np.array(numbers, np.int64))


def majority_labels(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The label that has more than half of the votes that count.

    Args:
        counts: int64 (n, 10), votes in the order of `mien.labels.FERPLUS_COLUMNS`.

    Returns:
        int64 (n,) into `FERPLUS_CLASSES`, -1 where there is no such label.
    """
    counting = _without_single_votes(counts)
    winner = counting.argmax(axis=1)
    clear = 2 * counting.max(axis=1) > counting.sum(axis=1)
    labels = np.full(len(counts), -1, np.int64)
    known = clear & (winner < EMOTIONS)
    labels[known] = _CLASS_OF_COLUMN[winner[known]]
    return labels


def vote_distribution(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """The shares of the labels that a face shows, by the paper's rules (see the module).

    Args:
        counts: int64 (n, 10), votes in the order of `mien.labels.FERPLUS_COLUMNS`.

    Returns:
        float32 (n, 8) in the order of `FERPLUS_CLASSES`; rows add up to 1, or to 0 where the votes say nothing.
    """
    counting = _without_single_votes(counts)
    total = counting.sum(axis=1, keepdims=True)
    ahead = counting[:, :, None] > counting[:, None, :]  # (n, one, other): whether one has more votes than other
    votes_ahead = (ahead * counting[:, :, None]).sum(axis=1)
    stopped = ahead[:, EMOTIONS:].any(axis=1)  # unknown or NF had more
    reached = (counting > 0) & (votes_ahead < ENOUGH * total) & (ahead.sum(axis=1) < MOST_LABELS) & ~stopped
    kept = np.where(reached, counting, 0)[:, :EMOTIONS]
    few = ((kept > 0).sum(axis=1) <= MOST_LABELS) & (2 * kept.sum(axis=1) > total[:, 0])
    shares = np.zeros((len(counts), len(FERPLUS_CLASSES)), np.float32)
    shares[np.ix_(few, _CLASS_OF_COLUMN)] = kept[few] / kept[few].sum(axis=1, keepdims=True)
    return shares


def with_votes(dataset: Dataset, votes: Votes, mode: FerPlus, name: str = VOTES_FILE) -> Dataset:
    """FER2013 with FER+'s labels: eight classes, no label where the votes give none.

    Args:
        dataset: what a single CSV file in FER2013's row order gave, whole.
        votes: of the same rows.
        mode: ``majority``; or ``distribution``, which gives soft targets for Training beside the labels.
        name: what messages call the votes' file.

    Raises:
        DataError: the rows of the two files are not of the same faces.
    """
    rows = _matching_rows(dataset, votes, name)
    majority = majority_labels(votes.counts[rows])
    removed = votes.numbers[rows] < 0
    majority[removed] = -1
    _check_agreement(dataset, majority, name)
    learnt = (dataset.splits == "train") & ~removed
    labels, targets = soft_labels(votes.counts[rows], majority, learnt, mode)
    words = f"{dataset.format} with FER+ votes ({mode})"
    return replace(dataset, format=words, classes=FERPLUS_CLASSES, labels=labels, targets=targets)


def soft_labels(
    counts: NDArray[np.int64], majority: NDArray[np.int64], learnt: NDArray[np.bool_], mode: FerPlus
) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
    """What faces are learned and judged by.

    Args:
        counts: int64 (n, 10), their votes.
        majority: int64 (n,) into `FERPLUS_CLASSES`, -1 for none.
        learnt: bool (n,), which of them are learned by their distribution.
        mode: ``majority`` or ``distribution``.

    Returns:
        int64 (n,) labels, -1 for none; and float32 (n, 8) soft targets with ``distribution``, else None.
    """
    if mode != "distribution":
        return majority, None
    targets = np.eye(len(FERPLUS_CLASSES), dtype=np.float32)[majority] * (majority >= 0)[:, None]
    targets[learnt] = vote_distribution(counts[learnt])
    return np.where(targets.any(axis=1), targets.argmax(axis=1), -1).astype(np.int64), targets


def _places(header: Sequence[str], name: str) -> list[int]:
    """Where Usage, the image's name and the ten vote columns stand."""
    found = {cell.strip().lower(): place for place, cell in enumerate(header)}
    wanted = ("Usage", "Image name", *FERPLUS_COLUMNS)
    missing = [column for column in wanted if column.lower() not in found]
    if missing:
        raise DataError(f"not FER+'s votes: no column {', '.join(missing)}; expected {','.join(wanted)}", [name])
    return [found[column.lower()] for column in wanted]


def _row(cells: Sequence[str], places: Sequence[int]) -> tuple[str, int, list[int]] | str:
    """Split, number of the image's name and votes; or what is wrong, in words."""
    if len(cells) <= max(places):
        return f"{many(len(cells), 'field')} where {max(places) + 1} are expected"
    usage, image, *votes = (cells[place].strip() for place in places)
    if usage not in USAGES:
        return f"unknown Usage {usage[:20]!r}"
    named = _IMAGE_NAME.fullmatch(image)
    if image and named is None:
        return f"Image name {image[:40]!r} where one such as fer0000017.png is expected"
    if not all(vote.isascii() and vote.isdigit() and len(vote) <= 6 for vote in votes):
        return f"votes {','.join(votes)[:60]} are not ten whole numbers"
    return USAGES[usage], -1 if named is None else int(named[1]), [int(vote) for vote in votes]


def _without_single_votes(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(counts > 1, counts, 0)


def _matching_rows(dataset: Dataset, votes: Votes, name: str) -> NDArray[np.int64]:
    """Which row of votes belongs to each face: int64 (n,).

    Raises:
        DataError: counts, Usages or image names say that the rows are of other faces.
    """
    lines = np.array([int(name.rpartition(":")[2]) for name in dataset.names.tolist()], np.int64)
    bad = [found for problem in dataset.problems if (found := _BAD_ROW.search(problem))]
    every = np.sort(np.concatenate([lines, np.array([int(found[1]) for found in bad], np.int64)]))
    if len(every) != len(votes) or len(np.unique(every)) != len(every):
        raise DataError(
            f"{name} has {many(len(votes), 'row')} of votes, but {dataset.path.name} ({dataset.format}) has "
            f"{many(len(every), 'face')}: they do not belong together. FER+ needs fer2013.csv as it was published, "
            "all three Usages in one"
        )
    rows: NDArray[np.int64] = np.searchsorted(every, lines)
    wrong = np.flatnonzero(votes.splits[rows] != dataset.splits)
    if len(wrong):
        items = [
            f"{dataset.names[row]} ({dataset.splits[row]} there, {votes.splits[rows[row]]} in {name})" for row in wrong
        ]
        raise DataError(
            f"row order: the column Usage differs between the faces and {name} in {many(len(wrong), 'row')}; "
            "both files must be as they were published",
            items,
        )
    _check_numbers(votes.numbers, name)
    return rows


def _check_numbers(numbers: NDArray[np.int64], name: str) -> None:
    """Image names count the faces that FER+ kept: they rise, and none runs ahead of its row."""
    rows = np.flatnonzero(numbers >= 0)
    kept = numbers[rows]
    wrong = kept > rows
    wrong[1:] |= kept[1:] <= kept[:-1]
    if wrong.any():
        items = [f"row {row + 1} (image number {number})" for row, number in zip(rows[wrong], kept[wrong], strict=True)]
        raise DataError(f"row order: the image names in {name} are not in order, it was sorted or edited", items)


def _check_agreement(dataset: Dataset, majority: NDArray[np.int64], name: str) -> None:
    """Two sets of labels for the same faces agree far more often than by chance: as a whole, by Usage and all along.

    Raises:
        DataError: they do not: rows were shuffled within their Usages, or some were moved.
    """
    own = np.array([FERPLUS_CLASSES.index(word) for word in dataset.classes], np.int64)[dataset.labels]
    rows = np.flatnonzero((dataset.labels >= 0) & (majority >= 0))
    usages = [rows[dataset.splits[rows] == split] for split in np.unique(dataset.splits)]
    runs = np.array_split(rows, max(1, len(rows) // RUN))
    for part in (rows, *usages, *runs):
        agreement, chance = _agreement(own[part], majority[part])
        if len(part) < COMPARABLE or chance > MOST_CHANCE:
            continue
        if agreement < chance + LEAST_AGREEMENT * (1 - chance):
            raise DataError(
                f"row order: from {dataset.names[part[0]]} to {dataset.names[part[-1]]}, the majority in {name} is the "
                f"label of {dataset.path.name} for only {agreement:.0%} of the "
                f"{many(len(part), 'face that is', 'faces that are')} compared, "
                f"where chance gives {chance:.0%}: the rows of one of the two were shuffled or moved"
            )


def _agreement(own: NDArray[np.int64], majority: NDArray[np.int64]) -> tuple[float, float]:
    """How often two labels are the same, and how often they would be by chance; 1 twice where there is none."""
    if not len(own):
        return 1.0, 1.0
    table = np.zeros((len(FERPLUS_CLASSES), len(FERPLUS_CLASSES)))
    np.add.at(table, (own, majority), 1 / len(own))
    return float(np.trace(table)), float(table.sum(axis=0) @ table.sum(axis=1))
