"""How fast the seed's network trains: the seed's own way, mien, and plain PyTorch as the mark, alternately in one run.

    python benchmarks/training.py FER2013 [--rounds 3] [--images 4096]

Each way runs in a process of its own, which trains one epoch to warm up and then `--epochs` timed ones on the same
images, with the seed's augmentation, batches of 32, and nothing else running. Prints images a second, a median and the
spread over the rounds, and writes docs/benchmarks/<date>-training.md. PyTorch is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from reporting import publish

BATCH = 32
Timed = Callable[[], None]


def load(data: str, images: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of Training in a fixed random order: uint8 (n, 48, 48, 1) and int64 (n,)."""
    from mien.datasets import open_dataset

    faces = open_dataset(data).load().select("train")
    rows = np.random.default_rng(0).permutation(len(faces))[:images]
    return faces.images[rows], faces.labels[rows]


def seeds_way(x: np.ndarray, y: np.ndarray) -> Timed:
    """As the program did that mien grew from: ImageDataGenerator, model.fit, float32, stock layers."""
    import keras
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    from mien.networks import network

    model = network("seed", seed=0)
    rate = keras.optimizers.schedules.InverseTimeDecay(0.01, 1, 0.0008)
    model.compile(keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
    generator = ImageDataGenerator(
        rotation_range=20, width_shift_range=0.1, height_shift_range=0.1, shear_range=0.2, zoom_range=0.2,
        horizontal_flip=True, fill_mode="nearest",
    )  # fmt: skip
    flow = generator.flow(x.astype(np.float32) / 255, keras.utils.to_categorical(y, 7), batch_size=BATCH)
    return lambda: model.fit(flow, epochs=1, verbose=0) and None


def miens_way(x: np.ndarray, y: np.ndarray) -> Timed:
    """What `mien train --recipe seed` does in an epoch, without validation and checkpoints, as the others."""
    from mien.feeding import ArraySource
    from mien.learning import make_feed, make_optimizer
    from mien.networks import network
    from mien.piping import piped
    from mien.recipes import recipe
    from mien.trainee import compile_for_training

    config = recipe("seed")
    feed = make_feed(ArraySource(x, y), config, 7)
    trainee = compile_for_training(network("seed", seed=0), config, make_optimizer(config, feed.num_batches)).model
    pipeline = piped(feed)
    return lambda: trainee.fit(pipeline, epochs=1, verbose=0, shuffle=False) and None


def pytorch(x: np.ndarray, y: np.ndarray) -> Timed:
    """The mark: the same network, augmentation and loss in plain PyTorch, channels_last, bfloat16, no validation."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.BatchNorm2d(32), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.BatchNorm2d(64), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6400, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 7),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    labels = torch.from_numpy(y)

    def augment(batch: torch.Tensor) -> torch.Tensor:
        n = len(batch)
        angle = (torch.rand(n) * 2 - 1) * np.pi / 9
        zoom_x = (torch.rand(n) * 0.4 + 0.8) * torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
        zoom_y = torch.rand(n) * 0.4 + 0.8
        shift = (torch.rand(n, 2) * 2 - 1) * 0.2
        theta = torch.stack([
            torch.stack([angle.cos() * zoom_x, -angle.sin() * zoom_y, shift[:, 0]], 1),
            torch.stack([angle.sin() * zoom_x, angle.cos() * zoom_y, shift[:, 1]], 1),
        ], 1)  # fmt: skip
        grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
        return F.grid_sample(batch, grid, padding_mode="border", align_corners=False)

    def epoch() -> None:
        model.train()
        order = torch.randperm(len(images))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = augment(images[rows].float() / 255).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                output = model(batch)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(output.float(), labels[rows]).backward()
            optimizer.step()

    return epoch


WAYS: dict[str, Callable[[np.ndarray, np.ndarray], Timed]] = {
    "seed's own way": seeds_way,
    "mien": miens_way,
    "PyTorch": pytorch,
}


def measure(way: str, data: str, images: int, epochs: int) -> None:
    """In a process of its own: print the images a second of each timed epoch, as JSON."""
    x, y = load(data, images)
    train = WAYS[way](x, y)
    train()
    rates = []
    for _ in range(epochs):
        started = time.perf_counter()
        train()
        rates.append(len(x) / (time.perf_counter() - started))
    print(json.dumps(rates))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="FER2013")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure(options.way, options.data, options.images, options.epochs)
        return
    ways = [way for way in WAYS if way != "PyTorch" or find_spec("torch")]
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(options.rounds):
        for way in ways:
            command = [sys.executable, __file__, options.data, "--way", way]
            command += ["--images", str(options.images), "--epochs", str(options.epochs)]
            quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=quiet)
            rates[way] += json.loads(run.stdout)
            print(f"round {number + 1}: {way}: {rates[way][-1]:,.0f} images/s", file=sys.stderr)
    base = statistics.median(rates[ways[0]])
    rows = [
        (way, f"{statistics.median(found):,.0f}", f"{min(found):,.0f} to {max(found):,.0f}",
         f"{statistics.median(found) / base:.2f}")
        for way, found in rates.items()
    ]  # fmt: skip
    publish(
        "training",
        "Training speed of the seed's network",
        f"python benchmarks/training.py FER2013 --images {options.images} --epochs {options.epochs} "
        f"--rounds {options.rounds}",
        f"Images a second: the median and the range of {options.rounds * options.epochs} epochs of {options.images:,} "
        f"images, in {options.rounds} alternating rounds of processes. Seed's augmentation, batches of {BATCH}.",
        ("way", "images/s", "range", "times the seed's"),
        rows,
    )


if __name__ == "__main__":
    main()
