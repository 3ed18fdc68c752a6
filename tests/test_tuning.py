"""Tuning: what becomes of each trial, with training replaced where only the study is looked at, and once in earnest."""

import csv
import json
import shutil
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from optuna.trial import TrialState

from mien import tuning
from mien.cli import main
from mien.cli.tune import _certainty
from mien.config import TrainingConfig, read_config
from mien.datasets import open_dataset
from mien.errors import DataError, MienError, UsageError
from mien.materials import Selection
from mien.spaces import Span
from mien.studies import SharedStudy, draw, open_study
from mien.trials import TrialRecord
from mien.tuning import tune
from mien.tuning_plots import plot_study

SPACE = {"learning_rate": Span(0.001, 0.1, log=True), "mixup": Span(0.0, 0.4)}
CONFIG = TrainingConfig(epochs=8, learning_rate=0.01)


class Trainer:
    """Stands for `mien.training.train`: accuracy follows from the learning rate, best at 0.03."""

    def __init__(self) -> None:
        self.calls: list[TrainingConfig] = []
        self.fails: dict[int, BaseException] = {}

    def __call__(self, data, config, *, out, selection, tests, callbacks, verbose):
        assert tests is False
        assert verbose is False
        number = len(self.calls)
        self.calls.append(config)
        out.mkdir()
        (out / "config.json").write_text("{}")
        (out / "checkpoints").mkdir()
        if number in self.fails:
            raise self.fails[number]
        accuracy = 0.9 - abs(np.log(config.learning_rate / 0.03)) / 5
        for epoch in range(config.epochs):
            for callback in callbacks:
                looked = (epoch + 1) % config.validate_every == 0
                callback.on_epoch_end(epoch, {"val_accuracy": accuracy * (epoch + 1) / config.epochs} if looked else {})
        score = SimpleNamespace(accuracy=accuracy, n=21)
        return SimpleNamespace(interrupted=False, folder=out, scores={"validation": score})


@pytest.fixture
def trainer(monkeypatch):
    found = Trainer()
    monkeypatch.setattr("mien.training.train", found)
    monkeypatch.setattr("keras.backend.clear_session", lambda: None)  # there is nothing to clear, and it takes long
    monkeypatch.setattr("mien.tuning_plots.plot_study", lambda *_: [])  # which takes a second or two
    return found


def keeping(opened: list[SharedStudy]):
    """`open_study`, with what it opens put into a list."""

    def opening(*given, **named):
        opened.append(open_study(*given, **named))
        return opened[-1]

    return opening


def read_table(folder) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))


def test_the_best_trial_becomes_a_config_and_pictures(patterns, tmp_path, trainer, monkeypatch):
    monkeypatch.setattr("mien.tuning_plots.plot_study", plot_study)
    said = []
    tuned = tune(patterns, CONFIG, space=SPACE, trials=8, out=tmp_path / "study", say=said.append)
    assert len(tuned.trials) == len(trainer.calls) == 8
    assert trainer.calls[0] == CONFIG
    complete = [trial for trial in tuned.trials if trial.state == "complete"]
    pruned = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert tuned.best.accuracy == max(trial.accuracy for trial in complete) >= complete[0].accuracy
    assert read_config(tmp_path / "study" / "best.json") == tuned.config == trainer.calls[tuned.best.number]
    assert len(pruned) + len(complete) == 8
    assert {path.name for path in tuned.files} == {
        *("best.json", "trials.csv", "history.png", "slice.png", "importances.png"),
    }
    for path in tuned.files:
        if path.suffix == ".png":
            assert cv2.imread(str(path)).std() > 5
    rows = read_table(tuned.folder)
    assert [int(row["number"]) for row in rows] == list(range(8))
    assert float(rows[0]["learning_rate"]) == 0.01
    assert not (tuned.folder / "trial-0000" / "checkpoints").exists()
    assert said[0].startswith("trial-0000: learning_rate 0.01, mixup 0")


def test_bad_trials_end_early_and_only_where_asked(patterns, tmp_path, trainer):
    space = {"learning_rate": Span(1e-6, 0.05, log=True)}
    tuned = tune(patterns, CONFIG, space=space, trials=11, out=tmp_path / "pruned")
    pruned = [trial for trial in tuned.trials if trial.state == "pruned"]
    assert pruned
    assert all(2 < trial.epochs < 8 for trial in pruned)  # a quarter of the epochs is always trained
    assert all(trial.accuracy < tuned.best.accuracy for trial in pruned)
    assert all(trial.number >= 5 for trial in pruned)
    assert not list((tmp_path / "pruned").glob("trial-*/checkpoints"))  # those of many trials would fill a disk
    kept = tune(patterns, CONFIG, space=space, trials=7, out=tmp_path / "kept", prune=False)
    assert {trial.state for trial in kept.trials} == {"complete"}


