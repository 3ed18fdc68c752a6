"""Running the app: a socket, uvicorn, signals."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import State

from mien import __version__
from mien.errors import UsageError
from mien.server.protocol import guarded
from mien.server.security import HEAD_BYTES
from mien.server.settings import ServerSettings

BACKLOG = 512
FORCED = 130
"""Exit code after a second Ctrl-C."""

log = logging.getLogger("mien.server")


def bind(settings: ServerSettings) -> socket.socket:
    """The listening socket.

    Raises:
        UsageError: the port is taken, or the address is not this machine's.
    """
    host = settings.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise not_ours(settings.host, error.strerror) from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
            raise not_ours(settings.host, reason) from error
        raise UsageError(
            f"--host {settings.host} --port {settings.port}: cannot listen there ({reason}); choose another port, or "
            "--port 0 for any free one"
        ) from error
    return listener


def not_ours(host: str, reason: str | None) -> UsageError:
    """The error for a host that nothing here can listen on."""
    return UsageError(
        f"--host: {host} is no address of this machine ({reason}); give one of its own, or 0.0.0.0 for all of them"
    )


def address_of(listener: socket.socket) -> str:
    """The address that a browser on this machine takes: ``http://127.0.0.1:8000/``."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}/"


def make_server(app: FastAPI, settings: ServerSettings, on_start: Callable[[], None]) -> uvicorn.Server:
    """What serves the app: ``run(sockets=[bind(settings)])`` does so until a signal comes.

    Requests in flight then get `ServerSettings.shutdown_timeout` to finish.

    Args:
        app: what `mien.server.create_app` made.
        settings: the same as the app's.
        on_start: called once requests are answered.
    """
    config = uvicorn.Config(
        app,
        http=guarded(settings.max_connections, settings.body_timeout, app.state.metrics.refused),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=settings.keep_alive,  # type: ignore[arg-type, unused-ignore]
        timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
    )
    return _Server(config, on_start, app.state)


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is there, and whose process ends as if nothing had happened."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None], state: State) -> None:
        super().__init__(config)
        self._on_start = on_start
        self._jobs = state.jobs
        self._said = {"version": __version__, "models": list(state.analyzers.names)}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log.info("started", extra=self._said)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("ending", extra={"requests": len(self.server_state.tasks)})
        self._jobs.stop()  # whoever reads the rows of a video would hold up the end for as long as it takes
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first signal ends it gracefully, a second one at once; neither is raised again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._end) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.should_exit:
            os._exit(FORCED)
        self.should_exit = True
