"""Fields of a config: what may stand in one, and what is meant by a name that none has."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args

import numpy as np

from mien.errors import UsageError
from mien.numeric import flag

KERAS_WORDS = {
    "validation_split": "validation_fraction",
    "class_weight": "class_weights=True, weights by frequency",
    "lr": "learning_rate",
    "patience": "early_stopping",
    "recipe": "config=mien.recipe(...)",
    "size": "input=mien.InputSpec(size, channels)",
    "channels": "input=mien.InputSpec(size, channels)",
    "augment": "augmentation",
    "rotation_range": "rotation",
    "width_shift_range": "shift",
    "height_shift_range": "shift",
    "shear_range": "shear",
    "zoom_range": "zoom",
    "horizontal_flip": "flip",
    "brightness_range": "brightness",
}
"""What Keras, tutorials and other parts of mien call a setting, and its name here."""


def build(kind: Any, values: dict[str, Any], what: str) -> Any:
    """Call a dataclass with a dict.

    Raises:
        UsageError: a key is none of its fields, or a value is wrong.
    """
    known = {entry.name for entry in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        named = (f"{name}{_meant(name, known)}" for name in unknown)
        raise UsageError(f"{what}: unknown key {', '.join(named)}; known are {', '.join(sorted(known))}")
    return kind(**values)


def _meant(name: str, known: Iterable[str]) -> str:
    """What an unknown key stands for, where that can be told."""
    if name in KERAS_WORDS:
        return f" (here {KERAS_WORDS[name]})"
    close = get_close_matches(name, known, n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


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
        raise UsageError(f"{name}: must be {what} from {low} to {high}, received {value!r}")


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
    if getattr(owner, name) not in get_args(literal):
        raise UsageError(f"{name}: must be one of {', '.join(get_args(literal))}, received {getattr(owner, name)!r}")
