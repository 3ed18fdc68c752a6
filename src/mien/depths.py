"""Pixels of any depth to 8 bits, where it can be told what is black and what is white."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError

FLOATING_WHITES = (1, 255, 2**16 - 1)
WHOLE_WHITES = (255, 2**16 - 1, 2**32 - 1)
"""What white may be, where nothing in the file says it; black is 0."""

_BITS, _LARGEST = 258, (341, 281)
"""Fields of a TIFF: BitsPerSample; SMaxSampleValue and MaxSampleValue."""

_OVERSHOOT, _OVERSHOT = 0.02, 0.01
"""Resampling goes that far beyond black and white, as a share of the range, or further in that share of the pixels."""

_DIM, _DIM_MEDIAN = 0.1, 0.01
"""A picture is nearly black where all but a thousandth of its pixels, or half of those above 0, lie below that share of
white: it was made for another range."""

_LOOKED_AT = 2**20
"""So many pixels, evenly spread, tell whether a picture is dim."""


def bits_of(tags: Mapping[int, Any], values: NDArray[np.uint16]) -> int:
    """How many of the 16 bits of a TIFF's grey values count: 12 where white is 4,095, as from many cameras.

    Its header says so by the bits of a sample, or by a largest value that is all ones. Other largest values are those
    that the picture happens to have, and are passed over, as is one that a pixel lies above. PNG's ``sBIT`` is no use
    here: values of which it says 12 bits were scaled to 16.

    Args:
        tags: the TIFF's fields, by number.
        values: uint16 of any shape.
    """
    told = [_number(tags.get(_BITS)), *(_ones(_number(tags.get(tag))) for tag in _LARGEST)]
    bits = next((bits for bits in told if 8 < bits < 16), 16)
    return bits if not values.size or int(values.max()) < 2**bits else 16


def _number(value: Any) -> int:
    """A field's one value, as a whole number; 0 for anything else."""
    one = value[0] if isinstance(value, tuple) and value else value
    try:
        return int(one) if one is not None and one == int(one) else 0
    except (OverflowError, TypeError, ValueError):
        return 0


def _ones(largest: int) -> int:
    """How many bits a number of all ones has; 0 for others."""
    return largest.bit_length() if largest > 0 and not largest & (largest + 1) else 0


def to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale so that white becomes 255; what lies a little beyond black and white is cut, what is no number is black.

    Args:
        values: integers or floating, of any shape.

    Returns:
        uint8 of the same shape.

    Raises:
        DataError: no range suits: much would be cut, or the picture nearly black. Says which there are.
    """
    floating = values.dtype.kind == "f"
    whites = FLOATING_WHITES if floating else WHOLE_WHITES
    known = values[np.isfinite(values)] if floating else values.ravel()
    white = next((white for white in whites if _fits(known, white)), None)
    if white is None or _is_dim(known, white):
        raise DataError(_say(known, whites))
    if floating:
        numbers = np.nan_to_num(values, nan=0, posinf=white, neginf=0).clip(0, white)
        return np.asarray(numbers * (255 / white), np.uint8)
    whole = values.astype(np.int64)  # NumPy 2.0 refuses a limit that the type cannot hold
    return np.asarray(whole.clip(0, white) // ((white + 1) // 256), np.uint8)


def _fits(known: NDArray[Any], white: int) -> bool:
    """Whether nearly all lies from black to white, and nothing far beyond."""
    if not known.size:
        return False
    lowest, highest = float(known.min()), float(known.max())
    if highest > 2 * white or lowest < -max(highest, 0):
        return False
    slack = _OVERSHOOT * min(white, highest)
    if lowest >= -slack and highest <= white + slack:
        return True
    outside = np.count_nonzero(known < -slack) + np.count_nonzero(known > white + slack)
    return bool(outside <= _OVERSHOT * known.size)


def _is_dim(known: NDArray[Any], white: int) -> bool:
    """Whether it would be nearly black; all black is not."""
    some = known[:: max(1, known.size // _LOOKED_AT)]
    above = some[some > 0]
    if not above.size:
        return bool(known.max() > 0)
    return bool(np.quantile(some, 0.999) < _DIM * white or np.median(above) < _DIM_MEDIAN * white)


def _say(known: NDArray[Any], whites: tuple[int, ...]) -> str:
    if not known.size:
        return "holds no number, only NaN or infinity"
    named = ", ".join(f"{white:,}" for white in whites[:-1])
    return (
        f"holds values from {known.min():g} to {known.max():g}, and nothing says what is black and what white; scale "
        f"them so that black is 0 and white is {named} or {whites[-1]:,}"
    )
