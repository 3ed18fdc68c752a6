"""Lines between the hosts of one run: who calls whom, what is said, and what happens when a line breaks.

Host 0 listens and the others call, before JAX is asked to connect: a host that is missing is then named in a sentence,
where JAX would end the process with a stack trace. The lines stay open for the whole run. They carry what host 0 tells
the others (settings, the newest checkpoint); gradients travel by JAX's own collectives. Messages are bytes and JSON,
never code, but nobody is asked for a password: use them in a network that you trust.
"""

from __future__ import annotations

import json
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mien.errors import MienError, UsageError

DATA, FAILED, BYE = b"d", b"f", b"b"
"""Kinds of messages: bytes that were asked for; a reason to end; all is done."""

HEADER = struct.Struct(">cQ")
"""The kind of a message and its length in bytes."""

GREETING_BYTES, GREETING_SECONDS = 4096, 5
"""A greeting that is longer or slower comes from something else, such as a scan of ports."""

RETRY_SECONDS = 0.2
"""Between two calls to a host that does not answer yet."""


class LineBrokenError(Exception):
    """The other side has gone without a word."""


@dataclass
class Line:
    """An open connection to another host; any thread may send.

    Attributes:
        peer: the other host, as messages name it: ``host 1 (10.0.0.2)``.
        connection: the socket.
    """

    peer: str
    connection: socket.socket
    _received: queue.Queue[bytes] = field(default_factory=queue.Queue)
    _sending: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _closed: threading.Event = field(default_factory=threading.Event)
    _leaving: threading.Event = field(default_factory=threading.Event)

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Send one message; nothing where the other side has gone, which its reader finds out."""
        if kind == FAILED:
            self._leaving.set()
        with self._sending, suppress(OSError):
            self.connection.sendall(HEADER.pack(kind, len(payload)) + payload)

    def close(self) -> None:
        """Hang up; a thread that listens then ends too."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def read(self) -> bytes:
        """Wait for bytes that the other host was asked for."""
        return self._received.get()

    def wait_for_end(self) -> None:
        """Wait until the other host has said that all is done."""
        self._ended.wait()

    def wait_for_closing(self, seconds: float) -> None:
        """Wait until the other host has hung up, or so many seconds."""
        self._closed.wait(seconds)

    def watch(self, end: Callable[[str], None]) -> None:
        """Read messages in a thread; calls `end` with the reason where the run cannot go on."""
        threading.Thread(target=self._listen, args=(end,), name=f"line to {self.peer}", daemon=True).start()

    def _listen(self, end: Callable[[str], None]) -> None:
        """Read until the other side hangs up, which it may do once this host or itself has taken its leave."""
        try:
            while True:
                self._take(*receive(self.connection), end)
        except (LineBrokenError, OSError):
            self.close()
            self._closed.set()
            if not (self._ended.is_set() or self._leaving.is_set()):
                end(f"{self.peer} has gone: it was killed or lost its network; its own output may say why")

    def _take(self, kind: bytes, payload: bytes, end: Callable[[str], None]) -> None:
        if kind == BYE:
            self._ended.set()
        elif kind == FAILED and not self._leaving.is_set():
            end(payload.decode("utf-8", "replace"))
        elif kind == DATA:
            self._received.put(payload)


def receive(connection: socket.socket, most: int | None = None) -> tuple[bytes, bytes]:
    """Read one message: its kind and its bytes.

    Args:
        connection: the socket.
        most: bytes that it may have; None for any number.

    Raises:
        LineBrokenError: the connection ended, or the message is too long.
        OSError: the network failed, or a time limit of the socket passed.
    """
    kind, length = HEADER.unpack(_exactly(connection, HEADER.size))
    if most is not None and length > most:
        raise LineBrokenError
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 1 << 20))
        if not part:
            raise LineBrokenError
        data += part
    return bytes(data)


