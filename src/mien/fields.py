"""Fields of a config: what may stand in one."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import numpy as np

from mien.errors import UsageError
from mien.keraswords import meant, of_object
from mien.numeric import flag


def build(kind: Any, values: dict[str, Any], what: str) -> Any:
    """Call a dataclass with a dict.

    Raises:
        UsageError: a key is none of its fields, or a value is wrong.
    """
    known = {entry.name for entry in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        named = (f"{name}{meant(name, known)}" for name in unknown)
        raise UsageError(f"{what}: unknown key {', '.join(named)}; known are {', '.join(sorted(known))}")
    return kind(**values)


def check_within(owner: Any, name: str, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse a number outside [low, high], or one that is not whole where it must be; NumPy's become Python's.

    Raises:
        UsageError: says what was received.
    """
    value = getattr(owner, name)
    if isinstance(value, np.number):  # which JSON does not take
        value = value.item()
        object.__setattr__(owner, name, value)
    fits = isinstance(value, int) or (isinstance(value, float) and not whole)
    if isinstance(value, bool) or not fits or not low <= value <= high:
        what = "a whole number" if whole else "a number"
        raise UsageError(f"{name}: must be {what} from {low} to {high}, received {value!r}{of_object(name, value)}")


def check_flag(owner: Any, name: str) -> None:
    """Refuse what is neither true nor false: a word such as ``no`` would count as true.

    Raises:
        UsageError: says what was received.
    """
    object.__setattr__(owner, name, flag(name, getattr(owner, name)))  # JSON does not take NumPy's


def check_one_of(owner: Any, name: str, literal: Any) -> None:
    """Refuse a word that the Literal type does not list.

    Raises:
        UsageError: says what was received.
    """
    value, known = getattr(owner, name), get_args(literal)
    if value not in known:
        raise UsageError(f"{name}: must be one of {', '.join(known)}, received {value!r}{of_object(name, value)}")
