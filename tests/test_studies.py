"""Studies that several processes share and that outlive them: with Optuna's journal, without any training."""

import builtins
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from mien import studies
from mien.errors import MissingExtraError, UsageError
from mien.pulses import BEAT, SILENCE
from mien.spaces import Choices, Span
from mien.storages import close_storage
from mien.studies import JOURNAL, SharedStudy, draw, need_optuna, open_study
from mien.trials import TRIES, counts, state_word
from processes import PATIENCE

SPACE = {
    "learning_rate": Span(0.001, 0.1, log=True),
    "batch_size": Span(8, 64, whole=True),
    "optimizer": Choices(("adam", "sgd")),
}
FIRST = {"learning_rate": 0.01, "batch_size": 32, "optimizer": "adam"}
COMPLETE = optuna.trial.TrialState.COMPLETE


OPENED: list[SharedStudy] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No connection to a database is left open: Python warns of those from 3.13 on."""
    yield
    while OPENED:
        close_storage(OPENED.pop().study._storage)


def opened(folder: Path, **changes) -> SharedStudy:
    given = {"name": "mien", "storage": None, "space": SPACE, "settings": {"a": 1, "b": {"c": [1, 2]}}, "first": FIRST}
    OPENED.append(open_study(folder, **{**given, "pruner": optuna.pruners.NopPruner(), **changes}))
    return OPENED[-1]


def states(shared: SharedStudy) -> list[str]:
    return [state_word(trial) for trial in shared.study.trials]


def test_the_first_trial_is_the_recipe_and_the_total_is_kept(tmp_path):
    shared = opened(tmp_path)
    values = []
    while (trial := shared.begin(3)) is not None:
        values.append(trial.params)
        shared.finish(trial, 0.5, COMPLETE)
    assert len(values) == 3
    assert values[0] == FIRST
    assert all(0.001 <= value["learning_rate"] <= 0.1 and isinstance(value["batch_size"], int) for value in values)
    assert opened(tmp_path).begin(3) is None  # going on: they are done
    assert opened(tmp_path).begin(4) is not None


def test_two_that_share_a_study_never_draw_the_same_and_count_each_other(tmp_path):
    one, other = opened(tmp_path), opened(tmp_path)
    trials = [one.begin(4), other.begin(4), one.begin(4), other.begin(4)]
    assert one.begin(4) is None
    assert len({json.dumps(trial.params) for trial in trials}) == 4
    assert states(other) == ["running"] * 4


def test_a_point_is_drawn_once_while_there_are_others(tmp_path):
    space = {"optimizer": Choices(("adam", "sgd", "adamw")), "batch_size": Span(8, 9, whole=True)}
    one, other = (opened(tmp_path, space=space, first={"optimizer": "sgd", "batch_size": 9}) for _ in range(2))
    drawn = []
    for number, end in enumerate((COMPLETE, COMPLETE, optuna.trial.TrialState.PRUNED, None, COMPLETE, COMPLETE)):
        shared = (one, other)[number % 2]
        trial = shared.begin(7)
        drawn.append(json.dumps(trial.params, sort_keys=True))
        if end is not None:  # else it still runs
            shared.finish(trial, 0.5 if end == COMPLETE else None, end)
    assert len(set(drawn)) == 6
    assert json.dumps(one.begin(7).params, sort_keys=True) in drawn  # no other is left
    assert len(one.study.trials) == 7


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_studies import opened
trial = opened(Path(sys.argv[1])).begin(5)
print(trial.number, flush=True)
time.sleep(600)
"""


