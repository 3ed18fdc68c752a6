"""The state of a run after its epochs, kept so that a run killed at any moment goes on as if it had not been.

It is kept after each epoch, or where epochs take less time than that, once in so many seconds (`mien.learning`).

A checkpoint is a folder ``checkpoints/epoch-0007`` with ``state.weights.h5`` (weights and optimizer) and ``state.json``
(the history so far). It is written under a name of its own, brought to the disk, and renamed, so that it is there whole
or not at all, also where the power fails or two processes train in one folder. The newest and the best are kept. Random
streams are not stored: they follow from (seed, epoch).
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from mien.backend import apart
from mien.errors import DataError, ModelError
from mien.hosts import current
from mien.kerasfiles import check_room

WEIGHTS = "state.weights.h5"
STATE = "state.json"

_EPOCH = re.compile(r"epoch-(\d{4,})")

_UNSYNCED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems say that cannot be told to write now, as some shared and network folders."""

Row = dict[str, float]
"""One epoch of the history: epoch (from 1), loss, accuracy, val_loss, val_accuracy, learning_rate, seconds."""


class OvertakenError(DataError):
    """Another process has written the checkpoint that this one was about to write."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, in the folder `folder`."""

    folder: Path

    def save(self, model: keras.Model, history: list[Row]) -> None:
        """Keep the state after the epoch that the history ends with; drop what is neither newest nor best.

        Of several hosts only the first writes.

        Raises:
            OvertakenError: another process has written that epoch, or a later one.
            MienError: the disk is full; what was kept before is still there.
        """
        if not current().leads:
            return
        final = self._at(len(history))
        if max(self._epochs(), default=0) >= len(history):  # whose checkpoints must not be cleared away
            raise _overtaken(final)
        self.folder.mkdir(parents=True, exist_ok=True)
        check_room(final, [*model.variables, *getattr(model.optimizer, "variables", ())])
        with _renamed(final) as temporary:
            with apart():
                keras.Model.save_weights(model, temporary / WEIGHTS)  # all of it, not the network within alone
            (temporary / STATE).write_text(json.dumps(history), encoding="utf-8")
            for name in (WEIGHTS, STATE):  # before those of other epochs are deleted
                _bring_to_disk(temporary / name)
        self._prune({len(history), best_epoch(history)})

    def history(self) -> list[Row]:
        """The history up to the newest checkpoint; empty where there is none. The first host tells the others."""
        rows: list[Row] = current().told_json(self._read_history)
        return rows

    def _read_history(self) -> list[Row]:
        epochs = self._epochs()
        if not epochs:
            return []
        state = self._at(max(epochs)) / STATE
        try:
            rows: list[Row] = json.loads(state.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{state}: cannot be read ({error}); delete that checkpoint's folder to resume") from error
        return rows

    def restore(self, model: keras.Model, epoch: int) -> None:
        """Give a compiled, built model the weights and the optimizer that it had after `epoch` (from 1).

        The number of devices may be another than that of the run so far. The first host reads for all.

        Raises:
            ModelError: the checkpoint is not there, or is not of this network.
        """
        path = self._at(epoch) / WEIGHTS
        try:
            with current().told_file(path) as file:
                keras.Model.load_weights(model, file)
        except (LookupError, OSError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"{path}: not a checkpoint of this network ({_first_line(error)}); where it is damaged, delete its "
                "folder and those of later epochs, and --resume goes on from what is left"
            ) from error

    def _at(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04d}"

    def _epochs(self) -> list[int]:
        found = {path: _EPOCH.fullmatch(path.name) for path in self.folder.glob("epoch-*")}
        return [int(name[1]) for path, name in found.items() if name is not None and path.is_dir()]

    def _prune(self, keep: set[int]) -> None:
        for epoch in set(self._epochs()) - keep:
            shutil.rmtree(self._at(epoch), ignore_errors=True)


def best_epoch(history: list[Row]) -> int:
    """The epoch (from 1) of the highest validation accuracy, then lowest validation loss; the last without validation.

    Raises:
        ModelError: the history is empty.
    """
    if not history:
        raise ModelError("history: no epoch is complete, so none is the best; train for one at least")
    looked_at = [(index, row) for index, row in enumerate(history) if "val_accuracy" in row]
    if not looked_at:
        return len(history)
    return 1 - max((row["val_accuracy"], -row["val_loss"], -index) for index, row in looked_at)[2]


def columns(history: list[Row]) -> dict[str, list[float]]:
    """The history as Keras gives it: a list for each name, NaN where an epoch has no value."""
    names: dict[str, Any] = dict.fromkeys(name for row in history for name in row)
    return {name: [row.get(name, math.nan) for row in history] for name in names}


@contextmanager
def _renamed(final: Path) -> Iterator[Path]:
    """A folder that no other process has, which gets its final name at the end; deleted where the body fails.

    Raises:
        OvertakenError: another process has written a checkpoint of that name meanwhile.
    """
    temporary = final.with_name(f".{final.name}-{secrets.token_hex(6)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        temporary.rename(final)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and final.is_dir():
            raise _overtaken(final) from error
        raise


def _bring_to_disk(path: Path) -> None:
    """Have the system write a file now, not when it likes; where the file system cannot, it writes when it likes.

    Raises:
        OSError: the disk is full or broken.
    """
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise
    finally:
        os.close(file)


def _overtaken(final: Path) -> OvertakenError:
    return OvertakenError(
        f"{final}: was written meanwhile by another process, which goes on with the same run; this one ends here"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
