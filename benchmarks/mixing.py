"""Stored views of which some are pictures mixed from two, for `accelerator.py`: teachers are asked about those as well.

After Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent": what teachers say beyond
the pictures that they know by heart. A picture keeps the label of the one that has the greater share in it.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from mien import teaching

Varying = teaching._Varying


class Mixing(Varying):
    """Varied pictures, float32 (n, size, size, channels) in 0 to 255; a share of them mixed with others."""

    def __init__(self, *arguments: Any, share: float, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(*arguments, **kwargs)
        self.share = share
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, images: Any) -> Any:
        """Vary the pictures, and mix each that the dice say with one other, which has up to half of the result."""
        views = super().call(images)
        count = ops.shape(views)[0]
        others = ops.take(views, ops.argsort(keras.random.uniform((count,), seed=self.seeds)), axis=0)
        dice = keras.random.uniform((2, count, 1, 1, 1), seed=self.seeds)
        kept = ops.where(dice[0] < self.share, 0.5 + 0.5 * dice[1], 1.0)
        return ops.round(kept * views + (1.0 - kept) * others)
