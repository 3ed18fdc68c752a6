"""Signs of life of trials, in the study's storage: which of other machines are at work, and which are silent.

A process counts up a number in its trial's attributes every `BEAT` seconds, beside its training. Others look at it as
often. How long it has not changed they count by their own clock, since those of two machines differ, and a pause of
their own counts for two beats at most: one who slept cannot know what the others did. Works with every storage.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna

BEAT = 60.0
"""Seconds between two signs of life."""

SILENCE = 600.0
"""A trial of another machine of which nothing was heard for so many seconds is given up."""

PULSE = "pulse"
"""User attribute of a trial: how often its process has counted."""


@dataclass
class Silences:
    """For how long each running trial has shown no sign of life, as seen from here.

    A sign is whatever changes: the pulse, an epoch's score, a value that was drawn.
    """

    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict)
    _looked: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, trials: Iterable[optuna.trial.FrozenTrial]) -> None:
        """See which of them have changed since the last look."""
        with self._lock:
            now = time.monotonic()
            passed, self._looked = min(now - self._looked, 2 * BEAT), now
            running = [trial for trial in trials if trial.state.name == "RUNNING"]
            self._seen = {trial.number: self._after(trial, passed) for trial in running}

    def is_silent(self, number: int) -> bool:
        """Whether a trial has been silent for `SILENCE`."""
        with self._lock:
            return number in self._seen and self._seen[number][1] >= SILENCE

    def _after(self, trial: optuna.trial.FrozenTrial, passed: float) -> tuple[Any, float]:
        sign = (trial.user_attrs.get(PULSE), len(trial.intermediate_values), len(trial.params))
        known, silent = self._seen.get(trial.number, (None, 0.0))
        return (sign, silent + passed if sign == known else 0.0)


@contextmanager
def beating(once: Callable[[], None]) -> Iterator[None]:
    """Call something every `BEAT` seconds in a thread of its own, meanwhile.

    What it raises is passed over: a storage that does not answer now may answer at the next beat, and where it does
    not, the training itself finds out.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            with suppress(Exception):
                once()

    thread = threading.Thread(target=beat, name="mien-pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=BEAT)
