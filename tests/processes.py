"""`mien` in a process of its own, that tests wait for and interrupt, and that never outlives them; free ports."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

PATIENCE = 120
"""Seconds that a busy machine gets for what takes a few."""

QUICK_XLA = "--xla_backend_optimization_level=0"
"""For `XLA_FLAGS` of processes in which JAX compiles for longer than it computes."""

PORTS = range(20_000, 32_000)
"""Above those that Ray takes for its workers, below those that systems take for whatever connects somewhere."""

WORKERS = 12
"""Each worker of pytest-xdist has a part of PORTS for itself; one more shares the first's."""

_turn = os.getpid() * 7
"""Which pair of its part is next; each of several runs side by side begins elsewhere."""


@contextmanager
def running(*arguments: object, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`mien` with these arguments, its output in pipes; killed at the end where it still runs, its pipes closed."""
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background; it would be inherited
        signal.signal(signal.SIGINT, signal.default_int_handler)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env={**os.environ, **environment}) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(begun: Callable[[], object], process: subprocess.Popen[str], *others: subprocess.Popen[str]) -> None:
    """Wait for a sign of a process's work, such as a file that appears; fails where it ends or takes too long.

    What it said and what others said is then shown; all are killed.
    """
    deadline = time.monotonic() + PATIENCE
    while not begun():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"no sign of work, or none within {PATIENCE} s\n{told(ends(process, *others, seconds=1))}")
        time.sleep(0.02)


@dataclass(frozen=True)
class Ended:
    """What a process left."""

    code: int
    stdout: str
    stderr: str


def ends(*processes: subprocess.Popen[str], seconds: float = PATIENCE) -> list[Ended]:
    """Wait for the ends of processes with pipes; those that take longer are killed, which their codes tell."""
    deadline, outputs = time.monotonic() + seconds, []
    for process in processes:
        try:
            output = process.communicate(timeout=max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            output = process.communicate()
        outputs.append(output)
    return [Ended(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def told(ended: Sequence[Ended]) -> str:
    """All that processes left, for the message of an assertion; one that is no text is cut by pytest."""
    return "\n".join(
        f"process {number} ended with {one.code}; stdout:\n{one.stdout}\nstderr:\n{one.stderr}"
        for number, one in enumerate(ended)
    )


def free_port() -> int:
    """A port that nobody uses, nor the next, nor will soon: no other worker is given them, and calls take turns.

    One that the system chooses is free only for now: it may be the next from which any process connects somewhere.
    """
    global _turn
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    first, pairs = PORTS[worker * len(PORTS) // WORKERS], len(PORTS) // WORKERS // 2
    for _ in range(pairs):
        port = first + 2 * (_turn % pairs)
        _turn += 1
        if _can_listen(port, port + 1):
            return port
    pytest.fail(f"no free ports from {first} to {first + 2 * pairs - 1}")


def _can_listen(*ports: int) -> bool:
    """Whether a server could have all these ports on all addresses, even one that waits for the end of old calls."""
    with ExitStack() as stack:
        try:
            for port in ports:
                listener = stack.enter_context(socket.socket())
                listener.bind(("", port))
                listener.listen()
        except OSError:
            return False
    return True
