"""Tars and Parquet files: every picture exactly once however they are cut, and damage said where it is."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mien.batch.columns
import mien.batch.shards
import mien.batch.tars
from batches import png, tar_bytes, value_of, write, write_parquet
from mien.batch.columns import find_column, read_parquet
from mien.batch.shards import Entry, load_path
from mien.batch.stores import Store
from mien.batch.tars import index_tar, read_tar
from mien.errors import DataError, UsageError
from mien.fetching import FetchLimits
from mien.images import MAX_PIXELS

PICTURES = [(f"d/{number}.png", png(number)) for number in range(6)]
LONG = "long/" * 40 + "name.png"


def looked(entries: Iterable[Entry]) -> list[tuple[str, object]]:
    """(name, grey of the picture or what is wrong with it)."""
    seen: list[tuple[str, object]] = []
    for entry in entries:
        try:
            seen.append((entry.name, value_of(entry.load())))
        except DataError as error:
            seen.append((entry.name, str(error)))
    return seen


def tar(path: Path, start: int = 0, stop: int = 0) -> list[tuple[str, object]]:
    """What a tar holds, names without the tar's."""
    found = looked(read_tar(Store.open(str(path)), start, stop, MAX_PIXELS))
    return [(name.removeprefix(f"{path}/"), what) for name, what in found]


def until_damage(coming: Iterable[Entry]) -> tuple[list[Entry], str]:
    """The entries before the damage, and what is said of it."""
    entries: list[Entry] = []
    with pytest.raises(DataError) as error:
        entries.extend(coming)  # which keeps those before
    return entries, str(error.value)


def cut_short(path: Path, start: int = 0, stop: int = 0) -> tuple[list[str], str]:
    """Names before the damage, and what is said of it."""
    entries, said = until_damage(read_tar(Store.open(str(path)), start, stop, MAX_PIXELS))
    return [entry.name.removeprefix(f"{path}/") for entry in entries], said


@pytest.fixture
def indexed(monkeypatch):
    """Every tar is large enough to be cut."""
    monkeypatch.setattr(mien.batch.tars, "INDEXED_BYTES", 0)


def pieces(path: Path, size: int) -> list[list[tuple[str, object]]]:
    index = index_tar(Store.open(str(path)))
    if index is None:
        return [tar(path)]
    cuts = [*range(0, len(index) - 1, size), len(index) - 1]
    return [tar(path, int(index[first]), int(index[last])) for first, last in pairwise(cuts)]


def joined(cuts: list[list[tuple[str, object]]]) -> list[tuple[str, object]]:
    return [entry for piece in cuts for entry in piece]