def begin_and_be_killed(folder: Path) -> int:
    command = [sys.executable, "-c", KILLED, str(folder), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            number = int(process.stdout.readline())
            assert states(opened(folder))[number] == "running"
        finally:
            process.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
            process.wait(timeout=PATIENCE)
    return number


def test_a_trial_of_a_killed_process_is_put_up_again(tmp_path):
    assert begin_and_be_killed(tmp_path) == 0
    shared = opened(tmp_path)
    again = shared.begin(2)
    assert states(shared) == ["killed", "running"]
    assert again.params == FIRST
    assert again.user_attrs["instead_of"] == 0
    assert [counts(trial) for trial in shared.study.trials] == [False, True]
    assert shared.begin(2) is not None  # two were asked for, and the killed one is none of them
    assert shared.begin(2) is None


def test_values_that_kill_their_process_every_time_are_left(tmp_path):
    shared = opened(tmp_path)
    for _ in range(TRIES):
        trial = shared.begin(9)
        assert trial.params == FIRST
        shared.give_up(shared.study.trials[trial.number])  # what Ctrl-C does
    assert shared.begin(9).params != FIRST
    assert states(shared) == ["killed"] * TRIES + ["running"]
    assert [counts(trial) for trial in shared.study.trials] == [False] * (TRIES - 1) + [True, True]


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set forward; nobody beats but who is told to."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr("mien.pulses.time", SimpleNamespace(monotonic=lambda: Clock.now))
    return Clock


def two_machines(tmp_path: Path) -> tuple[SharedStudy, SharedStudy]:
    address = f"sqlite:///{tmp_path / 'study.db'}"
    return opened(tmp_path / "here", storage=address), opened(tmp_path / "there", storage=address)


def watch(shared: SharedStudy, clock, seconds: float) -> None:
    """What the thread beside a training does, with nothing to say for itself: it looks once a beat."""
    for _ in range(round(seconds / BEAT)):
        clock.now += BEAT
        shared.silences.look(shared.study.trials)


def test_a_trial_of_another_machine_is_left_alone_while_it_gives_signs_of_life(tmp_path, clock):
    here, there = two_machines(tmp_path)
    here.begin(3)
    for _ in range(30):
        watch(there, clock, SILENCE - 2 * BEAT)
        here._beat()
    there.begin(3)
    assert states(there) == ["running", "running"]
    assert not (tmp_path / "here" / JOURNAL).exists()


def test_a_silent_machines_trial_is_put_up_again(tmp_path, clock):
    here, there = two_machines(tmp_path)
    lost = here.begin(2)
    watch(there, clock, SILENCE)
    other = there.begin(2)
    assert other.params != lost.params  # nothing yet: the first look was one beat ago
    assert states(there) == ["running", "running"]
    watch(there, clock, BEAT)
    again = there.begin(2)
    assert again.params == lost.params == FIRST
    assert states(there) == ["killed", "running", "running"]
    assert there.begin(2) is None


def test_one_who_slept_gives_others_time_to_beat(tmp_path, clock):
    here, there = two_machines(tmp_path)
    here.begin(1)
    watch(there, clock, 2 * BEAT)
    clock.now += 100 * SILENCE  # both machines were suspended
    assert there.begin(1) is None
    here._beat()
    watch(there, clock, SILENCE)
    assert there.begin(1) is None
    assert states(there) == ["running"]


def test_an_epochs_score_is_a_sign_of_life(tmp_path, clock):
    here, there = two_machines(tmp_path)
    trial = here.begin(1)
    for epoch in range(3):
        watch(there, clock, SILENCE - BEAT)
        trial.report(0.5, epoch)  # by a process whose thread had no turn
    assert there.begin(1) is None


def test_who_comes_back_from_the_dead_does_not_count_twice(tmp_path, clock):
    here, there = two_machines(tmp_path)
    lost = here.begin(1)
    watch(there, clock, SILENCE + BEAT)
    again = there.begin(1)
    here._beat()  # it is back, and its thread passes over that its trial has ended
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        lost.report(0.5, 0)
    assert here.finish(lost, 0.9, COMPLETE) is False
    assert here.begin(1) is None
    assert there.finish(again, 0.8, COMPLETE) is True
    assert states(here) == ["killed", "complete"]
    assert here.study.best_value == 0.8
    assert here.is_done(1)


def test_a_trial_that_ends_while_it_is_given_up_counts_and_is_not_tried_again(tmp_path, clock):
    here, there = two_machines(tmp_path)
    alive = here.begin(2)
    frozen = there.study.trials[0]
    here.finish(alive, 0.9, COMPLETE)
    there.give_up(frozen)  # judged by what was read before
    assert states(there) == ["complete", "waiting"]
    trial = there.begin(2)
    assert trial.params != FIRST
    assert states(there) == ["complete", "withdrawn", "running"]


def test_who_dies_while_giving_a_trial_up_loses_nothing(tmp_path, clock, monkeypatch):
    here, there = two_machines(tmp_path)
    lost = here.begin(1)
    watch(there, clock, SILENCE + BEAT)
    with monkeypatch.context() as patch:
        patch.setattr(SharedStudy, "_end", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            there.begin(1)
    assert states(there) == ["running", "waiting"]
    assert there.begin(1).params == lost.params
    assert states(there) == ["killed", "running"]


def test_values_that_two_machines_put_up_again_are_tried_once(tmp_path):
    here, there = two_machines(tmp_path)
    here.begin(3)
    there.study.enqueue_trial(FIRST, user_attrs={"tries": 2, "instead_of": 0})
    there.study.enqueue_trial(FIRST, user_attrs={"tries": 2, "instead_of": 0})
    there.begin(3)
    there.begin(3)
    assert states(there) == ["killed", "running", "withdrawn", "running"]
    assert [trial.params == FIRST for trial in there.study.trials] == [True, True, True, False]


def test_of_two_that_begin_the_last_trial_at_once_one_stands_back(tmp_path, monkeypatch):
    here, there = two_machines(tmp_path)
    real, done = here.study.ask, []

    def ask():  # between what this one has counted and what it takes, the other takes it
        if not done:
            done.append(there.begin(1))
        return real()

    monkeypatch.setattr(here.study, "ask", ask)
    assert here.begin(1) is None
    assert done[0] is not None
    assert states(here) == ["running", "withdrawn"]


def test_a_study_that_two_machines_begin_at_once_has_one_first_trial(tmp_path):
    here, there = two_machines(tmp_path)
    here.study.enqueue_trial(FIRST, user_attrs={"origin": "first"})
    trials = [here.begin(2), there.begin(2)]
    assert [trial.params == FIRST for trial in trials] == [True, False]
    assert states(here) == ["running", "withdrawn", "running"]


def test_where_beginning_fails_others_may_run_the_trial(tmp_path, monkeypatch):
    shared = opened(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("mien.studies.draw", lambda trial, space: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            shared.begin(1)
    assert shared.begin(1).params == FIRST
    assert states(shared) == ["killed", "running"]


def give_up_at(moment: str, here: SharedStudy, there: SharedStudy, monkeypatch, times: int = 1) -> None:
    """Have another machine, which heard nothing of a trial, give it up at this moment of its beginning."""
    left, ask, rightful = [None] * times, here.study.ask, SharedStudy._is_rightful

    def lose() -> bool:
        if not left:
            return False
        left.pop()
        there.give_up(there.study.trials[-1])
        return True

    def asked():
        trial = ask()
        lose()
        return trial

    def drawn(trial, space):
        lose()
        draw(trial, space)

    def judged(self, number, total):
        return not lose() and rightful(self, number, total)

    moments = {
        "as it is held": (here.study, "ask", asked),
        "as values are drawn": (studies, "draw", drawn),
        "as it is withdrawn": (SharedStudy, "_is_rightful", judged),
    }
    monkeypatch.setattr(*moments[moment])


@pytest.mark.parametrize("moment", ["as it is held", "as values are drawn", "as it is withdrawn"])
def test_a_trial_that_is_given_up_before_it_has_begun_is_let_go_and_another_begun(moment, tmp_path, monkeypatch):
    here, there = two_machines(tmp_path)
    said = []
    give_up_at(moment, here, there, monkeypatch)
    again = here.begin(1, said.append)
    assert again.params == FIRST  # they were put up again
    assert states(there) == ["killed", "running"]
    assert [trial.number for trial in here.holds.trials()] == [again.number]
    assert said == ["trial-0000: given up by another machine that heard nothing of it for long; does not count"]
    assert here.begin(1, said.append) is None
    assert len(said) == 1


def test_beginning_ends_where_the_total_is_reached_by_trials_that_are_given_up(tmp_path, monkeypatch):
    here, there = two_machines(tmp_path)
    give_up_at("as values are drawn", here, there, monkeypatch, times=TRIES)
    assert here.begin(1) is None  # the last try of its values counts
    assert states(there) == ["killed"] * TRIES
    assert not here.holds.trials()


def test_a_lock_of_another_machine_in_a_shared_folder_says_nothing(tmp_path, monkeypatch):
    shared = opened(tmp_path)
    begin_and_be_killed(tmp_path)  # so its lock is free
    monkeypatch.setattr("mien.holding.this_host", lambda: "another")
    assert shared.begin(1) is None
    assert states(shared) == ["running"]


def test_other_settings_are_refused_and_named(tmp_path):
    opened(tmp_path)
    with pytest.raises(UsageError, match=r"begun with other settings \(b\.c, d\)"):
        opened(tmp_path, settings={"a": 1, "b": {"c": [1, 3]}, "d": 0})
    (tmp_path / "trial-0000").mkdir()
    with pytest.raises(UsageError, match="name another folder"):
        opened(tmp_path, name="another")


def test_a_journal_cut_short_goes_on(tmp_path):
    shared = opened(tmp_path)
    shared.finish(shared.begin(1), 0.25, COMPLETE)
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_')  # the disk was full
    again = opened(tmp_path)
    assert states(again) == ["complete"]
    again.finish(again.begin(2), 0.75, COMPLETE)
    assert opened(tmp_path).study.best_value == 0.75


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be made"):
        opened(tmp_path / "file" / "study")


def test_a_space_in_optunas_words(tmp_path):
    trial = optuna.create_study().ask()
    draw(trial, SPACE)
    assert trial.distributions == {
        "learning_rate": optuna.distributions.FloatDistribution(0.001, 0.1, log=True),
        "batch_size": optuna.distributions.IntDistribution(8, 64),
        "optimizer": optuna.distributions.CategoricalDistribution(("adam", "sgd")),
    }


def test_without_optuna_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[tune\]'"):
        need_optuna()
