"""Bodies as they come in: not more bytes than allowed, not slower than allowed, whatever their headers say."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope

from mien.errors import many
from mien.server.problems import Problem, too_large
from mien.server.settings import ServerSettings

VIDEOS = "/v1/videos"
FRAMING_BYTES = 64 * 1024
"""A video's body may be larger than the video by so much: boundaries and headers of its part."""

DRAIN_SECONDS = 2.0
DRAIN_BYTES = 8 * 2**20
"""Of a body that nobody wants so much is read and thrown away, for so long, so that its sender gets to read why."""


class Body:
    """The body of one request.

    Attributes:
        received: bytes so far.
        problem: what was wrong with it, if anything.
    """

    def __init__(self, scope: Scope, path: str, receive: Receive, settings: ServerSettings) -> None:
        """`path`: within the app, as `mien.server.envelope.path_within` gives it."""
        video = path == VIDEOS
        self.most = settings.max_video_bytes + FRAMING_BYTES if video else settings.max_body
        self.received = 0
        self.problem: Problem | None = None
        self._receive = receive
        self._seconds = settings.body_timeout * max(1.0, self.most / settings.max_body)
        self._end: float | None = None
        headers = dict(scope["headers"])
        self._announced = _length(headers.get(b"content-length"))
        self.complete = not self._announced and b"transfer-encoding" not in headers
        self._encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
        self._waits = headers.get(b"expect", b"").lower() == b"100-continue"

    def check_length(self) -> None:
        """Refuse a body by what its header says.

        Raises:
            Problem: 413.
        """
        if self._announced > self.most:
            raise self._too_large()

    def check_encoding(self) -> None:
        """Refuse a body that is compressed as a whole.

        Raises:
            Problem: 415.
        """
        if not self.complete and self._encoding.lower() != "identity":
            detail = f"bodies are taken without Content-Encoding, received {self._encoding[:40]!r}; send it as it is"
            raise Problem(415, "media-type", "Not a kind of body that is taken here", detail)

    async def receive(self) -> Message:
        """The next message from the client.

        Raises:
            Problem: 413 or 408.
        """
        if self.complete:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._end = loop.time() + self._seconds if self._end is None else self._end
        try:
            async with asyncio.timeout_at(self._end):
                message = await self._next()
        except TimeoutError:
            detail = f"the body did not come within {many(self._seconds, 'second')}"
            self.problem = Problem(408, "too-slow", "Too slow", detail)
            raise self.problem from None
        if self.received > self.most:
            self.problem = self._too_large()
            raise self.problem
        return message

    async def drain(self) -> bool:
        """Read on and throw away, within bounds; whether the end was reached."""
        slow = self._end is not None and asyncio.get_running_loop().time() >= self._end
        if self.complete or slow or (self._waits and not self.received):
            return self.complete
        most = self.received + DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.complete and self.received < most:
                    await self._next()
        except TimeoutError:
            return False
        return self.complete

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        else:
            self.complete = True
        return message

    def _too_large(self) -> Problem:
        return too_large(f"the body has more than the {many(self.most, 'byte')} allowed", max_bytes=self.most)


def _length(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0
