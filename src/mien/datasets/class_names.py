"""Which names of classes a dataset may use: the seven expressions, a list of its own, or numbers that a list names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence

from mien.datasets.storage import base_name
from mien.errors import DataError
from mien.labels import EXPRESSIONS, canonical

EXTRA_EXPRESSIONS = frozenset({"contempt"})
"""Classes that may stand beside the seven expressions: datasets such as AffectNet and FER+ have this one."""

NAMES_FILE = "classes.txt"
"""Beside class folders or a table of files: the class names there may be, one a line, in order. It is read where names
mix the seven expressions with others, which without it are taken for mistakes, and where classes are numbers."""

ReadFn = Callable[[str], bytes | None]
"""Gives the bytes of a file, by its name relative to the root; None where there is none."""

_BEHIND = re.compile(r"\s*([^\W\d_]+)[\s:,;=_-]+(\d+)\s*")
_CLOSE = re.compile(r"\s*(\d+)([^\W\d_].*)", re.DOTALL)
_NUMBERED = re.compile(r"\s*(\d+)\s*[._\-:,;=)\s]\s*([^\W\d_].*)", re.DOTALL)


def is_text(name: str) -> bool:
    """Whether a name is Unicode text; what was read from bytes that are not UTF-8 is none."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def split_number(name: str) -> tuple[int, str] | None:
    """``(1, "sad")`` for ``"1. sad"``, ``"01_sad"`` or ``"1-sad"``; None for a name without a number in front.

    Nothing need stand between where the rest is an expression: ``"1sad"``.
    """
    match = _NUMBERED.fullmatch(name)
    if match is None:
        match = _CLOSE.fullmatch(name)
        if match is None or canonical(match[2]) not in {*EXPRESSIONS, *EXTRA_EXPRESSIONS}:
            return None
    return int(match[1]), canonical(match[2])


def is_expression(name: str) -> bool:
    """Whether a folder's name is a spelling of one of the seven, a number in front or not."""
    numbered = split_number(name)
    return canonical(name) in EXPRESSIONS or (numbered is not None and numbered[1] in EXPRESSIONS)


def mostly_expressions(names: set[str]) -> bool:
    """Whether more than half of these names are the seven expressions' own, so that another one is a mistake."""
    return len(names & set(EXPRESSIONS)) > len(names) / 2


def telling(columns: Mapping[str, Collection[str]]) -> str | None:
    """Which of several columns called like those of classes says what faces show.

    It is the first that says expressions; without such the first that holds no truth values and more than one word:
    ``emotion`` where ``label`` is ``face`` in each row, or ``true``.

    Args:
        columns: the words in each, by its name, those that count before others first.

    Returns:
        Its name; the first where none is better, None where there is none.
    """
    for says in (lambda words: mostly_expressions({canonical(word) for word in words}), _tells_apart):
        for column, words in columns.items():
            if says({*words} - {""}):
                return column
    return next(iter(columns), None)


def _tells_apart(words: set[str]) -> bool:
    return len(words) > 1 and not {word.lower() for word in words} <= {"true", "false"}


def known_classes(names: set[str], allowed: Sequence[str] | None) -> set[str]:
    """What the classes may be called.

    Where more than half of them are the seven expressions, another name is taken for a mistake (but for
    `EXTRA_EXPRESSIONS`); where fewer are, the dataset has classes of its own.
    """
    if allowed is not None:
        return set(allowed)
    return set(EXPRESSIONS) | EXTRA_EXPRESSIONS if mostly_expressions(names) else names


def needs_names(classes: Sequence[str]) -> bool:
    """Whether folders called like these classes are refused without `NAMES_FILE` beside them."""
    return not set(classes) <= known_classes(set(classes), None)


def read_names(name: str, read_fn: ReadFn) -> tuple[str, ...] | None:
    """The class names that a file lists, or None where there is no such file, or it is empty.

    Raises:
        DataError: it is no text, or names a class twice.
    """
    data = read_fn(name)
    if data is None:
        return None
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text; it has the name of a class on each line", [name]) from None
    names = [canonical(line) for line in lines if line.strip()]
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice:
        raise DataError(f"names a class twice: {', '.join(twice)}", [name])
    return tuple(names) or None


def names_by_number(names: Sequence[str]) -> dict[int, str]:
    """What numbers mean where a list of names says it: the first is 0, unless each line has its own.

    The number stands in front (``1 sad``) or, of expressions, behind (``sad: 1``).

    Raises:
        DataError: some lines have a number of their own and others have none, or two have the same.
    """
    for ways in (split_number, _split_behind):
        numbered = [ways(name) for name in names]
        told = {one[0]: one[1] for one in numbered if one is not None}
        if len(told) == len(names):
            return told
        if mostly_expressions(set(told.values())) and len(told) > 1:
            bad = [name for name, one in zip(names, numbered, strict=True) if one is None] or list(names)
            raise DataError(
                f"{NAMES_FILE}: each line has a number of its own (1 happy), or none has; these differ", bad
            )
    return dict(enumerate(names))


def _split_behind(name: str) -> tuple[int, str] | None:
    """``(1, "sad")`` for ``"sad: 1"`` or ``"sad,1"``; None for other names than expressions."""
    match = _BEHIND.fullmatch(name)
    known = match is not None and canonical(match[1]) in {*EXPRESSIONS, *EXTRA_EXPRESSIONS}
    return (int(match[2]), canonical(match[1])) if match is not None and known else None


def guess(unknown: Sequence[str], known: set[str]) -> str:
    """``" (did you mean happy?)"`` where a name looks like a slip."""
    close = difflib.get_close_matches(base_name(unknown[0]).lower(), sorted(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
