"""Which faces belong together, as those of one picture or one person: validation that shares them out flatters.

A column of a table says it (`ORIGIN_COLUMNS`), names of files do, or boxes that stand in one picture. Faces of one
person are what papers keep apart (subject-independent validation); of two ways to group them persons count before
pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.splits import is_container, long_split
from mien.labels import canonical

LEAST = 5
"""Of fewer persons or pictures than this, part can hardly be set aside, and they do not count."""

MOST = 0.9
"""This share of the files must be called as a dataset's are that names its persons."""

_PROBES = 64

_COLUMNS = (
    ("person", "subject subject_id subject_no subject_name subj person person_id person_name identity identity_id"),
    ("person", "participant participant_id actor actor_id speaker speaker_id"),
    ("video", "video video_id video_name video_file clip clip_id clip_name sequence sequence_id"),
    ("picture", "source_image source_file original_image original_file parent_image"),
)

ORIGIN_COLUMNS: dict[str, str] = {column: kind for kind, columns in _COLUMNS for column in columns.split()}
"""What columns that say whose faces belong together may be called (`mien.datasets.tables.column_name`), and what they
name; of several the first of these counts."""

_PERSON_FILES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(S[0-9]{3})_[0-9]{3}_[0-9]{8}\b.*",  # CK+
        r"([A-Z]{2})\.(?:AN|DI|FE|HA|NE|SA|SU)[0-9]?\.[0-9]+\..*",  # JAFFE
        r"[AB]([FM][0-9]{2})(?:AF|AN|DI|HA|NE|SA|SU)(?:S|HL|HR|FL|FR)\..*",  # KDEF: two sessions of each person
        r"Rafd[0-9]{3}_([0-9]+)_[a-z]+_.*",  # RaFD
        r"((?:subject|subj|person|participant|actor|speaker)[ _-]?[0-9]+)[ _.-].*",
        r"([SP][0-9]{2,4})[_-].*",
    )
)
"""File names that begin with a person, which is the group."""

_COPY, _CROP = r"[._-]rf[._-][0-9a-z]{8,}", r"[ _-](?:face|crop)[ _-]?[0-9]{1,2}"
_PART = re.compile(rf"(?:(.+?){_COPY}(?:{_CROP})?|([^0-9]*[0-9].*?){_CROP})(?:\.[a-z0-9]+)?", re.IGNORECASE)
"""What files are called that hold one face of several in a picture, or one of Roboflow's changed copies of it.

The picture of a face has a number (``IMG_17_face2.png``): ``happy_face_2.png`` is one of a series of pictures.
"""

_BOX = re.compile(r"#[0-9]+$")
"""How the name of one of several boxes in a picture ends."""

