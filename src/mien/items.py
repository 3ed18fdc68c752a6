"""What a source turns out to be: one item for each thing to read."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from mien.pictures import Archive


class Kind(Enum):
    """What an item is, and so how it is read."""

    PICTURE = "picture"
    MEMBER = "member"
    VIDEO = "video"
    ADDRESS = "address"
    STREAM = "stream"
    WEBCAM = "webcam"
    BROKEN = "broken"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to read.

    Attributes:
        kind: what it is.
        name: what it is called, as `mien.frames.in_utf8` gives it.
        place: see `mien.frames.Frame.place`.
        path: the file; None for what is none.
        address: the http(s) or rtsp address, with its password.
        number: the webcam's number, or the member's place in its archive.
        archive: the archive that holds it.
        reason: what is wrong, for `BROKEN` and `MISSING`.
        data: a picture's bytes where they were read already.
        file: a video that was opened already; it is closed by whoever reads it.
    """

    kind: Kind
    name: str
    place: str = ""
    path: Path | None = None
    address: str = ""
    number: int = 0
    archive: Archive | None = None
    reason: str = ""
    data: bytes = field(default=b"", repr=False)
    file: io.RawIOBase | None = None
