"""What sources name for a batch run: everything once, one by one; what is wrong with some does not hide the rest."""

import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches import found, png, tar_bytes, write
from mien.batch.discovery import Found, _regex, discover
from mien.batch.stores import Store
from mien.errors import UsageError


def told(sources, root: Path) -> list[tuple[str, str]]:
    """(kind, path below root) of what is discovered."""
    return [(one.kind, os.path.relpath(one.target, root)) for one in found(*sources)]


@pytest.fixture
def data(tmp_path):
    """Pictures, shards and a video, in folders."""
    for name in ("b.png", "a.jpg", "in/c.png", "in/s-000.tar", "in/s-001.tar", "t.parquet", "v.mp4", "notes.md"):
        write(tmp_path / "data" / name)
    for name in ("_metadata", "_temporary/x.parquet", ".hidden.tar", "in/.x.parquet", "in/_x.tar"):
        write(tmp_path / "data" / name)
    return tmp_path / "data"


ALL = {
    *(("picture", "a.jpg"), ("picture", "b.png"), ("picture", "in/c.png"), ("video", "v.mp4")),
    *(("shard", "in/s-000.tar"), ("shard", "in/s-001.tar"), ("shard", "t.parquet")),
}


def test_a_folder_gives_all_that_is_in_it(data):
    listed = told([data], data)
    assert set(listed) == ALL
    assert len(listed) == len(ALL)
    assert listed == told([data], data)


def test_a_source_that_is_named_twice_comes_once(data, monkeypatch):
    monkeypatch.chdir(data)
    sources = [
        data,
        ".",
        data / "a.jpg",
        "a.jpg",
        "in/../b.png",
        data / "in" / "s-000.tar",
        "**/*.tar",
        f"file://{data}",
    ]
    listed = told(sources, data)
    assert set(listed) == ALL
    assert len(listed) == len(ALL)


def test_a_pattern_that_matches_twice_gives_once(data):
    write(data / "in" / "deep" / "d.png")
    listed = told([f"{data}/**/**/*.png"], data)
    assert sorted(listed) == [("picture", "b.png"), ("picture", "in/c.png"), ("picture", "in/deep/d.png")]


def test_patterns_and_braces(data):
    shards = [("shard", "in/s-000.tar"), ("shard", "in/s-001.tar")]
    assert told([f"{data}/in/s-{{000..001}}.tar"], data) == shards
    assert told([f"{data}/in/s-{{001..000}}.tar"], data) == shards[::-1]
    assert told([f"{data}/in/s-0{{0..0}}{{0..1}}.tar"], data) == shards
    assert told([f"{data}/in/s-00[!1].*"], data) == shards[:1]
    assert [one.kind for one in found(f"{data}/in/s-{{000..002}}.tar")] == ["shard", "shard", "broken"]


def test_a_file_with_braces_in_its_name(tmp_path):
    path = write(tmp_path / "{0..1}.png")
    assert [one.target for one in found(path)] == [str(path)]


def test_addresses_count_too():
    names = [one.target for one in found("https://example.org/{08..11}.jpg")]
    assert names == [f"https://example.org/{number:02d}.jpg" for number in range(8, 12)]


def test_a_list_names_anything(data):
    lines = [
        "\ufeff# faces",
        "a.jpg",
        "",
        "in/s-{000..001}.tar",
        f"  {data}/b.png ",
        "https://u:SECRET@h/x.jpg?token=SECRET",
    ]
    lines += [
        "in",
        "no.png",
        "notes.txt",
        "x" * 300,
        "nothing://x/y",
        "rtsp://h/live",
        "7",
        "https://h/v.mp4",
        "zero\0",
    ]
    write(data / "notes.txt", b"a.jpg")
    path = write(data / "list.txt", "\n".join(lines).encode())
    listed = found(path)
    assert [os.path.relpath(one.target, data) for one in listed if one.kind in ("picture", "shard")] == [
        *("a.jpg", "in/s-000.tar", "in/s-001.tar", "b.png", "in/c.png")
    ]
    address = next(one for one in listed if one.kind == "address")
    assert (address.name, address.target) == ("https://h/x.jpg?token=***", "https://u:SECRET@h/x.jpg?token=SECRET")
    assert [one.reason.split(";")[0].split(" (")[0] for one in listed if one.kind == "broken"] == [
        "there is no such file",
        "a list may not name another list",
        "cannot be read",
        "no filesystem answers to nothing://",
        "is live",
        "is live",
        "is a video behind an address",
        "cannot be read",
    ]


