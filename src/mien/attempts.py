"""One trial of a study: training with its values, what the study hears of it, and how it ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.config import TrainingConfig
from mien.files import write_text
from mien.materials import Selection
from mien.spaces import config_with
from mien.storages import patiently
from mien.studies import SharedStudy
from mien.trials import ERROR, LOST, trial_name

if TYPE_CHECKING:
    import keras
    import optuna

    from mien.training import TrainingResult

GIVEN_UP = (
    "Another machine gave this trial up, since it saw no sign of life of it for long, and put its values up again.\n"
    "What was trained here does not count in the study.\n"
)
"""What the folder of such a trial says."""

Watch = Callable[[], Sequence["keras.callbacks.Callback"]]


@dataclass(frozen=True)
class Job:
    """What every trial of a study has in common."""

    data: str | Path
    config: TrainingConfig
    selection: Selection
    watch: Watch
    wait: bool


def attempt(shared: SharedStudy, job: Job, trial: optuna.Trial) -> tuple[str, Exception | None]:
    """Run a trial and write down how it ended; gives that in words, and the error where it failed."""
    from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
    from optuna.trial import TrialState

    failed: Exception | None = None
    try:
        accuracy = _run(trial, shared.folder / trial_name(trial.number), job)
    except TrialPruned:
        counted, outcome = shared.finish(trial, None, TrialState.PRUNED), "ended early: below the median"
    except UpdateFinishedTrialError:
        counted, outcome = False, ""
    except Exception as error:  # whatever it is, the study goes on
        counted, outcome, failed = _fail(shared, trial, error), f"failed: {in_a_line(error)}", error
    except BaseException:  # Ctrl-C: as if the process had been killed
        shared.interrupt(trial)
        raise
    else:
        counted, outcome = shared.finish(trial, accuracy, TrialState.COMPLETE), f"{accuracy:.2%}"
    return (outcome, failed) if counted else (_leave(shared, trial), None)


def _leave(shared: SharedStudy, trial: optuna.Trial) -> str:
    """Let go a trial that others have given up meanwhile; its folder keeps what it came to, and why it counts not."""
    shared.holds.release(trial.number)
    write_text(shared.folder / trial_name(trial.number) / "given-up.txt", GIVEN_UP)
    return LOST


def _run(trial: optuna.Trial, folder: Path, job: Job) -> float:
    """Train one trial's config; gives its validation accuracy.

    Raises:
        TrialPruned: it was ended early.
        KeyboardInterrupt: Ctrl-C.
    """
    import keras
    import optuna

    from mien.runs import forget_views
    from mien.training import train

    keras.backend.clear_session()  # what the last trial compiled
    try:
        result = train(
            job.data,
            config_with(job.config, trial.params),
            out=folder,
            selection=job.selection,
            tests=False,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=_reporter(trial)), *job.watch()],
            verbose=False,
        )
    except optuna.TrialPruned:
        _forget_checkpoints(folder)
        raise
    finally:
        forget_views(folder / "checkpoints")
    if result.interrupted:
        raise KeyboardInterrupt
    return _accuracy(trial, result)


def _accuracy(trial: optuna.Trial, result: TrainingResult) -> float:
    """The score of the files that the run has written, on validation."""
    score = result.scores["validation"]
    patiently(lambda: trial.set_user_attr("n", score.n))
    _forget_checkpoints(result.folder)
    return float(score.accuracy)


def _forget_checkpoints(folder: Path) -> None:
    """Of a trial that is over nothing is left to resume, and checkpoints of many trials fill a disk."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _reporter(trial: optuna.Trial) -> Callable[[int, Any], None]:
    """Tells the study each epoch's validation accuracy, and ends a trial that the study gives up."""
    import optuna

    def report(epoch: int, logs: Any) -> None:
        if "val_accuracy" not in logs:  # not an epoch after which validation is looked at
            return
        patiently(lambda: trial.report(float(logs["val_accuracy"]), epoch))
        if patiently(trial.should_prune):
            raise optuna.TrialPruned

    return report


def _fail(shared: SharedStudy, trial: optuna.Trial, error: Exception) -> bool:
    """Leave the reason in the trial's folder and in the study; False where others had given the trial up."""
    import traceback

    import optuna

    folder = shared.folder / trial_name(trial.number)
    write_text(folder / "error.txt", "".join(traceback.format_exception(error)))
    try:
        patiently(lambda: trial.set_user_attr(ERROR, in_a_line(error)))
    except optuna.exceptions.UpdateFinishedTrialError:
        return False
    return shared.finish(trial, None, optuna.trial.TrialState.FAIL)


def in_a_line(error: Exception) -> str:
    """An error's kind and its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
