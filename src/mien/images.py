"""From encoded bytes to pixels: decode, resize. Arrays are uint8, rows first, RGB where they have colour."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from mien.depths import bits_of, to_8_bits
from mien.errors import DataError, UsageError, many
from mien.headers import is_heif, read_header
from mien.inline import inline_bytes, is_inline

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jfif .png .bmp .webp .tif .tiff .pgm .ppm .gif .heic .heif .avif".split()  # noqa: SIM905
)
"""File endings, in lower case, that are taken for images."""

MAX_PIXELS = 89_000_000
"""Pictures with more pixels are refused before they are decoded, unless told otherwise: 267 MB as RGB. A little below
where Pillow begins to warn."""

LONGEST_PATH = 4096
"""Characters of a path, as Linux has it; longer texts are none."""

Image = NDArray[np.uint8]

ImageLike = NDArray[Any] | PIL.Image.Image | bytes | bytearray | memoryview | BinaryIO | str | Path
"""What is taken for a picture: pixels, a Pillow image, an image file's bytes, path, or the file opened for reading;
``data:image/...;base64,...``."""

_WHITE = (255, 255, 255, 255)
_ORIENTATION = 0x0112
"""EXIF's tag; Pillow puts that of XMP in its place."""

_TIFF_STARTS = (b"II*\0", b"MM\0*")
_TIFF_HINT = "; TIFFs are read with 8 or 16 bits a channel, of one channel with 32 bits or floating-point values too"

_PILLOW_FORMATS = (
    *("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "PPM", "GIF", "HEIF", "AVIF", "JPEG2000", "ICO", "CUR", "ICNS"),
    *("PCX", "DCX", "SGI", "SUN", "PSD", "QOI", "DDS", "MSP", "XBM", "XPM", "TGA"),
)
"""Not those of measurements rather than pictures, and not EPS, for which Pillow starts a program."""

PILLOW_ERRORS = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError),
    AttributeError,  # of a reader that gives up half-way
    RuntimeError,  # of AVIF's
)
"""What Pillow's readers raise on damaged files."""


def is_image_name(name: str) -> bool:
    """Whether a file or archive member is named like an image; hidden files (``._x.jpg``) are not."""
    base = name.replace("\\", "/").rpartition("/")[2]  # not Path: this runs for each of a million files
    stem, dot, ending = base.rpartition(".")
    return dot + ending.lower() in IMAGE_SUFFIXES and bool(stem) and not stem.startswith(".")


def decode(data: bytes, *, channels: int = 3, name: str = "image", max_pixels: int = MAX_PIXELS) -> Image:
    """Decode an encoded image, upright as its EXIF orientation says.

    16 bits a channel become 8, palettes and CMYK become RGB, transparent parts are laid on white; of an animation, the
    first picture is taken.

    Args:
        data: the bytes of a JPEG, PNG, BMP, WebP, TIFF, GIF, PPM, AVIF, JPEG 2000, ICO, TGA or another picture format
            that Pillow reads without a further program; HEIC where pillow-heif is installed.
        channels: 1 for grey, 3 for RGB.
        name: what the error calls the image.
        max_pixels: a picture with more is refused before it is decoded. Pillow's own limit, 179 million, holds beside
            it for everything but plain JPEG and PNG.

    Returns:
        uint8 (height, width) for one channel, (height, width, 3) RGB for three.

    Raises:
        DataError: the bytes cannot be decoded, end too early, or hold too many pixels.
    """
    header = read_header(data)
    if header is None:
        return _decode_with_pillow(data, channels, name, max_pixels)
    width, height = header.size_wh
    _refuse_large(width, height, max_pixels, name)
    if not width or not height:
        raise DataError("cannot be decoded as an image", [name])
    if not header.whole:
        raise DataError("cannot be decoded as an image: it is cut off, its end is missing", [name])
    if not header.plain:
        return _decode_with_pillow(data, channels, name, max_pixels)
    flag = cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR_RGB
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        image = None
    if image is None:
        raise DataError("cannot be decoded as an image", [name])
    return np.asarray(image, np.uint8)


def _refuse_large(width: int, height: int, max_pixels: int, *names: str) -> None:
    if width * height > max_pixels:
        raise DataError(f"{width} x {height} pixels are more than the {max_pixels:,} allowed (max_pixels)", names)


