"""Studies that several processes share and that outlive them: with Optuna's journal, without any training."""

import builtins
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from mien.errors import MissingExtraError, UsageError
from mien.spaces import Choices, Span
from mien.storages import hide_password
from mien.studies import JOURNAL, SharedStudy, distributions, need_optuna, open_study
from mien.trials import TRIES, counts, state_word
from processes import PATIENCE

SPACE = {
    "learning_rate": Span(0.001, 0.1, log=True),
    "batch_size": Span(8, 64, whole=True),
    "optimizer": Choices(("adam", "sgd")),
}
FIRST = {"learning_rate": 0.01, "batch_size": 32, "optimizer": "adam"}
COMPLETE = optuna.trial.TrialState.COMPLETE


def opened(folder: Path, **changes) -> SharedStudy:
    given = {"name": "mien", "storage": None, "space": SPACE, "settings": {"a": 1, "b": {"c": [1, 2]}}, "first": FIRST}
    return open_study(folder, **{**given, "pruner": optuna.pruners.NopPruner(), **changes})


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


def test_a_trial_of_another_machine_is_left_alone(tmp_path):
    address = f"sqlite:///{tmp_path / 'study.db'}"
    here, there = opened(tmp_path / "here", storage=address), opened(tmp_path / "there", storage=address)
    here.begin(3)
    there.begin(3)
    assert states(there) == ["running", "running"]
    assert not (tmp_path / "here" / JOURNAL).exists()


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


@pytest.mark.parametrize(
    "address",
    ["sqlite:////nowhere/at/all/study.db", "mysql://ann:secret@127.0.0.1:1/x", "nonsense://x", "nowhere/journal.log"],
)
def test_a_storage_that_does_not_answer_is_named_without_its_password(tmp_path, address, monkeypatch):
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"--storage: .* does not answer \(") as caught:
        opened(tmp_path / "study", storage=address)
    assert "secret" not in str(caught.value)
    assert time.monotonic() - began < 60


def test_passwords_are_hidden():
    assert hide_password("mysql://ann:secret@host/db") == "mysql://***@host/db"
    assert hide_password("sqlite:///study.db") == "sqlite:///study.db"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be made"):
        opened(tmp_path / "file" / "study")


def test_a_space_in_optunas_words():
    found = distributions(SPACE)
    assert found == {
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
