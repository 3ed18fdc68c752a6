"""One network on several devices: what batches hold, and that results are those of one device."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributing import CHANGES, in_a_process, outcome
from mien import backend
from mien.datasets import open_dataset
from mien.epochs import EpochFeed, ValidationFeed
from mien.feeding import ONE_DEVICE, ArraySource, Split, StreamSource, fill_up
from mien.preprocessing import InputSpec

COUNTS = st.integers(1, 70)


@given(total=COUNTS, batch_size=COUNTS, local=st.integers(1, 5), hosts=st.integers(1, 4))
def test_filled_batches_divide_and_tell_which_they_are(total, batch_size, local, hosts):
    split = Split(local * hosts, 0, hosts)
    last = total % batch_size or batch_size
    full = [batch_size] * (total // batch_size)
    for rows in {*full, last}:
        filled = split.filled(rows, batch_size)
        assert filled % split.devices == 0
        assert rows <= filled < rows + 2 * split.devices
        assert split.sizes(total, batch_size)[filled] == rows


@given(total=COUNTS, batch_size=COUNTS, local=st.integers(1, 5), hosts=st.integers(2, 4), epoch=st.integers(0, 3))
def test_what_hosts_read_together_is_one_hosts_batch(total, batch_size, local, hosts, epoch):
    source = numbered(total)
    alone = feed(source, batch_size, epoch, ONE_DEVICE)
    several = [feed(source, batch_size, epoch, Split(local * hosts, host, hosts)) for host in range(hosts)]
    for index in range(alone.num_batches):
        (images, targets), _, weights = alone[index]
        parts = [one[index] for one in several]
        assert len({len(part[2]) for part in parts}) == 1
        for mine, read in ((images, 0), (targets, 1)):
            np.testing.assert_array_equal(np.concatenate([part[0][read] for part in parts])[: len(mine)], mine)
        together = np.concatenate([part[2] for part in parts])
        np.testing.assert_array_equal(together[: len(weights)], weights)
        assert not together[len(weights) :].any()


@given(total=COUNTS, batch_size=COUNTS, hosts=st.integers(1, 4))
def test_validation_is_shared_out_whole(total, batch_size, hosts):
    source = numbered(total)
    targets = np.eye(3, dtype=np.float32)[source.labels]
    feeds = [
        ValidationFeed(source.images, targets, batch_size=batch_size, split=Split(2 * hosts, host, hosts))
        for host in range(hosts)
    ]
    found = []
    for index in range(feeds[0].num_batches):
        images = np.concatenate([one[index][0][0] for one in feeds])
        found.append(images[: feeds[0].sizes[len(images)]])
    np.testing.assert_array_equal(np.concatenate(found), source.images)


def test_hosts_open_no_files_of_each_other(patterns, monkeypatch):
    pytest.importorskip("grain", exc_type=ImportError)
    dataset = open_dataset(patterns).select("train")
    opened = []
    read = type(dataset).read
    monkeypatch.setattr(type(dataset), "read", lambda self, row, spec: opened.append(row) or read(self, row, spec))
    stream, rows = StreamSource(dataset, InputSpec(), workers=1), {}
    for host in (None, 0, 1):
        opened.clear()
        split = ONE_DEVICE if host is None else Split(4, host, 2)
        batches = [feed(stream, 32, 1, split, classes=7)[index][0][0] for index in range(7)]
        rows[host] = (sorted(opened), batches)
    assert not set(rows[0][0]) & set(rows[1][0])
    assert sorted(rows[0][0] + rows[1][0]) == rows[None][0] == list(range(210))
    for whole, first, second in zip(rows[None][1], rows[0][1], rows[1][1], strict=True):
        np.testing.assert_array_equal(np.concatenate([first, second])[: len(whole)], whole)


def test_rows_are_filled_up_with_zeros():
    np.testing.assert_array_equal(fill_up(np.ones((2, 3), np.uint8), 4), [[1] * 3, [1] * 3, [0] * 3, [0] * 3])
    whole = np.ones(3)
    assert fill_up(whole, 3) is whole


def test_other_backends_say_that_they_use_one_device(monkeypatch):
    assert backend.devices_in_words() == ""
    monkeypatch.setattr(backend, "device_names", lambda: ["gpu:0", "gpu:1"])
    assert backend.devices_in_words() == (
        "Training on one of 2 devices: the backend tensorflow uses no more, KERAS_BACKEND=jax uses all"
    )
    with backend.spread() as split:
        assert split == ONE_DEVICE


def numbered(total: int) -> ArraySource:
    """Images whose pixels are their number, from 1."""
    images = np.arange(1, total + 1, dtype=np.uint8)[:, None, None, None].repeat(2, axis=1).repeat(2, axis=2)
    return ArraySource(images, np.arange(total) % 3)


def feed(source, batch_size, epoch, split, classes=3):
    weights = np.arange(1, classes + 1, dtype=np.float32)
    return EpochFeed(source, weights, batch_size=batch_size, seed=5, epoch=epoch, split=split)


def assert_equal_to_rounding(mine, other, atol=2e-5):
    """Losses, accuracies, learning rates of every epoch, and all weights at the end: batch norm's statistics too."""
    (history, weights), (other_history, other_weights) = outcome(mine), outcome(other)
    assert len(history) == len(other_history) == 3
    for row, other_row in zip(history, other_history, strict=True):
        assert row == pytest.approx(other_row, abs=atol)
    for one, two in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(one, two, atol=10 * atol)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("distributed")


@pytest.mark.slow
def test_eight_devices_learn_what_one_learns_and_runs_go_on_on_any_number(root):
    in_a_process(root, "plain", "resumed-on-fewer")
    history, _ = outcome(root / "plain" / "1")
    assert history[0]["loss"] - history[-1]["loss"] > 0.3  # so that equal does not mean untouched
    assert_equal_to_rounding(root / "plain" / "1", root / "plain" / "8")
    assert_equal_to_rounding(root / "plain" / "1", root / "resumed-on-fewer")


@pytest.mark.large
@pytest.mark.parametrize("name", [name for name in CHANGES if name != "plain"])
def test_every_setting_gives_on_eight_devices_what_it_gives_on_one(name, root):
    in_a_process(root, name)
    assert_equal_to_rounding(root / name / "1", root / name / "8", atol=1e-4)


@pytest.mark.large
def test_a_run_goes_on_on_more_devices(root):
    in_a_process(root, "plain", "resumed-on-more")
    assert_equal_to_rounding(root / "plain" / "1", root / "resumed-on-more")
