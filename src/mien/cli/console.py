"""What several commands print: bars on stderr, the table of scores."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mien.evaluation import Evaluation


def to_stderr() -> Console:
    """A console for everything that is not the answer itself."""
    from rich.console import Console

    return Console(stderr=True, emoji=False)


def load_keras(needed_for: str) -> None:
    """Import Keras and its backend, without the lines that the backend's C++ writes to stderr whatever its log level.

    They are let through under ``--debug``, or where the user has set ``TF_CPP_MIN_LOG_LEVEL`` below 3.

    Args:
        needed_for: what the error names.

    Raises:
        MissingExtraError: Keras, its backend or scikit-learn is not installed.
        UsageError: KERAS_BACKEND names none that Keras knows.
    """
    with _without_stderr() if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "3" else nullcontext():
        try:
            import keras  # noqa: F401
            import sklearn  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(needed_for, "train") from error
        except ValueError as error:
            raise UsageError(f"KERAS_BACKEND: {error}") from error


def opening(model: str | Path | None) -> AbstractContextManager[None]:
    """What to open a model file in: `without_library_talk` for a ``.tflite``, whose runtimes tell what they do."""
    talks = model is not None and Path(model).suffix.lower() == ".tflite"
    return without_library_talk() if talks else nullcontext()


@contextmanager
def without_library_talk() -> Iterator[None]:
    """Send what libraries say nowhere: on stdout, and those written in C++ on the file descriptor 2.

    What Python writes to stderr still goes there.

    Everything is let through under ``--debug``, or where the user has set ``TF_CPP_MIN_LOG_LEVEL`` below 3.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":
        yield
        return
    before = sys.stderr
    try:
        sys.stderr = os.fdopen(os.dup(before.fileno()), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError):  # it is no file
        sys.stderr = before
    try:
        with _without_stderr(), Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        if sys.stderr is not before:
            sys.stderr.close()
            sys.stderr = before


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Send the file descriptor 2 nowhere."""
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextmanager
def reading_bar(console: Console | None = None, what: str = "reading") -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where that is a terminal; gives the function that moves it, and goes when all is read."""
    from rich.progress import Progress

    console = console or to_stderr()
    bar = Progress(console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task(what, total=None)

    def move(done: int, total: int) -> None:
        if done < total:
            bar.start()
        bar.update(task, completed=done, total=total)
        if done >= total:
            bar.stop()

    try:
        yield move
    finally:
        bar.stop()


def scores_table(scores: Mapping[str, Evaluation]) -> Table:
    """A row for each split; fits 80 columns."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("split", no_wrap=True)
    for heading in ("n", "accuracy", "95% interval", "macro F1", "top 2", "log loss"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, score in scores.items():
        low, high = score.accuracy_interval
        shares = (score.macro_f1, score.top2_accuracy)
        table.add_row(
            name,
            f"{score.n:,}",
            f"{score.accuracy:.2%}",
            f"{low:.1%}-{high:.1%}",
            *(f"{share:.2%}" for share in shares),
            f"{score.log_loss:.3f}",
        )
    return table
