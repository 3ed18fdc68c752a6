"""Several machines that train one network: one process on each, the same command with another number.

`together` makes this process one of them. `current` says which it is, for everything that only host 0 does (writing the
run folder) and for what host 0 alone knows and the others must be told. Without `together` it is host 0 of one.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mien.errors import MienError, UsageError
from mien.lines import BYE, DATA, FAILED, Line, call_host, gather_hosts

PORT = 8476
"""Where host 0 listens if `--hosts` names no port; JAX uses the next one."""

BROKEN_SECONDS, CLOSING_SECONDS = 3.0, 10.0
"""How long it may take until a broken line is noticed, and until the others have hung up."""

SECONDS = 300.0
"""How long hosts wait for each other to begin."""


@dataclass(frozen=True)
class HostList:
    """All hosts of a run and which of them this one is.

    Attributes:
        addresses: of each host, in order; the first is where host 0 is reached by the others.
        index: the number of this one, from 0.
        port: where host 0 listens; JAX uses the next one.
    """

    addresses: tuple[str, ...]
    index: int
    port: int = PORT

    def __post_init__(self) -> None:
        _check_addresses(self.addresses)
        if not 0 <= self.index < len(self.addresses):
            raise UsageError(
                f"--host-index: must be from 0 to {len(self.addresses) - 1}, as --hosts names "
                f"{len(self.addresses)}; received {self.index}"
            )
        if not 0 < self.port < 65535:
            raise UsageError(f"--hosts: the port must be from 1 to 65534, received {self.port}")

    @classmethod
    def parse(cls, text: str, index: int | None) -> HostList:
        """Read ``host0:port,host1,...``; ports of the others mean nothing, but tell two on one machine apart.

        Raises:
            UsageError: it is not such a list, or the index is missing or none of it.
        """
        addresses = tuple(part.strip() for part in text.split(","))
        _check_addresses(addresses)
        if index is None:
            raise UsageError(
                f"--host-index: must be given beside --hosts: from 0 to {len(addresses) - 1}, another on each host"
            )
        port = addresses[0].rpartition(":")[2] if ":" in addresses[0] else str(PORT)
        if not port.isdecimal():
            raise UsageError(f"--hosts: must be host0:port,host1,...; received the port {port!r}")
        return cls(addresses, index, int(port))

    @property
    def first(self) -> str:
        """Where host 0 is reached, without its port."""
        return self.addresses[0].rpartition(":")[0] or self.addresses[0]

    def name(self, index: int) -> str:
        """A host as messages name it: ``host 1 (10.0.0.2)``."""
        return f"host {index} ({self.addresses[index]})"


def _check_addresses(addresses: tuple[str, ...]) -> None:
    """Refuse an empty name, an IPv6 address, the same name twice, or one host alone."""
    if not all(addresses):
        raise UsageError(f"--hosts: must be host0:port,host1,...; received {','.join(addresses)!r}")
    for address in addresses:
        if address.count(":") > 1:
            raise UsageError(f"--hosts: must be names or IPv4 addresses, host0:port,host1,...; received {address!r}")
    twice = [address for index, address in enumerate(addresses) if address in addresses[:index]]
    if twice:
        raise UsageError(f"--hosts: names {twice[0]} twice; one process on each host uses all its devices")
    if len(addresses) < 2:
        raise UsageError("--hosts: names one host; leave it out to train on this machine alone")


@dataclass(frozen=True)
class Hosts:
    """This process among those that train together.

    Attributes:
        index: its number, from 0.
        count: how many there are.
    """

    index: int = 0
    count: int = 1
    _lines: dict[int, Line] = field(default_factory=dict, repr=False)

    @property
    def leads(self) -> bool:
        """Whether this is host 0, which alone writes."""
        return self.index == 0

    def told(self, find: Callable[[], bytes]) -> bytes:
        """What `find` gives on host 0, on every host. All must ask, in the same order; only host 0 calls it."""
        if not self.leads:
            return self._lines[0].read()
        found = find()
        for line in self._lines.values():
            line.send(DATA, found)
        return found

    def told_json(self, find: Callable[[], Any]) -> Any:
        """As `told`, for a value that JSON can hold; host 0 gets it as it is."""
        kept: list[Any] = []

        def as_bytes() -> bytes:
            kept.append(find())
            return json.dumps(kept[0]).encode() if self.count > 1 else b""

        sent = self.told(as_bytes)
        return kept[0] if kept else json.loads(sent)

    @contextmanager
    def told_file(self, path: Path) -> Iterator[Path]:
        """A file of host 0: itself there, a copy that is gone afterwards on the others."""
        if self.leads:
            if self.count > 1:
                self.told(path.read_bytes)
            yield path
            return
        with TemporaryDirectory(prefix="mien-") as folder:
            copy = Path(folder) / path.name
            copy.write_bytes(self.told(bytes))
            yield copy

    def refuse_difference(self, what: str, mine: Any) -> None:
        """See that a JSON value is the same here as on host 0.

        Raises:
            UsageError: it is another.
        """
        theirs = self.told_json(lambda: mine)
        if theirs != mine:
            raise UsageError(f"{what}: host {self.index} has {mine}, host 0 has {theirs}; they must be the same")


ALONE = Hosts()
_current = ALONE


def current() -> Hosts:
    """This process among those that train together; host 0 of one where it trains alone."""
    return _current


@contextmanager
def together(hosts: HostList, *, seconds: float = SECONDS) -> Iterator[Hosts]:
    """Train on several hosts: call the others, and connect JAX's collectives.

    To be entered before anything is computed. While it lasts, a host that fails, is interrupted or dies ends the
    processes of all the others within a minute, each with a line that says which host it was; the run can be resumed.

    Args:
        hosts: all of them, in the same order everywhere, and the number of this one.
        seconds: how long to wait for the others to begin.

    Raises:
        UsageError: the backend is not JAX, a host does not answer in time, or was started otherwise.
    """
    global _current
    _refuse_backend()
    lines = _call_all(hosts, seconds)
    joined = Hosts(hosts.index, len(hosts.addresses), lines)
    for line in lines.values():
        line.watch(lambda reason: _end_process(joined, reason))
    try:
        _connect_jax(hosts, seconds)
        _current = joined
        yield joined
    except BaseException as error:
        _tell_failure(joined, hosts.name(hosts.index), error)
        raise
    else:
        _part(joined)
    finally:
        _current = ALONE


def _refuse_backend() -> None:
    import keras

    backend = keras.backend.backend()
    if backend != "jax":
        raise UsageError(f"--hosts: works with the backend jax, received {backend}; set KERAS_BACKEND=jax")


def _call_all(hosts: HostList, seconds: float) -> dict[int, Line]:
    """The line to every host from host 0; to host 0 from every other."""
    greeting = {"--hosts": ",".join(hosts.addresses)}
    greeting |= {package: metadata.version(package) for package in ("mien", "keras", "jax")}
    names = [hosts.name(index) for index in range(len(hosts.addresses))]
    if hosts.index:
        return {0: call_host(names[0], (hosts.first, hosts.port), hosts.index, greeting, seconds)}
    return gather_hosts(names, hosts.port, greeting, seconds)


def _connect_jax(hosts: HostList, seconds: float) -> None:
    """Have JAX see the devices of all hosts. It is the lines that watch over the others, not JAX, which would abort.

    Raises:
        UsageError: JAX's port on host 0 is taken, or it cannot connect.
    """
    import jax

    if not hosts.index:
        _refuse_taken(hosts.port + 1)
    jax.config.update("jax_enable_recoverability", True)
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            f"{hosts.first}:{hosts.port + 1}",
            len(hosts.addresses),
            hosts.index,
            cluster_detection_method="deactivate",
            initialization_timeout=round(seconds),
        )
        jax.devices()  # now, while all are here: later one might still read data, and JAX waits two minutes
    except RuntimeError as error:
        raise UsageError(f"--hosts: JAX cannot connect the hosts ({str(error).splitlines()[0]})") from error


def _refuse_taken(port: int) -> None:
    """Refuse a port that another process has: JAX would crash there.

    Raises:
        UsageError: it is taken.
    """
    try:
        with socket.socket() as listener:
            listener.bind(("", port))
            listener.listen()
    except OSError as error:
        raise UsageError(
            f"--hosts: port {port}, which JAX needs beside {port - 1}, cannot be opened here ({error.strerror}); name "
            "another behind host 0"
        ) from error


def _end_process(hosts: Hosts, reason: str) -> None:
    """End this process at once: its main thread may wait in a collective that never comes back."""
    for line in hosts._lines.values():
        line.send(FAILED, reason.encode())
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        print(f"mien: {reason}; the run ends here, and 'mien train --resume RUN' goes on", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(MienError.exit_code)


def _tell_failure(hosts: Hosts, name: str, error: BaseException) -> None:
    """Tell the others why this host ends; JAX's clients must go before its service, which is on host 0."""
    if not isinstance(error, MienError | KeyboardInterrupt):
        time.sleep(BROKEN_SECONDS)  # the end of another host makes JAX fail here: its line then says so, and ends this
    if isinstance(error, MienError):
        reason = str(error)
    else:
        reason = "was interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
    if not hosts.leads:
        _leave_jax()
    for line in hosts._lines.values():
        line.send(FAILED, f"{name}: {reason}".encode())
    if hosts.leads:
        _wait_for_others(hosts)


def _part(hosts: Hosts) -> None:
    """Wait until all are done, and let JAX go: on host 0 last, where its service runs."""
    if not hosts.leads:
        hosts._lines[0].send(BYE)
        hosts._lines[0].wait_for_end()
        _leave_jax()
        hosts._lines[0].close()
        return
    for line in hosts._lines.values():
        line.wait_for_end()
    for line in hosts._lines.values():
        line.send(BYE)
    _wait_for_others(hosts)


def _wait_for_others(hosts: Hosts) -> None:
    """On host 0, wait until the others have hung up, and end JAX's service."""
    for line in hosts._lines.values():
        line.wait_for_closing(CLOSING_SECONDS)
        line.close()
    _leave_jax()


def _leave_jax() -> None:
    import jax

    with suppress(RuntimeError):
        jax.distributed.shutdown()
