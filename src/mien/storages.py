"""From an address to one of Optuna's storages: journals in files or Redis, databases, a proxy."""

from __future__ import annotations

import importlib.util
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mien.errors import UsageError

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

Answer = TypeVar("Answer")

ANSWERS = 10
"""Seconds that a storage gets to answer when it is opened."""

PAUSES = (1, 2, 4, 8, 15, 30, 60, 60, 60, 60)
"""Seconds between tries of what a running trial has to say to a storage that is away: five minutes in all."""

MAKING = 6
"""How often the making of tables is tried, where others make them at the same time."""

DRIVERS = {
    "postgresql": {"psycopg": "mien[postgresql]", "psycopg2": "psycopg2-binary"},
    "mysql": {"MySQLdb": "mysqlclient", "pymysql": "PyMySQL"},
    "redis": {"redis": "redis"},
    "grpc": {"grpc": "grpcio"},
}
"""For each kind of storage: modules that speak to it, the preferred one first, and what pip calls them."""

SPOKEN = {"psycopg": "psycopg", "psycopg2": "psycopg2", "MySQLdb": "mysqldb", "pymysql": "pymysql"}
"""What SQLAlchemy calls these modules."""

TIMEOUTS: dict[str, dict[str, int]] = {
    "psycopg": {"connect_timeout": ANSWERS, "tcp_user_timeout": 60_000, "keepalives_idle": 60},
    "psycopg2": {"connect_timeout": ANSWERS, "tcp_user_timeout": 60_000, "keepalives_idle": 60},
    "mysqldb": {"connect_timeout": ANSWERS, "read_timeout": 60},
    "pymysql": {"connect_timeout": ANSWERS, "read_timeout": 60},
    "mysqlconnector": {"connection_timeout": ANSWERS},
    "pysqlite": {"timeout": 60},
}
"""What keeps each driver from waiting for ever; what the address itself says goes before it."""


def open_storage(address: str) -> Any:
    """Optuna's storage for an address.

    ``redis://`` is a journal in Redis, ``grpc://host:port`` Optuna's proxy, any other ``scheme://`` a database as
    SQLAlchemy names it; what has no scheme is the path of a journal.

    Raises:
        UsageError: the driver is not installed.
        Exception: each kind of storage has its own, where it does not answer.
    """
    import optuna

    scheme, found, rest = address.partition("://")
    if not found:
        return _journal(Path(address).expanduser())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if scheme in ("redis", "rediss"):
            return _redis(address)
        if scheme == "grpc":
            return _proxy(rest)
    return _database(address)


def close_storage(storage: Any) -> None:
    """Close a storage's connections; it opens them anew where it is used again."""
    engine = getattr(getattr(storage, "_backend", storage), "engine", None)  # Optuna wraps databases in a cache
    if engine is not None:
        engine.dispose()


def patiently(call: Callable[[], Answer]) -> Answer:
    """What a call to a storage gives; where it is away, as while it is started anew, tried again for five minutes."""
    for pause in PAUSES:
        try:
            return call()
        except Exception as error:  # each kind of storage has its own
            if not is_outage(error):
                raise
        time.sleep(pause)
    return call()


def is_outage(error: Exception) -> bool:
    """Whether a storage that was there does not answer any more."""
    import optuna

    known = isinstance(error, (optuna.exceptions.StorageInternalError, ConnectionError, TimeoutError))
    return known or type(error).__module__.partition(".")[0] in ("sqlalchemy", "redis", "grpc")


def unanswered(address: str, error: Exception) -> UsageError:
    """The error for a storage that cannot be used, whatever it raised."""
    if isinstance(error, UsageError):
        return error
    details = getattr(error, "details", None)  # of gRPC's, whose text is of many lines
    # Optuna's own words say nothing of the reason.
    lines = str(details() if callable(details) else error.__cause__ or error).strip().splitlines()
    reason = hide_password(lines[0][:200]) if lines else type(error).__name__
    return UsageError(
        f"--storage: {hide_password(address)} does not answer ({reason}); allowed are the path of a journal file and "
        "addresses such as sqlite:///study.db, mysql://..., postgresql://..., redis://... and grpc://host:port"
    )