def _decode_with_pillow(data: bytes, channels: int, name: str, max_pixels: int) -> Image:
    """Decode what OpenCV does not read, or not right."""
    if is_heif(data):
        _register_heif(name)
    try:
        with PIL.Image.open(io.BytesIO(data), formats=_known_formats()) as opened:
            _refuse_large(*opened.size, max_pixels)
            image = to_rgb(opened)
    except DataError as error:
        raise DataError(str(error), [name]) from error
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise DataError(
            f"too many pixels for Pillow; PIL.Image.MAX_IMAGE_PIXELS is its limit ({error})", [name]
        ) from error
    except (*PILLOW_ERRORS, struct.error) as error:
        unknown = isinstance(error, PIL.UnidentifiedImageError) and data.startswith(_TIFF_STARTS)
        raise DataError(f"cannot be decoded as an image{_TIFF_HINT if unknown else ''}", [name]) from error
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) if channels == 1 else image


def _known_formats() -> list[str]:
    """Those of `_PILLOW_FORMATS` that this Pillow reads."""
    PIL.Image.init()
    return [name for name in _PILLOW_FORMATS if name in PIL.Image.OPEN]


def _register_heif(name: str) -> None:
    try:
        import pillow_heif
    except ImportError:
        raise DataError("is a HEIC picture, which needs a package: pip install 'mien[heic]'", [name]) from None
    pillow_heif.register_heif_opener()


def to_rgb(picture: PIL.Image.Image) -> Image:
    """Pixels of a Pillow image of any mode, upright as its EXIF orientation says.

    Returns:
        uint8 (height, width, 3) RGB: 16-bit values divided by 256, or by less where a TIFF says that fewer bits count
        (`mien.depths.bits_of`), floating and 32-bit ones (of one channel) as `mien.depths.to_8_bits` scales them,
        transparent parts laid on white.

    Raises:
        DataError: it is not known what is black and white; the message names no picture.
    """
    tags = getattr(picture, "tag_v2", {})
    picture.load()  # what is behind the pixels, too: PNG may have its orientation there
    if picture.getexif().get(_ORIENTATION, 1) != 1:
        picture = PIL.ImageOps.exif_transpose(picture)  # which copies in any case
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture)
        deep = picture.mode.startswith("I;16")
        grey = np.asarray(values >> bits_of(tags, values) - 8, np.uint8) if deep else to_8_bits(values)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", layer.size, _WHITE), layer)
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"), np.uint8)


