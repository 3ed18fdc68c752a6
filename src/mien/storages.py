"""From an address to one of Optuna's storages: journals in files or Redis, databases, a proxy."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from mien.errors import UsageError


def open_storage(address: str) -> Any:
    """Optuna's storage for an address.

    ``redis://`` is a journal in Redis, ``grpc://host:port`` Optuna's proxy, any other ``scheme://`` a database as
    SQLAlchemy names it; what has no scheme is the path of a journal.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalRedisBackend

    scheme, found, rest = address.partition("://")
    if not found:
        path = Path(address).expanduser()
        lock = JournalFileOpenLock(str(path))
        _mend(path, lock)
        return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if scheme in ("redis", "rediss"):
            return optuna.storages.JournalStorage(JournalRedisBackend(address))
        if scheme == "grpc":
            host, _, port = rest.partition(":")
            return optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
    return optuna.storages.get_storage(address)


def unanswered(address: str, error: Exception) -> UsageError:
    """The error for a storage that cannot be used, whatever it raised."""
    lines = str(error).strip().splitlines()
    reason = hide_password(lines[0][:200]) if lines else type(error).__name__
    return UsageError(
        f"--storage: {hide_password(address)} does not answer ({reason}); allowed are the path of a journal file and "
        "addresses such as sqlite:///study.db, mysql://..., postgresql://..., redis://... and grpc://host:port"
    )


def hide_password(address: str) -> str:
    """An address that can be shown: ``mysql://ann:secret@host/db`` gives ``mysql://***@host/db``."""
    return re.sub(r"//[^@/]*@", "//***@", address)


def _mend(path: Path, lock: Any) -> None:
    """Cut off a journal's last line where a full disk or a killed process left it half written."""
    if not path.is_file():
        return
    lock.acquire()
    try:
        with path.open("rb+") as file:
            text = file.read()
            file.truncate(text.rfind(b"\n") + 1)
    finally:
        lock.release()