def hide_password(address: str) -> str:
    """An address that can be shown: ``mysql://ann:secret@host/db`` gives ``mysql://***@host/db``."""
    shown = re.sub(r"//[^/\s]\S*@", "//***@", address)
    return re.sub(r"(?i)(passw(?:or)?d=)[^&\s]+", r"\1***", shown)


def _journal(path: Path) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    lock = JournalFileOpenLock(str(path))
    _mend(path, lock)
    return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _redis(address: str) -> Any:
    import optuna
    from optuna.storages.journal import JournalRedisBackend

    _driver(address, "redis")
    if "socket_connect_timeout" not in address:
        address += f"{'&' if '?' in address else '?'}socket_connect_timeout={ANSWERS}&socket_timeout={ANSWERS}"
    return optuna.storages.JournalStorage(JournalRedisBackend(address))


def _proxy(place: str) -> Any:
    import optuna

    _driver(f"grpc://{place}", "grpc")
    host, _, port = place.partition(":")
    proxy = optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
    proxy.wait_server_ready(timeout=ANSWERS)
    return proxy


def _database(address: str) -> Any:
    import optuna
    import sqlalchemy

    url = sqlalchemy.make_url(re.sub("^postgres(?=[:+])", "postgresql", address))  # as some hosts give it
    if url.drivername in ("postgresql", "mysql"):
        url = url.set(drivername=f"{url.drivername}+{SPOKEN[_driver(address, url.drivername)]}")
    dialect = url.get_dialect()
    limits = {name: value for name, value in TIMEOUTS.get(dialect.driver, {}).items() if name not in url.query}
    try:
        storage = _with_tables(url, limits)
    except ImportError as error:
        reason = error.__cause__ or error
        raise UsageError(
            f"--storage: {hide_password(address)} needs a driver that is not installed ({reason})"
        ) from error
    if dialect.name == "sqlite" and url.database not in (None, "", ":memory:"):
        _one_at_a_time(storage.engine)
    return optuna.storages.get_storage(storage)


def _with_tables(url: sqlalchemy.URL, limits: dict[str, int], left: int = MAKING) -> optuna.storages.RDBStorage:
    """The database with Optuna's tables; of several that make them at once, all but one must look again."""
    import optuna
    import sqlalchemy

    try:
        return optuna.storages.RDBStorage(
            url.render_as_string(hide_password=False),
            # A connection that lay idle during a long epoch may be gone: it is tried before it is used.
            engine_kwargs={"pool_pre_ping": True, "connect_args": limits},
        )
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        if left <= 1 or not re.search("already exists|duplicate|unique", f"{error} {error.__cause__}", re.IGNORECASE):
            raise
    time.sleep(0.5)
    return _with_tables(url, limits, left - 1)


def _one_at_a_time(engine: sqlalchemy.Engine) -> None:
    """Let SQLite's transactions look and write in one go, so that no two processes take the same trial."""
    from sqlalchemy import event

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # else the driver begins by itself, and too late

    def begun(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()
    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def _driver(address: str, kind: str) -> str:
    """The first module installed that speaks to a kind of storage.

    Raises:
        UsageError: none is.
    """
    for module in DRIVERS[kind]:
        if importlib.util.find_spec(module) is not None:
            return module
    package = next(iter(DRIVERS[kind].values()))
    raise UsageError(
        f"--storage: {hide_password(address)} needs a driver that is not installed: pip install '{package}'"
    )


def _mend(path: Path, lock: Any) -> None:
    """Cut off a journal's last line where a full disk or a killed process left it half written.

    Raises:
        UsageError: the file is no journal, and left as it is.
    """
    if not path.is_file():
        return
    lock.acquire()
    try:
        with path.open("rb+") as file:
            text = file.read()
            first = text.partition(b"\n")[0]
            begun = bool(first) and b'{"op_code"'.startswith(first)
            if text and not begun and b'"op_code"' not in first:
                raise UsageError(
                    f"--storage: {path} is no journal of Optuna's; name a new file, or a database by its address: "
                    f"sqlite:///{path}"
                )
            file.truncate(text.rfind(b"\n") + 1)
    finally:
        lock.release()
