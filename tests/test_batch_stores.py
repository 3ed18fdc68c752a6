"""Paths and addresses: what they name, what is shown of them, files written whole or not at all."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import FullDisk, object_store
from mien.batch.locations import is_store, masked, split_options
from mien.batch.stores import Store, parquet_writer, told
from mien.errors import DataError, UsageError
from mien.rowfiles import need_pyarrow


@pytest.fixture
def memory(tmp_path):
    """A folder in fsspec's memory of this process."""
    store = Store.open(f"memory://{tmp_path.name}/run")
    yield store
    store.delete_folder()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """Options of an S3's addresses."""
    with object_store(tmp_path_factory.mktemp("moto")) as options:
        yield options


@pytest.mark.parametrize("text", ["s3://b/a", "memory://x", "file:///a", "GS://b"])
def test_addresses_of_stores(text):
    assert is_store(text)


@pytest.mark.parametrize("text", ["a/b", "https://a/b.jpg", "rtsp://a", "C:/a", "0", "a?b=c"])
def test_what_is_none(text):
    assert not is_store(text)


def test_a_file_address_is_a_path(tmp_path):
    folder = tmp_path / "a b%41?c=d"
    folder.mkdir()
    store = Store.open(f"file://{tmp_path}/a%20b%2541%3Fc=d")
    assert store.path == store.shown == str(folder)
    store.child("x y").write(b"1")
    assert (folder / "x y").read_bytes() == Store.open(store.child("x y").address).read() == b"1"


def test_a_file_address_without_a_path():
    with pytest.raises(UsageError, match="names no path"):
        Store.open("file://")


@pytest.mark.parametrize("name", ["a?b.jpg", "a?b=c.jpg", "a%20b", "a#b", "a b", "?", "ü"])
def test_a_name_in_a_store_leads_back_to_it(memory, name):
    child = memory.child("in", name)
    with child.filesystem.open_output_stream(child.path) as stream:  # fsspec would not move a name that is a pattern
        stream.write(b"1")
    again = Store.open(child.address)
    assert (again.path, again.shown, again.read()) == (child.path, child.shown, b"1")
    assert child.shown == f"{memory.shown}/in/{name}"


@given(st.text("ab?=&/.-", max_size=12), st.sampled_from(["", "?region=x", "?a.b=c&d=e:1", "?"]))
def test_options_stand_at_the_end(path, options):
    whole = f"s3://b/{path}{options}"
    place, found = split_options(whole)
    assert place + found == whole
    if options:
        assert (place, found) == (f"s3://b/{path}", options)


def test_options_go_with_what_lies_below():
    from pyarrow.fs import LocalFileSystem

    store = Store("s3://b/f?endpoint_override=x:1&secret_key=y", "b/f", LocalFileSystem())
    assert store.child("a", "b").address == "s3://b/f/a/b?endpoint_override=x:1&secret_key=y"
    assert store.child("t.parquet").beside("g/c").address == "s3://b/f/g/c?endpoint_override=x:1&secret_key=y"
    assert store.child("t.parquet").beside("g/c").path == "b/f/g/c"
    assert store.child("a").shown == "s3://b/f/a"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("s3://KEY:SECRET@b/a@b", "s3://b/a@b"),
        ("s3://KEY:SEC/RET@b/a", "s3://b/a"),
        ("s3://b/a?secret_key=SECRET&region=x", "s3://b/a?secret_key=***&region=x"),
        ("https://u:SECRET@h/a?token=SECRET", "https://h/a?token=***"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("s3://h:9000/a@b", "s3://h:9000/a@b"),
    ],
)
def test_what_is_shown_holds_no_secret(address, shown):
    assert masked(address) == shown
    assert not is_store(address) or "SEC" not in Store(address, "", None).shown


@pytest.mark.parametrize(
    "address",
    ["s3://KEY:SECRET@b/x?bad=1", "s3://KEY:SEC/RET@b/x", "nothing://u:SECRET@b/x", "s3://KEY:SECRET@b b/x", "s3://"],
)
def test_addresses_that_are_none_say_so_without_secrets(address):
    with pytest.raises(UsageError) as error:
        Store.open(address)
    assert "SEC" not in str(error.value)
    assert "RET" not in str(error.value)
    assert "s3fs" not in str(error.value)


def test_a_folder_is_walked_in_order(memory):
    for name in ("b.png", "a.png", "d/e/1.png", "d/0.png", "_plan/x.png", ".h/x.png", "c/_metadata"):
        memory.child(*name.split("/")).write(b"1")
    assert list(memory.walk()) == [("a.png", ""), ("b.png", ""), ("d/0.png", ""), ("d/e/1.png", "")]


def test_a_folder_that_cannot_be_read_does_not_end_the_walk(memory, monkeypatch):
    for name in ("a/1.png", "b/2.png"):
        memory.child(*name.split("/")).write(b"1")
    listed = Store._listed

    def refuse(self, below):
        with told(self):
            if below == "a/":
                raise RuntimeError("503 from a library")
        return listed(self, below)

    monkeypatch.setattr(Store, "_listed", refuse)
    folder, found = memory.walk()
    assert folder[0] == "a/"
    assert "503 from a library" in folder[1]
    assert found == ("b/2.png", "")


