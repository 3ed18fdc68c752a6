import errno
import os
from contextlib import nullcontext
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from mien.checkpoints import Checkpoints, best_epoch, columns
from mien.errors import DataError, MienError, ModelError


def model(units: int = 3) -> keras.Model:
    """A network whose optimizer has a state, as if it had been trained."""
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
    network.compile("adam", "mse")
    network.optimizer.build(network.trainable_variables)
    for variable in network.optimizer.variables:
        variable.assign(np.random.default_rng().uniform(1, 9, variable.shape).astype(variable.dtype))
    return network


def rows(*accuracies: float) -> list[dict[str, float]]:
    return [
        {"epoch": index + 1, "accuracy": 0.5, "loss": 1.0, "val_accuracy": value, "val_loss": 1.0}
        for index, value in enumerate(accuracies)
    ]


def test_the_newest_state_comes_back_with_its_optimizer(tmp_path):
    saved, other = model(), model()
    Checkpoints(tmp_path).save(saved, rows(0.5))
    Checkpoints(tmp_path).restore(other, 1)
    for a, b in zip(saved.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(saved.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert Checkpoints(tmp_path).history() == rows(0.5)


def test_only_the_newest_and_the_best_are_kept(tmp_path):
    accuracies = [0.3, 0.6, 0.5, 0.4]
    for count in range(1, 5):
        Checkpoints(tmp_path).save(model(), rows(*accuracies[:count]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0002", "epoch-0004"]


def test_a_checkpoint_cut_short_does_not_count(tmp_path):
    Checkpoints(tmp_path).save(model(), rows(0.5))
    (tmp_path / ".epoch-0002.tmp").mkdir()
    (tmp_path / ".epoch-0002.tmp" / "state.weights.h5").write_bytes(b"half")
    assert Checkpoints(tmp_path).history() == rows(0.5)
    Checkpoints(tmp_path).save(model(), rows(0.5, 0.6))
    assert len(Checkpoints(tmp_path).history()) == 2


def test_a_full_disk_is_a_line_and_leaves_what_was_kept(tmp_path, monkeypatch):
    """HDF5's library writes pages of tracebacks there, and may end the process."""
    Checkpoints(tmp_path).save(model(), rows(0.5))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=2_000, free=1_000))
    with pytest.raises(MienError, match=r"epoch-0002: cannot be written: it takes \d+ kB, and 1 kB are free"):
        Checkpoints(tmp_path).save(model(), rows(0.5, 0.6))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"]


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    Checkpoints(tmp_path).save(model(3), rows(0.5))
    with pytest.raises(ModelError, match="not a checkpoint of this network"):
        Checkpoints(tmp_path).restore(model(4), 1)
    with pytest.raises(ModelError, match="not a checkpoint"):
        Checkpoints(tmp_path).restore(model(3), 7)


def test_damaged_weights_say_what_to_do(tmp_path):
    Checkpoints(tmp_path).save(model(), rows(0.5))
    weights = tmp_path / "epoch-0001" / "state.weights.h5"
    whole = weights.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], bytes(len(whole)), whole[:100] + bytes(len(whole) - 100)):
        weights.write_bytes(damaged)
        with pytest.raises(ModelError, match="delete its folder and those of later epochs, and --resume goes on"):
            Checkpoints(tmp_path).restore(model(), 1)


def test_folders_of_other_names_are_no_checkpoints(tmp_path):
    Checkpoints(tmp_path).save(model(), rows(0.5))
    for name in ("epoch-0002 (copy)", "epoch-best"):
        (tmp_path / name).mkdir()
    assert Checkpoints(tmp_path).history() == rows(0.5)


