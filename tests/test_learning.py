import dataclasses

import keras
import numpy as np
import pytest

from interrupting import Interrupt
from mien import backend, learning
from mien.checkpoints import Checkpoints, best_epoch, columns
from mien.config import AUGMENTATIONS, TrainingConfig
from mien.feeding import ArraySource
from mien.learning import learn, learning_rate, make_optimizer, should_stop, write_history
from mien.networks import network
from mien.preprocessing import InputSpec
from mien.reports import plot_curves
from pictures import pattern
from tiny import TINY

CONFIG = TrainingConfig(
    network=TINY, epochs=4, batch_size=16, validation_fraction=0, schedule="constant", learning_rate=0.003,
    precision="float32", input=InputSpec(24, 1),
)  # fmt: skip


def arrays(n: int, first: int = 0, size: int = 24) -> ArraySource:
    images = np.stack([pattern(index % 7, first + index) for index in range(n)])[..., None]
    return ArraySource(images[:, :: 48 // size, :: 48 // size], np.arange(n) % 7)


def validation(size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    held = arrays(28, first=1000, size=size)
    return held.images, held.labels


def without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def run(folder, config=CONFIG, *callbacks, train=None):
    size = config.input.size
    model = network(config.network, size=size, seed=config.seed)
    learned = learn(model, config, train or arrays(84, size=size), validation(size), folder, callbacks)
    return model, learned


@pytest.fixture(scope="module")
def last_of_two(tmp_path_factory):
    """A run of two epochs that keeps the last: its folder, its config, the model and what was learned."""
    folder, config = tmp_path_factory.mktemp("last"), dataclasses.replace(CONFIG, epochs=2, keep="last")
    return folder, config, *run(folder, config)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(CONFIG, marks=pytest.mark.slow),
        dataclasses.replace(CONFIG, optimizer="sgd", ema=0.9, weight_decay=1e-4),
    ],
)
def test_an_interrupted_and_resumed_run_equals_an_undisturbed_one(tmp_path, config):
    config = dataclasses.replace(config, epochs=3)
    whole, learned = run(tmp_path / "whole", config)
    _, first = run(tmp_path / "broken", config, Interrupt(1))
    assert first.interrupted
    assert len(first.history) == len(Checkpoints(tmp_path / "broken" / "checkpoints").history()) == 1
    resumed, second = run(tmp_path / "broken", config)
    assert not second.interrupted
    for mine, other in zip(without_seconds(learned.history), without_seconds(second.history), strict=True):
        assert mine == pytest.approx(other, rel=1e-4)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_it_learns_and_keeps_the_best_epoch(tmp_path):
    model, learned = run(tmp_path, dataclasses.replace(CONFIG, network="seed", epochs=5, input=InputSpec(48, 1)))
    images, labels = validation(48)
    predicted = np.asarray(model(images.astype(np.float32) / 255)).argmax(axis=1)
    best = max(row["val_accuracy"] for row in learned.history)
    assert (predicted == labels).mean() == pytest.approx(best, abs=1e-6)
    assert best > 0.5


def test_the_last_epoch_is_kept_when_asked(last_of_two):
    assert last_of_two[3].epoch == 2


def test_averaged_weights_are_what_is_saved(tmp_path):
    config = dataclasses.replace(CONFIG, epochs=1, ema=0.99, optimizer="sgd")
    averaged, _ = run(tmp_path / "a", config)
    plain, _ = run(tmp_path / "b", dataclasses.replace(config, ema=0.0))
    start = network(TINY, size=24, seed=0).get_weights()[0]
    moved = [np.abs(model.get_weights()[0] - start).max() for model in (averaged, plain)]
    assert 0 < moved[0] < moved[1]


def test_history_has_a_row_for_each_epoch_and_is_on_disk(last_of_two):
    folder, _, _, learned = last_of_two
    lines = (folder / "history.csv").read_text().splitlines()
    assert lines[0].split(",") == list(learned.history[0])
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]
    assert float(lines[2].split(",")[2]) == learned.history[1]["loss"]
    assert {"accuracy", "loss", "val_accuracy", "val_loss", "learning_rate"} <= set(learned.history[0])


def test_float16_scales_its_loss():
    scaled = make_optimizer(dataclasses.replace(CONFIG, precision="mixed_float16"), steps=3)
    assert type(scaled).__name__ == "LossScaleOptimizer"
    assert type(make_optimizer(CONFIG, steps=3)).__name__ == "Adam"


def test_early_stopping_follows_from_the_history_alone():
    config = dataclasses.replace(CONFIG, epochs=10, early_stopping=2)
    losses = [1.0, 0.8, 0.9, 0.85]
    rows = [{"epoch": index + 1, "val_loss": loss} for index, loss in enumerate(losses)]
    assert [should_stop(rows[:count], config) for count in range(5)] == [False, False, False, False, True]
    assert not should_stop(rows, dataclasses.replace(config, early_stopping=0))
    assert should_stop(rows, dataclasses.replace(config, epochs=4))


def test_a_loss_that_is_no_number_is_not_the_best():
    config = dataclasses.replace(CONFIG, epochs=9, early_stopping=3)
    rows = [{"epoch": index + 1, "val_loss": loss} for index, loss in enumerate([1.0, np.nan, 0.9, 0.8, 0.7])]
    assert not should_stop(rows, config)
    assert should_stop([*rows, *({"epoch": 6 + index, "val_loss": np.nan} for index in range(3))], config)


def test_early_stopping_ends_a_run(tmp_path):
    config = dataclasses.replace(CONFIG, epochs=6, early_stopping=1, learning_rate=1e-8)
    _, learned = run(tmp_path, config)
    assert len(learned.history) < 6


