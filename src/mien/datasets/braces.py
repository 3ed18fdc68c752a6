"""Archives named by one pattern with braces, as WebDataset writes them: ``shards/train-{000000..000003}.tar``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mien.datasets.joined import Joined, join_archives
from mien.datasets.storage import Folder
from mien.errors import UsageError, listing

MOST_NAMES = 100_000
"""A pattern may name so many files."""

_BRACES = re.compile(r"\{(?:([0-9]{1,12})\.\.([0-9]{1,12})|([^{},]*(?:,[^{},]*)+))\}")


def numbered(first: str, last: str) -> Iterator[str]:
    """``007`` to ``012``, in the width of the first; downwards where the last is less."""
    step = 1 if int(first) <= int(last) else -1
    return (str(number).zfill(len(first)) for number in range(int(first), int(last) + step, step))


def expand(text: str) -> list[str]:
    """Every name that a pattern stands for: ``{08..10}`` counts, with zeros in front; ``{a,b}`` is one or the other.

    Raises:
        UsageError: there are more than `MOST_NAMES`.
    """
    names = [""]
    end = 0
    for braces in _BRACES.finditer(text):
        first, last, words = braces.groups()
        count = abs(int(last) - int(first)) + 1 if words is None else words.count(",") + 1
        if count * len(names) > MOST_NAMES:
            raise UsageError(f"path: {braces[0]} makes more than {MOST_NAMES:,} names of {text}")
        values = list(numbered(first, last)) if words is None else words.split(",")
        names = [name + text[end : braces.start()] + value for name in names for value in values]
        end = braces.end()
    return [name + text[end:] for name in names]


def is_pattern(path: Path) -> bool:
    """Whether a path stands for several: it has braces and is not there itself."""
    return _BRACES.search(str(path)) is not None and not path.exists()


def open_pattern(path: Path, *, cache: bool = False) -> Joined | None:
    """The archives that a pattern names, as one dataset's; None for a path that is none. `cache`: see `Joined`.

    Raises:
        UsageError: one of them is not there, or they are neither shards nor called like splits.
        DataError: one cannot be opened.
    """
    if not is_pattern(path):
        return None
    above = next(parent for parent in path.parents if _BRACES.search(str(parent)) is None)
    names = [Path(name).relative_to(above).as_posix() for name in dict.fromkeys(expand(str(path)))]
    missing = [name for name in names if not (above / name).is_file()]
    if missing:
        raise UsageError(f"no such file: {listing(missing)} ({len(missing):,} of the {len(names):,} that {path} names)")
    joined = join_archives(Folder(above), names, cache=cache)
    if joined is None:
        raise UsageError(f"not a dataset: {path}; the zip or tar archives it names must have numbers or name splits")
    return joined
