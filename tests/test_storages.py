"""Storages by address: what each needs, what is said where it is not there, and how long that takes."""

import socket
import time

import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError

from databases import has_driver
from mien import storages
from mien.errors import UsageError
from mien.storages import hide_password, is_outage, open_storage, patiently
from tuners import open_tuned

UNUSABLE = ["sqlite:////nowhere/at/all/study.db", "nonsense://ann:secret@x", "nowhere/journal.log"]


@pytest.mark.parametrize("address", UNUSABLE)
def test_a_storage_that_does_not_answer_is_named_without_its_password(tmp_path, address, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"--storage: .* does not answer \(") as caught:
        open_tuned(address, tmp_path / "study")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "package"),
    [
        ("postgresql://ann:secret@host/db", r"mien\[postgresql\]"),
        ("postgres://ann:secret@host/db", r"mien\[postgresql\]"),
        ("mysql://ann:secret@host/db", "mysqlclient"),
        ("redis://:secret@host", "redis"),
        ("grpc://host:13000", "grpcio"),
    ],
)
def test_a_driver_that_is_missing_is_named(tmp_path, address, package, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=f"needs a driver that is not installed: pip install '{package}'") as caught:
        open_tuned(address, tmp_path / "study")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_driver_that_the_address_names_is_missing(tmp_path):
    with pytest.raises(UsageError, match=r"needs a driver that is not installed \(No module named 'oracledb'\)"):
        open_tuned("oracle+oracledb://ann:secret@host/db", tmp_path / "study")


@pytest.mark.parametrize("content", [b"SQLite format 3\0 and\n more", b"notes", b'{"epochs": 3}\n', b"\nnotes"])
def test_a_file_that_is_no_journal_is_left_as_it_is(tmp_path, content):
    """As a database that was named without its scheme: it was cut off behind its last line."""
    path = tmp_path / "study.db"
    path.write_bytes(content)
    with pytest.raises(
        UsageError, match=r"--storage: \S+study\.db is no journal of Optuna's; .* sqlite:///\S+study\.db"
    ):
        open_tuned(str(path), tmp_path / "study")
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b'{"op_', b'{"op_code":0,"worker_id":"a'])
def test_a_journal_whose_first_line_is_half_written_is_begun_anew(tmp_path, content):
    path = tmp_path / "journal.log"
    path.write_bytes(content)
    open_tuned(str(path), tmp_path / "study")
    assert path.read_bytes().startswith(b'{"op_code":0')


@pytest.fixture
def mute():
    """The port of a server that takes connections and says nothing, as a black hole."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("kind", ["postgresql", "grpc", "redis", "mysql"])
def test_a_server_that_never_answers_is_given_up(tmp_path, mute, kind, monkeypatch):
    if not has_driver(kind):
        pytest.skip(f"needs a driver for {kind}")
    monkeypatch.setattr(storages, "ANSWERS", 2)
    monkeypatch.setattr(
        storages, "TIMEOUTS", {name: dict.fromkeys(given, 2) for name, given in storages.TIMEOUTS.items()}
    )
    began = time.monotonic()
    address = f"127.0.0.1:{mute}" if kind == "grpc" else f"ann:secret@127.0.0.1:{mute}/0"
    with pytest.raises(UsageError, match=r"does not answer \(.*\); allowed are") as caught:
        open_tuned(f"{kind}://{address}", tmp_path)
    assert time.monotonic() - began < 30
    assert "secret" not in str(caught.value)


def test_what_the_address_says_goes_before_the_limits(monkeypatch):
    made = []
    monkeypatch.setattr(storages, "_with_tables", lambda url, limits: made.append((url, limits)) or 1 / 0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "psycopg2" or None)
    with pytest.raises(ZeroDivisionError):
        open_storage("postgres://ann:p%40ss@host/db?connect_timeout=3")
    url, limits = made[0]
    assert url.render_as_string(hide_password=False) == "postgresql+psycopg2://ann:p%40ss@host/db?connect_timeout=3"
    assert "connect_timeout" not in limits
    assert limits["tcp_user_timeout"] == 60_000


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("mysql://ann:secret@host/db", "mysql://***@host/db"),
        ("mysql://ann:sec/ret@host/db", "mysql://***@host/db"),
        ("mysql://ann:sec@ret@host/db", "mysql://***@host/db"),
        ("redis://:secret@host", "redis://***@host"),
        ("postgresql:///db?host=h&password=secret&x=1", "postgresql:///db?host=h&password=***&x=1"),
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("sqlite:////home/ann/study.db", "sqlite:////home/ann/study.db"),
    ],
)
def test_passwords_are_hidden(address, shown):
    assert hide_password(address) == shown


def test_a_storage_that_comes_back_is_waited_for(monkeypatch):
    answers = [StorageInternalError("x"), ConnectionRefusedError("x"), sqlalchemy.exc.OperationalError("x", {}, None)]
    slept = []
    monkeypatch.setattr("mien.storages.time", type("Clock", (), {"sleep": slept.append}))

    def call() -> int:
        if answers:
            raise answers.pop()
        return 7

    assert patiently(call) == 7
    assert slept == list(storages.PAUSES[:3])
    answers[:] = [ConnectionError("x")] * 99
    with pytest.raises(ConnectionError):
        patiently(call)
    assert sum(slept[3:]) == sum(storages.PAUSES) == 300
    assert not is_outage(ValueError("x"))