def test_class_weights_change_the_loss(tmp_path):
    skewed = arrays(84)
    skewed = ArraySource(skewed.images[:40], np.r_[np.zeros(30, np.int64), skewed.labels[30:40]])
    config = dataclasses.replace(CONFIG, epochs=1)
    _, plain = run(tmp_path / "a", config, train=skewed)
    _, weighted = run(tmp_path / "b", dataclasses.replace(config, class_weights=True), train=skewed)
    assert plain.history[0]["loss"] != pytest.approx(weighted.history[0]["loss"], rel=0.01)


def test_schedules():
    inverse = learning_rate(TrainingConfig(), steps=10)
    assert float(inverse(0)) == pytest.approx(0.01)
    assert float(inverse(1250)) == pytest.approx(0.005)
    cosine = learning_rate(dataclasses.replace(CONFIG, schedule="cosine", learning_rate=0.1, epochs=10), steps=100)
    values = [float(cosine(step)) for step in (0, 150, 575, 1000)]
    assert values == pytest.approx([0, 0.1, 0.05, 0], abs=1e-3)
    assert learning_rate(CONFIG, steps=10) == CONFIG.learning_rate


@pytest.mark.parametrize("policy", sorted(AUGMENTATIONS))
def test_every_policy_trains(tmp_path, policy):
    config = dataclasses.replace(CONFIG, epochs=1, augmentation=AUGMENTATIONS[policy], precision="auto")
    if policy == "standard":  # with one of them the only network that has dropout, which is slow
        config = dataclasses.replace(config, network="vgg")
    _, learned = run(tmp_path, config, train=arrays(32))
    assert np.isfinite(learned.history[0]["loss"])


def test_a_finished_run_is_not_trained_again(last_of_two, monkeypatch):
    folder, config, first, _ = last_of_two
    monkeypatch.setattr(learning, "_fit", None)
    again, learned = run(folder, config)
    assert learned.epoch == 2
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), again.get_weights(), strict=True))


def test_missing_values_leave_empty_cells(tmp_path):
    write_history(tmp_path / "history.csv", [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "val_loss": 3.0}])
    assert (tmp_path / "history.csv").read_text() == "epoch,loss,val_loss\n1,0.5,\n2,0.25,3\n"


def test_validation_is_looked_at_as_often_as_asked_and_after_the_last_epoch(tmp_path):
    config = dataclasses.replace(CONFIG, epochs=5, validate_every=2)
    _, learned = run(tmp_path, config)
    assert [row["epoch"] for row in learned.history if "val_loss" in row] == [2, 4, 5]
    assert learned.epoch in (2, 4, 5)
    curves = columns(learned.history)
    assert np.isnan(curves["val_accuracy"]).tolist() == [True, False, True, False, False]
    assert plot_curves(curves, tmp_path / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize("keep", ["last", "best"])
def test_where_epochs_are_quick_only_some_are_written_down(tmp_path, monkeypatch, keep):
    saved = []
    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self, *rest: saved.append(len(rest[1])) or save(self, *rest))
    monkeypatch.setattr(backend, "seconds_between_checkpoints", lambda: 3600.0)
    config = dataclasses.replace(CONFIG, keep=keep, learning_rate=0.001)
    model, learned = run(tmp_path, config)
    accuracies = [row["val_accuracy"] for row in learned.history]
    rises = [epoch for epoch in range(1, 5) if epoch == best_epoch(learned.history[:epoch])]
    assert saved == ([4] if keep == "last" else sorted({*rises, 4}))
    assert learned.epoch == (4 if keep == "last" else rises[-1])
    assert len(accuracies) == 4
    images, labels = validation()
    right = np.asarray(model(images.astype(np.float32) / 255)).argmax(axis=1) == labels
    assert right.mean() == pytest.approx(accuracies[learned.epoch - 1], abs=0.01)


def test_a_run_that_a_callback_ends_keeps_its_last_epoch(tmp_path, monkeypatch):
    class Enough(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    monkeypatch.setattr(backend, "seconds_between_checkpoints", lambda: 3600.0)
    _, learned = run(tmp_path, dataclasses.replace(CONFIG, keep="last"), Enough())
    assert (learned.epoch, learned.interrupted, len(learned.history)) == (2, False, 2)


def test_a_run_that_a_callback_ends_within_an_epoch_is_over(tmp_path):
    class Diverged(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch >= 2

    _, learned = run(tmp_path, dataclasses.replace(CONFIG, keep="last"), Diverged())
    assert len(learned.history) == 1


def test_class_weights_count_where_images_are_mixed(tmp_path):
    skewed = ArraySource(arrays(84).images[:40], np.r_[np.zeros(30, np.int64), np.arange(10) % 7])
    config = dataclasses.replace(CONFIG, epochs=1, mixup=0.2)
    _, plain = run(tmp_path / "a", config, train=skewed)
    _, weighted = run(tmp_path / "b", dataclasses.replace(config, class_weights=True), train=skewed)
    assert plain.history[0]["loss"] != pytest.approx(weighted.history[0]["loss"], rel=0.01)


@pytest.mark.slow
def test_what_was_not_written_down_before_an_interruption_is_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "seconds_between_checkpoints", lambda: 3600.0)
    config = dataclasses.replace(CONFIG, epochs=3, keep="last")
    _, first = run(tmp_path / "broken", config, Interrupt(1))
    assert (first.epoch, first.history, first.interrupted) == (0, [], True)
    resumed, _ = run(tmp_path / "broken", config)
    whole, _ = run(tmp_path / "whole", config)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
