"""Small videos for tests: frame i is grey of level 16 + 3 * i, with a white block in its upper left corner."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from mien.images import Image

MILLISECOND = Fraction(1, 1000)


def level(index: int) -> int:
    return 16 + 3 * index % 200


def picture(index: int, size_wh: tuple[int, int] = (64, 48)) -> Image:
    width, height = size_wh
    image = np.full((height, width, 3), level(index), np.uint8)
    image[: height // 4, : width // 4] = 255
    return image


def noise(count: int) -> list[Image]:
    """Pictures that do not compress, so that a video's bytes are spread evenly over its frames."""
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(count)]


def write_clip(
    path: Path,
    frames: int | Sequence[Image] = 30,
    *,
    stamps: Iterable[int] | None = None,
    rotation: int = 0,
    codec: str = "libx264",
    pixels: Fraction | None = None,
    interlaced: bool = False,
    **options: str,
) -> Path:
    """Write a video with PyAV: 30 frames a second, or at these milliseconds; `rotation` is its display matrix's.

    `pixels`: how many times as wide as high they are shown.
    """
    import av

    pictures = [picture(index) for index in range(frames)] if isinstance(frames, int) else frames
    with av.open(str(path), "w", options=options) as container:
        fields = {"flags": "+ilme+ildct"} if interlaced else {}
        stream = container.add_stream(codec, rate=30, options={"g": "10", **fields})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if pixels is not None:
            stream.sample_aspect_ratio = pixels
        if rotation:
            stream.set_display_rotation(rotation)
        if stamps is not None:
            stream.codec_context.time_base = MILLISECOND
        for image, stamp in zip(pictures, stamps or range(len(pictures)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 30) if stamps is None else MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """Cut a file's end off."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def jpeg(value: int, size_wh: tuple[int, int] = (32, 24)) -> bytes:
    image = np.full((size_wh[1], size_wh[0], 3), value, np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def shown(path: Path) -> tuple[list[float], float]:
    """(Times of the frames in seconds, length in seconds), as PyAV reads them."""
    import av

    with av.open(str(path)) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        return times, float(stream.duration * stream.time_base)
