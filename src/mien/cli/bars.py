"""How far commands that analyse are, on stderr: a bar on a terminal, a line now and then in the log of a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.sources import Sources

LOG_SECONDS = 30.0
"""How often a line says how far it is, where no bar can be shown."""


class AnalysingBar:
    """Progress on stderr: with the time left where that is a terminal, else as lines."""

    def __init__(self, what: str, *, shown: bool) -> None:
        """Make it.

        Args:
            what: is counted, in the plural.
            shown: False where rows go to the same terminal.
        """
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from mien.cli.console import to_stderr

        self._console = to_stderr()
        columns = (TextColumn("analysing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        hidden = not (shown and self._console.is_terminal)
        self._bar = Progress(*columns, console=self._console, transient=True, disable=hidden, redirect_stdout=False)
        self._task = self._bar.add_task("", total=None)
        self._what, self._shown, self._logged = what, shown, shown and not self._console.is_terminal
        self._done = 0
        self._total: int | None = None
        self._told: float | None = None

    @contextmanager
    def over(self, sources: Sources) -> Iterator[None]:
        """Show the bar while the body runs."""
        total = sources.total if self._shown else None
        self._move(0, None if total is None else total + sources.refused)
        with self._bar:
            yield

    @contextmanager
    def counting(self) -> Iterator[Callable[[int, int], None]]:
        """Show the bar while the body runs; gives what moves it: how many are done, and of how many."""
        with self._bar:
            yield self._move

    def _move(self, done: int, total: int | None) -> None:
        self._done, self._total = done, total
        self._bar.update(self._task, completed=done, total=total)
        now = time.monotonic()
        self._told = now if self._told is None else self._told  # time runs from the first call on
        if self._logged and done != total and now - self._told > LOG_SECONDS:
            self._told = now
            self.say(f"{done:,}{'' if total is None else f' of {total:,}'} {self._what} done")

    def say(self, line: str) -> None:
        """A line on stderr, above the bar."""
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)

    def advance(self) -> None:
        """One more is done."""
        done = self._done + 1
        self._move(done if self._total is None else min(done, self._total), self._total)

    def note(self, failures: list[str]) -> Callable[[str, str], None]:
        """What is called with a source that failed and why: names it on stderr and adds it to `failures`.

        It is done, too: time left is right where many pictures are broken. Whatever else fails, such as a video after
        some of its frames, moves the bar by one, too.
        """
        from mien.frames import printable

        def fail(source: str, reason: str) -> None:
            failures.append(printable(source))
            self.say(f"{printable(source)}: {reason}")
            self.advance()

        return fail
