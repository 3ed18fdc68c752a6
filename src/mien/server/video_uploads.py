"""The body of ``POST /v1/videos``, one part of multipart/form-data or the video as it is, written to a private file."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from mien.animations import may_move
from mien.containers import HEAD, is_video_head
from mien.errors import many
from mien.files import FULL
from mien.server.decoding import is_picture_head
from mien.server.envelope import client_gone
from mien.server.multipart import BYTES, FIELD, KIND, Parts, wrong_kind
from mien.server.problems import Problem, not_a_video, too_large
from mien.server.video_decoding import A_PICTURE
from mien.server.video_store import open_private

FORMATS = "MP4, QuickTime, Matroska, WebM, AVI, FLV, MPEG, WMV or Ogg, or an animated GIF, WebP, PNG or AVIF"
DEFAULT_NAME = "video"

PIECE = 2**20
"""Bytes that are gathered before they are written."""

NO_SPACE = (*FULL, errno.EFBIG)


async def receive_video(request: Request, path: Path, max_bytes: int) -> str:
    """Write the video to a new file that nobody else can read. Never more than `max_bytes`, whatever headers say.

    Returns:
        What the client calls it; to be shown, used for nothing.

    Raises:
        Problem: 400, 413, 415 or 422: it is not what it must be.
        OSError: the disk is full.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != KIND and kind != BYTES and not kind.startswith((b"video/", b"image/")):
        allowed = f"multipart/form-data with one part named {FIELD!r}, or video/mp4 and the like: the body is the video"
        raise wrong_kind(allowed, kind)
    video = _Video(path, max_bytes)
    with closing(video), video.writer(kind, options) as write:
        try:
            await _feed(request, write)
        except ClientDisconnect as error:
            raise client_gone() from error
    video.check()
    return video.name


async def _feed(request: Request, write: Callable[[bytes], object]) -> None:
    """Hand the body over, in pieces worth a thread: disks can be slow."""
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= PIECE:
            await asyncio.to_thread(write, bytes(waiting))
            waiting.clear()
    if waiting:
        await asyncio.to_thread(write, bytes(waiting))


class _Video(Parts):
    """Writes the one part to a file."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        super().__init__()
        self.name = DEFAULT_NAME
        self._file = os.fdopen(open_private(path), "wb")
        self._most = max_bytes
        self._size = 0
        self._head = b""

    @contextmanager
    def writer(self, kind: bytes, options: Mapping[bytes, bytes]) -> Iterator[Callable[[bytes], object]]:
        """What takes the body, piece by piece; `kind` and `options` are its Content-Type.

        Raises:
            Problem: 400: a multipart body cannot be parsed.
        """
        if kind == KIND:
            with self.parser(options) as parser:
                yield parser.write
        else:
            self.count = 1
            yield lambda data: self._part_data(data, 0, len(data))

    def check(self) -> None:
        """Whether something came that looks like a video.

        Raises:
            Problem: not.
        """
        if not self.count:
            raise Problem(422, "no-video", "No video was sent", f"send one part named {FIELD!r}")
        if not self._size:
            raise Problem(422, "unreadable", "The picture or video cannot be read", "the file is empty")
        _check_head(self._head)

    def close(self) -> None:
        self._file.close()

    def _part_begin(self) -> None:
        super()._part_begin()
        if self.count > 1:
            detail = f"one video a request: exactly one part named {FIELD!r}; send others in requests of their own"
            raise Problem(422, "too-many-videos", "More than one video", detail)

    def _begin(self, name: str) -> None:
        self.name = name or DEFAULT_NAME

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._most:
            raise too_large(f"the video has more than the {many(self._most, 'byte')} allowed", max_bytes=self._most)
        if len(self._head) < HEAD:
            self._head += data[start : min(end, start + HEAD - len(self._head))]
            if len(self._head) == HEAD:
                _check_head(self._head)
        self._file.write(data[start:end])


def _check_head(head: bytes) -> None:
    if is_video_head(head) or may_move(head):
        return
    if is_picture_head(head):
        raise not_a_video(A_PICTURE)
    raise not_a_video(f"the bytes are no video that is taken here: must be {FORMATS}")


def no_room() -> Problem:
    """503: the disk is full."""
    detail = "the disk for videos has no room left; try again later"
    return Problem(503, "no-room", "No room", detail, {"Retry-After": "60"})
