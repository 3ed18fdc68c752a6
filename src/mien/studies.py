"""Optuna studies that several processes work on at once, and that go on where a killed one stopped.

Optuna's journal has no heartbeat, so a trial of a killed process would stay "running" for ever. Here every trial holds
a file lock (`filelock`) in the study's folder while it runs. The system takes it back when the process ends, however it
ends; whoever looks for work next finds it free, marks the trial failed, and puts its values up to be tried again.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError, UsageError
from mien.spaces import Space, Span, Value
from mien.storages import hide_password, open_storage, unanswered
from mien.trials import TRIES, counts, trial_name, tries

if TYPE_CHECKING:
    import filelock
    import optuna

JOURNAL = "journal.log"
"""The study's file in its folder, where no other storage is named."""

LOCKS = ".locks"
"""The folder of the locks, in the study's folder."""


@dataclass(frozen=True)
class SharedStudy:
    """A study and the folder that its processes share.

    Attributes:
        study: Optuna's.
        folder: where trials, locks and, by default, the journal are.
        storage: the address, with any password hidden.
        space: what is varied.
        seed: of the sampler.
    """

    study: optuna.Study
    folder: Path
    storage: str
    space: Space
    seed: int
    _held: dict[int, filelock.BaseFileLock] = field(default_factory=dict, repr=False)

    def begin(self, total: int) -> optuna.Trial | None:
        """Begin the next trial, or None where `total` trials are done or running.

        Trials of killed processes go first, with the values that they had.
        """
        import optuna

        with self.alone():
            self.reclaim()
            trials = self.study.get_trials(deepcopy=False)
            if sum(counts(trial) for trial in trials) >= total:
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                # Two processes would draw the same values from the same seed.
                self.study.sampler = optuna.samplers.TPESampler(
                    seed=(self.seed + len(trials)) % 2**32, constant_liar=True
                )
            trial = self.study.ask(distributions(self.space))
            self._held[trial.number] = lock = self._lock(trial.number)
            lock.acquire(blocking=False)
            trial.set_user_attr("begun", True)
        return trial

    def finish(self, trial: optuna.Trial, value: float | None, state: optuna.trial.TrialState) -> None:
        """Write down how a trial ended, and let its lock go."""
        self.study.tell(trial, value, state=state)
        self._held.pop(trial.number).release()

    def reclaim(self) -> None:
        """Mark trials whose process is gone as failed, and put their values up again."""
        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.state.name == "RUNNING" and self._is_abandoned(frozen):
                self.give_up(frozen)

    def give_up(self, frozen: optuna.trial.FrozenTrial) -> None:
        """Mark a trial that was interrupted or killed as failed; put its values up again, unless it was often so."""
        import optuna

        self.study.tell(frozen.number, state=optuna.trial.TrialState.FAIL)
        if tries(frozen) < TRIES:
            attributes = {"tries": tries(frozen) + 1, "instead_of": frozen.number}
            self.study.enqueue_trial(frozen.params, user_attrs=attributes)
        held = self._held.pop(frozen.number, None)
        if held is not None:
            held.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes on this folder from beginning trials meanwhile."""
        with _file_lock(self.folder / LOCKS / "study.lock"):
            yield

    def _is_abandoned(self, frozen: optuna.trial.FrozenTrial) -> bool:
        """Whether nobody works on a running trial; one of another machine's folder is left alone."""
        if frozen.number in self._held:
            return False
        lock = self._lock(frozen.number)
        if not Path(lock.lock_file).exists():
            return "begun" not in frozen.user_attrs  # killed before it could take its lock
        return _is_free(lock)

    def _lock(self, number: int) -> filelock.BaseFileLock:
        return _file_lock(self.folder / LOCKS / f"{trial_name(number)}.lock")


def distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """A space in Optuna's words."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for name, dimension in space.items():
        if not isinstance(dimension, Span):
            found[name] = CategoricalDistribution(dimension.values)
        elif dimension.whole:
            found[name] = IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
        else:
            found[name] = FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    return found


def open_study(
    folder: Path,
    *,
    name: str,
    storage: str | None,
    space: Space,
    settings: Mapping[str, Any],
    first: Mapping[str, Value],
    pruner: optuna.pruners.BasePruner,
    seed: int = 0,
) -> SharedStudy:
    """Open a study, or begin it: with the recipe's own values as its first trial.

    Args:
        folder: of the study; is made.
        name: of the study in its storage.
        storage: an address or a journal's path; None for `JOURNAL` in the folder.
        space: what is varied.
        settings: JSON-ready; what makes trials comparable. A study that was begun with others is refused.
        first: values of the first trial, as far as the space holds them.
        pruner: ends trials early.
        seed: of the sampler.

    Raises:
        UsageError: the storage does not answer, the folder cannot be used, or the study has other settings.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = json.loads(json.dumps(settings, default=str))
    address = storage or str(folder / JOURNAL)
    _make_folder(folder)
    with _file_lock(folder / LOCKS / "study.lock"):
        try:
            study = optuna.create_study(
                study_name=name,
                storage=open_storage(address),
                direction="maximize",
                load_if_exists=True,
                pruner=pruner,
            )
            known = study.user_attrs.get("settings")
        except Exception as error:  # each kind of storage has its own
            raise unanswered(address, error) from error
        shared = SharedStudy(study, folder, hide_password(address), space, seed)
        if known is None:
            _refuse_others_trials(folder)
            study.set_user_attr("settings", asked)
            study.enqueue_trial(dict(first))
        else:
            _check_settings(name, known, asked)
    return shared


def _make_folder(folder: Path) -> None:
    try:
        (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror}); name another folder with --out") from error


def _refuse_others_trials(folder: Path) -> None:
    """A new study beside the runs of another would mix them up."""
    if any(folder.glob("trial-*")):
        raise UsageError(
            f"{folder}: holds trials of another study, or its journal was lost; name another folder with --out, or the "
            "study's own --storage and --study"
        )


def _check_settings(name: str, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Trials under different settings cannot be compared."""
    other = sorted(_differences(known, asked))
    if other:
        raise UsageError(
            f"study {name!r} was begun with other settings ({', '.join(other)}); give the same ones to go on with it, "
            "or another --out (or --study) to begin a new one"
        )


def _differences(known: Any, asked: Any, path: str = "") -> Iterator[str]:
    if isinstance(known, dict) and isinstance(asked, dict):
        for key in {*known, *asked}:
            yield from _differences(known.get(key), asked.get(key), f"{path}.{key}" if path else str(key))
    elif known != asked:
        yield path


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


def need_optuna() -> None:
    """See that Optuna is there.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import filelock
        import optuna
    except ImportError as error:
        raise MissingExtraError("tuning", "tune") from error
    del filelock, optuna