@pytest.mark.parametrize("text", [b"\xff\n", b"", b"# nothing\n\n"])
def test_lists_that_name_nothing(tmp_path, text):
    path = write(tmp_path / "list.txt", text)
    with pytest.raises(UsageError, match="the list"):
        found(path)
    assert [one.kind for one in found(path, write(tmp_path / "a.png"))] == ["broken", "picture"]


def test_a_list_is_read_line_by_line(data, monkeypatch):
    path = write(data / "list.txt", b"a.jpg\n" * 3 + b"\n" * 100_000)
    monkeypatch.setattr(Path, "read_bytes", None)
    assert told([path], data) == [("picture", "a.jpg")]


@pytest.mark.parametrize("sign", ["\u2028", "\x85", "\x0c"])
def test_names_in_lists_may_hold_what_unicode_calls_a_line_end(tmp_path, sign):
    picture = write(tmp_path / f"x{sign}y.png")
    path = write(tmp_path / "list.txt", f"{picture.name}\r\nno.png".encode())
    assert [(one.kind, one.target) for one in found(path)] == [
        ("picture", str(picture)),
        ("broken", str(tmp_path / "no.png")),
    ]


def test_members_of_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("x.png", "d/y.png", "x.txt"):
            archive.writestr(name, b"")
    listed = found(tmp_path / "a.zip", f"{tmp_path}/*.zip")
    assert [(one.name, one.target, one.number) for one in listed] == [
        (f"{tmp_path}/a.zip/x.png", f"{tmp_path}/a.zip", 0),
        (f"{tmp_path}/a.zip/d/y.png", f"{tmp_path}/a.zip", 1),
    ]


def test_links_to_folders_are_entered_once(data):
    (data / "in" / "loop").symlink_to(data)
    (data / "broken.tar").symlink_to(data / "nothing")
    other = data.parent / "other"
    write(other / "s.tar")
    (data / "linked").symlink_to(other)
    listed = told([data], data)
    assert len(listed) == len(set(listed)) == len(ALL) + 1
    assert ("shard", "linked/s.tar") in listed


def test_what_a_run_wrote_is_passed_over(data):
    for name in ("_plan/items.parquet", "faces/part-000000.parquet", "run.json"):
        write(data / "run" / name)
    write(data / "no-run" / "run.json")
    write(data / "no-run" / "t.parquet")
    assert set(told([data], data)) == ALL | {("shard", "no-run/t.parquet")}
    assert told([data / "run"], data) == [("shard", "run/faces/part-000000.parquet")]


def test_names_that_are_not_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff")
    for name in ("a.png", "s.tar"):
        write(folder / name)
    listed = found(tmp_path)
    assert sorted((one.kind, one.name) for one in listed) == [
        ("picture", f"{tmp_path}/\\udcff/a.png"),
        ("shard", f"{tmp_path}/\\udcff/s.tar"),
    ]
    assert {os.fsencode(one.target).rpartition(b"/")[0] for one in listed} == {os.fsencode(folder)}


def test_nothing_at_all(tmp_path):
    (tmp_path / "empty").mkdir()
    for source in (
        tmp_path / "empty",
        tmp_path / "no",
        f"{tmp_path}/*.png",
        f"{tmp_path}/{{1..3}}.tar",
        "memory://no/x",
    ):
        with pytest.raises(UsageError, match="no images found"):
            found(source)
    write(tmp_path / "a.png")
    assert [one.kind for one in found(tmp_path / "empty", tmp_path / "a.png")] == ["broken", "picture"]


def test_messages_hold_no_secret():
    for source in ("s3://K:SEC/RET@b/x", "s3://K:SECRET@b/x?bad=1", "nothing://u:SECRET@x/y"):
        with pytest.raises(UsageError) as error:
            found(source)
        assert "SEC" not in str(error.value)
        assert "RET" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"), [("0", "is live"), ("rtsp://h/x", "is live"), ("https://h/a.mp4", "is a video behind")]
)
def test_what_is_not_stored_is_refused(source, message):
    with pytest.raises(UsageError, match=message):
        found(source)


