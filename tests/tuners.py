"""Processes that tune, each with a folder of its own as on a machine of its own; training takes no time, nor Keras.

As a program: ``tuners.py ADDRESS OUT TOTAL [SECONDS]`` works on a study until it is done; each trial lasts so long.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace

import optuna
from sqlalchemy import Engine, event

from mien.spaces import Span
from mien.storages import close_storage
from mien.studies import SharedStudy, open_study

SPACE = {"learning_rate": Span(0.001, 0.1, log=True)}

BEAT, SILENCE, LOOKS = 0.2, 3.0, 0.2
"""A minute, ten minutes and five seconds, for tests; a busy machine must manage a beat within the silence."""


def open_tuned(address: str, folder: Path) -> SharedStudy:
    given = {"settings": {"a": 1}, "first": {"learning_rate": 0.01}, "pruner": optuna.pruners.NopPruner()}
    return open_study(folder, name="mien", storage=address, space=SPACE, **given)


def read_trials(address: str, folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The trials of a study as they stand; no connection is left open."""
    shared = open_tuned(address, folder)
    try:
        return shared.study.get_trials()
    finally:
        close_storage(shared.study._storage)


@contextmanager
def tuner(address: str, out: Path, total: int, seconds: float = 0.02) -> Iterator[subprocess.Popen[str]]:
    """A process that tunes; killed at the end where it still runs."""
    command = [sys.executable, __file__, address, str(out), str(total), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def quick_training(seconds: float) -> None:
    """Put a training that only waits in the place of Keras and of `mien.training`."""

    def train(data, config, *, out, selection, tests, callbacks, verbose):
        out.mkdir()
        for epoch in range(2):
            time.sleep(seconds / 2)
            for callback in callbacks:
                callback(epoch, {"val_accuracy": config.learning_rate})
        score = SimpleNamespace(accuracy=config.learning_rate, n=9)
        return SimpleNamespace(interrupted=False, folder=out, scores={"validation": score})

    keras, training = ModuleType("keras"), ModuleType("mien.training")
    keras.backend = SimpleNamespace(clear_session=lambda: None)
    keras.callbacks = SimpleNamespace(LambdaCallback=lambda on_epoch_end: on_epoch_end)
    training.train = train
    sys.modules.update({"keras": keras, "mien.training": training})


def trust_the_machine() -> None:
    """Have journals and SQLite not wait for the disk: processes are killed here, but the machine goes on."""

    def connected(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    os.fsync = lambda file: None
    event.listen(Engine, "connect", connected)


def main(address: str, out: str, total: str, seconds: str = "0.02") -> None:
    from mien import pulses, tuning
    from mien.attempts import Job
    from mien.config import TrainingConfig
    from mien.materials import Selection

    trust_the_machine()
    pulses.BEAT, pulses.SILENCE, tuning.LOOKS = BEAT, SILENCE, LOOKS
    quick_training(float(seconds))
    shared = open_tuned(address, Path(out))

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    job = Job("", TrainingConfig(), Selection(), watch=tuple, wait=True)
    with shared.alive():
        tuning._work(shared, job, int(total), say)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