EXPECTED = [(name, number) for number, (name, _) in enumerate(PICTURES)]


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_tars_of_all_kinds(tmp_path, ending):
    pack = {"gz": gzip.compress, "tgz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    data = tar_bytes(PICTURES)
    path = write(tmp_path / f"s.{ending}", pack.get(ending.rpartition(".")[2], bytes)(data))
    assert tar(path) == EXPECTED


@pytest.mark.parametrize(("pack", "ending"), [(gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz")])
def test_what_was_compressed_in_pieces_is_read_to_the_end(tmp_path, pack, ending):
    data = tar_bytes(PICTURES)
    for name in (f"s.tar.{ending}", "s.tar"):
        path = write(tmp_path / name, pack(data[:2000]) + pack(data[2000:]))
        assert tar(path) == EXPECTED


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_other_members(tmp_path, form, indexed):
    long = "x" * 90 + "/" + "y" * 90 + ".png" if form == tarfile.USTAR_FORMAT else LONG
    members = [("a.json", b"{}"), *PICTURES[:2], (long, png(9)), ("._b.png", b"x"), *PICTURES[2:], ("z.cls", b"1")]
    path = write(tmp_path / "s.tar", tar_bytes(members, format=form))
    expected = [*EXPECTED[:2], (long, 9), *EXPECTED[2:]]
    assert tar(path) == expected
    for size in (1, 2, 3, 100):
        assert joined(pieces(path, size)) == expected


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"\xff.png")
    folder = tmp_path / os.fsdecode(b"\xfe")
    path = write(folder / "s.tar", tar_bytes([(name, png(1))]))
    ((shown, value),) = looked(read_tar(Store.open(str(path)), 0, 0, MAX_PIXELS))
    assert (shown, value) == (f"{tmp_path}/\\udcfe/s.tar/\\udcff.png", 1)
    data = pyarrow.array([png(3)])
    moved = write_parquet(tmp_path / "t.parquet", data).rename(folder / "t.parquet")
    assert [what for _, what in looked(read_parquet(Store.open(str(moved)), "image", 0, 1, MAX_PIXELS))] == [3]


def test_links_folders_and_pipes(tmp_path, indexed):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as written:
        for name, kind in (("dir.png", tarfile.DIRTYPE), ("hard.png", tarfile.LNKTYPE), ("soft.png", tarfile.SYMTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "a.png"
            written.addfile(entry)
        entry = tarfile.TarInfo("pipe.png")
        entry.type = tarfile.FIFOTYPE
        written.addfile(entry)
    path = write(tmp_path / "s.tar", held.getvalue())
    found = tar(path)
    assert [name for name, _ in found] == ["hard.png", "soft.png", "pipe.png"]
    assert [str(what)[:9] for _, what in found] == ["is a link", "is a link", "is not a "]
    assert joined(pieces(path, 1)) == found


def test_tars_without_pictures(tmp_path, indexed):
    for name, data in (("empty.tar", tar_bytes([])), ("texts.tar", tar_bytes([("a.txt", b"1" * 5000)]))):
        path = write(tmp_path / name, data)
        assert tar(path) == []
        assert index_tar(Store.open(str(path))) is None


def test_pictures_that_are_none_fail_alone(tmp_path, monkeypatch):
    path = write(
        tmp_path / "s.tar", tar_bytes([("a.png", b"no"), ("b.png", b""), *PICTURES[:1], ("c.png", png(1) * 9)])
    )
    monkeypatch.setattr(mien.batch.tars, "MAX_FILE_BYTES", 500)
    (first, one), (second, two), third, (fourth, four) = tar(path)
    assert [first, second, third, fourth] == ["a.png", "b.png", ("d/0.png", 0), "c.png"]
    assert ["decoded" in one or "image" in one, two, four[:3]] == [True, "is empty (0 bytes)", "has"]


def test_a_tar_that_is_cut_off(tmp_path, indexed):
    whole = tar_bytes([(name, data + b"\0" * 3000) for name, data in PICTURES])
    for length in range(1, len(whole) - 10240, 333):
        path = write(tmp_path / "s.tar", whole[:length])
        if length % 512 == 0 and not any(
            whole[length : length + 100].startswith(name.encode()) for name, _ in PICTURES
        ):
            continue
        names, said = cut_short(path)
        assert "damaged" in said
        assert names == [name for name, _ in PICTURES[: len(names)]]
        index = index_tar(Store.open(str(path)))
        assert (index is None) == (not names)
        if index is not None:
            assert cut_short(path, index[0], index[-1]) == (names, said)


def test_a_picture_that_is_cut_off_is_named(tmp_path):
    whole = tar_bytes([(name, data + b"\0" * 3000) for name, data in PICTURES])
    path = write(tmp_path / "s.tar", whole[:6000])
    entries, said = until_damage(read_tar(Store.open(str(path)), 0, 0, MAX_PIXELS))
    assert "damaged" in said
    assert [what for _, what in looked(entries)] == [0, "is cut off by the end of the tar"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_header_in_the_middle_is_not_the_end(tmp_path, pack, indexed):
    whole = bytearray(tar_bytes(PICTURES))
    whole[3 * 1024 + 148 : 3 * 1024 + 156] = b"\xff" * 8
    path = write(tmp_path / "s.tar", pack(bytes(whole)))
    assert cut_short(path)[0] == [name for name, _ in PICTURES[:3]]
    if pack is bytes:
        index = index_tar(Store.open(str(path)))
        assert len(index) == 4
        assert tar(path, index[0], index[2]) == EXPECTED[:2]
        assert cut_short(path, index[2], index[3])[0] == ["d/2.png"]
    else:
        assert index_tar(Store.open(str(path))) is None


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_tar_that_is_cut_off(tmp_path, pack):
    whole = pack(tar_bytes([(f"{number}.png", os.urandom(4000)) for number in range(20)]))
    path = write(tmp_path / "s.tar.any", whole[: len(whole) // 2])
    assert cut_short(path)[1]


def test_what_is_no_tar(tmp_path, indexed):
    for data in (b"", b"nothing of the kind" * 100, b"\x1f\x8bnothing", b"BZhnothing", png() * 100):
        path = write(tmp_path / "s.tar", data)
        names, said = cut_short(path)
        assert names == []
        assert "tar" in said
    with pytest.raises(DataError, match="No such file"):
        looked(read_tar(Store.open(str(tmp_path / "no.tar")), 0, 0, MAX_PIXELS))


names = st.builds(
    "{}{}".format, st.text("abcü /.", min_size=1, max_size=120), st.sampled_from([".png", ".txt", ".jpg"])
)
members = st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members, st.integers(1, 5), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_every_picture_once_whatever_the_cut(tmp_path, indexed, members, size, form):
    path = write(tmp_path / "s.tar", tar_bytes(members, format=form))
    cuts = pieces(path, size)
    assert joined(cuts) == tar(path)
    assert len(tar(path)) == sum(mien.batch.tars.is_wanted(name.rstrip("/")) for name, _ in members)
    assert all(0 < len(piece) <= size for piece in cuts) or not tar(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 8000), st.binary(min_size=1, max_size=600), st.booleans())
def test_damage_of_any_kind_is_an_error_of_data(tmp_path, indexed, place, rubbish, cut):
    whole = tar_bytes([*PICTURES[:2], (LONG, png(3))], format=tarfile.PAX_FORMAT)
    path = write(tmp_path / "s.tar", whole[:place] + rubbish + (b"" if cut else whole[place + len(rubbish) :]))
    index = index_tar(Store.open(str(path)))
    for start, stop in ((0, 0), (0, 0) if index is None else (index[0], index[-1])):
        try:
            tar(path, start, stop)
        except DataError:
            continue


# Parquet


def parquet(path: Path, column: str = "image", start: int = 0, stop: int = 10**6, **options) -> list[object]:
    """What the rows of a Parquet file are."""
    found = looked(read_parquet(Store.open(str(path)), column, start, stop, MAX_PIXELS, **options))
    assert [name for name, _ in found] == [f"{path}#{start + number}" for number in range(len(found))]
    return [what for _, what in found]


BYTES = [png(1), None, png(3), b"", b"no", png(6)]
HF = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})


@pytest.mark.parametrize(
    "kind", [pyarrow.binary(), pyarrow.large_binary(), pyarrow.dictionary(pyarrow.int8(), pyarrow.binary())]
)
def test_columns_of_bytes(tmp_path, kind):
    column = pyarrow.array(BYTES, pyarrow.binary()).cast(kind) if kind != pyarrow.binary() else pyarrow.array(BYTES)
    path = write_parquet(tmp_path / "t.parquet", column, label=list(range(6)))
    found, rows = find_column(Store.open(str(path)), None)
    assert (found.name, found.kind, rows) == ("image", "bytes", [6])
    values = parquet(path)
    assert [values[place] for place in (0, 1, 2, 3, 5)] == [1, "has no picture (null)", 3, "is empty (0 bytes)", 6]


def test_hugging_face_has_bytes_and_paths(tmp_path):
    write(tmp_path / "in" / "a.png", png(4))
    rows = [
        {"bytes": png(1), "path": "x.png"},
        {"bytes": None, "path": "in/a.png"},
        {"bytes": None, "path": None},
        None,
        {"bytes": None, "path": str(tmp_path / "in" / "a.png")},
    ]
    path = write_parquet(tmp_path / "t.parquet", pyarrow.array(rows, HF))
    assert find_column(Store.open(str(path)), None)[0].kind == "struct"
    null = "has no picture (null)"
    assert parquet(path) == [1, 4, null, null, 4]


def test_a_struct_of_paths_alone(tmp_path):
    write(tmp_path / "a.png", png(4))
    kind = pyarrow.struct({"bytes": pyarrow.null(), "path": pyarrow.string()})
    path = write_parquet(tmp_path / "t.parquet", pyarrow.array([{"bytes": None, "path": "a.png"}], kind))
    assert find_column(Store.open(str(path)), None)[0].kind == "struct"
    assert parquet(path) == [4]


@pytest.mark.parametrize(
    "kind",
    [pyarrow.struct({"bytes": pyarrow.list_(pyarrow.uint8())}), pyarrow.list_(pyarrow.binary()), pyarrow.int32()],
)
def test_columns_that_hold_no_pictures(tmp_path, kind):
    path = write_parquet(tmp_path / "t.parquet", pyarrow.array([None], kind))
    for wanted in (None, "image", "nothing"):
        with pytest.raises(UsageError, match="--column"):
            find_column(Store.open(str(path)), wanted)


def test_paths_of_all_kinds(tmp_path):
    write(tmp_path / "in" / "a b.png", png(4))
    store = Store.open(f"memory://{tmp_path.name}/x.png")
    store.write(png(5))
    wrong = [
        "no.png",
        "in",
        None,
        "",
        "nothing://x/y.png",
        "a\0b",
        "x" * 300,
        "s3://K:SECRET@b b/x",
        "https://127.0.0.1/x",
    ]
    paths = [
        "in/a b.png",
        str(tmp_path / "in" / "a b.png"),
        "in/../in/a b.png",
        store.address,
        f"file://{tmp_path}/in/a%20b.png",
    ]
    table = write_parquet(tmp_path / "t.parquet", pyarrow.array(paths + wrong), "path")
    values = parquet(table, "path", limits=FetchLimits(10**6, 1.0, allow_private=False))
    assert values[:5] == [4, 4, 4, 5, 4]
    assert all(isinstance(value, str) for value in values[5:])
    assert [str(value).split(" (")[0] for value in values[5:9]] == ["there is no such file", "is not a file"] + [
        "has no picture"
    ] * 2
    assert "not public" in str(values[-1])
    assert not any("SECRET" in str(value) for value in values)


def test_paths_beside_a_stored_table(tmp_path):
    root = Store.open(f"memory://{tmp_path.name}")
    root.child("in", "a.png").write(png(4))
    local = write_parquet(tmp_path / "t.parquet", pyarrow.array(["in/a.png", "no.png"]), "path")
    root.child("t.parquet").write(local.read_bytes())
    table = root.child("t.parquet")
    assert [what for _, what in looked(read_parquet(table, "path", 0, 2, MAX_PIXELS))] == [4, "there is no such file"]


def test_names_that_are_alike(tmp_path):
    flat, nested = [png(number) for number in range(3)], [{"bytes": png(9), "path": ""}] * 3
    others = {"image": pyarrow.array(nested, HF), "image.size": [b"1", b"2", b"3"]}
    path = write_parquet(tmp_path / "t.parquet", pyarrow.array(flat), "image.bytes", **others)
    assert parquet(path, "image.bytes") == [0, 1, 2]
    assert parquet(path, "image") == [9] * 3


def test_a_name_that_two_columns_have(tmp_path):
    table = pyarrow.Table.from_arrays([pyarrow.array([png()])] * 2, ["image", "image"])
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    for wanted in (None, "image"):
        with pytest.raises(DataError, match="2 columns"):
            find_column(Store.open(str(tmp_path / "t.parquet")), wanted)


def test_which_column_it_must_be(tmp_path):
    column = pyarrow.array([png()])
    path = write_parquet(tmp_path / "t.parquet", column, "face", mask=pyarrow.array([b""]), file=["a.png"])
    with pytest.raises(UsageError, match=r"several columns .*--column: mask, file, face"):
        find_column(Store.open(str(path)), None)
    assert find_column(Store.open(str(path)), "mask")[0].kind == "bytes"
    assert find_column(Store.open(str(path)), "file")[0].kind == "path"
    only = write_parquet(tmp_path / "p.parquet", pyarrow.array(["a.png"]), "File_Name", caption=["x"])
    assert find_column(Store.open(str(only)), None)[0].name == "File_Name"


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("at_once", [1, 2, 5, 32])
def test_rows_of_any_range(tmp_path, monkeypatch, rows, at_once):
    monkeypatch.setattr(mien.batch.columns, "ROWS_AT_ONCE", at_once)
    path = write_parquet(tmp_path / "t.parquet", pyarrow.array([png(number) for number in range(9)]), rows=rows)
    for start in range(10):
        for stop in range(start, 11):
            assert parquet(path, start=start, stop=stop) == list(range(start, min(stop, 9)))


def test_tables_without_rows(tmp_path):
    path = write_parquet(tmp_path / "t.parquet", pyarrow.array([], pyarrow.binary()))
    assert sum(find_column(Store.open(str(path)), None)[1]) == 0
    assert parquet(path) == []


def test_what_is_no_parquet(tmp_path):
    whole = write_parquet(tmp_path / "w.parquet", pyarrow.array([os.urandom(5000) for _ in range(20)])).read_bytes()
    for data in (b"", b"PAR1", whole[:-3], whole[:5000], b"x" * 5000):
        path = write(tmp_path / "t.parquet", data)
        with pytest.raises(DataError, match=r"t\.parquet: cannot be read as Parquet"):
            find_column(Store.open(str(path)), None)
    path = write(tmp_path / "t.parquet", whole[:2000] + b"\xff" * 3000 + whole[5000:])
    find_column(Store.open(str(path)), None)


def test_a_table_that_is_damaged_inside(tmp_path):
    column = pyarrow.array([png(number) * 3 for number in range(64)])
    path = write_parquet(tmp_path / "t.parquet", column, rows=32)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 60] = b"\xff" * 60
    path.write_bytes(whole)
    entries, said = until_damage(read_parquet(Store.open(str(path)), "image", 0, 64, MAX_PIXELS))
    assert "cannot be read as Parquet" in said
    assert len(entries) == 32


def test_stored_pictures_say_what_is_wrong(tmp_path, monkeypatch):
    root = Store.open(f"memory://{tmp_path.name}")
    root.child("in", "a.png").write(b"no")
    monkeypatch.setattr(mien.batch.shards, "MAX_FILE_BYTES", 10)
    for name, said in (("in", "is not a file"), ("no.png", "there is no such file"), ("in/a.png", "image")):
        with pytest.raises(DataError, match=said) as error:
            load_path(root.child(*name.split("/")), MAX_PIXELS)
        assert root.shown not in str(error.value)
    root.child("in", "a.png").write(b"no" * 6)
    with pytest.raises(DataError, match="has 12 bytes; a picture may have 10"):
        load_path(root.child("in", "a.png"), MAX_PIXELS)
