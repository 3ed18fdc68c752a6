"""Datasets whose files are called by what they show: JAFFE, KDEF and RaFD, as their makers hand them out.

The same files in class folders of a user's own (``calm``, ``upset``) are read by these: see `mien.datasets.tree`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from mien.datasets.class_names import NAMES_FILE, ReadFn, names_by_number, read_names
from mien.datasets.splits import path_split
from mien.datasets.storage import Listing, base_name, encode_names
from mien.datasets.tree import Index
from mien.labels import canonical, class_order

MOST = 0.9
"""This share of the pictures must be called as a dataset's are; the others are then named as problems."""


@dataclass(frozen=True)
class Coding:
    """How a dataset calls its files.

    Attributes:
        name: of the dataset.
        pattern: of a whole file name; its group is the code.
        codes: what each code means, in lower case.
    """

    name: str
    pattern: re.Pattern[str]
    codes: Mapping[str, str]

    def read(self, name: str) -> str | None:
        """The expression that a file's name says, None where it is called otherwise."""
        found = self.pattern.fullmatch(base_name(name))
        return None if found is None else self.codes[found[1].lower()]


def _coding(name: str, pattern: str, codes: Mapping[str, str]) -> Coding:
    words = "|".join(codes)
    return Coding(name, re.compile(pattern.replace("CODE", f"({words})"), re.IGNORECASE), MappingProxyType(codes))


_TWO_LETTERS = {"an": "angry", "di": "disgust", "ha": "happy", "ne": "neutral", "sa": "sad", "su": "surprise"}
_ADJECTIVES = {"contemptuous": "contempt", "disgusted": "disgust", "fearful": "fear", "surprised": "surprise"}

CODINGS: tuple[Coding, ...] = (
    _coding("JAFFE", r"[A-Z]{2}\.CODE[0-9]?\.[0-9]+\.[a-z]+", _TWO_LETTERS | {"fe": "fear"}),
    _coding("KDEF", r"(?:[AB][FM][0-9]{2}|[FM])CODE(?:S|HL|HR|FL|FR)\.[a-z]+", _TWO_LETTERS | {"af": "fear"}),
    _coding(
        "RaFD",
        r"Rafd[0-9]{3}_[0-9]+_[a-z]+_[a-z]+_CODE_[a-z]+\.[a-z]+",
        {name: name for name in ("angry", "happy", "neutral", "sad")} | _ADJECTIVES,
    ),
)
"""``KA.AN1.39.tiff`` (Lyons et al. 1998), ``AF01ANS.JPG`` (Lundqvist et al. 1998; ``FANS.JPG`` is an average) and
``Rafd090_01_Caucasian_female_angry_frontal.jpg`` (Langner et al. 2010)."""


def read_file_codes(
    listing: Listing, classes: Sequence[str] | None = None, read_fn: ReadFn = lambda _: None
) -> Index | None:
    """Understand a listing by how its files are called.

    Args:
        listing: the files.
        classes: the class names there may be; None: as `NAMES_FILE` says, if it is there.
        read_fn: reads `NAMES_FILE`.

    Returns:
        The index; None where most files say nothing, where classes are given that are none of the files', and where
        folders say more than who is shown.
    """
    for coding in CODINGS:
        words = [coding.read(name) for name in listing.names]
        if words and sum(word is not None for word in words) >= MOST * len(words):
            named = [(name, word) for name, word in zip(listing.names, words, strict=True) if word is not None]
            listed = read_names(NAMES_FILE, read_fn) if classes is None else tuple(map(canonical, classes))
            others = listed is not None and not {word for _, word in named} <= {*names_by_number(listed).values()}
            return None if others or _folders_tell(named) else _index(coding, listing.names, words)
    return None


def _folders_tell(named: Sequence[tuple[str, str]]) -> bool:
    """Whether the folders of a level share the expressions out among them, as classes of a user's own do.

    Folders of people, of views and of splits hold all expressions each.
    """
    split = [(name.lower().split("/"), word) for name, word in named]
    for level in range(max(len(parts) for parts, _ in split) - 1):
        below = [(parts[level], parts[-1], word) for parts, word in split if len(parts) > level + 1]
        most: dict[str, tuple[int, str]] = {}
        for (word, folder), count in Counter((word, folder) for folder, _, word in below).items():
            most[word] = max(most.get(word, (0, "")), (count, folder))
        apart = len({folder for _, folder in most.values()}) > 1
        people = all(file.startswith(folder) for folder, file, _ in below)
        if apart and not people and sum(count for count, _ in most.values()) >= MOST * len(split):
            return True
    return False


def _index(coding: Coding, names: Sequence[str], words: Sequence[str | None]) -> Index:
    named = [(name, word) for name, word in zip(names, words, strict=True) if word is not None]
    classes = class_order({word for _, word in named})
    strangers = [name for name, word in zip(names, words, strict=True) if word is None]
    return Index(
        format=coding.name,
        classes=classes,
        keys=encode_names([name for name, _ in named]),
        labels=np.array([classes.index(word) for _, word in named], np.int64),
        splits=np.array([path_split(name) for name, _ in named], "U7"),
        problems=tuple(f"{name} (is not called as files of {coding.name} are)" for name in strangers),
    )
