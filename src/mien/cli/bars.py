"""Bars of commands that analyse, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.sources import Sources


def many(count: int, what: str) -> str:
    """``1 face``, ``2,000 faces``."""
    return f"{count:,} {what}" + "s" * (count != 1)


class AnalysingBar:
    """Progress with the time left, on stderr where that is a terminal and rows do not go to the same one."""

    def __init__(self, *, shown: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from mien.cli.console import to_stderr

        self._console = to_stderr()
        columns = (TextColumn("analysing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = not (shown and self._console.is_terminal)
        self._bar = Progress(*columns, console=self._console, transient=True, disable=hidden, redirect_stdout=False)
        self._task = self._bar.add_task("", total=None)

    @property
    def visible(self) -> bool:
        """Whether anybody sees it."""
        return not self._bar.disable

    @contextmanager
    def over(self, sources: Sources) -> Iterator[None]:
        """Show the bar while the body runs."""
        if self.visible:
            self._bar.update(self._task, total=sources.total)
        with self._bar:
            yield

    @contextmanager
    def counting(self) -> Iterator[Callable[[int, int], None]]:
        """Show the bar while the body runs; gives what moves it: how many are done, and of how many."""
        with self._bar:
            yield lambda done, total: self._bar.update(self._task, completed=done, total=total)

    def say(self, line: str) -> None:
        """A line on stderr, above the bar."""
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)

    def advance(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)

    def note(self, failures: list[str]) -> Callable[[str, str], None]:
        """What is called with a source that failed and why: names it on stderr and adds it to `failures`."""
        from mien.frames import printable

        def fail(source: str, reason: str) -> None:
            failures.append(printable(source))
            self.say(f"{printable(source)}: {reason}")

        return fail
