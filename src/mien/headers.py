"""What the first bytes of an encoded picture say, read without decoding it: size, whether it ends, whether it is plain.

JPEG and PNG are read here, in a few microseconds, because datasets have many of them; Pillow reads all others.
JPEG: ITU-T T.81, annex B. PNG: ISO/IEC 15948, clause 11.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"

_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_PNG_WITHOUT_ALPHA = (0, 2, 3)
_APP1 = 0xE1
_TURNED = re.compile(rb'tiff:Orientation(?:="|>)[2-8]')
"""Where XMP says that a picture is not upright, which OpenCV does not read. Pillow does; EXIF comes first there."""

_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a picture before it is decoded.

    Attributes:
        size_wh: width and height in pixels as stored; (0, 0) where the header is damaged.
        whole: whether the end of the picture is there.
        plain: whether OpenCV reads it right: no transparency, no orientation in XMP.
    """

    size_wh: tuple[int, int]
    whole: bool
    plain: bool


def read_header(data: bytes) -> Header | None:
    """Read a JPEG's or PNG's header; None for any other format."""
    if data.startswith(JPEG_START):
        return _read_jpeg(data)
    if data.startswith(PNG_START):
        return _read_png(data)
    return None


def is_heif(data: bytes) -> bool:
    """Whether these are the bytes of a HEIF file, such as a phone's HEIC."""
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def _read_jpeg(data: bytes) -> Header:
    """Walk from marker to marker up to the first scan."""
    size_wh, place, plain = (0, 0), 2, True
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF or marker in _ALONE:
            place += 1 if marker == 0xFF else 2
            continue
        if marker == _SCAN:
            return Header(size_wh, data.rfind(JPEG_END, place) >= 0, plain)
        if marker in _FRAMES and place + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, place + 5)
            size_wh = (width, height)
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        plain = plain and not (marker == _APP1 and _TURNED.search(data, place, end))
        place = end
    return Header(size_wh, False, plain)


def _read_png(data: bytes) -> Header:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return Header((0, 0), False, True)
    width, height = struct.unpack_from(">II", data, 16)
    before = data[33 : _find_pixels(data)]
    plain = data[25] in _PNG_WITHOUT_ALPHA and b"tRNS" not in before and not _TURNED.search(before)
    return Header((width, height), _ends(data), plain)


def _ends(data: bytes) -> bool:
    """Whether a PNG's chunks lead to its last one. OpenCV 5 reserves as much memory as a chunk says it is long."""
    place = len(PNG_START)
    while place + 12 <= len(data):
        kind = data[place + 4 : place + 8]
        place += 12 + int.from_bytes(data[place : place + 4])
        if kind == PNG_END:
            return place <= len(data)
    return False


def _find_pixels(data: bytes) -> int:
    place = data.find(b"IDAT", 33)
    return place if place >= 0 else len(data)
