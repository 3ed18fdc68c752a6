"""Tables with a column for each class: 1 in the one that a picture shows, or shares or people's votes for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from mien.datasets.class_names import EXTRA_EXPRESSIONS
from mien.datasets.tables import RowError, whole_number
from mien.errors import many
from mien.labels import EXPRESSIONS, FERPLUS_COLUMNS, canonical

WITHOUT = tuple(name.lower() for name in FERPLUS_COLUMNS if canonical(name) not in {*EXPRESSIONS, *EXTRA_EXPRESSIONS})
"""Columns of votes for no expression, as FER+ calls them: ``unknown`` and ``nf`` (not a face)."""

Votes = tuple[tuple[str, float], ...]
"""Votes or shares, each with the name of its column."""

Fields = Sequence[str]
"""The values of a row, as text."""


def is_class(column: str) -> bool:
    """Whether a column is called like an expression."""
    return canonical(column) in EXPRESSIONS or canonical(column) in EXTRA_EXPRESSIONS


def word_reader(
    names: Sequence[str], lines: Sequence[Fields], others: Collection[int | None]
) -> Callable[[Fields], tuple[str, Votes]]:
    """What tells a row's class, found by looking at all rows.

    Args:
        names: of the columns.
        lines: the rows.
        others: places of columns that are something else.

    Returns:
        A function of a row's values: its class, "" where it has votes but none of them most, and its votes, none where
        columns mark the class. It raises `RowError`.
    """
    named = [place for place, name in enumerate(names) if is_class(name)]
    marks = _marks(names, lines, named, others)
    if _are_votes(lines, named, marks):
        places = [place for place, name in enumerate(names) if place in named or name in WITHOUT]
        return lambda fields: _most(_votes(fields, names, places))
    return lambda fields: (_marked(fields, names, marks), ())


def _marks(
    names: Sequence[str], lines: Sequence[Fields], named: Sequence[int], others: Collection[int | None]
) -> tuple[int, ...]:
    """Columns that each stand for a class: those called like expressions, and others of nothing but 0 and 1.

    The others are none (``male``) where each row has one expression without them.
    """
    if all([_mark(fields, place) for place in named].count("1") == 1 for fields in lines):
        return tuple(named)
    left = [place for place, name in enumerate(names) if name and place not in others]
    return tuple(
        place
        for place in left
        if place in named or all(_mark(fields, place) in ("0", "1") for fields in lines if place < len(fields))
    )


def _mark(fields: Fields, place: int) -> str:
    """What a column of a class says in a row, in the words of pandas too; "" where the row ends before it."""
    text = fields[place] if place < len(fields) else ""
    return {"true": "1", "false": "0"}.get(text.lower()) or whole_number(text)


def _marked(fields: Fields, names: Sequence[str], marks: Sequence[int]) -> str:
    """The class whose column is 1."""
    _check_length(fields, marks)
    values = [_mark(fields, place) for place in marks]
    if not {*values} <= {"0", "1"}:
        raise RowError("columns of classes that are neither 0 nor 1")
    if values.count("1") != 1:
        raise RowError(f"{values.count('1')} columns of classes are 1, where one is expected")
    return names[marks[values.index("1")]]


def _check_length(fields: Fields, places: Sequence[int]) -> None:
    if len(fields) <= places[-1]:
        raise RowError(f"{many(len(fields), 'field')} where {places[-1] + 1} are expected")


def _are_votes(lines: Sequence[Fields], named: Sequence[int], marks: Sequence[int]) -> bool:
    """Whether the expressions' columns hold numbers other than 0 and 1, and no row shows a class of another column."""
    own = [place for place in marks if place not in named]
    some = False
    for fields in lines:
        votes = [_number(_mark(fields, place)) for place in named]
        if not any(votes) and any(_mark(fields, place) == "1" for place in own):
            return False
        some = some or any(vote not in (None, 0, 1) for vote in votes)
    return some


def _number(text: str) -> float | None:
    """A share or a number of votes; None where it is neither."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def _votes(fields: Fields, names: Sequence[str], places: Sequence[int]) -> Votes:
    """The shares or votes in a row, by their columns."""
    _check_length(fields, places)
    votes = []
    for place in places:
        vote = _number(_mark(fields, place))
        if vote is None:
            raise RowError(f"{fields[place][:20]!r} in the column {names[place]}, where a share or votes are expected")
        votes.append((names[place], vote))
    return tuple(votes)


def _most(votes: Votes) -> tuple[str, Votes]:
    """The expression with the largest share, and the votes.

    It is "" where several have it, none has one, or most say that there is none.
    """
    most = max(vote for _, vote in votes)
    winners = [column for column, vote in votes if vote == most]
    return (winners[0] if len(winners) == 1 and winners[0] not in WITHOUT else ""), votes
