"""What surrounds every request: its id, the gate, limits of its body, its answer's headers, log and metrics."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.server.bodies import Body
from mien.server.logs import REQUEST_ID
from mien.server.metrics import Metrics
from mien.server.problems import Problem, too_busy
from mien.server.security import HEADERS, Gate, check_head
from mien.server.settings import ServerSettings

_ID = re.compile(rb"[A-Za-z0-9_.-]{8,64}")
UNKNOWN_ROUTE = "unknown"
QUIET_ROUTES = ("/health/live", "/health/ready", "/metrics")
"""Asked all the time: logged at the level debug."""

CLIENT_GONE = 499
"""Stands in the log where the client did not wait for the answer, as other servers have it."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})

log = logging.getLogger("mien.server")


class Envelope:
    """ASGI middleware around the whole app. HEAD is answered as GET without the body."""

    def __init__(self, app: ASGIApp, *, settings: ServerSettings, gate: Gate, metrics: Metrics) -> None:
        self._app, self._settings, self._gate, self._metrics = app, settings, gate, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            await _Exchange(scope, receive, send, self._settings, self._gate, self._metrics).run(self._app)
        else:
            await self._app(scope, receive, send)


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, settings: ServerSettings, gate: Gate, metrics: Metrics
    ) -> None:
        self._headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self._method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._scope = dict(scope, method="GET" if scope["method"] == "HEAD" else scope["method"])
        self._send, self._gate, self._metrics = send, gate, metrics
        self._path = path_within(scope)
        self._body = Body(scope, self._path, receive, settings)
        self._id = request_id(self._headers)
        self._status = 0
        self._start = time.perf_counter()
        self._notes: dict[str, Any] = {}
        told = {"request_id": self._id, "notes": self._notes, "head": self._method == "HEAD"}
        self._scope["state"] = {**scope.get("state", {}), **told}

    async def run(self, app: ASGIApp) -> None:
        """Let the app answer; answer in its place where it cannot."""
        REQUEST_ID.set(self._id)
        try:
            await self._answer(app)
        except Problem as problem:
            await self._refuse(problem)
        except ClientDisconnect:
            await self._refuse(client_gone())
        except asyncio.CancelledError:
            await self._refuse(too_busy("the service is ending", 5))
            raise
        except Exception as error:
            log.error("failed", exc_info=error, extra={"id": self._id})
            await self._refuse(internal_error())
        finally:
            self._note()

    async def _answer(self, app: ASGIApp) -> None:
        check_head(self._scope)
        asked = self._gate.preflight(self._method, self._headers)
        if asked is not None:
            await self._respond(Response(status_code=HTTPStatus.NO_CONTENT, headers=asked))
            return
        self._gate.check(self._method, self._path, self._headers)
        self._body.check_length()
        self._body.check_encoding()
        await app(self._scope, self._body.receive, self._forward)

    async def _refuse(self, problem: Problem) -> None:
        if self._status:
            return  # the answer has begun: its end is missing, which the client sees
        await self._respond(problem.to_response(instance_of(self._scope)))
        self._metrics.refused(problem.kind)

    async def _respond(self, response: Response) -> None:
        await response(self._scope, self._body.receive, self._forward)

    async def _forward(self, message: Message) -> None:
        """Pass a part of the answer on, with what every answer carries."""
        if message["type"] == "http.response.start":
            if self._body.problem is not None and message["status"] != self._body.problem.status:
                raise self._body.problem  # the app made something else of it
            self._status = message["status"]
            await self._add_headers(message)
        elif self._method == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    async def _add_headers(self, message: Message) -> None:
        headers = MutableHeaders(raw=list(message.get("headers", [])))
        for name, value in {**HEADERS, "cache-control": "no-store", "x-request-id": self._id}.items():
            headers.setdefault(name, value)
        for name, value in self._gate.cors_headers(self._headers).items():
            headers[name] = value
        if not await self._body.drain():
            headers["connection"] = "close"
        message["headers"] = headers.raw

    def _note(self) -> None:
        route = route_of(self._scope)
        seconds = time.perf_counter() - self._start
        self._metrics.answered(route, self._method, self._status, seconds, self._body.received)
        said = {"id": self._id, "method": self._method, "route": route, "status": self._status}
        said |= {"seconds": round(seconds, 4), "bytes": self._body.received, **self._notes}
        log.log(logging.DEBUG if route in QUIET_ROUTES else logging.INFO, "request", extra=said)


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The client's X-Request-ID where it is a plain one, else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex


def path_within(scope: Scope) -> str:
    """The request's path as the app's own routes have it, without the path that the app is mounted or served under."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    rest = path.removeprefix(root)
    return rest if not rest or rest.startswith("/") else path


def route_of(scope: Scope) -> str:
    """The template of the route that was found, ``/v1/videos/{id}``: never what the client wrote."""
    return str(getattr(scope.get("route"), "path", UNKNOWN_ROUTE))


def instance_of(scope: Scope) -> str:
    """The ``instance`` of a problem: the request's path, as it was sent, and its id."""
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    return f"{path.decode('ascii', 'replace')[:256]}#{scope['state']['request_id']}"


def client_gone() -> Problem:
    """For the log; nobody gets to see it."""
    return Problem(CLIENT_GONE, "gone", "The client hung up", "nobody waits for the answer")


def internal_error() -> Problem:
    """500, without a word on what happened: that stands in the log."""
    detail = "something failed here; the log says what, under the id that stands in 'instance'"
    return Problem(500, "failed", "Something failed", detail)