def gather_hosts(names: list[str], port: int, greeting: dict[str, Any], seconds: float) -> dict[int, Line]:
    """As host 0, wait until every other host has called.

    Args:
        names: the hosts as messages name them, in order.
        port: where they call.
        greeting: what every host must agree on.
        seconds: how long to wait.

    Returns:
        The line to each host, by its number.

    Raises:
        UsageError: the port is taken, a host began otherwise than this one, or not all have called.
    """
    deadline, lines = time.monotonic() + seconds, dict[int, Line]()
    try:
        with _listening(port) as listener:
            while len(lines) < len(names) - 1:
                if (connection := _accepted(listener, deadline)) is None:
                    raise UsageError(_missing(names, lines, seconds))
                _welcome(connection, names, greeting, lines)
    except UsageError as error:
        for line in lines.values():
            line.send(FAILED, f"host 0 has given up: {error}".encode())
            line.close()
        raise
    for line in lines.values():
        line.send(DATA)
    return lines


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("", port), backlog=128)
    except OSError as error:
        raise UsageError(
            f"--hosts: port {port} cannot be opened here ({error.strerror}); name another behind host 0"
        ) from error


def _accepted(listener: socket.socket, deadline: float) -> socket.socket | None:
    """The next call; None where there is none before the deadline."""
    listener.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        return listener.accept()[0]
    except TimeoutError:
        return None


def _missing(names: list[str], lines: dict[int, Line], seconds: float) -> str:
    absent = [name for index, name in enumerate(names) if index and index not in lines]
    return (
        f"{', '.join(absent)} did not call within {seconds:g} s; run the same command there with its own "
        "--host-index, and see that it reaches host 0"
    )


def _welcome(connection: socket.socket, names: list[str], greeting: dict[str, Any], lines: dict[int, Line]) -> None:
    """Take a caller in; strangers are hung up on.

    Raises:
        UsageError: it is a host, but not of this run.
    """
    connection.settimeout(GREETING_SECONDS)
    try:
        _, payload = receive(connection, GREETING_BYTES)
        theirs = json.loads(payload)
        index = int(theirs.pop("index"))
    except (LineBrokenError, OSError, ValueError, TypeError, KeyError, AttributeError):
        connection.close()
        return
    line = Line(names[index] if 0 < index < len(names) else f"host {index}", connection)
    problem = _disagreement(index, theirs, names, greeting, lines)
    if problem:
        line.send(FAILED, problem.encode())
        line.close()
        raise UsageError(problem)
    keep_open(connection)
    lines[index] = line


def _disagreement(
    index: int, theirs: dict[str, Any], names: list[str], greeting: dict[str, Any], lines: dict[int, Line]
) -> str:
    """Why a caller cannot take part; empty where it can."""
    for name, mine in greeting.items():
        if theirs.get(name) != mine:
            return f"host {index} was started with {name} {theirs.get(name)}, host 0 with {mine}; they must be the same"
    if not 0 < index < len(names):
        return f"a caller says that it is host {index}, which --hosts does not name"
    return f"two hosts say that they are {names[index]}; give each its own --host-index" if index in lines else ""


def call_host(name: str, address: tuple[str, int], index: int, greeting: dict[str, Any], seconds: float) -> Line:
    """As any other host, call host 0 until it answers, and wait until it has all.

    Raises:
        UsageError: it does not answer in time.
        MienError: it has refused, and says why.
    """
    deadline = time.monotonic() + seconds
    connection = _connected(name, address, deadline, seconds)
    line = Line(name, connection)
    line.send(DATA, json.dumps({"index": index, **greeting}).encode())
    connection.settimeout(max(1.0, deadline - time.monotonic()) + GREETING_SECONDS)
    try:
        kind, payload = receive(connection)
    except (LineBrokenError, OSError) as error:
        line.close()
        raise UsageError(
            f"{name} took the call at {address[0]}:{address[1]} but did not begin within {seconds:g} s; see what it "
            "says, and whether another program listens there"
        ) from error
    if kind == FAILED:
        line.close()
        raise MienError(payload.decode("utf-8", "replace"))
    keep_open(connection)
    return line


def _connected(name: str, address: tuple[str, int], deadline: float, seconds: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(address, timeout=max(0.5, deadline - time.monotonic()))
        except OSError as error:
            if time.monotonic() >= deadline:
                raise UsageError(
                    f"{name} does not answer at {address[0]}:{address[1]} within {seconds:g} s "
                    f"({error.strerror or error}); start it, or name its address and port in --hosts"
                ) from error
            time.sleep(RETRY_SECONDS)


def keep_open(connection: socket.socket) -> None:
    """No time limit any more, but a machine that has lost its power or its network is noticed within a minute."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):  # not all systems have all of them
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
