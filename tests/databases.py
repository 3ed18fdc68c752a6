"""A PostgreSQL server of a test's own, in a temporary folder, gone with it."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mien.storages import DRIVERS
from processes import free_port

SERVER = ("-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1")


def find_program(name: str) -> str:
    """The path of one of PostgreSQL's programs, which Debian leaves out of PATH; skips where there is none."""
    debians = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")))
    found = shutil.which(name) or (debians[-1] if debians else None)
    if found is None:
        pytest.skip(f"needs PostgreSQL's {name} (apt-get install postgresql)")
    return found


def has_driver(kind: str) -> bool:
    """Whether a module is installed that speaks to a kind of storage."""
    return any(importlib.util.find_spec(module) for module in DRIVERS[kind])


def as_user(folder: Path) -> list[str]:
    """What to put before a command, as PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("runuser") is None or subprocess.run(["id", "postgres"], capture_output=True).returncode:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres' (with runuser)")
    shutil.chown(folder, "postgres")
    return ["runuser", "-u", "postgres", "--"]


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a database on a server of its own."""
    if not has_driver("postgresql"):
        pytest.skip("needs a driver for PostgreSQL: pip install 'mien[postgresql]'")
    initdb, pg_ctl = find_program("initdb"), find_program("pg_ctl")
    with tempfile.TemporaryDirectory(prefix="mien-postgresql-") as name:
        folder, port = Path(name), free_port()
        before, data = as_user(folder), f"{name}/data"
        quietly = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
        subprocess.run([*before, initdb, "-D", data, "-U", "mien", "-A", "trust", "-N"], **quietly)
        options = " ".join([*SERVER, "-p", str(port)])
        subprocess.run([*before, pg_ctl, "-D", data, "-l", f"{name}/log", "-o", options, "-w", "start"], **quietly)
        try:
            yield f"postgresql://mien@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*before, pg_ctl, "-D", data, "-m", "immediate", "-w", "stop"], **quietly)
