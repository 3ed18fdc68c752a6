"""The skull under a drawn face: its outline at every height, and the sheet that is unrolled around it.

A head is a stack of ellipses, one for each height v. A point of its surface is given by v and by the angle t around
the vertical axis, 0 at the nose; the *sheet* is the surface unrolled, u = `RADIUS` * t. Everything that belongs to the
face (skin, features, hair, relief) is painted on the sheet and seen through `mien.datasets.face_projection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets.face_model import Identity

Plane = NDArray[np.float32]

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)

RADIUS = 0.75
"""What turns an angle around the head into u, in head units."""

_BREADTH = 0.715
"""Half the breadth of an average head, in head units."""

LEFT, TOP, RIGHT, BOTTOM = -1.62, -1.42, 1.62, 1.34
"""What the sheet covers, in head units."""


SUBPIXEL_BITS = 4
"""Binary places of the coordinates that polygons and lines are drawn at."""


_BAND = 8
"""Rows of a sheet are a multiple of this."""


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """The raster of the unrolled surface.

    Attributes:
        scale: pixels in a head unit.
        us: float32 (columns,), u of each column's middle.
        vs: float32 (rows,), v of each row's middle.
        origin: (x, y) of u = v = 0 in the fixed point that polygons are drawn at, and a half to round by.
    """

    scale: float
    us: Plane
    vs: Plane
    origin: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.vs), len(self.us)

    def zeros(self) -> Plane:
        """float32 (rows, columns) of zeros."""
        return np.zeros(self.shape, np.float32)

    def fixed_point(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Points (..., 2) as (u, v) to (x, y) for OpenCV: pixels, whole at their middles, times 2**`SUBPIXEL_BITS`."""
        return np.asarray((points * (self.scale * (1 << SUBPIXEL_BITS)) + self.origin).astype(np.int32))

    def bumps(self, bumps: NDArray[np.float64]) -> Plane:
        """The sum of Gaussian bumps, float32 (rows, columns).

        Args:
            bumps: float (n, 5): u, v, sigma along u, sigma along v, amplitude.
        """
        u, v, sigma_u, sigma_v, amplitude = np.asarray(bumps, np.float32).T[:, :, None]
        across = np.exp(-0.5 * ((self.us - u) / sigma_u) ** 2)
        down = np.exp(-0.5 * ((self.vs - v) / sigma_v) ** 2) * amplitude
        # In bands of rows, each too small for a BLAS to wake its threads: their waiting would cost more than the work.
        bands = np.ascontiguousarray(down.T).reshape(-1, _BAND, len(down))
        return np.asarray(np.matmul(bands, across).reshape(self.shape), np.float32)

    def broad_bumps(self, bumps: NDArray[np.float64]) -> Plane:
        """As `bumps`, for bumps so broad (sigma over 0.05) that a coarse raster, enlarged, holds them."""
        coarse = make_sheet(min(self.scale, 20.0)).bumps(bumps)
        return np.asarray(cv2.resize(coarse, self.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


@lru_cache(maxsize=64)
def make_sheet(scale: float) -> Sheet:
    """The sheet of so many pixels in a head unit."""
    columns, rows = ceil((RIGHT - LEFT) * scale), _BAND * ceil((BOTTOM - TOP) * scale / _BAND)
    us = LEFT + (np.arange(columns, dtype=np.float32) + 0.5) / scale
    vs = TOP + (np.arange(rows, dtype=np.float32) + 0.5) / scale
    origin = (np.array([-LEFT, -TOP]) * scale - 0.5) * (1 << SUBPIXEL_BITS) + 0.5
    return Sheet(scale, us.astype(np.float32), vs.astype(np.float32), origin)


def clamp(plane: NDArray[np.floating[Any]], low: float, high: float) -> Plane:
    """`numpy.clip`, at a third of its price for small arrays."""
    return np.asarray(np.minimum(np.maximum(plane, np.float32(low)), np.float32(high)), np.float32)


def soften(plane: NDArray[_Pixel], sigma: float) -> NDArray[_Pixel]:
    """A Gaussian blur, cut off at 2.5 sigma; sigma in pixels, over 0."""
    side = 2 * ceil(2.5 * sigma) + 1
    return np.asarray(cv2.GaussianBlur(plane, (side, side), sigma), plane.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Half-axes of the head's cross-sections, sampled at `STEPS` heights from `TOP` - 0.1 to `BOTTOM` + 0.1.

    Attributes:
        width: float32 (STEPS,), half the breadth; 0 above the crown and below the chin.
        depth: float32 (STEPS,), half the length from the back of the head to the face.
        crown, chin: v of the highest and lowest point.
    """

    width: Plane
    depth: Plane
    crown: float
    chin: float

    STEPS = 512
    FIRST = TOP - 0.1
    SPACING = (BOTTOM - TOP + 0.2) / (STEPS - 1)

    def levels(self) -> Plane:
        """v of each sample, float32 (STEPS,)."""
        return (self.FIRST + self.SPACING * np.arange(self.STEPS)).astype(np.float32)

    def index(self, v: Plane) -> NDArray[np.intp]:
        """Index of the sample nearest to each v."""
        return np.asarray(clamp((v - self.FIRST) * (1.0 / self.SPACING) + 0.5, 0, self.STEPS - 1).astype(np.intp))

    def slopes(self) -> tuple[Plane, Plane]:
        """Change of width and depth with v, float32 (STEPS,) each; steep beyond crown and chin."""
        beyond = np.where(self.levels() > 0.0, np.float32(-9.0), np.float32(9.0))
        width, depth = (
            np.where(self.width > 0.0, np.diff(axis, append=np.float32(0.0)) / self.SPACING, beyond)
            for axis in (self.width, self.depth)
        )
        return width.astype(np.float32), depth.astype(np.float32)


def skull(identity: Identity, chin: float) -> Profile:
    """The outline of a head whose chin ends at v = `chin`."""
    v = Profile.FIRST + Profile.SPACING * np.arange(Profile.STEPS)
    temple, crown = -0.18, -1.03 - (0.9 * identity.hair_volume if identity.hair_style != "bald" else 0.0)
    above = np.clip((temple - v) / (temple - crown), 0.0, 1.0)
    below = np.clip((v - temple) / (chin - temple), 0.0, 1.0)
    dome = (1.0 - above**2.3) ** 0.5
    squareness = 2.3 + 1.5 * identity.jaw
    jaw = (1.0 - below**squareness) ** (1.0 / (1.65 + 0.35 * identity.jaw))
    width = _BREADTH * (0.55 + 0.45 * identity.face_width) * dome * jaw
    depth = 0.82 * dome * (1.0 - 0.08 * below**2) * (1.0 - below**14) ** 0.5
    return Profile(width.astype(np.float32), depth.astype(np.float32), crown, chin)