_HINT = re.compile(rf"{_BOX.pattern}|{_COPY}|{_CROP}", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Origins:
    """Which faces belong together.

    Attributes:
        kind: what faces of one number have in common: ``person``, ``picture``, ``video`` or ``folder``.
        numbers: int64 (n,), 0 or more, the same for faces that belong together.
    """

    kind: str
    numbers: NDArray[np.int64] = field(repr=False)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Origins:
        """Those of these rows."""
        return Origins(self.kind, self.numbers[rows])

    def count(self) -> int:
        """How many persons, or pictures."""
        return len(np.unique(self.numbers))

    def __bool__(self) -> bool:
        """Whether part of them can be set aside."""
        return self.count() >= LEAST

    def words(self) -> NDArray[np.str_]:
        """``person=17`` for each face: str (n,), for `with_column`."""
        return np.array([f"{self.kind}={number}" for number in self.numbers.tolist()], np.str_)

    def across(self, splits: NDArray[np.str_]) -> dict[str, int]:
        """For each split but ``train``, ``"test in train"``: how many of its faces are of a person who stands there."""
        training = self.numbers[splits == "train"]
        others = dict.fromkeys(sorted({*splits.tolist()} - {"train"}))
        found = {f"{one} in train": int(np.isin(self.numbers[splits == one], training).sum()) for one in others}
        return {pair: count for pair, count in found.items() if count}


def numbered(kind: str, words: Sequence[str]) -> Origins | None:
    """Origins from a word for each face; None where all are different or too few."""
    numbers = np.unique(np.array(words, np.str_), return_inverse=True)[1].astype(np.int64).reshape(-1)
    found = Origins(kind, numbers)
    return found if found and found.count() < len(numbers) else None


def find_origins(names: Sequence[str], classes: Sequence[str]) -> Origins | None:
    """What the names of faces say of who belongs together; None where they say nothing.

    Args:
        names: of faces, relative to the root, as `mien.datasets.Dataset.names` gives them.
        classes: whose folders may have folders of persons in them (``happy/anna``).
    """
    ways: tuple[Callable[[], Origins | None], ...] = (
        lambda: _persons(names),
        lambda: _person_folders(names, classes),
        lambda: numbered("picture", [picture_of(name, classes) for name in names]) if _some_parts(names) else None,
    )
    return next((found for way in ways if (found := way()) is not None), None)


def origin_word(column: str, value: str) -> str:
    """What a column says of a row, with what it names in front: ``person=anna``; "" where it says nothing.

    Args:
        column: one of `ORIGIN_COLUMNS`.
        value: what the row has there.
    """
    return f"{ORIGIN_COLUMNS[column]}={value}" if value else ""


def with_column(words: Sequence[str], names: Sequence[str]) -> Origins | None:
    """What a column says of faces; those of whom it says nothing belong together by their pictures' names.

    Args:
        words: as `origin_word` gives them.
        names: of the faces.
    """
    kind = next((word.partition("=")[0] for word in words if word), "")
    return numbered(kind, [word or picture_of(name) for word, name in zip(words, names, strict=True)]) if kind else None


def _some_parts(names: Sequence[str]) -> bool:
    return any(_HINT.search(name) for name in names)


def picture_of(name: str, classes: Sequence[str] = ()) -> str:
    """What the faces of one picture are all called.

    Args:
        name: of a face: that of a box (``1.jpg#2``), or of a file (``happy/1_face2.png``, ``1_jpg.rf.0a1b2c3d.jpg``).
        classes: whose folders do not tell pictures apart, where several of their faces are files.
    """
    whole = _BOX.sub("", name)
    folder, slash, base = whole.rpartition("/")
    part = _PART.fullmatch(base)
    if part is None:
        return whole
    return "/".join([*(one for one in folder.split("/") if canonical(one) not in classes), part[1] or part[2]]) + slash


def _persons(names: Sequence[str]) -> Origins | None:
    bases = [name.rpartition("/")[2] for name in names]
    for pattern in _PERSON_FILES:
        if _mostly(pattern, bases[:: max(1, len(bases) // _PROBES)]) and _mostly(pattern, bases):
            found = ((pattern.fullmatch(base), name) for base, name in zip(bases, names, strict=True))
            return numbered("person", [f"={match[1].lower()}" if match else name for match, name in found])
    return None


def _mostly(pattern: re.Pattern[str], bases: Sequence[str]) -> bool:
    return bool(bases) and sum(pattern.fullmatch(base) is not None for base in bases) >= MOST * len(bases)


def _person_folders(names: Sequence[str], classes: Sequence[str]) -> Origins | None:
    """Folders below those of classes, where most of their names stand below several classes."""
    folders = [name.rpartition("/")[0] for name in names]
    told = {folder: _below_class(folder, classes) for folder in dict.fromkeys(folders)}
    below = [told[folder] for folder in folders]
    of_class: dict[str, set[str]] = {}
    for found in below:
        if found is not None:
            of_class.setdefault(found[1], set()).add(found[0])
    shared = [folder for folder, labels in of_class.items() if len(labels) > 1]
    if sum(found is not None for found in below) < MOST * len(names) or 2 * len(shared) <= len(of_class):
        return None
    return numbered("folder", [f"={found[1]}" if found else name for found, name in zip(below, names, strict=True)])


def _below_class(path: str, classes: Sequence[str]) -> tuple[str, str] | None:
    """The class folder on a way and the folder in it, where there are such."""
    for above, folder in pairwise(path.split("/")):
        if canonical(above) in classes and not is_container(folder) and long_split(folder) is None:
            return canonical(above), folder
    return None


def of_others(facts: Mapping[str, Any]) -> str:
    """``" of other persons"``, where a run's facts say that held-out images were chosen so; else nothing."""
    kind = facts.get("validation_apart")
    return f" of other {kind}s" if kind else ""


def join_groups(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """What has the same number in either of two groupings, int64 (n,), has the same number: int64 (n,)."""
    both = [np.unique(groups, return_inverse=True)[1].reshape(-1) for groups in (one, other)]
    numbers = np.arange(len(one))
    while True:
        before = numbers
        for groups in both:
            least = np.full(len(one), len(one))
            np.minimum.at(least, groups, numbers)
            numbers = least[groups]
        if np.array_equal(numbers, before):
            return numbers
