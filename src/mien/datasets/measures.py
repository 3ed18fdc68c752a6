"""What every image of a dataset looks like, in a few numbers: brightness, contrast, emptiness, and a thumbnail.

One pass, 0.3 kB an image, cached until a file changes. `mien.datasets.audit` judges by them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.datasets import cache as cache_files
from mien.datasets.dataset import Dataset
from mien.datasets.pixels import Progress
from mien.images import Image
from mien.preprocessing import InputSpec, fit_image

LOOK = InputSpec(48)
"""Images are looked at in this size, grey, whatever size they have."""

THUMB = InputSpec(16)
"""Size of the thumbnails that near-duplicates are looked for with."""

BAND = 8
"""How many of the 256 levels of brightness count as one when emptiness is measured."""

VERSION = 1
"""Raised when something is measured otherwise, so that cached numbers are measured anew."""


@dataclass(frozen=True, eq=False)
class Measures:
    """Numbers of each image; NaN, and a black thumbnail, where it cannot be read.

    Attributes:
        brightness: float32 (n,), mean of the pixels, 0 (black) to 255.
        contrast: float32 (n,), their standard deviation, 0 to 127.5.
        emptiness: float32 (n,), the largest share of pixels that have one brightness, to `BAND` levels: 1 for a blank
            image, about 0.1 for a photographed face.
        thumbs: uint8 (n, 16, 16).
    """

    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    emptiness: NDArray[np.float32]
    thumbs: NDArray[np.uint8]


def measure(dataset: Dataset, *, cache: bool = True, progress: Progress | None = None) -> Measures:
    """Look at every image once, in flat memory.

    Args:
        dataset: any dataset. The result for a whole one is cached until its files change.
        cache: read and keep that result.
        progress: called with how many are done and how many there are.
    """
    cached = cache and dataset.whole
    purpose, fingerprint = f"measures {VERSION}{dataset.source.variant}", dataset.source.fingerprint()
    stored = cache_files.recall(dataset.path, purpose, fingerprint) if cached else None
    if stored is not None and {"numbers", "thumbs"} <= stored.keys():
        return _measures(stored["numbers"], stored["thumbs"])
    numbers, thumbs = _measure_all(dataset, progress)
    if cached:
        cache_files.keep(dataset.path, purpose, fingerprint, {"numbers": numbers, "thumbs": thumbs})
    return _measures(numbers, thumbs)


def _measures(numbers: NDArray[np.float32], thumbs: NDArray[np.uint8]) -> Measures:
    brightness, contrast, emptinesses = numbers
    return Measures(brightness, contrast, emptinesses, thumbs)


def _measure_all(dataset: Dataset, progress: Progress | None) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    numbers = np.full((3, len(dataset)), np.nan, np.float32)
    thumbs = np.zeros((len(dataset), THUMB.size, THUMB.size), np.uint8)

    def use(place: int, image: Image) -> None:
        look = fit_image(image, LOOK)
        numbers[:, place] = look.mean(), look.std(), emptiness(look)
        thumbs[place] = fit_image(image, THUMB)[..., 0]

    dataset.source.each(dataset.positions, use, channels=1, progress=progress)
    return numbers, thumbs


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Thumbnails of images uint8 (n, height, width, channels), as `Measures.thumbs` has them: uint8 (n, 16, 16)."""
    made = [fit_image(image, THUMB)[..., 0] for image in images]
    return np.asarray(made, np.uint8).reshape(-1, THUMB.size, THUMB.size)


def emptiness(image: Image) -> float:
    """The largest share of pixels within one of 32 bands of brightness, or of 32 that lie half a band higher.

    Args:
        image: uint8, grey, of any shape.
    """
    levels = image.ravel().astype(np.int64)
    most = max(int(np.bincount((levels + shift) // BAND).max()) for shift in (0, BAND // 2))
    return most / levels.size
