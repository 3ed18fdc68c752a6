"""Files of the page on their way out: in pieces, compressed where that helps, not at all where the browser has them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response, StreamingResponse

CHECK_AGAIN = {"cache-control": "no-cache", "vary": "Accept-Encoding"}
"""Browsers keep files, and ask each time whether they have changed."""

PLAIN_LENGTH = "x-plain-length"
"""Bytes before compression: without it the page could not say how much of a large file is there."""

COMPRESSED = frozenset({"", ".css", ".html", ".js", ".json", ".mjs", ".svg", ".txt", ".wasm"})
"""Endings of files that become much smaller; networks and pictures do not."""

PIECE = 64 * 1024
"""Bytes handed over at once: a browser that reads slowly holds no more of a file in memory."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file's bytes, the same compressed (empty where that does not help), its media type and its ETag's text."""

    data: bytes
    packed: bytes
    kind: str
    tag: str


def asset(data: bytes, suffix: str, kind: str) -> Asset:
    """The file with these bytes; compressing a large one takes a second, so keep it."""
    packed = gzip.compress(data, 6, mtime=0) if suffix in COMPRESSED else b""
    helps = len(packed) < 0.9 * len(data)
    return Asset(data, packed if helps else b"", kind, hashlib.sha256(data).hexdigest())


def answer(found: Asset, request: Request) -> Response:
    """The file for whoever asked for it, or 304 where they have it."""
    packed = bool(found.packed) and takes_gzip(request.headers.get("accept-encoding", ""))
    tag = f'"{found.tag}-gzip"' if packed else f'"{found.tag}"'
    headers = {**CHECK_AGAIN, "etag": tag}
    if _unchanged(request, tag):
        return Response(status_code=304, headers=headers)
    data = found.packed if packed else found.data
    headers["content-length"] = str(len(data))
    if packed:
        headers |= {"content-encoding": "gzip", PLAIN_LENGTH: str(len(found.data))}
    return StreamingResponse(_pieces(b"" if request.state.head else data), headers=headers, media_type=found.kind)


def takes_gzip(accepted: str) -> bool:
    """Whether a browser that sent this ``Accept-Encoding`` reads gzip."""
    weights = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        weights[name.strip()] = weight.replace(" ", "").rstrip("0.") != "q="  # as in q=0, q=0.0
    return weights.get("gzip", weights.get("*", False))


def _unchanged(request: Request, tag: str) -> bool:
    """Whether the browser has the file with this ETag already."""
    asked = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    return tag in asked or asked == ["*"]


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    """The server asks for the next one once the browser has taken what came before."""
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]
