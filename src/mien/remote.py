"""Videos and streams behind http(s) addresses, read through our own checked connections, never by FFmpeg's."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from mien.containers import HEAD, index_is_behind, is_video_head
from mien.decoders import DEFAULT_FPS, Decoder, open_decoder
from mien.errors import DataError, many
from mien.fetching import FetchLimits, Response, open_url
from mien.images import Image, decode

MULTIPART = "multipart/x-mixed-replace"
MAX_PART = 32 * 2**20
"""Bytes of one picture of a multipart stream at most."""

HLS = frozenset({"application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl"})
"""Content types of playlists, which name further addresses."""

SMALL_PART, MOST_SMALL_PARTS = 65_536, 100
"""Of parts with fewer bytes so many are asked for: a server could give one byte each."""

_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)", re.IGNORECASE)


class RemoteFile(io.RawIOBase):
    """A body as a file that FFmpeg reads, seekable where the server gives parts of it (RFC 9110, section 14).

    Where it does not, and the file cannot be read without, the whole body is kept in memory.

    It never raises, because what calls it cannot pass that on: it ends, and `failure` says why.

    Attributes:
        failure: what went wrong; None so far.
    """

    def __init__(self, url: str, limits: FetchLimits) -> None:
        """Open the address.

        Raises:
            DataError: it cannot be opened, or is no video; playlists are none. Or it has to be kept in memory and is
                larger than the limit.
        """
        self._url, self._limits = url, limits
        self._response, size = _open_parts(url, limits)
        self._parts = size is not None
        self._size = size if self._parts else self._response.length
        self._at = self._begun = 0
        self._patience = MOST_SMALL_PARTS
        self._rest: bytes | memoryview = self._read_head()
        self._whole = b""
        if not self._parts and index_is_behind(bytes(self._rest)):
            self._whole = self._read_whole()
            self._rest, self._size = memoryview(self._whole), len(self._whole)
        self.failure: DataError | None = None

    def _read_head(self) -> bytes:
        head = b""
        while len(head) < HEAD and (piece := self._response.read_piece()):
            head += piece
        if not is_video_head(head):
            self._response.close()
            raise DataError("does not begin as a video does")
        return head

    def _read_whole(self) -> bytes:
        body, largest, told = bytearray(self._rest), self._limits.max_bytes, self._size or 0
        with self._response:
            while max(len(body), told) <= largest and (piece := self._response.read_piece()):
                body += piece
        if max(len(body), told) > largest:
            raise DataError(
                "has its index at its end, and the server does not give parts of it; download it first "
                f"(at most {many(largest, 'byte is', 'bytes are')} kept in memory)"
            )
        if len(body) < told:
            raise DataError(f"the connection ended after {len(body):,} of {many(told, 'byte')}")
        return bytes(body)

    @property
    def live(self) -> bool:
        """Whether it has no length: a stream that goes on."""
        return self._size is None

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Whether the server gives parts, or all is here."""
        return self._parts or bool(self._whole)

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes; empty at the end, or where something went wrong."""
        if self._at == self._size or self.failure is not None:
            return b""
        self._rest = self._rest or self._next_piece()
        wanted = len(self._rest) if size is None or size < 0 else size
        piece, self._rest = bytes(self._rest[:wanted]), self._rest[wanted:]
        self._at += len(piece)
        return piece

    def _next_piece(self) -> bytes:
        """What comes next, from the next part where one has ended; empty at the end, or where something went wrong."""
        try:
            piece = self._response.read_piece()
            if not piece and self._parts and self._at > self._begun and self._patience:
                self._patience -= self._at - self._begun < SMALL_PART
                self._reopen(self._at)
                return self._next_piece() if self.failure is None else b""
        except DataError as error:
            self.failure = error
            return b""
        if not piece and self._size is not None:
            self.failure = DataError(f"the connection ended after {self._at:,} of {many(self._size, 'byte')}")
        return piece

    def readinto(self, buffer: Any, /) -> int:
        """See `io.RawIOBase`."""
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def tell(self) -> int:
        """The place in the file."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; the next read asks the server for what follows it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size or 0}.get(whence)
        if not self.seekable() or base is None:
            return self._at
        target = min(max(base + offset, 0), self._size or 0)
        ahead = target - self._at
        if self._whole:
            self._rest, self._at = memoryview(self._whole)[target:], target
        elif 0 <= ahead <= len(self._rest):
            self._rest = self._rest[ahead:]
            self._at = target
        elif target != self._size:
            self._reopen(target)
        else:
            self._response.close()
            self._rest, self._at = b"", target
        return self._at

    def _reopen(self, target: int) -> None:
        self._response.close()
        self._rest, self._at, self._begun = b"", target, target
        try:
            self._response = open_url(self._url, self._limits, {"Range": f"bytes={target}-"})
            if _part_of(self._response)[0] != target:
                raise DataError("the server stopped giving the parts of the file that are asked for")
        except DataError as error:
            self.failure = error

    def close(self) -> None:
        """Hang up."""
        self._response.close()
        super().close()


