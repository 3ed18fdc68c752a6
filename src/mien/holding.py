"""Which process works on a trial: file locks in the study's folder, which the system takes back when a process ends.

They say at once, and for certain, what became of a trial of this machine. Of trials of other machines they say
nothing: their locks are in other folders, or in one that is shared over a network, where locks may not reach.
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mien.trials import trial_name

if TYPE_CHECKING:
    import filelock
    import optuna

LOCKS = ".locks"
"""The folder of the locks, in the study's folder."""

HOST = "host"
"""User attribute of a trial: the machine that it runs on."""


@dataclass(frozen=True)
class Holds:
    """The trials that this process holds, and what it knows of those that others do.

    Attributes:
        folder: of the study.
    """

    folder: Path
    _held: dict[int, tuple[optuna.Trial, filelock.BaseFileLock]] = field(default_factory=dict, repr=False)

    def take(self, trial: optuna.Trial) -> None:
        """Hold a trial that was just begun."""
        lock = self._lock(trial.number)
        lock.acquire(blocking=False)
        self._held[trial.number] = (trial, lock)
        trial.set_user_attr(HOST, this_host())

    def release(self, number: int) -> None:
        """Let a trial go, if it is held."""
        held = self._held.pop(number, None)
        if held is not None:
            held[1].release()

    def trials(self) -> list[optuna.Trial]:
        """Those that are held."""
        return [trial for trial, _ in list(self._held.values())]

    def holds(self, number: int) -> bool:
        """Whether this process works on a trial."""
        return number in self._held

    def is_free(self, frozen: optuna.trial.FrozenTrial) -> bool | None:
        """Whether nobody works on a running trial; None where it is of another machine or folder."""
        lock = self._lock(frozen.number)
        if frozen.user_attrs.get(HOST, this_host()) != this_host() or not Path(lock.lock_file).exists():
            return None
        return _is_free(lock)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes on this folder from beginning trials meanwhile."""
        with _file_lock(self.folder / LOCKS / "study.lock"):
            yield

    def _lock(self, number: int) -> filelock.BaseFileLock:
        return _file_lock(self.folder / LOCKS / f"{trial_name(number)}.lock")


def this_host() -> str:
    """A name that no two machines share, though two may have the same host name."""
    return f"{platform.node()}-{uuid.getnode():012x}"


def _file_lock(path: Path) -> filelock.BaseFileLock:
    import filelock

    return filelock.FileLock(path)


def _is_free(lock: filelock.BaseFileLock) -> bool:
    """Whether no process holds a lock."""
    import filelock

    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return False
    lock.release()
    return True
