"""Test-time augmentation: several views of each picture, and the mean of what a model says of them.

Views are made of uint8 pictures outside the model, with NumPy alone, so that every runtime sees the same pixels. The
set of views of a picture and that of its mirror image are the same, and so are their answers, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError, many, unknown_choice

Pictures = NDArray[np.uint8]
"""uint8 (n, size, size, channels)."""

PredictFn = Callable[[Pictures], NDArray[np.float32]]
"""uint8 (n, size, size, channels) to probabilities (n, classes)."""

SHIFT = 1 / 24
"""How far ``full`` moves a picture, as a share of its side: 2 pixels of 48, and always 1 at least."""

BATCH_PIXELS = 64 * 48 * 48
"""Views are made of so many pixels at a time: of 64 small pictures or of a few large ones."""


def _itself(images: Pictures) -> Iterator[Pictures]:
    yield images


def _flip(images: Pictures) -> Iterator[Pictures]:
    yield images
    yield images[:, :, ::-1]


def _full(images: Pictures) -> Iterator[Pictures]:
    step = max(1, round(SHIFT * images.shape[1]))
    for side in _flip(images):
        yield side
        for down in (-step, step):
            for right in (-step, step):
                yield move(side, down, right)


TTA: dict[str, Callable[[Pictures], Iterator[Pictures]]] = {"none": _itself, "flip": _flip, "full": _full}
"""Test-time augmentation by name: the views that an answer is the mean of.

``none`` is the picture itself; ``flip`` the picture and its mirror image; ``full`` ten views: the picture and its
mirror image, each as it is and moved by `SHIFT` of its side along the four diagonals, the edge repeated.
"""


def move(images: Pictures, down: int, right: int) -> Pictures:
    """Move pictures by whole pixels, up and left where negative; what comes in repeats the edge. Shape stays."""
    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return images[:, rows][:, :, columns]


def check_tta(tta: str, argument: str = "tta") -> None:
    """Refuse what is not a key of `TTA`.

    Raises:
        UsageError: the message lists the choices.
    """
    if not isinstance(tta, str) or tta not in TTA:
        raise unknown_choice(argument, tta, TTA)


def predict_views(predict_fn: PredictFn, images: Pictures, tta: str = "none") -> NDArray[np.float32]:
    """The mean of a model's probabilities over the views of each picture.

    It is the mean of what the model says, which is after its temperature: each view gets the answer that it would get
    alone. A temperature for these means is found by minimising the loss of the mean of
    `mien.classifier.apply_temperature` of each view's probabilities, not of the temperature of their mean.

    Args:
        predict_fn: the model. It is called with the views of `BATCH_PIXELS` at a time, so that memory does not grow
            with the number of pictures; with all pictures at once where there is one view only.
        images: uint8 (n, size, size, channels); n may be 0.
        tta: a key of `TTA`.

    Returns:
        Probabilities float32 (n, classes).

    Raises:
        UsageError: `tta` is unknown, or `predict_fn` is no function or does not give a row for each picture.
    """
    check_tta(tta)
    if not callable(predict_fn):
        raise UsageError(
            "predict_fn: must be a function of pictures, such as the predict of what mien.open_model opens, received "
            f"{type(predict_fn).__name__}"
        )
    if tta == "none" or not len(images):
        return _rows(predict_fn, images)
    step = max(1, BATCH_PIXELS // (images.shape[1] * images.shape[2]))
    parts = [_mean(predict_fn, images[start : start + step], tta) for start in range(0, len(images), step)]
    return np.concatenate(parts)


def _mean(predict_fn: PredictFn, images: Pictures, tta: str) -> NDArray[np.float32]:
    views = list(TTA[tta](images))
    rows = _rows(predict_fn, np.concatenate(views))
    by_view = rows.reshape(len(views), len(images), *rows.shape[1:])
    return np.asarray(by_view.mean(axis=0, dtype=np.float64), np.float32)


def _rows(predict_fn: PredictFn, images: Pictures) -> NDArray[np.float32]:
    rows = predict_fn(images)
    if len(rows) != len(images):
        raise UsageError(f"predict_fn: must give a row for each of {many(len(images), 'image')}, gave {len(rows)}")
    return rows
