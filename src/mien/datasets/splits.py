"""The five splits, and every folder name, file-name prefix and CSV word that stands for one of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError

SPLITS: tuple[str, ...] = ("train", "val", "public", "private", "test")
"""Where a face belongs. FER2013's test set has two halves, ``public`` and ``private``; ``test`` is any other one."""

TEST_SPLITS: tuple[str, ...] = ("public", "private", "test")
"""What asking for ``test`` gives."""

FOLDER_NAMES: dict[str, str] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "public": "public",
    "publictest": "public",
    "private": "private",
    "privatetest": "private",
}
"""Folder and file names that stand for a split, in lower case."""

OTHER_NAMES: dict[str, str] = {"dev": "val", "eval": "val", "evaluation": "val"}
"""Names that stand for a split where what stands beside them does too; by themselves they may mean anything."""

FILE_PREFIXES: dict[str, str] = {"Training_": "train", "PublicTest_": "public", "PrivateTest_": "private"}
"""How FER2013's file names begin."""

USAGES: dict[str, str] = {
    "Training": "train",
    "PublicTest": "public",
    "PrivateTest": "private",
    "Validation": "val",
    "Test": "test",
}
"""The column ``Usage``. FER2013 has the first three; `mien.datasets.convert` writes the others for other datasets."""

_USAGES = {usage.lower(): split for usage, split in USAGES.items()}

_KINDS = "set|split|images?|imgs?|pictures|faces|data|files|folder"
_STATES = "aligned|cropped|crop|resized|processed|preprocessed|original|raw"
_LENGTHENED = re.compile(rf"(.+?)(?:[ _-](?:{_STATES}))?[ _-]?(?:{_KINDS}|20[0-9]{{2}})")
_CONTAINER = re.compile(f"{_KINDS}|photos|dataset")

_WHERE = {"train": "a folder train/, or Usage Training", "test": "a folder test/, or Usage PublicTest or PrivateTest"}


def folder_split(name: str) -> str | None:
    """The split that a folder's name stands for, None where it stands for none."""
    return FOLDER_NAMES.get(name.strip().lower())


def long_split(name: str) -> str | None:
    """The split of a longer name, ``train_set``, ``test-images`` or ``val2017``, of a plain one or of `OTHER_NAMES`."""
    word = name.strip().lower()
    longer = _LENGTHENED.fullmatch(word)
    known = FOLDER_NAMES | OTHER_NAMES
    return known.get(word) or (known.get(longer[1]) if longer else None)


def folder_splits(names: Iterable[str]) -> dict[str, str]:
    """Which of the folders that stand side by side are splits, and which.

    Longer and other names (`long_split`) count beside a folder of a plain name, or where all of several folders have
    such names; and only where no two stand for the same split.
    """
    names = list(names)
    plain = {name: split for name in names if (split := folder_split(name))}
    longer = {name: split for name in names if name not in plain and (split := long_split(name))}
    taken = Counter([*plain.values(), *longer.values()])
    alone = {name: split for name, split in longer.items() if taken[split] == 1}
    return plain | alone if plain or 1 < len(alone) == len(names) else {}


def word_split(word: str) -> str | None:
    """The split that a table's column names, in any case: ``PublicTest``, ``train``, ``Dev``."""
    return _USAGES.get(word.strip().lower()) or long_split(word)


def table_split(stem: str) -> str | None:
    """The split that a table's name begins or ends with: ``train_labels``, ``labels-val``, ``training``."""
    words = re.split(r"[ ._-]+", stem.strip().lower())
    found = {split for word in (words[0], words[-1]) if (split := (FOLDER_NAMES | OTHER_NAMES).get(word))}
    return found.pop() if len(found) == 1 else None


def is_container(name: str) -> bool:
    """Whether a folder's name says that it holds pictures, and not what they show: ``images``, ``data``."""
    return _CONTAINER.fullmatch(name.strip().lower()) is not None


def path_split(name: str) -> str:
    """The split of a file by the folders on its way, where just one is named, else by how its name begins."""
    folders, _, base = name.rpartition("/")
    return file_split(base, folders_split(folders))


def folders_split(path: str) -> str | None:
    """The split that the folders of a path name, where just one is named, else None."""
    for read_fn in (folder_split, long_split):
        found = {split for folder in path.split("/") if (split := read_fn(folder))}
        if len(found) == 1:
            return found.pop()
    return None


def file_split(file_name: str, folder: str | None) -> str:
    """The split of one file.

    Args:
        file_name: its name without folders; FER2013's prefixes count where the folder leaves the question open.
        folder: the split that its folder stands for, None where the tree has no such level.
    """
    if folder not in (None, "test"):
        return str(folder)
    for prefix, split in FILE_PREFIXES.items():
        if file_name.startswith(prefix) and (folder is None or split in TEST_SPLITS):
            return split
    return folder or "train"


def split_mask(splits: NDArray[np.str_], split: str) -> NDArray[np.bool_]:
    """Which rows belong to a split.

    Args:
        splits: (n,) names from `SPLITS`.
        split: one of `SPLITS`, where ``test`` means public, private and test together, or ``all``.

    Returns:
        bool (n,).

    Raises:
        UsageError: no row belongs to it; the message lists the splits there are.
    """
    if split == "all":
        return np.ones(len(splits), np.bool_)
    wanted: Sequence[str] = TEST_SPLITS if split == "test" else (split,)
    mask = np.isin(splits, wanted)
    if not mask.any():
        if split == "train":
            raise _lacks(splits, split)
        choices = split_choices(splits)
        why = " (all of it counts as 'train', as where nothing names a split)" if choices == ["train", "all"] else ""
        raise UsageError(f"split: the data has no {split!r}{why}; choose from {', '.join(choices)}")
    return mask


def check_halves(splits: NDArray[np.str_]) -> None:
    """Make sure that there is something to learn from and something to test with, where nobody chooses a split.

    Raises:
        UsageError: there are no training images, or no test images; the message says where they would stand.
    """
    for split in ("train", "test"):
        if split not in split_choices(splits):
            raise _lacks(splits, split)


def _lacks(splits: NDArray[np.str_], split: str) -> UsageError:
    """Nobody need have asked for this split by its name, so the message says where it would stand, and no option."""
    present = ", ".join(split_choices(splits)[:-1]) or "no images"
    way = "; mien.datasets.holdout sets a part aside, see docs/data.md" if split == "test" and "train" in splits else ""
    return UsageError(f"the data has no {split!r} images ({_WHERE[split]}); it has {present}{way}")


def split_choices(splits: NDArray[np.str_]) -> list[str]:
    """The names that `split_mask` takes for these rows."""
    present = set(splits.tolist())
    choices = [split for split in SPLITS if split in present or (split == "test" and present & set(TEST_SPLITS))]
    return [*choices, "all"]


def count_classes(
    splits: NDArray[np.str_], labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """How many rows each class has in each split, in the order of `SPLITS`; rows without a label count nowhere."""
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        rows = labels[splits == split]
        if rows.size:
            per_class = np.bincount(rows[rows >= 0], minlength=len(classes))
            counts[split] = {name: int(number) for name, number in zip(classes, per_class, strict=True)}
    return counts
