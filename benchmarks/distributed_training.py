"""Whether training on 8 devices learns what training on one learns: the two curves with their spread in one picture.

    python benchmarks/distributed_training.py FER2013

The devices are virtual: JAX splits this machine's cores. They show that results are equal; they say nothing about
speed, which only machines with several accelerators can. Each run is a process of its own, with the usual augmentation
and dropout, in single precision, and is watched on PublicTest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mien.config import TrainingConfig
from mien.materials import Selection, gather
from mien.preprocessing import InputSpec
from mien.recipes import recipe
from reporting import FOLDER, installed, publish

DEVICES = (1, 8)
COLOURS = {1: "#0072B2", 8: "#D55E00"}
PICTURE = "2026-11-25-distributed-training.png"

FLAGS = (
    "--xla_force_host_platform_device_count={devices} --xla_cpu_collective_call_warn_stuck_timeout_seconds=600 "
    "--xla_cpu_collective_call_terminate_timeout_seconds=1200"
)
"""So many devices, and patience with those that wait for a core."""

CURVES = {"val_accuracy": "accuracy on PublicTest", "val_loss": "cross-entropy on PublicTest"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=2000, help="of Training")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=24)
    parser.add_argument("--one", nargs=2, type=int, metavar=("DEVICES", "SEED"), help="(used within)")
    parser.add_argument("--out", type=Path, help="(used within)")
    options = parser.parse_args()
    if options.one:
        train(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            (devices, seed): run(options, devices, seed, Path(folder))
            for seed in range(options.seeds)
            for devices in DEVICES
        }
    tell(options, runs)


def config(options: argparse.Namespace, seed: int) -> TrainingConfig:
    """The cpu recipe's network, optimizer and augmentation, short: without averaging, at one size."""
    return recipe(
        "light", epochs=options.epochs, batch_size=100, seed=seed, ema=0.0, progressive=(), precision="float32",
        input=InputSpec(options.size, 1), learning_rate=0.05, keep="last",
    )  # fmt: skip


def train(options: argparse.Namespace) -> None:
    """One run, in this process."""
    from mien import backend
    from mien.datasets import open_dataset
    from mien.learning import learn
    from mien.networks import network

    wanted, seed = options.one
    settings = config(options, seed)
    materials = gather(open_dataset(options.data), settings, Selection(limit=options.images))
    if len(backend.training_devices()) != wanted:
        raise SystemExit(f"{len(backend.training_devices())} devices, not {wanted}")
    model = network(settings.network, size=options.size, seed=seed)
    held = materials.validation
    learn(model, settings, materials.source, (held.images, held.labels), options.out)


def run(options: argparse.Namespace, devices: int, seed: int, folder: Path) -> list[dict[str, float]]:
    """One run in a process that has so many virtual devices; its history."""
    out = folder / f"{devices}-{seed}"
    command = [sys.executable, __file__, options.data, "--one", str(devices), str(seed), "--out", str(out)]
    for name in ("images", "epochs", "size"):
        command += [f"--{name}", str(getattr(options, name))]
    environment = {"KERAS_BACKEND": "jax", "XLA_FLAGS": FLAGS.format(devices=devices), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(command, check=True, env={**os.environ, **environment})
    newest = max((out / "checkpoints").glob("epoch-*/state.json"))
    history = json.loads(newest.read_text())
    print(f"{devices} devices, seed {seed}: {history[-1]}", flush=True)
    return history


def tell(options: argparse.Namespace, runs: dict[tuple[int, int], list[dict[str, float]]]) -> None:
    """The picture and the table."""
    draw(runs, options)
    rows = []
    for devices in DEVICES:
        cells = [str(devices)]
        for name, digits in (("loss", 4), ("val_loss", 4), ("val_accuracy", 4)):
            cells.append(spread([run[-1][name] for (count, _), run in runs.items() if count == devices], digits))
        first = [run[0]["loss"] for (count, _), run in runs.items() if count == devices]
        rows.append([cells[0], ", ".join(f"{value:.6f}" for value in first), *cells[1:]])
    publish(
        "distributed-training",
        "Training on 8 virtual devices beside one",
        f"python benchmarks/distributed_training.py FER2013 --images {options.images} --epochs {options.epochs} "
        f"--seeds {options.seeds} --size {options.size}",
        f"jax {installed('jax')}. The `small` network at {options.size}x{options.size}, batches of 100 (which 8 does "
        "not divide), the cpu recipe's augmentation, dropout, label smoothing and one-cycle SGD, single precision; "
        f"{options.images:,} images of Training, watched on PublicTest (n = 3,589); seeds 0 to {options.seeds - 1}, "
        "the same for both. Mean and range over the seeds, after the last epoch where nothing is said. The devices "
        "share the cores of one machine: they show that what is learnt is the same, and say nothing about speed.\n\n"
        f"![The two curves]({PICTURE})\n\nWhere seeds are the same, so are the first weights, the batches and the "
        "random draws. The first steps are equal to rounding, which every step at a high learning rate amplifies, so "
        f"that runs part before the first epoch is over. {pairs(runs)}",
        ("devices", "loss of the first epoch, by seed", "loss", "PublicTest loss", "PublicTest accuracy"),
        rows,
    )


def pairs(runs: dict[tuple[int, int], list[dict[str, float]]]) -> str:
    """How far runs of the same seed are from each other, and how far those of different seeds."""
    curves = {key: np.array([row["val_accuracy"] for row in run]) for key, run in runs.items()}
    seeds = sorted({seed for _, seed in runs})
    same = np.mean([np.abs(curves[1, seed] - curves[8, seed]).mean() for seed in seeds])
    other = np.mean([
        np.abs(curves[one, a] - curves[two, b]).mean()
        for one in DEVICES for two in DEVICES for a in seeds for b in seeds if a < b
    ])  # fmt: skip
    return (
        f"PublicTest accuracy of the same seed on 1 and on 8 devices is {100 * same:.2f} points apart, in the mean "
        f"over epochs and seeds; of different seeds, on either, {100 * other:.2f}."
    )


def spread(values: list[float], digits: int) -> str:
    """Mean and range."""
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def draw(runs: dict[tuple[int, int], list[dict[str, float]]], options: argparse.Namespace) -> None:
    """Both curves in one picture: the mean as a line, the range as a band."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 2), CURVES.items(), strict=True):
        for devices in DEVICES:
            curves = np.array([[row[name] for row in run] for (count, _), run in runs.items() if count == devices])
            epochs, style = np.arange(1, curves.shape[1] + 1), "-" if devices == 1 else "--"
            axes.fill_between(epochs, curves.min(axis=0), curves.max(axis=0), color=COLOURS[devices], alpha=0.18, lw=0)
            label = f"{devices} device{'s' if devices > 1 else ''}"
            axes.plot(epochs, curves.mean(axis=0), style, color=COLOURS[devices], lw=2, label=label)
        axes.set(title=title, xlabel="epoch", xlim=(1, options.epochs))
        axes.grid(color="#E5E5E5")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, loc="lower right")
    figure.suptitle(f"Mean and range of {options.seeds} seeds each", fontsize=10)
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / PICTURE, dpi=130)


if __name__ == "__main__":
    main()