def test_a_checkpoint_is_on_the_disk_before_others_are_deleted(tmp_path, monkeypatch):
    Checkpoints(tmp_path).save(model(), rows(0.5))
    synced = []

    def fsync(file: int) -> None:
        synced.append(sorted(path.name for path in tmp_path.glob("epoch-*")))

    monkeypatch.setattr("os.fsync", fsync)
    Checkpoints(tmp_path).save(model(), rows(0.5, 0.6))
    assert synced == [["epoch-0001"]] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0002"]


@pytest.mark.parametrize(("code", "kept"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_file_systems_that_cannot_be_told_to_write_now_take_checkpoints(tmp_path, monkeypatch, code, kept):
    """As shared folders of virtual machines; a disk that fails is another matter."""

    def fsync(file: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.fsync", fsync)
    with nullcontext() if kept else pytest.raises(OSError, match=os.strerror(code)):
        Checkpoints(tmp_path).save(model(), rows(0.5))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"] * kept


def test_two_processes_do_not_write_into_each_others_unfinished_checkpoint(tmp_path, monkeypatch):
    """Of two that resume one run, the later one used to empty the folder that the earlier one was writing into."""
    save, other = keras.Model.save_weights, model()

    def slowly(network, path, *rest, **options):
        monkeypatch.setattr(keras.Model, "save_weights", save)
        Checkpoints(tmp_path).save(other, rows(0.5))  # of the other process, meanwhile
        save(network, path, *rest, **options)

    monkeypatch.setattr(keras.Model, "save_weights", slowly)
    with pytest.raises(DataError, match="was written meanwhile by another process"):
        Checkpoints(tmp_path).save(model(), rows(0.5))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"]
    kept = model()
    Checkpoints(tmp_path).restore(kept, 1)
    np.testing.assert_array_equal(kept.get_weights()[0], other.get_weights()[0])


def test_a_checkpoint_that_fails_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", full)
    with pytest.raises(OSError, match="No space left"):
        Checkpoints(tmp_path).save(model(), rows(0.5))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damaged", [b"[{", b"\0" * 40, b"[\xff"])
def test_a_damaged_state_says_what_to_do(tmp_path, damaged):
    Checkpoints(tmp_path).save(model(), rows(0.5))
    (tmp_path / "epoch-0001" / "state.json").write_bytes(damaged)
    with pytest.raises(ModelError, match="delete that checkpoint's folder"):
        Checkpoints(tmp_path).history()


def test_no_checkpoint_is_an_empty_history(tmp_path):
    assert Checkpoints(tmp_path / "none").history() == []


def test_the_best_epoch_is_of_the_highest_accuracy_then_the_lowest_loss_then_the_first():
    history = rows(0.5, 0.7, 0.7, 0.7)
    assert best_epoch(history) == 2
    history[2]["val_loss"] = 0.9
    assert best_epoch(history) == 3
    assert best_epoch([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 2.0}]) == 2
    with pytest.raises(ModelError, match="no epoch is complete"):
        best_epoch([])


def test_columns_are_keras_history():
    assert columns(rows(0.5, 0.6))["val_accuracy"] == [0.5, 0.6]
    assert columns([]) == {}


def test_a_process_that_another_has_overtaken_says_so_and_leaves_its_checkpoint(tmp_path):
    other = model()
    Checkpoints(tmp_path).save(other, rows(0.5))
    with pytest.raises(DataError, match="epoch-0001: was written meanwhile by another process, which goes on"):
        Checkpoints(tmp_path).save(model(), rows(0.4))
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"]
    assert Checkpoints(tmp_path).history() == rows(0.5)


def test_a_process_that_lags_behind_another_leaves_its_newer_checkpoints(tmp_path):
    other = Checkpoints(tmp_path)
    for accuracies in ([0.5], [0.5, 0.6], [0.5, 0.6, 0.7]):
        other.save(model(), rows(*accuracies))
    with pytest.raises(DataError, match="epoch-0002: was written meanwhile by another process"):
        Checkpoints(tmp_path).save(model(), rows(0.5, 0.4))
    assert other.history() == rows(0.5, 0.6, 0.7)
