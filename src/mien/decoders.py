"""Video files and streams to frames, by PyAV or by OpenCV: as they are shown, in that order, with their timestamps."""

from __future__ import annotations

import io
import time
from importlib.util import find_spec

from mien.animations import AnimationDecoder, is_animation
from mien.decoding import DEFAULT_FPS, Decoder, LargeFrameError, Place, raise_failure, refuse_large
from mien.errors import DataError, MissingExtraError
from mien.opencv_decoder import OpenCVDecoder, quiet
from mien.pyav_decoder import PyAVDecoder

__all__ = [
    "DEFAULT_FPS",
    "Decoder",
    "LargeFrameError",
    "OpenCVDecoder",
    "Place",
    "PyAVDecoder",
    "has_pyav",
    "open_decoder",
    "quiet",
    "refuse_large",
]


def has_pyav() -> bool:
    """Whether the extra ``video`` is installed."""
    return find_spec("av") is not None


def open_decoder(place: Place, backend: str = "auto", *, live: bool = False, seconds: float = 15.0) -> Decoder:
    """Open a video.

    Args:
        place: a path (animated GIF, WebP, PNG and AVIF always by Pillow), an address, a webcam's number (always
            OpenCV), or a file object, which the decoder closes.
        backend: one of `mien.frames.VIDEO_BACKENDS`.
        live: decode each frame as it comes, without waiting for later ones.
        seconds: how long a stream may keep silent.

    Raises:
        DataError: it cannot be opened, or holds no video.
        MissingExtraError: PyAV was asked for and is not installed.
    """
    if backend == "pyav" and not has_pyav():
        raise MissingExtraError("video_backend 'pyav'", "video")
    begun = time.monotonic()
    if isinstance(place, str) and is_animation(place):
        return AnimationDecoder(place)
    try:
        if isinstance(place, int) or backend == "opencv" or not has_pyav():
            return OpenCVDecoder(place, seconds=seconds)
        return PyAVDecoder(place, live=live, seconds=seconds)
    except DataError as error:
        if isinstance(place, io.RawIOBase):
            place.close()
            raise_failure(place)
        if isinstance(place, str) and "://" in place and time.monotonic() - begun >= seconds:
            raise DataError(f"did not answer within the {seconds:g} s allowed") from error  # "invalid data" to FFmpeg
        raise
