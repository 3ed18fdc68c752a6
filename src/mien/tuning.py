"""`tune`: many training runs with different settings, chosen by Optuna, compared on validation images alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.attempts import Job, Watch, attempt, in_a_line
from mien.config import TrainingConfig
from mien.errors import MienError, UsageError
from mien.files import write_json, write_text
from mien.materials import Selection
from mien.spaces import Choices, Space, Span, check_space, config_with, default_space, point_of
from mien.storages import is_outage, patiently, unanswered
from mien.studies import SharedStudy, need_optuna, open_study
from mien.trials import TrialRecord, best_of, in_words, list_trials, trial_name, trials_csv
from mien.tuning_checks import check_data, check_networks, digest

if TYPE_CHECKING:
    import keras
    import optuna

    from mien.datasets import Dataset

BEST = "best.json"
"""The best trial's config, in the study's folder: what ``mien train --config`` takes."""

PATIENCE = 3
"""After this many failures in a row, a process gives up: the next trial would fail too."""

COMPARED = 5
"""Trials are ended early once so many are complete to compare them with."""

WATCHED = 0.25
"""Share of a trial's epochs before it may be ended early: all begin badly."""

LOOKS = 5.0
"""Seconds between two looks at the trials of others, where nothing else is left to do."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Tuned:
    """What a study has come to.

    Attributes:
        folder: of the study.
        trials: all of them, in their order.
        best: the complete trial of the highest validation accuracy; None where none is complete.
        config: its config, which ``best.json`` holds too.
        files: what was written: the config, the table, the plots.
    """

    folder: Path
    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None
    config: TrainingConfig | None
    files: tuple[Path, ...]


def tune(
    data: str | Path,
    config: TrainingConfig,
    *,
    space: Space | None = None,
    trials: int = 30,
    out: str | Path = "runs/tune",
    storage: str | None = None,
    study: str = "mien",
    selection: Selection | None = None,
    prune: bool = True,
    wait: bool = True,
    say: Say | None = None,
    watch: Watch | None = None,
) -> Tuned:
    """Look for better settings of a config, or go on looking; several processes may do so at once.

    The first trial is the config itself. A trial is an ordinary run folder, but that test splits are not read. Trials
    are compared by the accuracy, on validation images, of the model that they keep; those below the median of the
    others at the same epoch are ended early.

    Args:
        data: what `mien.datasets.open_dataset` opens.
        config: where to start from; what the space does not name stays.
        space: what is varied; `mien.spaces.default_space` where none is given.
        trials: how many in all, those of earlier calls and other processes counted.
        out: the study's folder. A call with the same folder goes on.
        storage: an address of any of Optuna's storages, or the path of a journal; None: ``journal.log`` in `out`.
        study: its name in the storage.
        selection: which part of the data to use.
        prune: whether to end trials early.
        wait: whether to wait, where nothing is left to begin, for the trials of other processes to end, so as to take
            over those whose process or machine dies.
        say: called with a line about each trial.
        watch: gives Keras callbacks for each trial, such as a progress bar.

    Raises:
        MissingExtraError: Optuna is not installed.
        UsageError: the space, the storage, the folder or a setting is wrong, or there is nothing to validate on.
        DataError: the data cannot be used.
        MienError: trials fail one after another, or the storage has not answered for five minutes.
    """
    need_optuna()
    if trials < 1:
        raise UsageError(f"trials: must be 1 or more, received {trials}")
    from mien.datasets import open_dataset
    from mien.datasets.exclusion import exclude

    space, selection, say = space or default_space(config), selection or Selection(), say or _silent
    check_space(space, config)
    check_networks(config, space)
    dataset = open_dataset(data, ferplus=config.ferplus)
    dataset = exclude(dataset, selection.exclude) if selection.exclude else dataset
    check_data(dataset, config)
    shared = open_study(
        Path(out),
        name=study,
        storage=storage,
        space=space,
        settings=_settings(dataset, config, space, selection),
        first=point_of(config, space),
        pruner=_pruner(config, prune=prune),
        seed=config.seed,
    )
    try:
        with shared.alive():
            with _told_where_interrupted(shared, config, say):
                _work(shared, Job(data, config, selection, watch or _nothing, wait), trials, say)
            return summarise(shared, config)
    except Exception as error:
        if not is_outage(error):
            raise
        raise unanswered(shared.storage, error) from error


def _work(shared: SharedStudy, job: Job, total: int, say: Say) -> None:
    """Begin trials until there are enough."""
    failures = 0
    while (trial := _next(shared, total, say, wait=job.wait)) is not None:
        say(f"{trial_name(trial.number)}: {in_words(trial.params)}")
        began = time.perf_counter()
        outcome, error = attempt(shared, job, trial)
        say(f"{trial_name(trial.number)}: {outcome} ({time.perf_counter() - began:.0f} s)")
        _write_records(shared, job.config)
        failures = 0 if error is None else failures + 1
        if error is not None and failures == PATIENCE:
            raise MienError(f"{PATIENCE} trials in a row failed; the last: {in_a_line(error)}") from error


@contextmanager
def _told_where_interrupted(shared: SharedStudy, config: TrainingConfig, say: Say) -> Iterator[None]:
    """At Ctrl-C, write down how the study stands, and say it and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        _write_records(shared, config)
        records = list_trials(shared.study)
        complete, best = sum(record.state == "complete" for record in records), best_of(records)
        highest = "" if best is None else f", the best {best.accuracy:.2%} ({trial_name(best.number)})"
        say(f"Interrupted; complete trials in {shared.folder}: {complete}{highest}; the same command goes on")
        raise


