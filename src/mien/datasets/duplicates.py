"""Identical faces: finding them, and splitting data so that no face stands on both sides."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import Faces
from mien.datasets.origins import Origins, join_groups
from mien.datasets.splits import split_mask
from mien.errors import UsageError
from mien.images import Image


@dataclass(frozen=True)
class Duplicates:
    """How often faces are repeated, pixel for pixel.

    Attributes:
        groups: sets of two or more identical images.
        surplus: images beyond the first of each group.
        across: for each pair of splits, ``"public in train"``, images of the first that the second has too.
        conflicting: groups whose images carry different labels.
    """

    groups: int
    surplus: int
    across: dict[str, int]
    conflicting: int


def pixel_digest(image: Image) -> bytes:
    """16 bytes that are equal for equal pixels and shape."""
    digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16)
    digest.update(repr(image.shape).encode())
    return digest.digest()


def pixel_groups(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number images so that identical ones have the same number.

    Args:
        images: uint8 (n, height, width, channels).

    Returns:
        int64 (n,), counted from 0 in order of appearance.
    """
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(pixel_digest(image), len(numbers)) for image in images], np.int64)


def pixel_digests(images: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """`pixel_digest` of each image uint8 (n, height, width, channels), for comparing with others by `numpy.isin`: (n,).

    NumPy drops zeros at an end and compares accordingly, so what is equal stays so.
    """
    return np.array([pixel_digest(image) for image in images], "S16")


def repeated_rows(groups: NDArray[np.int64], splits: NDArray[np.str_], split: str, other: str) -> NDArray[np.bool_]:
    """Which images of a split also stand in another, pixel for pixel.

    Args:
        groups: int64 (n,), as `pixel_groups` gives them.
        splits: (n,).
        split: whose rows are asked for.
        other: where their copies are looked for; ``test`` is public, private and test together.

    Returns:
        bool (n,), true for rows of `split` alone.

    Raises:
        UsageError: there is no such split.
    """
    return split_mask(splits, split) & np.isin(groups, groups[split_mask(splits, other)])


def count_duplicates(groups: NDArray[np.int64], labels: NDArray[np.int64], splits: NDArray[np.str_]) -> Duplicates:
    """Summarise identical images.

    Args:
        groups: int64 (n,), as `pixel_groups` gives them.
        labels: int64 (n,); -1 conflicts with nothing.
        splits: (n,).
    """
    _, sizes = np.unique(groups, return_counts=True)
    pairs = np.unique(np.stack([groups, labels])[:, labels >= 0], axis=1)
    _, labels_of_group = np.unique(pairs[0], return_counts=True)
    members = {split: groups[splits == split] for split in dict.fromkeys(splits.tolist())}
    across = {
        f"{one} in {other}": int(np.isin(members[one], members[other]).sum())
        for one in members
        for other in members
        if one != other and (other == "train" or (one != "train" and one > other))
    }
    return Duplicates(
        groups=int((sizes > 1).sum()),
        surplus=int((sizes - 1).sum()),
        across={pair: number for pair, number in across.items() if number},
        conflicting=int((labels_of_group > 1).sum()),
    )


def holdout(faces: Faces, *, fraction: float = 0.1, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Set part of the faces aside for validation.

    Every class gives the same fraction, and identical images never stand on both sides, nor do faces of one person or
    picture, where it is known whose they are (`mien.datasets.origins`). Faces without a label stand on neither.

    Args:
        faces: usually the training split.
        fraction: part that is set aside, above 0 and below 1.
        seed: the same seed gives the same parts.

    Returns:
        Indices of the training part and of the validation part, each int64 and rising.

    Raises:
        UsageError: `fraction` is out of range, or there are too few faces.
    """
    groups = pixel_groups(faces.images)
    return holdout_groups(faces.labels, groups, origins=faces.origins, fraction=fraction, seed=seed)


def holdout_groups(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    origins: Origins | None = None,
    fraction: float = 0.1,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`holdout` from labels int64 (n,) and group numbers int64 (n,), for faces that are not in memory.

    A class with two groups or more gives at least one to each side. Where the labels within a group differ, the
    first one counts for all of it, unless `origins` say what belongs together: then each face counts. They are passed
    over where there are fewer than `mien.datasets.origins.LEAST`, those with a face in common counting as one, and
    where each has a class of its own.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"fraction: must be above 0 and below 1, received {fraction}")
    rows = np.flatnonzero(labels >= 0)
    _, first, group_of_row, sizes = np.unique(groups[rows], return_index=True, return_inverse=True, return_counts=True)
    label_of_group = labels[rows][first]
    random = np.random.default_rng(seed)
    held = np.zeros(len(first), np.bool_)
    joined = None if origins is None else Origins(origins.kind, join_groups(groups[rows], origins.numbers[rows]))
    wider = np.unique(joined.numbers, return_inverse=True)[1].reshape(-1) if joined else None
    dealt = held[:0] if wider is None else _deal(labels[rows], wider, fraction, random)
    if wider is not None and dealt.any():
        held, group_of_row = dealt, wider
    else:
        for label in np.unique(label_of_group):
            members = random.permutation(np.flatnonzero(label_of_group == label))
            held[members[: _how_many(sizes[members], fraction)]] = True
    if not held.any():
        raise UsageError(
            f"data: too few faces to set a part aside ({len(rows)} with a label); give at least two a class"
        )
    return rows[~held[group_of_row]], rows[held[group_of_row]]


def _deal(
    labels: NDArray[np.int64], groups: NDArray[np.int64], fraction: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    """Groups of any sizes and labels to set aside, bool (groups,), so that each class comes near to the fraction.

    In an order drawn at random, a group is set aside where this brings the classes' shares nearer to it, but for those
    that alone have some class, which could not be learned then. Scikit-learn's StratifiedGroupKFold knows fractions of
    1/k alone, and takes half a minute for 40,000 pictures, this 0.3 s.
    """
    classes = np.unique(labels, return_inverse=True)[1].reshape(-1)
    counts = np.zeros((int(groups.max()) + 1, int(classes.max()) + 1))
    np.add.at(counts, (groups, classes), 1)
    shares = counts / counts.sum(axis=0)
    held, missing = np.zeros(len(counts), np.bool_), np.full(counts.shape[1], fraction)
    alone = np.asarray(counts[:, (counts > 0).sum(axis=0) == 1].any(axis=1), np.bool_)
    for group in random.permutation(np.flatnonzero(~alone)).tolist():
        after = missing - shares[group]
        if after @ after < missing @ missing:
            held[group], missing = True, after
    _mend(held, counts, alone)
    return held


def _mend(held: NDArray[np.bool_], counts: NDArray[np.float64], alone: NDArray[np.bool_]) -> None:
    """See that each class can be learned, and then that each is set aside too, as far as that takes none from learning.

    Args:
        held: bool (groups,), changed in place.
        counts: float64 (groups, classes), how many faces of each class a group has.
        alone: bool (groups,), those that are never set aside.
    """
    by_size = np.argsort(counts.sum(axis=1), kind="stable")
    for having in (counts > 0).T:
        if held[having].all():
            held[by_size[having[by_size]][0]] = False
    for having in (counts > 0).T:
        for group in by_size[(having & ~alone)[by_size]].tolist() if not held[having].any() else ():
            learned = ~held
            learned[group] = False
            if (counts[learned] > 0).any(axis=0).all():
                held[group] = True
                break


def _how_many(sizes: NDArray[np.int64], fraction: float) -> int:
    """How many groups of these sizes come nearest to a fraction of their images, at least one and not all."""
    target = fraction * int(sizes.sum())
    nearest = int(np.abs(np.cumsum(sizes) - target).argmin()) + 1
    return min(nearest, len(sizes) - 1)
