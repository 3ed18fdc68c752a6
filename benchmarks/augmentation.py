"""The seed's augmentation in the graph: mien's one resampling against a chain of Keras's layers.

    python benchmarks/augmentation.py [--batches 100]

Times both on the same batches of 32 drawn faces, alternately, in compiled functions; and measures how much of their
sharpness is left (mean absolute Laplacian, against the untouched pictures).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
import tensorflow as tf

from mien.augmentation import augmentation_layers
from mien.config import AUGMENTATIONS
from mien.datasets.samples import sample_faces
from reporting import publish

BATCH = 32


def chain() -> list[keras.Layer]:
    """The seed's policy, a layer for each transform, each resampling the picture again."""
    fill: dict[str, Any] = {"fill_mode": "nearest"}
    return [
        keras.layers.RandomRotation(20 / 360, **fill),
        keras.layers.RandomTranslation(0.1, 0.1, **fill),
        keras.layers.RandomShear(0.0035, 0.0035, **fill),
        keras.layers.RandomZoom((-0.2, 0.2), (-0.2, 0.2), **fill),
        keras.layers.RandomFlip("horizontal"),
    ]


def compiled(layers: list[keras.Layer]) -> Callable[[Any], Any]:
    @tf.function
    def run(images: Any) -> Any:
        for layer in layers:
            images = layer(images, training=True)
        return images

    return run


def sharpness(images: np.ndarray) -> float:
    return float(np.mean([np.abs(cv2.Laplacian(image, cv2.CV_32F)).mean() for image in images]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=100)
    options = parser.parse_args()
    faces = sample_faces(BATCH * 8)[0].astype(np.float32)
    ways = {
        "one resampling (mien)": compiled(augmentation_layers(AUGMENTATIONS["seed"])),
        "a layer for each transform": compiled(chain()),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    left = {}
    for name, run in ways.items():
        left[name] = sharpness(np.concatenate([run(batch).numpy() for batch in np.split(faces, 8)])) / sharpness(faces)
    batch = tf.constant(faces[:BATCH])
    for _ in range(options.batches):
        for name, run in ways.items():
            started = time.perf_counter()
            run(batch).numpy()
            times[name].append((time.perf_counter() - started) * 1000)
    rows = [
        (name, f"{statistics.median(found):.2f}", f"{np.percentile(found, 5):.2f} to {np.percentile(found, 95):.2f}",
         f"{left[name]:.0%}")
        for name, found in times.items()
    ]  # fmt: skip
    publish(
        "augmentation",
        "The seed's augmentation, in the compiled step",
        f"python benchmarks/augmentation.py --batches {options.batches}",
        f"Median and 5th to 95th percentile of {options.batches} batches of {BATCH} drawn faces of 48x48, alternately.",
        ("way", "ms a batch", "range", "sharpness left"),
        rows,
    )


if __name__ == "__main__":
    main()