def _next(shared: SharedStudy, total: int, say: Say, *, wait: bool) -> optuna.Trial | None:
    """The next trial; where others run the last ones, None once they have ended."""
    waits = False

    def begin() -> optuna.Trial | None:
        return shared.begin(total, say)

    while (trial := patiently(begin)) is None and wait and not patiently(_done(shared, total)):
        if not waits:
            say("waiting for trials of other processes to end, or to be taken over (Ctrl-C leaves; so does --no-wait)")
        waits = True
        time.sleep(LOOKS)
    return trial


def _done(shared: SharedStudy, total: int) -> Callable[[], bool]:
    return lambda: shared.is_done(total)


def summarise(shared: SharedStudy, base: TrainingConfig) -> Tuned:
    """Write the best config, the table and the plots of a study as it stands."""
    from mien.tuning_plots import plot_study

    files = _write_records(shared, base)
    records, best = list_trials(shared.study), best_of(list_trials(shared.study))
    complete = sum(record.state == "complete" for record in records)
    if complete:
        files += plot_study(shared.study, shared.folder, list(shared.space))
    config = None if best is None else config_with(base, best.parameters)
    return Tuned(shared.folder, records, best, config, tuple(files))


def _write_records(shared: SharedStudy, base: TrainingConfig) -> list[Path]:
    """``trials.csv`` and, where a trial is complete, ``best.json``."""
    table, config = shared.folder / "trials.csv", shared.folder / BEST
    write_text(table, trials_csv(list_trials(shared.study), list(shared.space)))
    best = best_of(list_trials(shared.study))
    if best is None:
        return [table]
    write_json(config, config_with(base, best.parameters).to_dict())
    return [config, table]


def _pruner(config: TrainingConfig, *, prune: bool) -> optuna.pruners.BasePruner:
    import optuna

    if not prune:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=COMPARED, n_warmup_steps=max(1, round(config.epochs * WATCHED)))


def _settings(dataset: Dataset, config: TrainingConfig, space: Space, selection: Selection) -> dict[str, Any]:
    """What must be the same for trials to be comparable; `dataset` is without what is excluded."""
    varied: dict[str, Span | Choices] = dict(space)
    return {
        "training": config.to_dict(),
        "space": {name: str(dimension) for name, dimension in varied.items()},
        "selection": {**dataclasses.asdict(selection), "exclude": selection.exclude and "a list"},  # data tells which
        "data": {"format": dataset.format, "counts": dataset.counts(), "names_and_labels": digest(dataset)},
    }


def _silent(line: str) -> None:
    """Say nothing."""


def _nothing() -> Sequence[keras.callbacks.Callback]:
    """No callbacks."""
    return ()
