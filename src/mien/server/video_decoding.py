"""Decoding an uploaded video in a process of its own: ``python -m mien.server.video_decoding``.

Files come from anybody, and decoders are written in C. Here a file that crashes its decoder, fills its memory or keeps
it busy for ever takes nothing else with it: the service ends this process when it likes. It has the video open and
nothing else: it can open no further file and no connection, and write no file.

The service writes a JSON line to stdin and keeps that open as long as it lives. On stdout come messages: their length
as four bytes, big-endian, JSON of that length; after one that announces a frame, its pixels.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from io import FileIO
from typing import IO, Any

import PIL.Image

from mien.animations import AnimationDecoder, may_move, moves
from mien.containers import HEAD
from mien.decoders import Decoder, LargeFrameError, has_pyav, open_decoder, refuse_large
from mien.errors import DataError, many
from mien.frames import reason
from mien.pyav_decoder import open_container
from mien.videos import read_video

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,mpegvideo,asf,ogg"
"""FFmpeg's names of the containers that are taken: those that hold all of their video themselves."""

OPENCV_OPTIONS = f"protocol_whitelist;file|format_whitelist;{FORMATS}"
"""The same for OpenCV's FFmpeg, which reads it from the environment."""

A_PICTURE = "it is a picture, not a video; POST /v1/analyze takes pictures"
"""Why a picture is refused."""

AHEAD = 4
"""Frames that are decoded ahead."""

LENGTH = struct.Struct(">I")


class Refused(Exception):  # noqa: N818
    """The video is beyond a limit, or none; `kind` is that of the problem."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def main() -> None:
    """Decode what the line on stdin asks for: its keys are those of `mien.server.video_reading.Limits`, and more."""
    asked = json.loads(_first_line())
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between
    threading.Thread(target=_end_with_service, daemon=True).start()
    for message, pixels in _answer(asked):
        _send(out, message, pixels)
    os._exit(0)


def _answer(asked: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Messages, and pixels with those that announce a frame; the last one is ``end`` or ``error``."""
    try:
        opening = _open(asked)
        frames = _frames(opening, asked)
        if asked["probe"]:
            yield next(frames)
        else:
            yield from frames
        yield {"end": True}, None
    except Refused as refused:
        yield {"error": str(refused), "kind": refused.kind}, None
    except DataError as error:
        kind = "too-large" if isinstance(error, LargeFrameError) else "unreadable"
        yield {"error": reason(error), "kind": kind}, None
    except MemoryError:
        yield {"error": "it takes too much memory to decode", "kind": "too-large"}, None


def _open(asked: dict[str, Any]) -> Decoder:
    """Open the video, with nothing else within reach."""
    file = FileIO(asked["path"])
    if may_move(file.read(HEAD)):
        return _open_animation(file, asked["memory"])
    if not has_pyav():
        file.close()
        _confine(asked["memory"], files=4)
        return open_decoder(asked["path"], "opencv")
    _import_pyav()
    file.seek(0)
    _confine(asked["memory"], files=0)
    _check_header(file, asked["max_pixels"])
    file.seek(0)
    return open_decoder(file, "pyav")


def _open_animation(file: FileIO, memory: int) -> Decoder:
    PIL.Image.init()  # it would import its readers when it needs them
    _confine(memory, files=0)
    file.seek(0)
    if not moves(file):
        raise Refused("not-a-video", A_PICTURE)
    file.seek(0)
    return AnimationDecoder(file)


def _import_pyav() -> None:
    """All of it: once confined, this process can import nothing more."""
    import av

    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith(("__main__", ".datasets")):
            importlib.import_module(module.name)


def _check_header(file: FileIO, max_pixels: int) -> None:
    """Refuse other containers than `FORMATS`, and frames that are too large before one is decoded."""
    import av

    options = {"format_whitelist": FORMATS, "protocol_whitelist": "crypto,data"}
    try:
        with open_container(file, options=options) as container:
            video = container.streams.best("video")
            context = video.codec_context if video is not None else None
            width, height = (context.width, context.height) if context is not None else (0, 0)
    except (av.FFmpegError, OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or type(error).__name__
        raise DataError(f"cannot be opened as a video ({detail})") from error
    refuse_large(width, height, max_pixels)


def _frames(decoder: Decoder, asked: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """The frames within limits; before the first what is known of the video."""
    most_frames, most_seconds = asked["max_frames"], asked["max_seconds"]
    for frame in read_video("video", lambda: decoder, ahead=AHEAD, max_pixels=asked["max_pixels"]):
        height, width = frame.image.shape[:2]
        time = frame.time or 0.0
        if time > most_seconds or frame.index >= most_frames:
            raise Refused(
                "too-long",
                f"it is longer than the {many(most_seconds, 'second')} or {many(most_frames, 'frame')} allowed",
            )
        clip = frame.clip
        if frame.index == 0 and clip is not None:
            about = {"fps": clip.fps, "frames": clip.frames, "size_wh": clip.size_wh}
            yield {"clip": about}, None
        yield {"index": frame.index, "time": time, "size_wh": (width, height)}, frame.image


def _confine(memory: int, *, files: int) -> None:
    """Bound the memory, and let this process open only so many files or connections more; write none, dump none."""
    if sys.platform == "win32":
        return
    import resource

    lowest_free = os.dup(0)
    os.close(lowest_free)
    wanted = {"RLIMIT_DATA": memory, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": lowest_free + files}
    for name, most in wanted.items():
        limit = getattr(resource, name)
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError) if name == "RLIMIT_DATA" else nullcontext():  # not every system bounds memory
            resource.setrlimit(limit, (most, most))


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            os._exit(1)
        line += piece
    return line


def _end_with_service() -> None:
    """Whatever the decoder does: without the service there is nobody to stop it."""
    os.read(0, 1)
    os._exit(1)


def _send(out: IO[bytes], message: dict[str, Any], pixels: Any) -> None:
    data = json.dumps(message).encode()
    out.write(LENGTH.pack(len(data)) + data)
    if pixels is not None:
        out.write(memoryview(pixels).cast("B"))
    out.flush()


if __name__ == "__main__":
    main()
