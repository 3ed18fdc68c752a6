"""HTTP/1.1 as uvicorn speaks it, with what it lacks against hostile clients: times, a bound, problems as documents."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien.errors import many
from mien.server.problems import MEDIA_TYPE, Problem, too_busy
from mien.server.security import HEADERS, head_too_large

HEAD_SECONDS = 10.0
"""A request's head must come within so long; also the first one of a connection."""

WRITE_SECONDS = 30.0
"""A client that reads nothing for so long, while an answer waits for it, is cut off."""


class GuardedProtocol(H11Protocol):
    """One connection. Its limits, and who is told of refusals, are set on a subclass: see `guarded`."""

    max_connections = 256
    head_seconds = HEAD_SECONDS
    count: Callable[[str], object] = staticmethod(str)
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse connections beyond the bound; wait for a head otherwise."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(
                too_busy(
                    f"{many(self.max_connections, 'connection is', 'connections are')} open; try again in a moment"
                )
            )
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes. The time for a head does not begin anew with each."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._await_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or has too long a head."""
        del msg
        error = sys.exception()
        if getattr(error, "error_status_hint", 400) == 431:
            self._refuse(head_too_large())
        else:
            self._refuse(Problem(400, "malformed", "Not HTTP", "the request is no valid HTTP/1.1 request"))

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._cut_off)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_off(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(Problem(408, "too-slow", "Too slow", "the request's head did not come in time"))

    def _refuse(self, problem: Problem) -> None:
        """Answer without the app, and hang up."""
        self.count(problem.kind)
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = json.dumps(problem.to_dict()).encode()
        given = {**HEADERS, **problem.headers, "cache-control": "no-store", "content-type": MEDIA_TYPE}
        given |= {"content-length": str(len(body)), "connection": "close"}
        headers = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        response = h11.Response(status_code=problem.status, headers=headers, reason=problem.title.encode())
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def guarded(max_connections: int, head_seconds: float, count: Callable[[str], object]) -> Any:
    """The protocol with its limits.

    Args:
        max_connections: beyond, connections are refused.
        head_seconds: for a head, where they are fewer than `HEAD_SECONDS`.
        count: told the kind of problem of each refusal.
    """
    told = {"max_connections": max_connections, "head_seconds": min(HEAD_SECONDS, head_seconds)}
    return type("Guarded", (GuardedProtocol,), {**told, "count": staticmethod(count)})