def test_kinds_and_sizes(tmp_path):
    store = Store.open(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    store.child("a").write(b"123")
    looked = [store.child(*name).look() for name in ([], ["a"], ["pipe"], ["no"], ["a", "b"])]
    assert looked == [("folder", 0), ("file", 3), ("other", 0), ("", 0), ("", 0)]
    assert store.child("a").is_file()
    assert not store.child("no").exists()
    assert store.names() == ["a", "pipe"]
    assert store.child("no").names() == []


def test_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    store = Store.open(str(folder / "a"))
    assert store.read() == b"1"
    with store.opened() as stream:
        assert stream.read() == b"1"
    assert store.shown == f"{tmp_path}/\\udcff/a"
    with pytest.raises(DataError, match=r"udcff/b: cannot be written"):
        Store.open(str(folder / "b")).write(b"1")


@pytest.mark.parametrize("path", ["a\0b", "x" * 300])
def test_names_that_no_file_has(tmp_path, path):
    with pytest.raises(DataError, match="cannot be read"):
        Store.open(f"{tmp_path}/{path}").kind()


def test_a_body_that_fails_leaves_what_was_there(tmp_path, memory):
    for folder in (Store.open(str(tmp_path)), memory):
        store = folder.child("a")
        store.write(b"before")
        with pytest.raises(ZeroDivisionError), store.replacing() as stream:
            stream.write(b"after" * (1 // 0))
        assert store.read() == b"before"
        assert folder.names() == ["a"]


def test_errors_of_a_body_are_its_own(tmp_path):
    with pytest.raises(FileNotFoundError), Store.open(str(tmp_path / "a")).replacing():
        Path(tmp_path, "nothing").read_bytes()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    store = Store.open(str(tmp_path / "a"))
    store.write(b"before")
    full = replace(store, filesystem=FullDisk(store.filesystem, 10))
    with pytest.raises(DataError, match=r"a: cannot be written \(No space left on device\)"):
        full.write(b"x" * 100)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert store.read() == b"before"


@pytest.mark.parametrize("room", [0, 10, 300])
def test_a_full_disk_under_a_table(tmp_path, room):
    arrow, _ = need_pyarrow()
    store = Store.open(str(tmp_path / "a.parquet"))
    full = replace(store, filesystem=FullDisk(store.filesystem, room))
    table = arrow.table({"x": list(range(10_000))})

    def fill():
        with full.replacing() as stream, parquet_writer(full, stream, table.schema) as writer, told(full, "written"):
            writer.write_table(table)

    with pytest.raises(DataError, match="No space left on device"):
        fill()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"file/a: cannot be written"):
        Store.open(str(tmp_path / "file" / "a")).write(b"1")


def test_removing_what_is_not_there(tmp_path, memory):
    for folder in (Store.open(str(tmp_path)), memory):
        folder.child("no").delete_file()
        folder.child("no").delete_folder()
        folder.child("some", "a").write(b"1")
        folder.child("some", "a").delete_file()
        folder.child("some").delete_folder()
        assert not folder.child("some").exists()


def test_damaged_tables_are_named(tmp_path):
    store = Store.open(str(tmp_path / "t.parquet"))
    store.write(b"PAR1 nothing PAR1")
    with pytest.raises(DataError, match=r"t\.parquet: is damaged"):
        store.read_table()


def test_an_object_store(bucket):
    run = Store.open(f"s3://bucket/run{bucket}")
    assert not run.exists()
    assert run.names() == []
    store = run.child("faces", "a b?c=d%41.parquet")
    store.write(b"1")
    store.write(b"22")
    assert Store.open(store.address).read() == b"22"
    assert (store.look(), run.kind(), run.names()) == (("file", 2), "folder", ["faces"])
    assert list(run.walk()) == [("faces/a b?c=d%41.parquet", "")]
    with pytest.raises(ZeroDivisionError), store.replacing() as stream:
        stream.write(b"333" * (1 // 0))
    assert run.child("faces").names() == ["a b?c=d%41.parquet"]
    assert store.read() == b"22"
    store.delete_file()
    run.child("faces").delete_folder()
    run.child("nothing").delete_folder()
    assert run.names() == []


def test_what_an_object_store_refuses(bucket):
    with pytest.raises(DataError, match=r"s3://bucket/no: cannot be read \(.*not exist"):
        Store.open(f"s3://bucket/no{bucket}").read()
    with pytest.raises(DataError, match=r"s3://bucket/a//b: cannot be read"):
        Store.open(f"s3://bucket/a//b{bucket}").kind()
    with pytest.raises(DataError, match=r"s3://nobucket/a: cannot be written"):
        Store.open(f"s3://nobucket/a{bucket}").write(b"1")
