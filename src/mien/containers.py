"""What the bytes of a video file say, read without decoding: its kind, whether it is whole."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from mien.headers import is_heif

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".3g2"}
    | {".ts", ".mts", ".m2ts", ".ogv", ".asf", ".vob", ".m2v", ".f4v", ".mxf"}
    | {".mjpeg", ".mjpg", ".h264", ".hevc", ".y4m"}
)
"""File endings, in lower case, that are taken for videos."""

MARK = b"annotated by mien"
"""Stands in every picture and video that is written, so that a later run may replace it, does not read it as a source,
and touches no other."""

MARK_HEAD = 128
"""Bytes at the beginning of a picture in which the mark stands; in a video it stands at the end."""

HEAD = 600
"""Bytes that `is_video_head` looks at."""

_AVIF_BRANDS = (b"avif", b"avis")
_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_BEFORE = (b"ftyp", b"wide", b"free", b"skip", b"pnot", b"uuid")
_MATROSKA = b"\x1aE\xdf\xa3"
"""And WebM."""

_STARTS = (
    _MATROSKA,
    b"FLV\x01",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
    b"OggS",
)


def is_video_head(head: bytes) -> bool:
    """Whether a file's first bytes are those of MP4, QuickTime, Matroska, AVI, FLV, MPEG, WMV or Ogg.

    Playlists, which name further files, are none of these.
    """
    if head[4:8] == b"ftyp":
        return not is_heif(head) and head[8:12] not in _AVIF_BRANDS
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if len(head) > 388 and (head[0], head[188], head[376]) == (0x47,) * 3:
        return True  # MPEG transport stream
    if len(head) > 388 and (head[4], head[196], head[388]) == (0x47,) * 3:
        return True  # the same with timestamps, from cameras
    return head.startswith(_STARTS) or head[4:8] in _BOXES


def index_is_behind(head: bytes) -> bool:
    """Whether a file that begins so is an MP4 or QuickTime file with its pictures before its index.

    False where `head` is too short to say.
    """
    place = 0
    while place + 8 <= len(head):
        size, kind = struct.unpack_from(">I4s", head, place)
        if kind in (b"mdat", b"moov"):
            return bool(kind == b"mdat")
        if size < 8 or kind not in _BEFORE:
            return False
        place += size
    return False


def is_marked(path: Path) -> bool:
    """Whether a file holds `MARK`."""
    try:
        with path.open("rb", buffering=0) as file:
            if path.suffix.lower() != ".mp4":
                return MARK in file.read(MARK_HEAD)
            file.seek(max(0, os.fstat(file.fileno()).st_size - len(MARK)))
            return file.read(len(MARK)) == MARK
    except (OSError, ValueError):
        return False


def is_matroska(path: Path) -> bool:
    """Whether a file begins as Matroska and WebM do."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MATROSKA)) == _MATROSKA
    except (OSError, ValueError):
        return False


def is_whole_mp4(path: Path) -> bool:
    """Whether a file is an MP4 or QuickTime file whose boxes are all there (ISO/IEC 14496-12, section 4.2)."""
    try:
        with path.open("rb") as file:
            end, place, first = os.fstat(file.fileno()).st_size, 0, True
            while place + 8 <= end:
                file.seek(place)
                size, kind, large = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
                if first and kind != b"ftyp":
                    return False
                first, size = False, {0: end - place, 1: large}.get(size, size)
                place += max(size, 8)
    except (OSError, ValueError):
        return False
    return not first and place <= end
