"""Standard input as a source: pictures, videos, zips and lists of names, told by their content."""

import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from clips import jpeg, write_clip
from mien.errors import UsageError
from mien.frames import Frame
from mien.sources import open_sources


class Pipe(io.BytesIO):
    """Bytes that come, and that cannot be sought in."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise OSError("is a pipe")


@pytest.fixture(params=["pipe", "file"])
def send(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Sets what standard input holds."""
    opened: list[io.TextIOWrapper] = []

    def put(data: bytes) -> None:
        if request.param == "file":
            (tmp_path / "input").write_bytes(data)
            opened.append((tmp_path / "input").open(encoding="utf-8"))
        else:
            opened.append(io.TextIOWrapper(Pipe(data), encoding="utf-8"))
        monkeypatch.setattr(sys, "stdin", opened[-1])

    yield put
    for stream in opened:
        stream.close()


def read(*sources: str) -> tuple[list[Frame], list[tuple[str, str]]]:
    failed: list[tuple[str, str]] = []
    with open_sources(sources, on_failure=lambda *pair: failed.append(pair)) as opened:
        return list(opened), failed


def test_a_picture(send) -> None:
    send(jpeg(90))
    (frame,), failed = read("-", "-")
    assert (frame.source, frame.place, frame.image.shape, failed) == ("-", "stdin.jpg", (24, 32, 3), [])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"movflags": "+faststart"}),
        ("a.mkv", {}),
        ("a.ts", {}),
        ("a.h264", {}),
        ("a.hevc", {"codec": "libx265"}),
        ("a.y4m", {"codec": "rawvideo"}),
    ],
)
def test_a_video(send, tmp_path: Path, name: str, options: dict[str, str]) -> None:
    send(write_clip(tmp_path / name, 20, **options).read_bytes())
    frames, failed = read("-")
    assert ([frame.index for frame in frames], failed) == (list(range(20)), [])
    assert {(frame.source, frame.place) for frame in frames} == {("-", "stdin")}


def test_a_video_that_ends_too_early(send, tmp_path: Path) -> None:
    data = write_clip(tmp_path / "a.mp4", 60, movflags="+faststart").read_bytes()
    send(data[: len(data) * 2 // 3])
    frames, ((name, why),) = read("-")
    assert frames
    assert name == "-"
    assert "the file is cut off or damaged" in why


def test_a_zip(send) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("in/a.jpg", jpeg(90))
        archive.writestr("b.mp4", b"")
    send(packed.getvalue())
    frames, failed = read("-")
    assert [frame.source for frame in frames] == ["-/in/a.jpg"]
    assert [name for name, _ in failed] == ["-/b.mp4"]


@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_a_list_of_names(send, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a.jpg", " two words .jpg" if separator == "\0" else "two words.jpg"]
    if os.name != "nt" and separator == "\0":
        names += ["two\nlines.jpg", os.fsdecode(b"\xff.jpg")]
    for name in names:
        Path(name).write_bytes(jpeg(90))
    send(os.fsencode(separator.join([*names, "gone.jpg", ""])))
    frames, failed = read("-")
    assert len(frames) == len(names)
    assert failed == [("gone.jpg", "there is no such file")]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "standard input is empty (0 bytes)"),
        (b"<!DOCTYPE html><p>no such picture", "web page"),
        (b"\xff\xd8\xff\xe0\x00\x10", "cannot be decoded"),
        (b"PK\x03\x04 and no more", "cannot be read as a zip"),
    ],
)
def test_what_cannot_be_read_is_told(send, data: bytes, why: str) -> None:
    send(data)
    frames, ((name, reason),) = read("-")
    assert (frames, name) == ([], "-")
    assert why in reason


def test_text_that_names_nothing_is_said_to_be_a_list(send) -> None:
    send(b"404 not found")
    with pytest.raises(UsageError, match="standard input, which was read as a list of names"):
        read("-")


def test_pictures_of_text_are_no_lists(send) -> None:
    send(b"P2\n2 1\n9\n0 9\n")
    (frame,), failed = read("-")
    assert (frame.image[0, :, 0].tolist(), failed) == ([0, 255], [])


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    with pytest.raises(UsageError, match="is a terminal"):
        read("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="is closed"):
        read("-")
