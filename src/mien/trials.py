"""Trials of a study as people read them: their states, the table, the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mien.rowfiles import csv_line
from mien.spaces import Value

if TYPE_CHECKING:
    import optuna

ERROR = "error"
"""User attribute: why a trial failed. One without it was killed."""

WITHDRAWN = "withdrawn"
"""User attribute of a trial that its process left at once, since another machine had begun the last one before it."""

LOST = "given up by another machine that heard nothing of it for long; does not count"
"""What is said of such a trial, which its process then lets go."""

TRIES = 3
"""A trial whose process is killed this often is not put up again: it is likely what kills it."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as the table has it.

    Attributes:
        number: from 0.
        state: complete, pruned (ended early), failed, killed (its process or machine was gone; its values were put up
            again), withdrawn (left before its first epoch: another machine had begun the last one), running or waiting.
        accuracy: on validation; of a pruned trial after its last epoch; None where there is none.
        n: how many validation images.
        epochs: how many were trained.
        seconds: how long it took, None while it runs.
        parameters: what was varied.
        error: why it failed.
    """

    number: int
    state: str
    accuracy: float | None
    n: int | None
    epochs: int
    seconds: float | None
    parameters: dict[str, Value]
    error: str | None


def trial_name(number: int) -> str:
    """What a trial's run folder is called."""
    return f"trial-{number:04d}"


def tries(frozen: optuna.trial.FrozenTrial) -> int:
    """The how-manieth try of its values a trial is, from 1."""
    return int(frozen.user_attrs.get("tries", 1))


def was_killed(frozen: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial ended with its process, not by itself."""
    return frozen.state.name == "FAIL" and ERROR not in frozen.user_attrs and WITHDRAWN not in frozen.user_attrs


def origin(frozen: optuna.trial.FrozenTrial) -> object:
    """What a trial was put up for: the number of the one that it stands for, "first"; None where it was drawn."""
    return frozen.user_attrs.get("instead_of", frozen.user_attrs.get("origin"))


def standing_for(what: object, trials: Sequence[optuna.trial.FrozenTrial]) -> list[int]:
    """The numbers of the trials that were put up for something; there is more than one where two machines did so."""
    found = (frozen for frozen in trials if WITHDRAWN not in frozen.user_attrs)
    return [frozen.number for frozen in found if what is not None and origin(frozen) == what]


def counts(frozen: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial is one of those asked for: begun, and neither put up again nor withdrawn."""
    if frozen.state.name == "WAITING" or WITHDRAWN in frozen.user_attrs:
        return False
    return not (was_killed(frozen) and tries(frozen) < TRIES)


def state_word(frozen: optuna.trial.FrozenTrial) -> str:
    """``complete``, ``pruned``, ``failed``, ``killed``, ``withdrawn``, ``running`` or ``waiting``."""
    if WITHDRAWN in frozen.user_attrs:
        return "withdrawn"
    if was_killed(frozen):
        return "killed"
    return {"FAIL": "failed"}.get(frozen.state.name, frozen.state.name.lower())


def list_trials(study: optuna.Study) -> tuple[TrialRecord, ...]:
    """All trials of a study, in their order."""
    return tuple(_record(frozen) for frozen in study.get_trials(deepcopy=False))


def best_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial of the highest accuracy, the first of several; None where none is complete."""
    complete = [record for record in records if record.state == "complete"]
    return max(complete, key=lambda record: record.accuracy or 0.0, default=None)


def trials_csv(records: Sequence[TrialRecord], names: Sequence[str]) -> str:
    """The table: a row for each trial, a column for each thing that was varied."""
    fields = ("number", "state", "accuracy", "n", "epochs", "seconds")
    lines = [csv_line([*fields, *names, "error"])]
    for record in records:
        values = [getattr(record, field) for field in fields]
        lines.append(csv_line([*values, *(record.parameters.get(name) for name in names), record.error]))
    return "".join(lines)


def count_done(records: Sequence[TrialRecord]) -> dict[str, int]:
    """How many trials have each state."""
    words = [record.state for record in records]
    return {word: words.count(word) for word in dict.fromkeys(words)}


def in_words(parameters: Mapping[str, Any]) -> str:
    """``learning_rate 0.0123, mixup 0.2``."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in parameters.items()
    )


def _record(frozen: optuna.trial.FrozenTrial) -> TrialRecord:
    accuracy = frozen.value if frozen.value is not None else frozen.intermediate_values.get(frozen.last_step or 0)
    return TrialRecord(
        number=frozen.number,
        state=state_word(frozen),
        accuracy=accuracy,
        n=frozen.user_attrs.get("n"),
        epochs=0 if frozen.last_step is None else frozen.last_step + 1,
        seconds=None if frozen.duration is None else round(frozen.duration.total_seconds(), 1),
        parameters=dict(frozen.params),
        error=frozen.user_attrs.get(ERROR),
    )
