"""Uploaded bytes to pixels. A file is what its first bytes say; only plain picture formats are opened at all."""

from __future__ import annotations

import io
import logging

import PIL.Image

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
_SCAN = b"\xff\xda"


def check_format(data: bytes) -> None:
    """Refuse what does not begin like a picture.

    Raises:
        Problem: 422, or 415 for other formats.
    """
    if not data:
        raise unreadable("the file is empty")
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    avif = data[4:8] == b"ftyp" and data[8:12] in _AVIF_BRANDS
    if not (data.startswith(_STARTS) or webp or avif or is_heif(data)):
        detail = f"the bytes are no picture that is taken here: must be {FORMATS}"
        raise Problem(415, "not-a-picture", "Not a picture", detail)
    if data.startswith(JPEG_START) and data.count(_SCAN) > MOST_SCANS:
        raise unreadable(f"more than {MOST_SCANS} scans in a JPEG; save it again as a plain one")


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