def test_trials_that_look_at_validation_seldom_report_seldom(patterns, tmp_path, trainer):
    config = TrainingConfig(epochs=8, learning_rate=0.01, validate_every=4)
    tuned = tune(patterns, config, space=SPACE, trials=2, out=tmp_path / "study")
    assert [(trial.state, trial.epochs) for trial in tuned.trials] == [("complete", 8)] * 2


def test_a_study_goes_on(patterns, tmp_path, trainer):
    tune(patterns, CONFIG, space=SPACE, trials=2, out=tmp_path / "study")
    again = tune(patterns, CONFIG, space=SPACE, trials=5, out=tmp_path / "study")
    assert len(trainer.calls) == len(again.trials) == 5
    assert len(tune(patterns, CONFIG, space=SPACE, trials=5, out=tmp_path / "study").trials) == 5
    with pytest.raises(UsageError, match=r"other settings \(training\.epochs\)"):
        tune(patterns, TrainingConfig(epochs=9, learning_rate=0.01), space=SPACE, out=tmp_path / "study")
    with pytest.raises(UsageError, match=r"other settings \(selection\.limit\)"):
        tune(patterns, CONFIG, space=SPACE, out=tmp_path / "study", selection=Selection(limit=9))
    with pytest.raises(UsageError, match=r"other settings \(space\.mixup\)"):
        tune(patterns, CONFIG, space={**SPACE, "mixup": Span(0.0, 0.5)}, out=tmp_path / "study")


def test_data_that_was_labelled_otherwise_meanwhile_is_refused(patterns, tmp_path, trainer):
    """As many images of each class, but not the same ones."""
    data = shutil.copytree(patterns, tmp_path / "data")
    tune(data, CONFIG, space=SPACE, trials=1, out=tmp_path / "study")
    moved = shutil.move(data, tmp_path / "elsewhere")
    tune(moved, CONFIG, space=SPACE, trials=2, out=tmp_path / "study")
    one, other = sorted(path for path in (moved / "train").iterdir() if path.is_dir())[:2]
    first, second = sorted(one.iterdir())[0], sorted(other.iterdir())[0]
    first.rename(other / f"was-{first.name}")
    second.rename(one / f"was-{second.name}")
    with pytest.raises(UsageError, match=r"other settings \(data\.names_and_labels\)"):
        tune(moved, CONFIG, space=SPACE, trials=3, out=tmp_path / "study")


def test_a_study_that_was_begun_before_names_and_labels_were_told_goes_on(patterns, tmp_path, trainer, monkeypatch):
    def older(*given):
        settings = told(*given)
        settings["selection"]["exclude"] = ""
        del settings["data"]["names_and_labels"]
        return settings

    told = tuning._settings
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "_settings", older)
        tune(patterns, CONFIG, space=SPACE, trials=1, out=tmp_path / "study")
    assert len(tune(patterns, CONFIG, space=SPACE, trials=2, out=tmp_path / "study").trials) == 2
    with pytest.raises(UsageError, match=r"other settings \(training\.epochs\)"):
        tune(patterns, TrainingConfig(epochs=9, learning_rate=0.01), space=SPACE, out=tmp_path / "study")


def test_a_failed_trial_leaves_its_reason_and_the_study_goes_on(patterns, tmp_path, trainer):
    trainer.fails = {1: MemoryError("no room\nfor it")}
    tuned = tune(patterns, CONFIG, space=SPACE, trials=3, out=tmp_path / "study")
    assert [trial.state for trial in tuned.trials] == ["complete", "failed", "complete"]
    assert tuned.trials[1].error == "MemoryError: no room"
    assert "MemoryError: no room\nfor it" in (tuned.folder / "trial-0001" / "error.txt").read_text()
    assert read_table(tuned.folder)[1]["error"] == "MemoryError: no room"


def test_failures_in_a_row_end_the_work(patterns, tmp_path, trainer):
    trainer.fails = dict.fromkeys(range(9), ValueError("of course"))
    with pytest.raises(MienError, match="3 trials in a row failed; the last: ValueError: of course"):
        tune(patterns, CONFIG, space=SPACE, trials=9, out=tmp_path / "study")
    assert len(trainer.calls) == 3
    assert [row["state"] for row in read_table(tmp_path / "study")] == ["failed"] * 3


