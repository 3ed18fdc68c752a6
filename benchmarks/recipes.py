"""How fast each recipe trains on this machine, beside what its arithmetic alone would take.

    python benchmarks/recipes.py [--recipes seed,light,cpu,vgg,large] [--seconds 20] [--rounds 3]

Each recipe runs in a process of its own on random pictures at full size: once as `mien train` does, with its
augmentation, and once with the augmentation left out, which shows what the input pipeline costs. The limit is the
network's multiplications and additions, three times (forward, and backward for inputs and weights), at the speed of a
large float32 matrix product on the same cores. Prints a median and the range over the rounds, and writes
docs/benchmarks/<date>-recipes.md.
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
from typing import Any

import numpy as np

from reporting import publish


def flops(model: Any) -> int:
    """Multiplications and additions of one picture, convolutions and dense layers only."""
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, _ = layer.output.shape
            total += 2 * height * width * int(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += 2 * int(np.prod(layer.kernel.shape))
    return total


def peak() -> float:
    """Floating-point operations a second of a large matrix product."""
    import tensorflow as tf

    a = tf.random.normal((2048, 2048))
    tf.linalg.matmul(a, a)
    started = time.perf_counter()
    for _ in range(10):
        b = tf.linalg.matmul(a, a)
    b.numpy()
    return 10 * 2 * 2048**3 / (time.perf_counter() - started)


def measure(recipe: str, seconds: float) -> None:
    """In a process of its own: print images a second with and without augmentation, and the limit, as JSON."""
    from mien import backend
    from mien.config import AUGMENTATIONS
    from mien.feeding import ArraySource
    from mien.learning import make_feed, make_optimizer
    from mien.networks import network
    from mien.piping import piped
    from mien.recipes import RECIPES
    from mien.trainee import compile_for_training

    base = dataclasses.replace(RECIPES[recipe].config, progressive=())
    random = np.random.default_rng(0)
    rates = {}
    for name, policy in {"with": base.augmentation, "without": AUGMENTATIONS["none"]}.items():
        config = dataclasses.replace(base, augmentation=policy, mixup=0.0 if name == "without" else base.mixup)
        count = config.batch_size * backend.steps_per_execution()
        images = random.integers(0, 256, (count, 48, 48, 1), np.uint8)
        feed = make_feed(ArraySource(images, random.integers(0, 7, count)), config, 7)
        model = network(config.network, seed=0)
        trainee = compile_for_training(model, config, make_optimizer(config, feed.num_batches)).model
        pipeline = piped(feed)
        trainee.fit(pipeline, verbose=0, shuffle=False)
        started, seen = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            trainee.fit(pipeline, verbose=0, shuffle=False)
            seen += count
        rates[name] = seen / (time.perf_counter() - started)
    print(json.dumps({**rates, "mflop": flops(model) / 1e6, "limit": peak() / (3 * flops(model))}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", default="seed,light,cpu,vgg,large")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.seconds)
        return
    names = options.recipes.split(",")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            command = [sys.executable, __file__, "--one", name, "--seconds", str(options.seconds)]
            quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=quiet)
            found[name].append(json.loads(run.stdout))
            print(name, found[name][-1], file=sys.stderr)

    def spread(name: str, key: str) -> str:
        values = [entry[key] for entry in found[name]]
        return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"

    rows = [
        (name, f"{found[name][0]['mflop']:,.0f}", spread(name, "with"), spread(name, "without"), spread(name, "limit"))
        for name in names
    ]
    publish(
        "recipes",
        "Training speed of the recipes",
        f"python benchmarks/recipes.py --recipes {options.recipes} --seconds {options.seconds:g} "
        f"--rounds {options.rounds}",
        f"Images of 48x48 a second: median and range of {options.rounds} rounds of {options.seconds:g} s,"
        " float32 or bfloat16 as the machine has it.",
        ("recipe", "MFLOP a picture", "as trained", "without augmentation", "arithmetic limit"),
        rows,
    )


if __name__ == "__main__":
    main()
