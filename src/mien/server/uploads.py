"""Bodies with pictures, read into memory within limits: multipart/form-data, JSON, or one picture as it is.

Nothing is written to disk.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from fastapi import Request
from python_multipart.multipart import parse_options_header

from mien.errors import many
from mien.server.limits import Bound
from mien.server.multipart import BYTES, FIELD, KIND, NAME_LENGTH, Parts, malformed, wrong_kind
from mien.server.problems import Problem, too_large

DATA_ADDRESS = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
"""What browsers write before base64: ``data:image/png;base64,``."""

BLOCKING_BYTES = 256 * 1024
"""JSON longer than this is parsed in a thread, so that others do not wait for it."""


@dataclass(eq=False, slots=True)
class Upload:
    """A picture as it came.

    Attributes:
        name: what the client calls it; shown in the answer, used for nothing.
        data: its bytes; or what is wrong with it.
    """

    name: str
    data: bytes | bytearray | Problem


@asynccontextmanager
async def pictures(request: Request, max_images: int, memory: Bound) -> AsyncIterator[list[Upload]]:
    """The pictures of a request; their bytes count in `memory` for the body's time.

    Raises:
        Problem: 400, 413, 415, 422 or 503.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    readers = {KIND: _read_multipart, b"application/json": _read_json, BYTES: _read_bytes}
    reader = _read_bytes if kind.startswith(b"image/") else readers.get(kind)
    if reader is None:
        allowed = "multipart/form-data, application/json, or image/jpeg and the like where the body is one picture"
        raise wrong_kind(allowed, kind)
    held = _Held(memory)
    try:
        yield await reader(request, options, max_images, held)
    finally:
        held.release()


class _Held:
    """Bytes of one request within a bound."""

    def __init__(self, memory: Bound) -> None:
        self._memory = memory
        self._count = 0

    def take(self, count: int) -> None:
        self._memory.take(count)
        self._count += count

    def release(self) -> None:
        self._memory.give(self._count)
        self._count = 0


class _Pictures(Parts):
    """Keeps the parts in memory."""

    def __init__(self, max_images: int) -> None:
        super().__init__()
        self.uploads: list[Upload] = []
        self._max_images = max_images
        self._data = bytearray()

    def _part_begin(self) -> None:
        super()._part_begin()
        if self.count > self._max_images:
            raise too_many(self._max_images)

    def _begin(self, name: str) -> None:
        self._data = bytearray()
        self.uploads.append(Upload(name or default_name(len(self.uploads)), self._data))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]


def default_name(index: int) -> str:
    """What a picture without a name is called: the first is ``image-1``."""
    return f"image-{index + 1}"


def too_many(most: int) -> Problem:
    """413: more pictures than a request may hold."""
    return too_large(f"more than {many(most, 'picture')} in one request; send them in several", max_images=most)


def _none_sent() -> Problem:
    return Problem(422, "no-pictures", "No picture was sent", f"send at least one part named {FIELD!r}")


async def _read_multipart(request: Request, options: dict[bytes, bytes], max_images: int, held: _Held) -> list[Upload]:
    parts = _Pictures(max_images)
    with parts.parser(options) as parser:
        async for chunk in request.stream():
            held.take(len(chunk))
            if chunk:
                parser.write(chunk)
    if not parts.uploads:
        raise _none_sent()
    return parts.uploads


async def _read_bytes(request: Request, options: dict[bytes, bytes], max_images: int, held: _Held) -> list[Upload]:
    del options, max_images
    body = bytearray()
    async for chunk in request.stream():
        held.take(len(chunk))
        body += chunk
    return [Upload(default_name(0), body)]


async def _read_json(request: Request, options: dict[bytes, bytes], max_images: int, held: _Held) -> list[Upload]:
    del options
    body = bytearray()
    async for chunk in request.stream():
        held.take(2 * len(chunk))  # the text, and what it says
        body += chunk
    if len(body) < BLOCKING_BYTES:
        return parse_json(body, max_images)
    return await asyncio.to_thread(parse_json, body, max_images)


def parse_json(body: bytes | bytearray, max_images: int) -> list[Upload]:
    """``{"images": [{"data": "<base64>", "name": "a.png"}]}``.

    Raises:
        Problem: 400 where it is not JSON, 413 or 422 where it is something else.
    """
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise malformed(f"the body is not JSON: {error}") from error
    images = _checked_keys(document, {"images"}, {"images"}, "the body")["images"]
    if not isinstance(images, list):
        raise _unlike("images: must be a list")
    if not images:
        raise Problem(422, "no-pictures", "No picture was sent", "images: must hold at least one picture")
    if len(images) > max_images:
        raise too_many(max_images)
    return [_read_image(image, index) for index, image in enumerate(images)]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def _checked_keys(value: object, known: set[str], needed: set[str], where: str) -> dict[str, Any]:
    """The value, if it is a JSON object with these keys."""
    if not isinstance(value, dict):
        raise _unlike(f"{where}: must be a JSON object")
    if "url" in value or "uri" in value:
        detail = f"{where}: nothing is fetched from addresses here; send the picture's bytes as base64 in 'data'"
        raise Problem(422, "no-addresses", "Addresses are not fetched", detail)
    if set(value) - known or needed - set(value):
        received = ", ".join(repr(name[:64]) for name in sorted(value)[:8]) or "none"
        raise _unlike(f"{where}: may have the keys {', '.join(sorted(known))}, received {received}")
    return value


def _unlike(detail: str) -> Problem:
    return Problem(422, "wrong-body", "The body is not what it must be", detail)


def _read_image(image: object, index: int) -> Upload:
    where = f"images[{index}]"
    given = _checked_keys(image, {"data", "name"}, {"data"}, where)
    name, text = given.get("name", default_name(index)), given["data"]
    if not isinstance(name, str) or not isinstance(text, str):
        raise _unlike(f"{where}: data and name must be strings")
    name = name[:NAME_LENGTH] or default_name(index)
    try:
        return Upload(name, base64.b64decode(_bare(text), validate=True))
    except (binascii.Error, ValueError):
        detail = "data: must be base64 (RFC 4648), with or without line breaks and 'data:image/...;base64,' before it"
        return Upload(name, Problem(422, "unreadable", "The picture or video cannot be read", detail))


def _bare(text: str) -> str:
    """Base64 without what many libraries put around it: a data address before it, line breaks within."""
    address = DATA_ADDRESS.match(text)
    bare = text[address.end() :] if address else text
    return "".join(bare.split()) if any(space in bare for space in "\n\r \t") else bare
