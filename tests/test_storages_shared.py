"""Several processes on one storage, each with a folder of its own, killed and stopped in the middle."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from databases import postgresql
from mien.trials import counts, state_word
from processes import PATIENCE, wait_until
from tuners import read_trials, tuner

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and SIGSTOP"),
]


@pytest.fixture(params=["journal", "sqlite", pytest.param("postgresql", marks=pytest.mark.large)])
def address(request, tmp_path) -> Iterator[str]:
    if request.param == "postgresql":
        with postgresql() as found:
            yield found
    else:
        yield str(tmp_path / "journal.log") if request.param == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


def states(address: str, folder: Path) -> list[str]:
    return [state_word(trial) for trial in read_trials(address, folder)]


def check_whole(address: str, folder: Path, total: int) -> None:
    """Every trial that was asked for is complete, none of them twice, and all values of those killed were tried."""
    trials = read_trials(address, folder)
    assert {state_word(trial) for trial in trials} <= {"complete", "killed", "withdrawn"}
    complete = [trial for trial in trials if state_word(trial) == "complete"]
    assert len(complete) == sum(map(counts, trials)) == total
    assert len({trial.params["learning_rate"] for trial in complete}) == total
    done = {trial.params["learning_rate"] for trial in complete}
    assert all(trial.params["learning_rate"] in done for trial in trials if state_word(trial) == "killed")


def test_no_trial_is_lost_or_doubled_where_a_machine_dies(address, tmp_path):
    total = 24
    with ExitStack() as stack:
        victim = stack.enter_context(tuner(address, tmp_path / "0", total, seconds=600))
        wait_until(lambda: (tmp_path / "0" / "trial-0000").is_dir(), victim)
        others = [stack.enter_context(tuner(address, tmp_path / str(number), total)) for number in (1, 2, 3)]
        # Each of the three has one at most that is not complete; to ask the storage would hold them up.
        wait_until(lambda: len(list(tmp_path.glob("[123]/trial-*"))) > 5, *others)
        victim.send_signal(signal.SIGKILL)
        for process in others:
            assert process.wait(PATIENCE) == 0
    check_whole(address, tmp_path / "0", total)
    assert states(address, tmp_path / "0")[0] == "killed"


@pytest.mark.large
def test_who_is_killed_again_and_again_at_any_moment_loses_nothing(address, tmp_path):
    total, ended = 16, threading.Event()
    with tuner(address, tmp_path / "steady", total, seconds=0.3) as steady:
        for number in range(4):
            with tuner(address, tmp_path / str(number), total, seconds=0.3) as process:
                process.stdout.readline()
                ended.wait(0.05 * number)
                process.send_signal(signal.SIGKILL)
        assert steady.wait(PATIENCE) == 0
    check_whole(address, tmp_path / "steady", total)


def suspend(process: "subprocess.Popen[str]", address: str) -> None:
    """Stop a process while it holds no lock: whoever sleeps in the middle of writing keeps all others waiting."""
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        if is_free(address):
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.05)


def is_free(address: str) -> bool:
    if not address.startswith("sqlite:///"):
        return not Path(f"{address}.lock").exists()
    with closing(sqlite3.connect(address.removeprefix("sqlite:///"), timeout=0.2, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True


def test_a_machine_that_was_suspended_leaves_the_trial_that_others_took(address, tmp_path):
    with tuner(address, tmp_path / "asleep", 2, seconds=4) as asleep:
        wait_until(lambda: (tmp_path / "asleep" / "trial-0000").is_dir(), asleep)
        suspend(asleep, address)
        with tuner(address, tmp_path / "awake", 2) as awake:
            assert awake.wait(PATIENCE) == 0
        asleep.send_signal(signal.SIGCONT)
        assert asleep.wait(PATIENCE) == 0
        said = asleep.stdout.read()
    assert "given up by another machine" in said
    assert "does not count" in (tmp_path / "asleep" / "trial-0000" / "given-up.txt").read_text()
    check_whole(address, tmp_path / "awake", 2)
    assert states(address, tmp_path / "awake").count("killed") == 1


def test_a_slow_machine_keeps_its_trial(address, tmp_path):
    began = time.monotonic()
    with tuner(address, tmp_path / "slow", 2, seconds=8) as slow:  # each epoch is longer than the silence
        wait_until(lambda: (tmp_path / "slow" / "trial-0000").is_dir(), slow)
        with tuner(address, tmp_path / "quick", 2) as quick:
            assert quick.wait(PATIENCE) == slow.wait(PATIENCE) == 0
    assert time.monotonic() - began > 8
    assert states(address, tmp_path / "slow") == ["complete", "complete"]


def test_machines_that_begin_a_study_at_the_same_moment_share_it_and_its_total(address, tmp_path):
    total = 12
    with ExitStack() as stack:
        processes = [stack.enter_context(tuner(address, tmp_path / str(number), total, 0)) for number in range(4)]
        assert [process.wait(PATIENCE) for process in processes] == [0] * 4
    check_whole(address, tmp_path / "0", total)
    assert "killed" not in states(address, tmp_path / "0")
