"""Pictures that are written into an address, as web pages and services pass them: ``data:image/jpeg;base64,...``."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from mien.errors import UsageError

_BEGINNING = "data:image/"
_SHOWN = 30
"""So many characters of an address are repeated in messages."""


def is_inline(image: object) -> bool:
    """Whether it is the text of such an address; nothing of it is decoded."""
    return isinstance(image, str) and image[: len(_BEGINNING)].lower() == _BEGINNING


def inline_bytes(address: str) -> bytes:
    """The bytes of the picture (RFC 2397).

    Args:
        address: one that `is_inline`.

    Raises:
        UsageError: it is not in base64, or cut off.
    """
    head, comma, text = address.partition(",")
    if not comma or not head.lower().rstrip().endswith(";base64"):
        raise UsageError(f"image: must be data:image/...;base64,... received {address[:_SHOWN]}...")
    try:
        return base64.b64decode(unquote_to_bytes(text))
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"image: {address[:_SHOWN]}... is no whole base64 ({error}); it may be cut off") from error
