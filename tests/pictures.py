"""Small labelled pictures that tests write and learn from."""

from pathlib import Path

import cv2
import numpy as np

from mien.labels import EXPRESSIONS


def pattern(label: int, seed: int) -> np.ndarray:
    """A noisy 48x48 picture with a bright bar where its class says: easy to learn, uint8."""
    rng = np.random.default_rng((seed, label))
    image = rng.normal(90, 25, (48, 48))
    image[4 + 6 * label : 10 + 6 * label, 8:40] += 120
    return np.clip(image, 0, 255).astype(np.uint8)


def write_patterns(root: Path, *, train: int, test: int) -> Path:
    """FER2013's layout with so many pictures a class in Training, PublicTest and PrivateTest each."""
    number = 0
    for split, prefix, count in (
        ("train", "Training", train),
        ("test", "PublicTest", test),
        ("test", "PrivateTest", test),
    ):
        for label, name in enumerate(EXPRESSIONS):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                cv2.imwrite(str(folder / f"{prefix}_{number}.png"), pattern(label, number))
                number += 1
    return root


def write_grey(path: Path, value: int = 0) -> Path:
    """A grey picture of 16x16 pixels, in whose folder others may stand; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((16, 16), value, np.uint8))
    return path
