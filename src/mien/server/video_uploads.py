"""The body of ``POST /v1/videos``, multipart/form-data with one part, written to a private file as it comes."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from mien.containers import HEAD, is_video_head
from mien.frames import in_utf8
from mien.server.envelope import client_gone
from mien.server.problems import Problem, too_large
from mien.server.uploads import FIELD, NAME_LENGTH
from mien.server.video_store import open_private

FORMATS = "MP4, QuickTime, Matroska, WebM, AVI, FLV, MPEG, WMV or Ogg"
DEFAULT_NAME = "video"

PIECE = 2**20
"""Bytes that are gathered before they are written."""

HEADER_BYTES = 8 * 1024
"""The part's headers may be so long."""

NO_SPACE = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


async def receive_video(request: Request, path: Path, max_bytes: int) -> str:
    """Write the video to a new file that nobody else can read. Never more than `max_bytes`, whatever headers say.

    Returns:
        What the client calls it; to be shown, used for nothing.

    Raises:
        Problem: 400, 413, 415 or 422: it is not what it must be.
        OSError: the disk is full.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        detail = f"the body must be multipart/form-data with one part named {FIELD!r}"
        raise Problem(415, "media-type", "Not a kind of body that is taken here", detail)
    part = _Part(path, max_bytes)
    try:
        parser = MultipartParser(options.get(b"boundary", b""), part.callbacks())  # type: ignore[arg-type]
        await _feed(request, parser)
        parser.finalize()
        part.close()
    except FormParserError as error:
        raise _malformed(f"the multipart body cannot be parsed: {error}") from error
    except ClientDisconnect as error:
        raise client_gone() from error
    finally:
        part.close()
    part.check()
    return part.name


async def _feed(request: Request, parser: Any) -> None:
    """Hand the body over, in pieces worth a thread: disks can be slow."""
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= PIECE:
            await asyncio.to_thread(parser.write, bytes(waiting))
            waiting.clear()
    if waiting:
        await asyncio.to_thread(parser.write, bytes(waiting))


class _Part:
    """Takes what the multipart parser finds. Its callbacks get a buffer, and where in it the piece stands."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.name = DEFAULT_NAME
        self._file = os.fdopen(open_private(path), "wb")
        self._most = max_bytes
        self._size = self._parts = self._header_bytes = 0
        self._head = b""
        self._ended = False
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()

    def callbacks(self) -> dict[str, Any]:
        """By the parser's names."""
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data", "end")
        return {f"on_{name}": getattr(self, f"_{name}") for name in names}

    def check(self) -> None:
        """Whether all of it came, and it looks like a video.

        Raises:
            Problem: not.
        """
        if not self._ended and self._parts:
            raise _malformed("the multipart body is cut off: its last boundary is missing")
        if not self._parts:
            raise Problem(422, "no-video", "No video was sent", f"send one part named {FIELD!r}")
        if not self._size:
            raise Problem(422, "unreadable", "The picture or video cannot be read", "the file is empty")
        _check_head(self._head)

    def close(self) -> None:
        self._file.close()

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > 1:
            detail = f"one video a request: exactly one part named {FIELD!r}; send others in requests of their own"
            raise Problem(422, "too-many-videos", "More than one video", detail)

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > HEADER_BYTES:
            raise _malformed(f"the part's headers have more than {HEADER_BYTES:,} bytes")

    def _header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if disposition != b"form-data" or name != FIELD:
            detail = f"the part must be named {FIELD!r}, received one named {name[:64]!r}"
            raise Problem(422, "wrong-field", "A part has another name", detail)
        given = options.get(b"filename", b"").decode("utf-8", "replace")
        self.name = in_utf8(given)[:NAME_LENGTH] or DEFAULT_NAME

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._most:
            raise too_large(f"the video has more than the {self._most:,} bytes allowed", max_bytes=self._most)
        if len(self._head) < HEAD:
            self._head += data[start : min(end, start + HEAD - len(self._head))]
            if len(self._head) == HEAD:
                _check_head(self._head)
        self._file.write(data[start:end])

    def _end(self) -> None:
        self._ended = True


def _check_head(head: bytes) -> None:
    if not is_video_head(head):
        detail = f"the bytes are no video that is taken here: must be {FORMATS}"
        raise Problem(415, "not-a-video", "Not a video", detail)


def no_room() -> Problem:
    """503: the disk is full."""
    detail = "the disk for videos has no room left; try again later"
    return Problem(503, "no-room", "No room", detail, {"Retry-After": "60"})


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed", "The body cannot be parsed", detail)
