"""How long passes over the data take on TensorFlow: as Keras feeds it, and through `mien.piping`.

    python benchmarks/passes.py [--images 2048] [--passes 12] [--rounds 3]

Keras's pipelines tune themselves, and in TensorFlow 2.21 the end of a pass often waits for what tunes them to wake up:
`mien.piping` says when. Each way trains the network of `--recipe light` on the same random pictures, or predicts with
it, in a process of its own, alternately, with nothing else running. Prints seconds of a pass and writes
docs/benchmarks/<date>-passes.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from reporting import publish

WAYS = ("training: Keras, a PyDataset", "training: Keras, arrays", "training: mien", "predict: Keras", "predict: mien")


def prepared(way: str, count: int) -> Callable[[], Any]:
    """What runs one pass."""
    from mien.feeding import ArraySource
    from mien.learning import make_feed, make_optimizer
    from mien.networks import network
    from mien.piping import piped, predict
    from mien.recipes import recipe
    from mien.trainee import compile_for_training

    config = dataclasses.replace(recipe("light"), progressive=())
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (count, 48, 48, 1), np.uint8), random.integers(0, 7, count)
    model = network(config.network, seed=0)
    if way.startswith("predict"):
        scaled = images.astype(np.float32) / 255
        if way.endswith("Keras"):
            return lambda: model.predict(scaled, batch_size=256, verbose=0)
        return lambda: predict(model, scaled, 256)
    feed = make_feed(ArraySource(images, labels), config, 7)
    trainee = compile_for_training(model, config, make_optimizer(config, feed.num_batches)).model
    if way.endswith("arrays"):
        targets = np.eye(7, dtype=np.float32)[labels]
        return lambda: trainee.fit((images, targets), targets, batch_size=config.batch_size, verbose=0, shuffle=False)
    data = piped(feed) if way.endswith("mien") else feed
    return lambda: trainee.fit(data, verbose=0, shuffle=False)


def measure(way: str, count: int, passes: int) -> None:
    """In a process of its own: print the seconds of each pass but the first, as JSON."""
    run = prepared(way, count)
    run()
    seconds = []
    for _ in range(passes):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    print(json.dumps(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--passes", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure(options.way, options.images, options.passes)
        return
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--images", str(options.images)]
            quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
            run = subprocess.run(
                [*command, "--passes", str(options.passes)],
                check=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=quiet,
            )
            seconds[way] += json.loads(run.stdout)
            print(way, [round(each, 2) for each in seconds[way][-options.passes :]], file=sys.stderr)
    rows = [
        (
            way,
            f"{statistics.median(found):.2f}",
            f"{min(found):.2f} to {max(found):.2f}",
            f"{sum(each > 1.2 * min(found) for each in found)} of {len(found)}",
            f"{options.images / statistics.mean(found):,.0f}",
        )
        for way, found in seconds.items()
    ]
    publish(
        "passes",
        "Passes over the data on TensorFlow",
        f"python benchmarks/passes.py --images {options.images} --passes {options.passes} --rounds {options.rounds}",
        f"Seconds of a pass over {options.images:,} pictures of 48x48 with the network of `--recipe light`: "
        f"{options.rounds} alternating rounds of {options.passes} passes, each after one to compile. Late: a fifth "
        "over the fastest.",
        ("way", "median, s", "range, s", "late", "images/s over all"),
        rows,
    )


if __name__ == "__main__":
    main()
