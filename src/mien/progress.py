"""What a person sees while a network trains: a bar with loss, accuracy and time left, and a line for each epoch.

In a notebook, which draws no bar, a line that is written anew stands in its place.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 0.5
"""How often a line that is written anew changes."""


class RewrittenLine:
    """A line that is written over and over, where that can be seen: on a terminal and in a notebook."""

    def __init__(self, file: IO[str], *, shown: bool) -> None:
        self._file = file
        self._shown = shown
        self._width = 0
        self._written = float("-inf")

    def write(self, text: str) -> None:
        """Show a text in place of the last, unless that has just been written."""
        now = time.perf_counter()
        if self._shown and now - self._written >= LINE_SECONDS:
            self._file.write("\r" + text.ljust(self._width))
            self._file.flush()
            self._width, self._written = len(text), now

    def clear(self) -> None:
        """Take it away, for another line to be written there."""
        if self._width:
            self._file.write("\r" + " " * self._width + "\r")
        self._width, self._written = 0, float("-inf")


class TrainingProgress(keras.callbacks.Callback):
    """Shows a run on a console: a bar over all epochs where it is a terminal, a line after each epoch everywhere."""

    def __init__(self, console: Console, line: RewrittenLine | None = None) -> None:
        """Make it.

        Args:
            console: where it is shown.
            line: what shows how far an epoch is in place of the bar, as in a notebook.
        """
        super().__init__()
        self.console = console
        self.line = line or RewrittenLine(console.file, shown=False)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task: Any = None
        self.epoch = 0
        self.epoch_started = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        self.bar.start()
        total = self.params["epochs"] * self.params["steps"]
        self.task = self.bar.add_task("training", total=total, numbers="")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch, self.epoch_started = epoch, time.perf_counter()
        done = epoch * self.params["steps"]
        self.bar.update(self.task, completed=done, description=f"epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        numbers = _numbers(logs or {}, ("loss", "accuracy"))
        if self.bar.disable:
            share = min(1.0, (batch + 1) / (self.params["steps"] or 1))  # of many steps a call, it is told the last
            self.line.write(f"epoch {self.epoch + 1}/{self.params['epochs']}  {share:4.0%}  {numbers}")
            return
        done = self.epoch * self.params["steps"] + min(batch + 1, self.params["steps"])
        self.bar.update(self.task, completed=done, numbers=numbers)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        numbers = _numbers(logs or {}, ("loss", "accuracy", "val_loss", "val_accuracy"))
        seconds = time.perf_counter() - self.epoch_started
        width = len(str(self.params["epochs"]))
        line = f"epoch {epoch + 1:{width}}/{self.params['epochs']}  {numbers}  {seconds:.0f} s"
        self.line.clear()
        self.console.print(line, highlight=False, soft_wrap=True)

    def on_train_end(self, logs: Any = None) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away; also after an interruption, when Keras does not say that training ended."""
        self.bar.stop()
        self.line.clear()


@dataclass(frozen=True)
class Shown:
    """What shows a run.

    Attributes:
        say: takes a line for people.
        callbacks: show the epochs.
        reading: takes how many images are read, and of how many.
    """

    say: Callable[[str], None]
    callbacks: list[keras.callbacks.Callback]
    reading: Callable[[int, int], None] | None


@contextmanager
def shown(verbose: bool) -> Iterator[Shown]:
    """What shows a run on stdout, as Keras does.

    Args:
        verbose: whether anything is shown.
    """
    if not verbose:
        yield Shown(lambda _: None, [], None)
        return
    console = Console()
    notebook = console.is_jupyter
    if notebook:  # plain text, which stands together in one output
        console = Console(file=sys.stdout, force_jupyter=False, force_terminal=False)
    line = RewrittenLine(console.file, shown=notebook or console.is_terminal)
    progress = TrainingProgress(console, line)

    def say(text: str) -> None:
        line.clear()
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    def reading(done: int, total: int) -> None:
        if done < total:
            line.write(f"reading {done:,} of {total:,}")
        else:
            line.clear()

    try:
        yield Shown(say, [progress], reading)
    finally:
        progress.close()


def _numbers(logs: dict[str, Any], names: tuple[str, ...]) -> str:
    """``loss 1.234  accuracy 45.6%``, those of validation as Keras names them."""
    parts = []
    for name in names:
        if name in logs:
            value = float(logs[name])
            parts.append(f"{name} {value:.1%}" if name.endswith("accuracy") else f"{name} {value:.3f}")
    return "  ".join(parts)
