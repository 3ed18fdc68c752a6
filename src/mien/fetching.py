"""Fetching from http(s) addresses, with limits: size, time, redirects, and no way into private networks.

The address that is checked is the address that is connected to, so a name that resolves differently the second time
gains nothing. Proxies of the environment are not used: behind one, nothing could be checked. No cookies are kept.
"""

from __future__ import annotations

import base64
import http.client
import math
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from mien.addresses import resolve, without_secrets
from mien.errors import DataError, many

MAX_REDIRECTS = 5
CHUNK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_ERRORS = (OSError, http.client.HTTPException, ssl.SSLError, ValueError, UnicodeError)


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What an address may cost.

    Attributes:
        max_bytes: the largest body `fetch` takes.
        seconds: for `fetch`, from the first look-up to the last byte; for a stream, until its head has come, and then
            between two pieces.
        allow_private: whether private, loopback, link-local, multicast and reserved addresses may be connected to.
    """

    max_bytes: int = 32 * 2**20
    seconds: float = 15.0
    allow_private: bool = False


def fetch(url: str, limits: FetchLimits | None = None) -> tuple[bytes, str]:
    """Fetch a whole body.

    Returns:
        The bytes, and the content type in lower case without parameters.

    Raises:
        DataError: anything that went wrong; the message does not name the address, `items` does.
    """
    with open_url(url, limits) as response:
        return response.read_all(), response.content_type


def open_url(url: str, limits: FetchLimits | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Send a GET and follow at most `MAX_REDIRECTS` redirects, each of them checked.

    Raises:
        DataError: as `fetch`.
    """
    limits = limits or FetchLimits()
    deadline = time.monotonic() + limits.seconds
    try:
        return _follow(url, limits, deadline, dict(headers or {}))
    except DataError as error:
        raise DataError(str(error), [without_secrets(url)]) from error
    except _ERRORS as error:
        raise DataError(_say(error, limits, deadline), [without_secrets(url)]) from error