def test_ctrl_c_puts_the_trial_up_again(patterns, tmp_path, trainer):
    trainer.fails, told = {1: KeyboardInterrupt()}, []
    with pytest.raises(KeyboardInterrupt):
        tune(patterns, CONFIG, space=SPACE, trials=3, out=tmp_path / "study", say=told.append)
    assert told[-1].endswith("study: 1, the best 68.03% (trial-0000); the same command goes on")
    assert [row["state"] for row in read_table(tmp_path / "study")] == ["complete", "killed", "waiting"]
    tuned = tune(patterns, CONFIG, space=SPACE, trials=3, out=tmp_path / "study")
    assert [trial.state for trial in tuned.trials] == ["complete", "killed", "complete", "complete"]
    assert tuned.trials[2].parameters == tuned.trials[1].parameters


def test_the_last_trials_of_others_are_waited_for_unless_told_otherwise(patterns, tmp_path, trainer, monkeypatch):
    opened = []
    monkeypatch.setattr("mien.tuning.open_study", keeping(opened))
    given = {"space": SPACE, "out": tmp_path / "study"}
    tune(patterns, CONFIG, trials=1, **given)
    other = opened[0].begin(2)
    left = tune(patterns, CONFIG, trials=2, wait=False, **given)
    assert [trial.state for trial in left.trials] == ["complete", "running"]
    assert len(tune(patterns, CONFIG, trials=1, **given).trials) == 2  # what it was asked for has ended

    def sleep(seconds):
        opened[0].finish(other, 0.95, TrialState.COMPLETE)

    monkeypatch.setattr("mien.tuning.time", SimpleNamespace(perf_counter=time.perf_counter, sleep=sleep))
    said = []
    tuned = tune(patterns, CONFIG, trials=2, say=said.append, **given)
    assert [trial.state for trial in tuned.trials] == ["complete", "complete"]
    assert tuned.best.number == other.number
    assert len(said) == 1
    assert said[0].startswith("waiting for trials of other processes to end, or to be taken over")


@pytest.mark.parametrize("fails", [{}, {0: ValueError("late")}])
def test_a_trial_that_others_gave_up_is_left_with_a_note(fails, patterns, tmp_path, trainer, monkeypatch):
    real, said = trainer.__call__, []

    def train(*given, out, **named):
        if len(trainer.calls) == 0:
            shared = opened[0]
            shared.study.enqueue_trial({"learning_rate": 0.01}, user_attrs={"tries": 2, "instead_of": 0})
            shared.study.tell(0, state=TrialState.FAIL)  # as another machine does
        return real(*given, out=out, **named)

    opened = []
    monkeypatch.setattr("mien.tuning.open_study", keeping(opened))
    monkeypatch.setattr("mien.training.train", train)
    trainer.fails = fails
    tuned = tune(patterns, CONFIG, space=SPACE, trials=2, out=tmp_path / "study", say=said.append)
    assert [trial.state for trial in tuned.trials] == ["killed", "complete", "complete"]
    assert said[1].startswith("trial-0000: given up by another machine")
    assert "does not count" in (tuned.folder / "trial-0000" / "given-up.txt").read_text()


def test_a_trial_that_others_give_up_as_it_begins_is_told_and_the_study_goes_on(
    patterns, tmp_path, trainer, monkeypatch
):
    said = []

    def drawn(trial, space):
        if trial.number == 0:  # the machine sleeps, and another looks
            trial.study.enqueue_trial({"learning_rate": 0.01}, user_attrs={"tries": 2, "instead_of": 0})
            trial.study.tell(0, state=TrialState.FAIL)
        draw(trial, space)

    monkeypatch.setattr("mien.studies.draw", drawn)
    tuned = tune(patterns, CONFIG, space=SPACE, trials=1, out=tmp_path / "study", say=said.append)
    assert [trial.state for trial in tuned.trials] == ["killed", "complete"]
    assert said[0].startswith("trial-0000: given up by another machine")
    assert said[1].startswith("trial-0001: learning_rate 0.01")
    assert len(trainer.calls) == 1


