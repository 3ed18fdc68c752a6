"""What counts as a number where one is asked for: Python's and NumPy's, but neither text nor True and False."""

from __future__ import annotations

from numbers import Integral, Real


def is_whole(value: object) -> bool:
    """Whether it is an integer of any kind, but no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether it is a number of any kind, but no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)
