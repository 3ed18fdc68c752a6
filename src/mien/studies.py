"""Optuna studies that several processes and machines work on at once, and that go on where a killed one stopped.

Optuna's journal has no heartbeat, its databases one that serves `Study.optimize` alone; so a trial of a killed process
would stay "running" for ever. Here a trial holds a file lock while it runs (`mien.holding`), by which its own machine
knows at once that it ended, and gives signs of life in the storage (`mien.pulses`), by which others do. Whoever looks
for work next puts the values of an abandoned trial up again, and marks it failed.

The storage hands out the numbers of trials one after the other, and says to one alone that it may have a waiting trial.
All that machines agree on is built on that: each looks, once it has a trial, whether enough were begun before it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import MissingExtraError, UsageError
from mien.holding import LOCKS, Holds
from mien.pulses import PULSE, Silences, beating
from mien.spaces import Space, Span, Value
from mien.storages import close_storage, hide_password, open_storage, patiently, unanswered
from mien.trials import LOST, TRIES, WITHDRAWN, counts, origin, standing_for, trial_name, tries, was_killed

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"
"""The study's file in its folder, where no other storage is named."""

DRAWS = 10
"""So often a point is drawn while it is one that was tried before: a space of choices may have no other left."""


@dataclass(frozen=True)
class SharedStudy:
    """A study and the folder that its processes share.

    Attributes:
        study: Optuna's.
        folder: where trials, locks and, by default, the journal are.
        storage: the address, with any password hidden.
        space: what is varied.
        seed: of the sampler.
        holds: the trials of this process.
        silences: what it has heard of those of others.
    """

    study: optuna.Study
    folder: Path
    storage: str
    space: Space
    seed: int
    holds: Holds
    silences: Silences = field(default_factory=Silences)

    def begin(self, total: int, say: Callable[[str], None] | None = None) -> optuna.Trial | None:
        """Begin the next trial, or None where `total` trials are done or running.

        Trials of killed processes go first, with the values that they had. One that others give up before it has begun,
        as where this machine slept meanwhile, is let go, and the next begun.

        Args:
            total: how many there are to be.
            say: called with a line about each trial that is let go.
        """
        import optuna

        with self.holds.alone():
            self.reclaim()
            while sum(map(counts, self._trials())) < total:
                trial = self.study.ask()
                try:
                    if self._prepare(trial, total):
                        return trial
                except optuna.exceptions.UpdateFinishedTrialError:
                    self.holds.release(trial.number)
                    if say is not None:
                        say(f"{trial_name(trial.number)}: {LOST}")
                except BaseException:  # nobody runs it; others may
                    self.holds.release(trial.number)
                    raise
        return None

    def is_done(self, total: int) -> bool:
        """Whether `total` trials have ended; else others may still leave one to be taken over."""
        return sum(counts(trial) and trial.state.is_finished() for trial in self._trials()) >= total

    def finish(self, trial: optuna.Trial, value: float | None, state: optuna.trial.TrialState) -> bool:
        """Write down how a trial ended, and let it go; False where others had given it up: it does not count."""
        counted = patiently(lambda: self._end(trial.number, value, state))
        self.holds.release(trial.number)
        return counted

    def reclaim(self) -> None:
        """Give up trials whose process is gone, or whose machine is silent, and put their values up again."""
        trials = self._trials()
        self.silences.look(trials)
        for frozen in trials:
            if frozen.state.name == "RUNNING" and self._is_abandoned(frozen):
                self.give_up(frozen)

    def give_up(self, frozen: optuna.trial.FrozenTrial) -> None:
        """Mark a trial that was interrupted or killed as failed; put its values up again, unless it was often so.

        They are put up first: whoever dies in between leaves a trial that is given up once more, not one that is lost.
        """
        import optuna

        if tries(frozen) < TRIES and not standing_for(frozen.number, self._trials()):
            attributes = {"tries": tries(frozen) + 1, "instead_of": frozen.number}
            values = {**frozen.system_attrs.get("fixed_params", {}), **frozen.params}
            self.study.enqueue_trial(values, user_attrs=attributes)
        self._end(frozen.number, None, optuna.trial.TrialState.FAIL)
        self.holds.release(frozen.number)

    def interrupt(self, trial: optuna.Trial) -> None:
        """Give up a trial of this process."""
        self.give_up(self._trials()[trial.number])

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life of this process's trials, and look at those of others, meanwhile; closes the storage."""
        try:
            with beating(self._beat):
                yield
        finally:
            close_storage(self.study._storage)

    def _beat(self) -> None:
        import optuna

        for trial in self.holds.trials():
            with suppress(optuna.exceptions.UpdateFinishedTrialError):  # it has just ended, or was given up
                trial.set_user_attr(PULSE, trial.user_attrs.get(PULSE, 0) + 1)
        self.silences.look(self._trials())

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _prepare(self, trial: optuna.Trial, total: int) -> bool:
        """Hold a trial that was just begun and draw its values; False where it is not to be run, and is withdrawn."""
        import optuna

        self.holds.take(trial)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = self._sampler(trial.number)
        draw(trial, self.space)
        rightful = self._is_rightful(trial.number, total)
        if not rightful:
            trial.set_user_attr(WITHDRAWN, True)
            self.finish(trial, None, optuna.trial.TrialState.FAIL)
        return rightful

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """What chooses the values of a trial that was just begun: none that were tried before, where it finds others.

        What a storage was told of a trial stays, so they are drawn in memory first.
        """
        import optuna

        # Two processes would draw the same values from the same seed.
        sampler = optuna.samplers.TPESampler(seed=(self.seed + number) % 2**32, constant_liar=True)
        trials = self._trials()
        endless = any(isinstance(values, Span) and not values.whole for values in self.space.values())
        if endless or origin(trials[number]) is not None:  # no point comes twice, or its values were put up
            return sampler
        begun = [trial for trial in trials if trial.number != number and trial.state.name != "WAITING"]
        tried = [trial.params for trial in begun if WITHDRAWN not in trial.user_attrs]
        rehearsal = optuna.create_study(direction="maximize", sampler=sampler)
        rehearsal.add_trials(begun)
        for _ in range(DRAWS):
            drawn = rehearsal.ask()
            draw(drawn, self.space)
            if drawn.params not in tried:
                break
        return optuna.samplers.PartialFixedSampler(drawn.params, optuna.samplers.RandomSampler())

    def _is_rightful(self, number: int, total: int) -> bool:
        """Whether a trial that was just begun is to be run.

        It is not where another machine has put up the same one before, where the one that it stands for has ended
        after all, or where `total` trials were begun before it.
        """
        trials = self._trials()
        what = origin(trials[number])
        if number != min(standing_for(what, trials), default=number):
            return False
        if isinstance(what, int) and not self._is_given_up(what):
            return False
        return sum(map(counts, trials[:number])) < total

    def _is_given_up(self, number: int) -> bool:
        """Whether a trial whose values were put up again is marked so; does it, where whoever put them up could not."""
        import optuna

        self._end(number, None, optuna.trial.TrialState.FAIL)
        return was_killed(self._trials()[number])

    def _end(self, number: int, value: float | None, state: optuna.trial.TrialState) -> bool:
        """End a trial; False where it had ended otherwise."""
        import optuna

        try:
            self.study.tell(number, value, state=state)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            ended = self._trials()[number]
            if not ended.state.is_finished():
                raise
            # The same: it was told before, and the answer did not arrive.
            return ended.state == state and value in (None, ended.value)
        return True

    def _is_abandoned(self, frozen: optuna.trial.FrozenTrial) -> bool:
        """Whether nobody works on a running trial."""
        if self.holds.holds(frozen.number):
            return False
        free = self.holds.is_free(frozen)
        return self.silences.is_silent(frozen.number) if free is None else free


def draw(trial: optuna.Trial, space: Space) -> None:
    """Have a value chosen for everything that is varied."""
    for name, dimension in space.items():
        if not isinstance(dimension, Span):
            trial.suggest_categorical(name, dimension.values)
        elif dimension.whole:
            trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
        else:
            trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


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
    holds = Holds(folder)
    with holds.alone():
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
        if known is None:
            _refuse_others_trials(folder)
            study.enqueue_trial(dict(first), user_attrs={"origin": "first"})
            study.set_user_attr("settings", asked)
        else:
            _check_settings(name, known, asked)
    return SharedStudy(study, folder, hide_password(address), space, seed, holds)


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
    """Trials under different settings cannot be compared; older studies do not tell names and labels of the data."""
    told = "names_and_labels" in known.get("data", {})
    other = sorted(path for path in _differences(known, asked) if told or path != "data.names_and_labels")
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