def test_a_storage_that_goes_away_for_good_is_one_line(patterns, tmp_path, trainer, monkeypatch):
    def gone(self, total, say):
        raise ConnectionError("gone")

    monkeypatch.setattr("mien.storages.PAUSES", ())
    monkeypatch.setattr(SharedStudy, "begin", gone)
    with pytest.raises(UsageError, match=r"journal\.log does not answer \(gone\)"):
        tune(patterns, CONFIG, space=SPACE, trials=2, out=tmp_path / "study")


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (CONFIG, {"trials": 0}, "trials: must be 1 or more"),
        (TrainingConfig(validation_fraction=0.0), {}, "trials are compared on validation images"),
        (CONFIG, {"space": {"mixup": Span(0.0, 3.0)}}, "mixup: must be a number from 0 to 1"),
        (TrainingConfig(network="resnet"), {}, "network: no such choice 'resnet'"),
    ],
)
def test_requests_that_cannot_be_met(config, changes, message, patterns, tmp_path, trainer):
    with pytest.raises(UsageError, match=message):
        tune(patterns, config, **{"space": SPACE, "out": tmp_path / "study", **changes})
    assert not trainer.calls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--space", "rate=0:1"), "no such choice 'rate'"),
        (("--space", "mixup=1:0"), "the low end must be below"),
        (("--recipe", "best"), "recipe: no such choice 'best'"),
        (("--config", "none.json"), "none.json: cannot be read as JSON"),
        (("--config", "none.json", "--recipe", "cpu"), "stands instead of --recipe"),
        (("--storage", "sqlite:////nowhere/x.db"), "does not answer"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, patterns, tmp_path, capfd):
    with pytest.raises(SystemExit) as end:
        main(["tune", str(patterns), "--out", str(tmp_path / "study"), *arguments])
    assert end.value.code == 2
    shown = capfd.readouterr()
    assert message in shown.err.strip().splitlines()[-1]
    assert shown.out == ""


def run(*arguments: str) -> int:
    """`mien` in this process; gives its exit code."""
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def test_a_study_without_any_trial_that_works_is_no_success(patterns, tmp_path, trainer, capfd):
    trainer.fails = {0: MienError("the disk is full")}
    given = ["tune", str(patterns), "--trials", "1", "--out", str(tmp_path / "study"), "--json"]
    assert run(*given) == 1
    shown = capfd.readouterr()
    assert json.loads(shown.out)["states"] == {"failed": 1}
    assert "study: all trials failed; each one's folder says why in error.txt" in shown.err


@pytest.mark.slow
def test_a_small_study_in_earnest(patterns, tmp_path, capfd):
    study = tmp_path / "study"
    given = ["tune", str(patterns), "--recipe", "cpu", "--out", str(study), "--limit", "60", "--json"]
    for setting in ("network=seed", "progressive=[]", "epochs=1", "batch_size=16"):
        given += ["--set", setting]
    for space in ("learning_rate=0.001:0.1:log", "augmentation.strength=0:1"):
        given += ["--space", space]
    assert run(*given, "--trials", "2") == 0
    document = json.loads(capfd.readouterr().out)
    assert document["states"] == {"complete": 2}
    assert document["best"]["n"] == 7  # one of each class
    assert document["config"]["validation"] == "holdout"  # though the recipe watches PublicTest
    for number in (0, 1):
        folder = study / f"trial-{number:04d}"
        metrics = json.loads((folder / "metrics.json").read_text())
        assert set(metrics["splits"]) == {"validation"}
        assert metrics["splits"]["validation"]["accuracy"] == document["trials"][number]["accuracy"]
        assert (folder / "model.onnx").is_file()
    best = ("--config", str(study / "best.json"))
    assert run("train", str(patterns), *best, "--recipe", "cpu") == 2
    options = ("--out", str(tmp_path / "run"), "--limit", "60", "--seed", "3", "--set", "mixup=0.1")
    assert run("train", str(patterns), *best, *options) == 0
    trained = json.loads((tmp_path / "run" / "config.json").read_text())["training"]
    assert trained == {**document["config"], "seed": 3, "mixup": 0.1}
    assert read_config(tmp_path / "run" / "config.json").seed == 3


def test_one_class_alone_is_refused(patterns, tmp_path, trainer):
    dataset = open_dataset(patterns)
    only = [str(name) for name in dataset.names if "/happy/" not in f"/{name}" and str(name).startswith("train")]
    (tmp_path / "list.txt").write_text("\n".join(only) + "\n")
    selection = Selection(exclude=str(tmp_path / "list.txt"))
    with pytest.raises(DataError, match="one class only \\(happy\\)"):
        tune(patterns, CONFIG, space=SPACE, trials=1, out=tmp_path / "study", selection=selection)
    assert trainer.calls == []


def test_how_far_trials_must_be_apart_is_said():
    best = TrialRecord(0, "complete", 0.5, 400, 2, 1.0, {}, None)
    assert "400 validation images: one standard error is 2.5 points" in _certainty(best)
