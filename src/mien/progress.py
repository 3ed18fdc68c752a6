"""What a person sees while a network trains: a bar with loss, accuracy and time left, and a line for each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class TrainingProgress(keras.callbacks.Callback):
    """Shows a run on a console: a bar over all epochs where it is a terminal, a line after each epoch everywhere."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
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
        if self.bar.disable:
            return
        done = self.epoch * self.params["steps"] + batch + 1
        self.bar.update(self.task, completed=done, numbers=_numbers(logs or {}, ("loss", "accuracy")))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        numbers = _numbers(logs or {}, ("loss", "accuracy", "val_loss", "val_accuracy"))
        seconds = time.perf_counter() - self.epoch_started
        width = len(str(self.params["epochs"]))
        line = f"epoch {epoch + 1:{width}}/{self.params['epochs']}  {numbers}  {seconds:.0f} s"
        self.console.print(line, highlight=False, soft_wrap=True)

    def on_train_end(self, logs: Any = None) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away; also after an interruption, when Keras does not say that training ended."""
        self.bar.stop()


@contextmanager
def shown(verbose: bool) -> Iterator[tuple[Callable[[str], None], list[keras.callbacks.Callback]]]:
    """What takes the lines of a run's stages, and the callbacks that show its epochs: on stdout, as Keras does.

    Args:
        verbose: whether anything is shown.
    """
    if not verbose:
        yield lambda _: None, []
        return
    console = Console()
    progress = TrainingProgress(console)
    try:
        yield lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True), [progress]
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
