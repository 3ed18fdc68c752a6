"""What stands in Training, for finding it again among the pictures that a model is judged by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import Faces
from mien.datasets.duplicates import pixel_digests
from mien.datasets.measures import THUMB, thumbnails
from mien.datasets.near_duplicates import like_any

MOST_PAIRS = 1_000_000_000
"""Near-duplicates are looked for where there are no more pairs to compare: half a minute. FER2013's test images with
its Training are 0.2 thousand million."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """The pictures of Training, in short.

    Attributes:
        digests: S16 (n,), of their pixels; see `mien.datasets.duplicates.pixel_digests`.
        thumbs: uint8 (n, 16, 16); None where nearly identical ones are not looked for.
    """

    digests: NDArray[np.bytes_]
    thumbs: NDArray[np.uint8] | None

    @classmethod
    def of(cls, parts: Iterable[Faces], *, near: bool) -> Learnt:
        """Note pictures that come in parts.

        Args:
            parts: what `mien.datasets.streaming.in_parts` gives.
            near: whether nearly identical ones will be looked for too.
        """
        digests, thumbs = [np.empty(0, "S16")], [np.empty((0, THUMB.size, THUMB.size), np.uint8)]
        for faces in parts:
            digests.append(pixel_digests(faces.images))
            if near:
                thumbs.append(thumbnails(faces.images))
        return cls(np.concatenate(digests), np.concatenate(thumbs) if near else None)

    def holds(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which of these images, uint8 (n, size, size, channels), are among them pixel for pixel: bool (n,)."""
        return np.isin(pixel_digests(images), self.digests)

    def holds_like(self, images: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
        """Which are among them identically or nearly so: bool (n,); None where that is not looked for."""
        if self.thumbs is None:
            return None
        return self.holds(images) | like_any(thumbnails(images), self.thumbs)
