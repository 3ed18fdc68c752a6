"""Bodies of multipart/form-data, as pictures and videos come in: each part a file, all parts with the same name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from mien.server.problems import Problem

FIELD = "files"
"""Name of all parts."""

KIND = b"multipart/form-data"
BYTES = b"application/octet-stream"
"""A body that is one file, as ``image/...`` and ``video/...`` are."""

NAME_LENGTH = 255
"""Characters that are kept of a file's name."""

HEADER_BYTES = 8 * 1024
"""A part's headers may be so long."""


class Parts:
    """Takes what the multipart parser finds; its callbacks get a buffer, and where in it the piece stands.

    Subclasses say what becomes of a part in `_begin` and `_part_data`.

    Attributes:
        count: parts so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._ended = False
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._field, self._value = bytearray(), bytearray()

    @contextmanager
    def parser(self, options: Mapping[bytes, bytes]) -> Iterator[MultipartParser]:
        """What a body is written to, piece by piece; `options` are those of its Content-Type.

        Raises:
            Problem: 400: it cannot be parsed, or is cut off. Whatever the subclass refuses.
        """
        boundary = options.get(b"boundary")
        if not boundary:
            detail = "the header Content-Type names no boundary; leave that header to the library that builds the body"
            raise malformed(detail)
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data", "end")
        callbacks: Any = {f"on_{name}": getattr(self, f"_{name}") for name in names}
        try:
            parser = MultipartParser(boundary, callbacks)
            yield parser
            parser.finalize()
        except FormParserError as error:
            raise malformed(f"the multipart body cannot be parsed: {error}") from error
        if self.count and not self._ended:
            raise malformed("the multipart body is cut off: its last boundary is missing")

    def _begin(self, name: str) -> None:
        """A part begins, the file of this name, which may be empty."""
        raise NotImplementedError

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        """Some bytes of the part."""
        raise NotImplementedError

    def _part_begin(self) -> None:
        self.count += 1
        self._headers, self._header_bytes = {}, 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._value += data[start:end]

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > HEADER_BYTES:
            raise malformed(f"the part's headers have more than {HEADER_BYTES:,} bytes")

    def _header_end(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if disposition != b"form-data" or name != FIELD:
            detail = f"each part must be named {FIELD!r}, received one named {name[:64]!r}"
            raise Problem(422, "wrong-field", "A part has another name", detail)
        self._begin(options.get(b"filename", b"").decode("utf-8", "replace")[:NAME_LENGTH])

    def _end(self) -> None:
        self._ended = True


def malformed(detail: str) -> Problem:
    """400: the body cannot be parsed."""
    return Problem(400, "malformed", "The body cannot be parsed", detail)


def wrong_kind(allowed: str, kind: bytes) -> Problem:
    """415: the body is of another kind than the allowed ones, as its Content-Type says."""
    received = repr(kind[:64].decode("latin-1")) if kind else "none"
    detail = f"the header Content-Type must be {allowed}; received {received}"
    return Problem(415, "media-type", "Not a kind of body that is taken here", detail)