def test_shards_behind_addresses_fail_alone(tmp_path):
    one, _ = found("https://h/a.tar", write(tmp_path / "a.png"))
    assert (one.kind, one.reason[:10]) == ("broken", "is a shard")


@pytest.fixture
def stored(data):
    """The same in memory, by address."""
    root = Store.open(f"memory://{data.parent.name}/data")
    for path in data.rglob("*"):
        if path.is_file():
            root.child(*path.relative_to(data).parts).write(path.read_bytes())
    yield root
    root.delete_folder()


def below(root: Store, *sources: str) -> list[tuple[str, str]]:
    return [(one.kind, one.target.removeprefix(f"{root.address}/")) for one in found(*sources)]


STORED = {("stored" if kind == "picture" else kind, name) for kind, name in ALL}


def test_a_stored_folder(stored):
    listed = below(stored, stored.address)
    assert set(listed) == STORED
    assert len(listed) == len(STORED)
    assert below(stored, stored.address, f"{stored.address}/", f"{stored.address}/a.jpg") == listed


def test_stored_files_patterns_and_lists(stored):
    root = stored.address
    assert below(stored, f"{root}/a.jpg") == [("stored", "a.jpg")]
    assert below(stored, f"{root}/?.jpg") == [("stored", "a.jpg")]
    assert below(stored, f"{root}/**/*.png") == [("stored", "b.png"), ("stored", "in/c.png")]
    assert below(stored, f"{root}/*/s-00[!0].tar", f"{root}/in/s-{{000..000}}.tar") == [
        ("shard", "in/s-001.tar"),
        ("shard", "in/s-000.tar"),
    ]
    stored.child("in", "list.txt").write(f"c.png\ns-{{000..001}}.tar\n{root}/a.jpg\nno.png\nmore.txt\n7".encode())
    assert below(stored, f"{root}/in/list.txt") == [
        *(("stored", "in/c.png"), ("shard", "in/s-000.tar"), ("shard", "in/s-001.tar"), ("stored", "a.jpg")),
        *(("broken", "in/no.png"), ("broken", "in/more.txt"), ("broken", "in/7")),
    ]


def test_stored_names_with_signs_of_patterns(stored):
    for name in ("[1].png", "what?.png"):
        child = stored.child("signs", name)
        with child.filesystem.open_output_stream(child.path) as stream:
            stream.write(b"1")
    listed = found(f"{stored.address}/signs")
    assert [Store.open(one.target).read() for one in listed] == [b"1", b"1"]
    assert [one.name for one in listed] == [f"{stored.shown}/signs/[1].png", f"{stored.shown}/signs/what?.png"]
    assert [one.name for one in found(f"{stored.address}/signs/[1].png")] == [f"{stored.shown}/signs/[1].png"]


def test_stored_things_that_are_wrong(stored, data):
    stored.child("bad.txt").write(b"\xff")
    stored.child("none.txt").write(b"\n")
    stored.child("a.zip").write(b"")
    sources = [f"{stored.address}/{name}" for name in ("bad.txt", "none.txt", "a.zip", "*.gif", "no/*.png", "no")]
    listed = found(*sources, data / "a.jpg")
    assert [one.kind for one in listed] == ["broken"] * 6 + ["picture"]
    assert [one.name for one in listed[:6]] == sources
    assert "UTF-8" in listed[0].reason
    assert "tar" in listed[2].reason


@given(st.text("ab.[]!^-\\?*", min_size=1, max_size=8), st.text("ab.[]!^-\\?*", min_size=1, max_size=8))
def test_patterns_of_stores_match_as_those_of_paths(pattern, name):
    import fnmatch
    import re

    try:
        expected = fnmatch.fnmatchcase(name, pattern)
    except re.error:
        return
    assert bool(re.match(_regex(pattern) + r"\Z", name, re.DOTALL)) == expected


def test_sources_are_found_one_by_one(data):
    coming = discover([data, "nothing://x"])
    assert isinstance(next(coming), Found)


def test_tars_are_told_by_their_names(tmp_path):
    for name in ("a.tar", "b.TAR", "c.tar.gz", "d.tgz", "e.tar.bz2", "f.tar.xz", "g.pq", "h.PARQUET"):
        write(tmp_path / name, tar_bytes([("a.png", png())]))
    assert {one.kind for one in found(tmp_path)} == {"shard"}
    assert len(found(tmp_path)) == 8