class Response:
    """An answer whose body has not been read yet. Close it."""

    def __init__(
        self, url: str, connection: _Connection, answer: http.client.HTTPResponse, limits: FetchLimits, deadline: float
    ) -> None:
        self.url = url
        self.status = answer.status
        self.headers = answer.headers
        self.content_type = answer.headers.get_content_type().lower()
        self._connection, self._answer, self._limits, self._deadline = connection, answer, limits, deadline
        self._begun = b""

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the server says so."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() else None

    def peek(self, size: int) -> bytes:
        """At least the first `size` bytes of the body, or all, which `read_all` gives again.

        Raises:
            DataError: as `read_all`.
        """
        while len(self._begun) < size and (piece := self._read_piece(self._deadline)):
            self._begun += piece
        return self._begun

    def read_all(self) -> bytes:
        """The whole body, within the limits on size and total time.

        Raises:
            DataError: it is larger, slower, or ends early.
        """
        largest = self._limits.max_bytes
        if self.length is not None and self.length > largest:
            raise DataError(
                f"has {many(self.length, 'byte')}; at most {largest:,} are fetched", [without_secrets(self.url)]
            )
        pieces, size = [self._begun], len(self._begun)
        while size <= largest and (piece := self._read_piece(self._deadline)):
            size += len(piece)
            pieces.append(piece)
        if size > largest:
            raise DataError(
                f"has more than the {many(largest, 'byte that is', 'bytes that are')} fetched",
                [without_secrets(self.url)],
            )
        if self.length is not None and size < self.length:
            raise DataError(f"ended after {size:,} of {many(self.length, 'byte')}", [without_secrets(self.url)])
        return b"".join(pieces)

    def read_piece(self) -> bytes:
        """What has come of the body, at most 64 KiB; empty at its end. Waits no longer than the limit.

        Raises:
            DataError: nothing came in time, or the connection broke.
        """
        return self._read_piece(time.monotonic() + self._limits.seconds)

    def _read_piece(self, deadline: float) -> bytes:
        if self._answer.isclosed():  # at its end, and its socket may be closed with it
            return b""
        try:
            self._connection.allow_until(deadline)
            piece = self._answer.read1(CHUNK)
            if not piece and time.monotonic() >= deadline:
                raise TimeoutError  # we hung up, which looks like the end
            return piece
        except _ERRORS as error:
            raise DataError(_say(error, self._limits, deadline), [without_secrets(self.url)]) from error
        finally:
            self._connection.allow_until(math.inf)

    def close(self) -> None:
        """Hang up."""
        self._connection.stop()
        self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Connection(http.client.HTTPConnection):
    """Connects to an address that was checked, and hangs up at a deadline, however slowly the other side drips."""

    def __init__(self, parts: SplitResult, limits: FetchLimits, deadline: float) -> None:
        self._tls = parts.scheme == "https"
        super().__init__(parts.hostname or "", parts.port or (443 if self._tls else 80))
        self._limits, self._deadline = limits, deadline
        self._watch: threading.Timer | None = None
        self._line: socket.socket | None = None
        self._until = deadline

    def connect(self) -> None:
        """Resolve, check, connect to the first address that answers."""
        places = resolve(self.host, self.port, allow_private=self._limits.allow_private, seconds=_left(self._deadline))
        problem: OSError | None = None
        for tried, (_, place) in enumerate(places):
            patience = _left(self._deadline) / (len(places) - tried)
            try:
                self.sock = self._line = socket.create_connection(place, timeout=patience)
                break
            except OSError as error:
                problem = error
        else:
            raise problem or OSError("no address")
        self.allow_until(self._deadline)
        if self._tls:
            context = ssl.create_default_context()
            self._line = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = self._line
            self.allow_until(self._deadline)
            self._line.do_handshake()

    def allow_until(self, deadline: float) -> None:
        """Move the deadline of whatever is read or sent next; infinity while nobody waits."""
        self._until = deadline
        if self._line is None or deadline == math.inf:
            return
        self._line.settimeout(_left(deadline))
        if self._watch is None:
            self._watch_for(_left(deadline))

    def _watch_for(self, seconds: float) -> None:
        self._watch = threading.Timer(seconds, self._look)
        self._watch.daemon = True
        self._watch.start()

    def _look(self) -> None:
        left = self._until - time.monotonic()
        if left > 0:
            self._watch_for(min(left, self._limits.seconds))
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        with suppress(OSError):
            if self._line is not None:
                self._line.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Hang up, and stop watching. `close` does neither: http.client calls it while the body is still to come."""
        if self._watch is not None:
            self._watch.cancel()
        self._hang_up()
        self.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _follow(url: str, limits: FetchLimits, deadline: float, headers: dict[str, str]) -> Response:
    login = urlsplit(url).netloc.rpartition("@")[0]
    first = urlsplit(url)
    for _ in range(MAX_REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and not parts.hostname:
            raise DataError(f"{without_secrets(url)!r} names no host; addresses are like https://example.org/a.jpg")
        if parts.scheme not in ("http", "https"):
            raise DataError(f"leads to {without_secrets(url)!r}; only http and https addresses are fetched")
        own = login if _may_know(first, parts) else ""
        connection, answer = _ask(parts, limits, deadline, headers | _authorisation(own))
        target = answer.headers.get("Location")
        if answer.status in _REDIRECTS and target:
            connection.stop()
            url = urljoin(url, target)
            continue
        if answer.status not in (200, 206):
            connection.stop()
            raise DataError(f"the server answered {answer.status} {answer.reason}")
        return Response(url, connection, answer, limits, deadline)
    raise DataError(f"was redirected more than {MAX_REDIRECTS} times")


def _may_know(first: SplitResult, parts: SplitResult) -> bool:
    """Whether the login for one address may be sent to another: the same server, or the same host by https."""
    same = (first.scheme, first.port) == (parts.scheme, parts.port) or parts.scheme == "https"
    return first.hostname == parts.hostname and same


def _ask(
    parts: SplitResult, limits: FetchLimits, deadline: float, headers: dict[str, str]
) -> tuple[_Connection, http.client.HTTPResponse]:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (
        f"?{quote(parts.query, safe=_QUERY)}" if parts.query else ""
    )
    sent = {"User-Agent": "mien", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"} | headers
    connection = _Connection(parts, limits, deadline)
    try:
        connection.request("GET", path, headers=sent)
        answer = connection.getresponse()
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise DataError("the server sent a compressed body, which was not asked for")
    except BaseException:
        connection.stop()
        raise
    return connection, answer


_QUERY = "/%:@!$&'()*+,;=~?[]"


def _authorisation(login: str) -> dict[str, str]:
    if not login:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(unquote(login).encode()).decode()}


def _say(error: BaseException, limits: FetchLimits, deadline: float) -> str:
    if isinstance(error, TimeoutError) or time.monotonic() >= deadline - 0.01:
        return f"took longer than the {limits.seconds:g} s allowed"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection broke before the end"
    detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"cannot be fetched ({detail})"
