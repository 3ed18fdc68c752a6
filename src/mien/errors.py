"""Every error mien raises on purpose.

::

    MienError                     something mien can say in a line or two
    +-- UsageError                the request was wrong: an argument, a path, an option (exit code 2)
    |   +-- MissingExtraError     a feature whose optional dependencies are not installed
    +-- DataError                 data that cannot be used: names the files or rows (exit code 1)
    +-- ModelError                a model file that cannot be used (exit code 1)

Messages say which argument, what is allowed, what was received, and how to mend it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MOST_CHOICES = 40
"""As many choices are all named."""

SHOWN_CHOICES = 10
"""Of more choices so many are named."""


class MienError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(MienError, ValueError):
    """The request itself was wrong."""

    exit_code = 2


class MissingExtraError(UsageError, ImportError):
    """A feature needs packages that an optional extra installs."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed: pip install 'mien[{extra}]'")


class DataError(MienError):
    """Data that cannot be used. `items` names the files or rows, all of them."""

    def __init__(self, message: str, items: Sequence[str] = ()) -> None:
        self.items = tuple(items)
        super().__init__(f"{message}: {listing(self.items)}" if items else message)


class ModelError(MienError):
    """A model file that cannot be read, or does not fit what is asked of it."""


def listing(items: Sequence[str], most: int = 5) -> str:
    """Name the first few items and count the rest: ``"a.jpg, b.jpg and 3 more"``."""
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most:,} more" if len(items) > most else shown


def many(count: float, one: str, more: str = "") -> str:
    """A number of things: ``1 face``, ``2,000 faces``; `more` is the plural where that is not `one` and an s."""
    number = f"{int(count):,}" if count % 1 == 0 else f"{count:g}"
    return f"{number} {one if count == 1 else more or f'{one}s'}"


def unknown_choice(argument: str, received: object, allowed: Iterable[str]) -> UsageError:
    """The error for a name that is not in a registry: it lists the choices, of very many those most like the name."""
    choices = sorted(allowed)
    return UsageError(f"{argument}: no such choice {received!r}; choose from {_choices(str(received), choices)}")


def _choices(received: str, choices: Sequence[str]) -> str:
    """All choices in words; where there are more than `MOST_CHOICES`, those that look like the name come first."""
    if len(choices) <= MOST_CHOICES:
        return ", ".join(choices)
    close = get_close_matches(received, choices, n=SHOWN_CHOICES)
    shown = [*close, *(name for name in choices if name not in close)]
    return listing(shown, SHOWN_CHOICES)
