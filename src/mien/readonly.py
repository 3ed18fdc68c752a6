"""A dict that nobody can change: what validated values hold, and give out."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

Value = TypeVar("Value")


class ReadOnlyDict(dict[str, Value]):
    """A dict that can be read only. Unlike `types.MappingProxyType`, JSON, pickle and copy know what to do with it.

    What is made of it (``|``, `copy`) is a plain dict.
    """

    def _refuse(self, *given: Any, **named: Any) -> NoReturn:
        del given, named
        raise TypeError("this dict cannot be changed; dict(...) makes a copy that can")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[ReadOnlyDict[Value]], tuple[dict[str, Value]]]:
        return (type(self), (dict(self),))
