"""What counts as a number, or as true or false, where one is asked for: Python's and NumPy's, but no text."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from mien.errors import UsageError


def is_whole(value: object) -> bool:
    """Whether it is an integer of any kind, but no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether it is a number of any kind, but no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def flag(name: str, value: Any) -> bool:
    """A setting that is true or false; a word such as ``no`` would count as true.

    Raises:
        UsageError: it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise UsageError(f"{name}: must be true or false, received {value!r}")
    return bool(value)
