"""Uploaded bytes to pixels. A file is what its first bytes say; only plain picture formats are opened at all."""

from __future__ import annotations

import io
import logging

import numpy as np
import PIL.Image

from mien.containers import HEAD, is_video_head
from mien.errors import DataError
from mien.headers import JPEG_START, PNG_START, is_heif, read_header
from mien.images import Image, decode
from mien.server.problems import Problem, problem_of

FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF or HEIC"
"""What is taken. Pillow reads dozens more, one of them (EPS) by starting another program."""

_PILLOW_FORMATS = ("GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "HEIF", "JPEG", "MPO", "PNG")
_STARTS = (JPEG_START, PNG_START, b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
_AVIF_BRANDS = (b"avif", b"avis", b"mif1")
UNKNOWN_SIZE = (0, 0)
log = logging.getLogger("mien.server")

MOST_SCANS = 100
"""A progressive JPEG has about ten scans. Each takes as long as the whole picture, and may take but a few bytes."""

MOST_CHUNKS = 50_000
"""A PNG of 32 MB has some thousands."""

_KEPT_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")

MOST_SEGMENTS = 10_000
"""A JPEG of 32 MB whose metadata fill it has some hundreds."""

_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MARKERS = np.zeros(256, bool)
_MARKERS[0xC0:0xD0] = _MARKERS[0xD9:0xFF] = True
"""The bytes that make a marker of a 0xFF before them. Restart markers have no length, and stand within a scan."""

_WINDOW = 2**12


def check_format(data: bytes) -> None:
    """Refuse what does not begin like a picture.

    Raises:
        Problem: 422, or 415 for other formats.
    """
    if not data:
        raise unreadable("the file is empty")
    if not is_picture_head(data):
        detail = f"the bytes are no picture that is taken here: must be {FORMATS}"
        if is_video_head(data[:HEAD]):
            detail = "it is a video, not a picture; POST /v1/videos takes videos"
        raise Problem(415, "not-a-picture", "Not a picture", detail)
    if data.startswith(JPEG_START) and data.count(_SCAN) > MOST_SCANS:
        _check_scans(data)


def is_picture_head(head: bytes) -> bool:
    """Whether a file's first bytes are those of one of `FORMATS`."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    avif = head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS
    return head.startswith(_STARTS) or webp or avif or is_heif(head)


def _check_scans(jpeg: bytes) -> None:
    """Refuse many scans. What stands in segments, or behind the end as the video of a phone's picture does, is none.

    Raises:
        Problem: 422.
    """
    scans, place = 0, 2
    for _ in range(MOST_SEGMENTS):
        place = _next_marker(jpeg, place)
        marker = jpeg[place : place + 2]
        if marker in (b"", _END):
            return
        scans += marker == _SCAN
        if scans > MOST_SCANS:
            raise unreadable(f"more than {MOST_SCANS} scans in a JPEG; save it again as a plain one")
        place += 2 + max(2, int.from_bytes(jpeg[place + 2 : place + 4]))
    raise unreadable(f"more than {MOST_SEGMENTS:,} segments in a JPEG; save it again as a plain one")


def _next_marker(jpeg: bytes, place: int) -> int:
    """Where the next marker begins, from a place on; the length of the whole where there is none."""
    for start in range(place, len(jpeg) - 1, _WINDOW - 1):
        window = np.frombuffer(jpeg, np.uint8, min(_WINDOW, len(jpeg) - start), start)
        found = np.flatnonzero((window[:-1] == 0xFF) & _MARKERS[window[1:]])
        if found.size:
            return start + int(found[0])
    return len(jpeg)


def plain_png(data: bytes) -> bytes:
    """A PNG without what its pixels do not need: texts, colour profiles, animation. What is no PNG stays as it is.

    OpenCV 5 reserves as many bytes as a chunk says it has, up to four gigabytes, before it looks whether they are
    there, and unpacks profiles however large.

    Raises:
        Problem: 422: a chunk reaches beyond the end, or there are very many.
    """
    if not data.startswith(PNG_START):
        return data
    kept, place, kind = [PNG_START], len(PNG_START), b""
    for _ in range(MOST_CHUNKS):
        length, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        end = place + 12 + length
        if end > len(data):
            raise unreadable("cannot be decoded as an image: it is cut off, its end is missing")
        if kind in _KEPT_CHUNKS:
            kept.append(data[place:end])
        if kind == b"IEND":
            return b"".join(kept)
        place = end
    raise unreadable(f"more than {MOST_CHUNKS:,} chunks in a PNG; save it again")


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height as the header says, before anything is decoded; `UNKNOWN_SIZE` where it is damaged."""
    header = read_header(data)
    if header is not None:
        return header.size_wh
    if is_heif(data):
        _register_heif()
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_known_formats()) as opened:
            return opened.size
    except Exception:  # whatever a reader raises on damaged bytes: each has errors of its own
        return UNKNOWN_SIZE


def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def _known_formats() -> list[str]:
    PIL.Image.init()
    return [name for name in _PILLOW_FORMATS if name in PIL.Image.OPEN]


def check_size(size_wh: tuple[int, int], max_pixels: int) -> None:
    """Refuse too many pixels.

    Raises:
        Problem: 413.
    """
    width, height = size_wh
    if width * height > max_pixels:
        detail = f"{width} x {height} pixels are more than the {max_pixels:,} allowed"
        raise Problem(413, "too-large", "Too large", detail, max_pixels=max_pixels)


def decode_picture(data: bytes, max_pixels: int) -> Image:
    """Decode, upright.

    Returns:
        uint8 (height, width, 3) RGB.

    Raises:
        Problem: 422: the bytes cannot be decoded.
    """
    data = plain_png(data)
    try:
        return decode(data, name="", max_pixels=max_pixels)
    except DataError as error:
        raise problem_of(error) from error
    except MemoryError as error:
        raise Problem(413, "too-large", "Too large", "the picture does not fit into memory") from error
    except Exception as error:  # a reader's own error on damaged bytes
        log.info("decoding", extra={"error": type(error).__name__})
        raise unreadable("cannot be decoded as an image") from error


def unreadable(detail: str) -> Problem:
    """422: it looks like a picture, but is none."""
    return Problem(422, "unreadable", "The picture or video cannot be read", detail)