def _open_parts(url: str, limits: FetchLimits) -> tuple[Response, int | None]:
    """The file's first part, and the length of the whole; or the whole and None, where parts are of no use."""
    response = open_url(url, limits, {"Range": "bytes=0-"})
    first, size = _part_of(response)
    if response.status != 206 or (first == 0 and size is not None):
        return response, size
    response.close()
    return open_url(url, limits), None


def _part_of(response: Response) -> tuple[int | None, int | None]:
    """Where a part begins, and the length of the whole; None where the server does not say."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip()) if response.status == 206 else None
    if found is None:
        return None, None
    return int(found[1]), int(found[2]) if found[2] != "*" else None


class MultipartDecoder:
    """A stream of JPEG pictures in one body, as network cameras send it. See `mien.decoders.Decoder`."""

    def __init__(self, response: Response, max_pixels: int) -> None:
        self._response, self.max_pixels = response, max_pixels
        boundary = str(response.headers.get_param("boundary") or "")
        self._mark = b"--" + boundary.strip('"').removeprefix("--").encode()
        self._buffer = b""
        self.finished = False
        self.fps, self.exact = DEFAULT_FPS, False
        self.frames: int | None = None
        self.seconds: float | None = None
        self.end: float | None = None
        self.damaged = 0
        self.every = 1

    def __iter__(self) -> Iterator[tuple[float | None, Image]]:
        """See `Decoder`. Damaged pictures are passed over.

        Raises:
            DataError: nothing came in time, or a part is too large.
        """
        while (part := self._next_part()) is not None:
            try:
                image = decode(part, max_pixels=self.max_pixels)
            except DataError:
                continue
            yield None, image

    def _next_part(self) -> bytes | None:
        """The bytes of the next picture; None at the end."""
        if not self._read_until(self._mark):
            return None
        while len(self._buffer) < 2 and self._more():
            pass
        if self._buffer.startswith(b"--"):
            self.finished = True
            return None
        head = self._take(b"\r\n\r\n")
        if head is None:
            return None
        length = _LENGTH.search(head)
        return self._take_length(int(length[1])) if length else self._take(b"\r\n" + self._mark, keep=True)

    def _read_until(self, mark: bytes) -> bool:
        return self._take(mark) is not None

    def _take(self, mark: bytes, *, keep: bool = False) -> bytes | None:
        """What comes before `mark`, which is passed over unless it is to be kept; None where it does not come."""
        start = 0
        while (place := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark))
            if not self._more():
                return None
        taken = self._buffer[:place]
        self._buffer = self._buffer[place if keep else place + len(mark) :]
        return taken

    def _take_length(self, length: int) -> bytes | None:
        if length > MAX_PART:
            raise DataError(f"a picture of the stream has {many(length, 'byte')}; at most {MAX_PART:,} are taken")
        pieces, missing = [self._buffer], length - len(self._buffer)
        while missing > 0:
            piece = self._response.read_piece()
            if not piece:
                return None
            pieces.append(piece)
            missing -= len(piece)
        whole = b"".join(pieces)
        self._buffer = whole[length:]
        return whole[:length]

    def _more(self) -> bool:
        if len(self._buffer) > MAX_PART:
            raise DataError(f"a picture of the stream has more than the {MAX_PART:,} bytes that are taken")
        piece = self._response.read_piece()
        self._buffer += piece
        return bool(piece)

    def close(self) -> None:
        """Hang up."""
        self._response.close()


def is_moving(content_type: str) -> bool:
    """Whether a content type is that of a video or a stream."""
    return content_type == MULTIPART or content_type.startswith("video/") or content_type in HLS


def open_moving(url: str, limits: FetchLimits, *, backend: str, max_pixels: int) -> tuple[Callable[[], Decoder], bool]:
    """Open a video or stream behind an http(s) address.

    Returns:
        What makes its decoder, and whether it is live.

    Raises:
        DataError: it cannot be opened, or is a playlist while private addresses are not allowed.
    """
    response = open_url(url, limits)
    if response.content_type == MULTIPART:
        return lambda: MultipartDecoder(response, max_pixels), True
    response.close()
    if response.content_type in HLS or urlsplit(url).path.lower().endswith((".m3u8", ".m3u")):
        if not limits.allow_private:
            raise DataError(
                "is a playlist, whose addresses cannot be checked; allow private ones (--allow-private) if you trust it"
            )
        return lambda: open_decoder(url, backend, live=True, seconds=limits.seconds), True
    file = RemoteFile(url, limits)
    return lambda: open_decoder(file, backend, live=file.live, seconds=limits.seconds), file.live
