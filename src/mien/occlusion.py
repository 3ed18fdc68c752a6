"""Occlusion maps: what a model says when parts of a face are covered. Any model, NumPy and its runtime alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import UsageError, many
from mien.views import Pictures, PredictFn

WINDOW = 1 / 5
"""Side of the square that covers a part, as a share of the picture's: an eye with its brow, or half a mouth."""

STEP = 1 / 12
"""How far the square moves at a time, as a share of the picture's side: about 200 places."""

BLUR = 1 / 8
"""Standard deviation of the blur that covers a part, as a share of the picture's side."""


def occlusion_maps(
    predict_fn: PredictFn, images: Pictures, targets: NDArray[np.int64], *, window: int | None = None
) -> NDArray[np.float32]:
    """How much the probability of a class falls when parts of a picture are covered.

    A square goes over the picture in steps and beyond its edges, so that those are covered as often as the middle. What
    it covers becomes a blur of itself, which hides detail without a new edge (Fong & Vedaldi 2017, "Interpretable
    explanations of black boxes by meaningful perturbation"); the idea of covering is Zeiler & Fergus's (2014,
    "Visualizing and understanding convolutional networks", section 4.2).

    Args:
        predict_fn: the model: uint8 (n, size, size, channels) to probabilities (n, classes).
        images: uint8 (n, size, size, channels), as the model takes them; n may be 0.
        targets: int64 (n,), for each picture the index of the class that is explained.
        window: side of the square in pixels, from 1 to the picture's; None: `WINDOW` of it. It moves by `STEP` of the
            picture's side, and by no more than its own.

    Returns:
        float32 (n, size, size): the mean fall of the probability over all windows that cover a pixel, from -1 to 1.
        Above 0 the pixel speaks for the class, below 0 against it.

    Raises:
        UsageError: targets or window are out of range.
    """
    size = images.shape[1]
    side = max(2, round(WINDOW * size)) if window is None else window
    if not 1 <= side <= size:
        raise UsageError(f"window: must be from 1 to {size} pixels, the picture's side, received {window}")
    classes = check_targets(targets, len(images))
    masks = _windows(size, side)
    weights = masks.reshape(len(masks), -1) / masks.sum(axis=0).ravel()
    maps = [
        _falls(predict_fn, image, int(target), masks) @ weights for image, target in zip(images, classes, strict=True)
    ]
    return np.asarray(maps, np.float32).reshape(-1, size, size)


def blurred(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture without its detail: uint8 (size, size, channels), the same shape."""
    soft = cv2.GaussianBlur(image, (0, 0), BLUR * len(image), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft, np.uint8).reshape(image.shape)


def check_targets(targets: ArrayLike, count: int) -> NDArray[np.int64]:
    """Refuse what does not name a class for each picture; gives it back as an array.

    Raises:
        UsageError: says what was received.
    """
    found = np.asarray(targets) if np.size(targets) else np.zeros(np.shape(targets), np.int64)
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.integer) or (found < 0).any():
        raise UsageError(
            f"targets: must be a class's index, 0 or more, for each of {many(count, 'image')}, received {found.dtype} "
            f"{found.shape}"
        )
    return found


def _windows(size: int, side: int) -> NDArray[np.bool_]:
    """Every place of the square, bool (windows, size, size); those at the edges reach past them."""
    step = min(max(1, round(STEP * size)), side)
    starts = np.arange(step - side, size, step)
    pixels = np.arange(size)
    lines = (pixels >= starts[:, None]) & (pixels < starts[:, None] + side)
    lines = lines[lines.any(axis=1)]
    return np.asarray((lines[:, None, :, None] & lines[None, :, None, :]).reshape(-1, size, size))


def _falls(
    predict_fn: PredictFn, image: NDArray[np.uint8], target: int, masks: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """By how much the probability of a class falls under each window: (windows,)."""
    covered = np.where(masks[..., None], blurred(image), image)
    shares = np.asarray(predict_fn(np.concatenate([image[None], covered])), np.float64)
    if target >= shares.shape[1]:
        raise UsageError(f"targets: must be below {shares.shape[1]}, the number of classes, received {target}")
    return np.asarray(shares[0, target] - shares[1:, target])