def read_image(path: str | Path, *, channels: int = 3, max_pixels: int = MAX_PIXELS) -> Image:
    """Read and `decode` a file.

    Raises:
        DataError: the file cannot be read or decoded.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # a path may hold what no file's name can
        raise DataError(f"cannot be read ({getattr(error, 'strerror', error)})", [str(path)]) from error
    return decode(data, channels=channels, name=str(path), max_pixels=max_pixels)


def read_pixels(image: ImageLike, *, bgr: bool = False, max_pixels: int = MAX_PIXELS) -> Image:
    """Bring anything that is taken for a picture to uint8 RGB or grey.

    Args:
        image: an array, uint8 or uint16 (white is 65,535), (height, width), (height, width, 1), (height, width, 3) RGB
            or (height, width, 4) RGBA; a Pillow image; the bytes or the path of an image file, or the file opened for
            reading; the text ``data:image/...;base64,...``.
        bgr: whether the array's colours are in OpenCV's order, BGR or BGRA.
        max_pixels: see `decode`.

    Returns:
        uint8 (height, width) or (height, width, 3) RGB.

    Raises:
        UsageError: it is not a picture.
        DataError: it cannot be read or decoded.
    """
    if isinstance(image, str) and is_inline(image):
        return decode(inline_bytes(image), max_pixels=max_pixels)
    if isinstance(image, str | Path):
        _check_name(str(image))
        return read_image(image, max_pixels=max_pixels)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), max_pixels=max_pixels)
    if isinstance(image, PIL.Image.Image):
        _refuse_large(*image.size, max_pixels, "Pillow image")
        try:
            return to_rgb(image)
        except DataError as error:
            raise DataError(f"the Pillow image {error}") from error
        except (*PILLOW_ERRORS, struct.error) as error:
            raise DataError(f"the Pillow image cannot be decoded ({error})") from error
    if not isinstance(image, np.ndarray) and hasattr(image, "read"):
        data = image.read()
        if not isinstance(data, bytes):
            raise UsageError(f"image: the opened file gives {type(data).__name__}; open it for bytes, with mode 'rb'")
        return decode(data, max_pixels=max_pixels)
    return _from_array(image, bgr)


def _check_name(name: str) -> None:
    """Refuse text that is no path: nothing, or a picture in base64 without what says so."""
    if not name:
        raise UsageError("image: must be a picture's path, received an empty one")
    if len(name) > LONGEST_PATH:
        raise UsageError(
            f"image: must be a path or bytes, received a text of {many(len(name), 'character')}, longer than any path; "
            "if it is a picture in base64, decode it: base64.b64decode(image)"
        )


def check_several(images: object, single: str) -> None:
    """Refuse a single picture, or what is none, where a list of pictures belongs.

    Args:
        images: what was received.
        single: what to do with one picture.

    Raises:
        UsageError: says what was received.
    """
    one = isinstance(images, str | Path | bytes | bytearray | memoryview | PIL.Image.Image) or hasattr(images, "read")
    if isinstance(images, np.ndarray):
        one = images.ndim < 3 or (images.ndim == 3 and images.shape[2] in (1, 3, 4))
    if one or not isinstance(images, Iterable):
        shape = f" of shape {images.shape}" if isinstance(images, np.ndarray) else ""
        raise UsageError(f"images: must be a list of pictures, received {type(images).__name__}{shape}; {single}")


def _from_array(image: object, bgr: bool) -> Image:
    if not isinstance(image, np.ndarray):
        raise UsageError(f"image: must be an array, a Pillow image, bytes or a path, received {_what(image)}")
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
    deep = image.dtype.newbyteorder("=") == np.uint16
    if not (deep or image.dtype == np.uint8) or not fits or not image.size:
        raise UsageError(
            "image: must be uint8 or uint16 (height, width) or (height, width, 1, 3 or 4), received "
            f"{image.dtype} {image.shape}{_mending(image)}"
        )
    if deep and 127 < image.max() <= 255:  # less is noise of a camera in the dark
        raise UsageError(
            f"image: white is 65,535 in uint16, received no value above {image.max()}, which is black there; convert: "
            "image.astype('uint8')"
        )
    pixels = np.asarray(image >> 8 if deep else image, np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        return pixels[:, :, 0]
    if pixels.ndim == 3 and bgr:
        turn = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
        pixels = np.asarray(cv2.cvtColor(pixels, turn), np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return to_rgb(PIL.Image.fromarray(pixels))
    return pixels


def _what(image: object) -> str:
    """What was received that is no picture, and how to make one of it where that can be told."""
    if image is None:
        return "None, as cv2.imread gives for a file that it cannot read"
    mending = "; convert: numpy.asarray(image)" if hasattr(image, "__array__") else ""
    return type(image).__name__ + mending


def _mending(image: NDArray[Any]) -> str:
    """How to make a picture of an array that is none, where that can be told."""
    if not image.size or image.dtype.kind not in "bfiu":
        return ""
    if image.ndim == 3 and image.shape[0] in (1, 3, 4) and image.shape[2] not in (1, 3, 4):
        return "; channels come last: image.transpose(1, 2, 0)"
    if image.ndim == 4:
        return "; it holds several pictures, take one: image[0]"
    if image.dtype == np.uint8 or not (image.min() >= 0 and image.max() <= 255):
        return ""
    if image.dtype.kind in "bf" and image.max() <= 1:
        return "; multiply by 255 and convert: (255 * image).astype('uint8')"
    return "; convert: image.astype('uint8')"


def check_image(image: Image) -> Image:
    """Refuse what is not a decoded picture: uint8 (height, width), (height, width, 1) or (height, width, 3).

    Raises:
        UsageError: says what was received.
    """
    if not isinstance(image, np.ndarray):
        raise UsageError(f"image: must be a NumPy array, received {type(image).__name__}")
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3))
    if image.dtype != np.uint8 or not fits or not image.size:
        raise UsageError(
            f"image: must be uint8 (height, width) or (height, width, 1 or 3), received {image.dtype} {image.shape}"
        )
    return image


def resize(image: Image, size: int) -> Image:
    """Resize to a square: by area when shrinking, so that nothing aliases, linearly when enlarging.

    Args:
        image: uint8 (height, width) or (height, width, channels).
        size: side of the result in pixels.

    Returns:
        uint8 (size, size) or (size, size, channels); the image itself where it has that size.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    shrinks = height >= size and width >= size
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
