"""Many steps in one call: what stacks hold, and that JAX learns from them what it learns from batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributing import COMPILED, KNOWN
from mien.epochs import EpochFeed, StackedFeed
from mien.feeding import ArraySource
from processes import PATIENCE, QUICK_XLA

COUNTS = st.integers(1, 70)


def feed(total: int, batch_size: int) -> EpochFeed:
    """Images whose pixels are their number."""
    images = np.arange(total, dtype=np.uint8).repeat(4).reshape(-1, 2, 2, 1)
    source = ArraySource(images, np.arange(total) % 3)
    return EpochFeed(source, np.array([1, 2, 3], np.float32), batch_size=batch_size, seed=5)


@given(total=COUNTS, batch_size=COUNTS, steps=st.integers(1, 9))
def test_stacks_hold_the_batches_of_the_feed_and_what_fills_them_weighs_nothing(total, batch_size, steps):
    batches = feed(total, batch_size)
    stacks = StackedFeed(batches, steps)
    found = [stacks[index] for index in range(stacks.num_batches)]
    sizes = [len(weights) for _, _, weights in found]
    assert sum(sizes) == batches.num_batches
    assert max(sizes) <= steps
    assert max(sizes) - min(sizes) <= 1
    at = 0
    for (images, given_targets), targets, weights in found:
        np.testing.assert_array_equal(given_targets, targets)
        for step in range(len(weights)):
            (own, _), own_targets, own_weights = batches[at]
            count = len(own_weights)
            np.testing.assert_array_equal(images[step][:count], own)
            np.testing.assert_array_equal(targets[step][:count], own_targets)
            np.testing.assert_allclose(weights[step][:count] / len(weights[step]), own_weights / count, rtol=1e-5)
            assert not weights[step][count:].any()
            assert len(weights[step]) == (batch_size if batches.num_batches > 1 else total)
            at += 1


def test_stacks_made_ahead_are_of_the_epoch_that_asks_for_them():
    batches = feed(20, 4)
    stacks = StackedFeed(batches, 2)
    for epoch in (0, 1, 2, 7, 7, 3):  # as after a resumption, too
        batches.epoch = epoch
        for index in range(stacks.num_batches):
            (images, _), _, _ = stacks[index]
            np.testing.assert_array_equal(images, stacks.stack(epoch, index)[0][0])


SCRIPT = '''
import dataclasses, json, sys
from pathlib import Path
import numpy as np
from distributing import CHANGES, CONFIG, arrays, held_out, tiny_network
from mien import backend
from mien.learning import learn, make_optimizer
from mien.trainee import compile_for_training

class Interrupted:
    """In the third epoch Ctrl-C comes while the compiled function runs or waits for its images."""

    workers, labels, plain = 1, arrays(36).labels, arrays(36)

    def batch(self, index, **which):
        if which["epoch"] == 2:
            raise KeyboardInterrupt
        return arrays(36).batch(index, **which)

def judge_sam(config, model):
    """Only training goes to the worst point: what is validated are the weights."""
    trained = compile_for_training(model, config, make_optimizer(config, 4))
    images, labels = held_out()
    targets = np.eye(model.output_shape[-1], dtype=np.float32)[labels]
    loss, accuracy = trained.model.evaluate((images, targets), targets, batch_size=8, verbose=0)
    said = np.asarray(trained.twin(images / np.float32(255), training=False))
    np.testing.assert_allclose(accuracy, (said.argmax(1) == labels).mean(), atol=1e-6)
    np.testing.assert_allclose(loss, -np.log(said[np.arange(len(labels)), labels]).mean(), rtol=1e-3)

config = dataclasses.replace(CONFIG, **CHANGES["ema"], validate_every=3)
for scans, sources in ((False, [arrays(36)]), (True, [Interrupted(), arrays(36)])):
    backend.scans = lambda: scans
    for source in sources:
        model = tiny_network(dropout=0.3)
        learned = learn(model, config, source, held_out(), Path(sys.argv[1]) / str(scans))
        assert learned.interrupted is isinstance(source, Interrupted)
        assert len(learned.history) == (2 if learned.interrupted else 3)
    weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
    if scans:
        judge_sam(dataclasses.replace(config, sam=5.0, ema=0.0, label_smoothing=0.0), model)
    print(json.dumps({"history": learned.history, "weights": weights.tolist()}))
'''


@pytest.mark.slow
def test_jax_learns_from_stacks_what_it_learns_from_batches_interrupted_or_not(tmp_path):
    pytest.importorskip("jax", exc_type=ImportError)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(Path(__file__).parent)}
    environment |= {"XLA_FLAGS": QUICK_XLA, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"), **COMPILED}
    command = [sys.executable, "-W", "error", *KNOWN, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE * 2, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    batches, stacks = map(json.loads, done.stdout.splitlines()[-2:])
    np.testing.assert_allclose(stacks["weights"], batches["weights"], atol=2e-4)
    for mine, theirs in zip(batches["history"], stacks["history"], strict=True):
        assert {**mine, "seconds": 0} == pytest.approx({**theirs, "seconds": 0}, rel=1e-3)
