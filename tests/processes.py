"""`mien` in a process of its own, that tests wait for and interrupt, and that never outlives them."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 120
"""Seconds that a busy machine gets for what takes a few."""


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`mien` with these arguments, its output in pipes; killed at the end where it still runs, its pipes closed."""
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background; it would be inherited
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(begun: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for a sign of a process's work, such as a file that appears; fails where it ends or takes too long."""
    deadline = time.monotonic() + PATIENCE
    while not begun():
        assert process.poll() is None, f"ended with {process.returncode}: {process.communicate()[1]}"
        assert time.monotonic() < deadline, f"no sign of work within {PATIENCE} s"
        time.sleep(0.02)
