"""Rows that outlive the program, annotated pictures and videos that never write over anything."""

import csv
import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mien.encoders
from clips import level, noise, picture, shown, write_clip
from mien.analysis import ROW_COLUMNS, Analysis
from mien.annotated import encode_marked, safe_name
from mien.containers import MARK, is_marked
from mien.errors import DataError, MissingExtraError, UsageError
from mien.frames import Clip, Frame
from mien.images import decode
from mien.outputs import Annotated, open_rows, recover_rows
from mien.results import Box, Face, Prediction
from mien.sources import open_sources

CLASSES = ("dark", "bright")
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
CLASS_COLUMNS = [*ROW_COLUMNS, *CLASSES]
WHOLE = Clip("a.mp4", 25, 40, (64, 48))


def analysis(frame: int = 0, faces: int = 2, *, time: float | None = None, source: str | None = "a.mp4") -> Analysis:
    found = tuple(
        Face(
            Box(1, 2, 30.5 + index, 40),
            0.9,
            Prediction({"dark": 0.25, "bright": 0.75}),
            {"nose": (3, 4)},
            None if time is None else index + 1,
        )
        for index in range(faces)
    )
    return Analysis(found, np.zeros((48, 64, 3), np.uint8), source, frame, time)


def read_rows(path: Path) -> list[dict]:
    """The rows of any kind of file, values as text; a last line that was cut off is left out."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pylist()
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    return list(csv.DictReader(whole)) if path.suffix == ".csv" else [json.loads(line) for line in whole]


@pytest.fixture(params=SUFFIXES)
def out(request, tmp_path: Path) -> Path:
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return tmp_path / "made" / f"rows{request.param}"


def test_a_row_for_each_face(out: Path) -> None:
    with open_rows(out, CLASSES) as rows:
        for frame in range(3):
            rows.write(analysis(frame, frame, time=frame / 30))
    assert rows.rows == 3
    found = read_rows(out)
    assert [int(row["frame"]) for row in found] == [1, 2, 2]
    assert [int(row["track"]) for row in found] == [1, 1, 2]
    assert {row["expression"] for row in found} == {"bright"}
    assert files(out.parent) == [out.name]


def test_nested_and_flat(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for suffix in SUFFIXES:
        with open_rows(tmp_path / f"rows{suffix}", CLASSES) as rows:
            rows.write(analysis(faces=1))
    assert read_rows(tmp_path / "rows.json") == read_rows(tmp_path / "rows.jsonl") == analysis(faces=1).records()
    (flat,) = analysis(faces=1).rows()
    (row,) = read_rows(tmp_path / "rows.csv")
    assert row == {name: "" if value is None else str(value) for name, value in flat.items()}
    (row,) = read_rows(tmp_path / "rows.parquet")
    assert row == pytest.approx(flat)


def test_no_rows_is_an_empty_table(out: Path) -> None:
    with open_rows(out, CLASSES) as rows:
        rows.write(analysis(faces=0))
    assert read_rows(out) == []
    assert rows.rows == 0
    if out.suffix == ".csv":
        assert out.read_text() == ",".join(CLASS_COLUMNS) + "\n"


def test_the_schema_of_parquet_is_the_same_with_and_without_rows(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for faces in (0, 2):
        with open_rows(tmp_path / f"{faces}.parquet", CLASSES) as rows:
            rows.write(analysis(faces=faces))
    schema = parquet.read_schema(tmp_path / "0.parquet")
    assert schema.equals(parquet.read_schema(tmp_path / "2.parquet"))
    assert schema.names == CLASS_COLUMNS
    types = {field.name: str(field.type) for field in schema}
    assert (types["frame"], types["time"], types["track"], types["x1"], types["bright"]) == (
        *("int64", "double", "int64"),
        *("float", "float"),
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError("no more")])
def test_what_stops_the_program_leaves_the_rows(out: Path, error: BaseException) -> None:
    with pytest.raises((KeyboardInterrupt, DataError)), open_rows(out, CLASSES) as rows:  # noqa: PT012
        rows.write(analysis(0))
        rows.write(analysis(1))
        raise error
    assert [int(row["frame"]) for row in read_rows(out)] == [0, 0, 1, 1]
    assert files(out.parent) == [out.name]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_rows_can_be_read_while_they_are_written(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"rows{suffix}"
    with open_rows(out, CLASSES) as rows:
        for frame in range(4):
            rows.write(analysis(frame))
            assert len(read_rows(out)) == 2 * (frame + 1)


KILLED = """
import sys
import time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_outputs import CLASSES, analysis
from mien.outputs import open_rows
with open_rows(Path({out!r}), CLASSES) as rows:
    for frame in range(10**9):
        rows.write(analysis(frame))
        time.sleep({pause})
        if frame == 200:
            print("going", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="no kill -9")
def test_kill_leaves_every_finished_row(out: Path) -> None:
    # JSON can be caught in the middle of a row, as the module says, so there the kill comes between two rows.
    pause = 0.002 if out.suffix == ".json" else 0
    code = KILLED.format(tests=str(Path(__file__).parent), out=str(out), pause=pause)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as running:
        running.stdout.readline()
        time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
    if out.suffix == ".parquet":
        journal = out.with_name("rows.parquet.partial.jsonl")
        with pytest.raises(UsageError, match=r"rows\.parquet\.partial\.jsonl: holds the rows of a run that was killed"):
            open_rows(out, CLASSES)
        assert recover_rows(out) > 400
        assert not journal.exists()
    frames = [int(row["frame"]) for row in read_rows(out)]
    assert len(frames) > 400
    assert frames == sorted(frames)
    assert set(frames) == set(range(frames[-1] + 1))


def test_an_earlier_file_stays_until_there_is_a_row(out: Path) -> None:
    with open_rows(out, CLASSES) as rows:
        rows.write(analysis(7))
    with pytest.raises(KeyboardInterrupt), open_rows(out, CLASSES) as rows:  # noqa: PT012
        rows.write(analysis(faces=0))
        raise KeyboardInterrupt
    assert [int(row["frame"]) for row in read_rows(out)] == [7, 7]
    with open_rows(out, CLASSES) as rows:
        rows.write(analysis(8))
    assert [int(row["frame"]) for row in read_rows(out)] == [8, 8]
    with open_rows(out, CLASSES):
        pass
    assert read_rows(out) == []


@pytest.mark.skipif(os.name == "nt", reason="a file that is open stays there")
@pytest.mark.parametrize("when", ["row", "end"])
@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_another_run_replaces_is_named(out: Path, when: str, replaced: bool) -> None:
    written = out if out.suffix != ".parquet" else out.with_name(f"{out.name}.partial.jsonl")

    def write() -> None:
        with open_rows(out, CLASSES) as rows:
            rows.write(analysis(0))
            written.unlink()
            if replaced and written == out:
                with open_rows(out, CLASSES) as others:
                    others.write(analysis(7, 3))
            if when == "row":
                rows.write(analysis(1))

    with pytest.raises(DataError, match=r"was deleted or replaced .* its 2 rows are lost"):
        write()
    if replaced and written == out:
        assert len(read_rows(out)) == 3


def test_where_a_file_system_counts_no_links_the_file_is_still_there(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = os.fstat
    monkeypatch.setattr(os, "fstat", lambda file: os.stat_result([*ask(file)[:3], 0, *ask(file)[4:10]]))
    with open_rows(out, CLASSES) as rows:
        rows.write(analysis(0))
        rows.write(analysis(1))
    assert len(read_rows(out)) == rows.rows


def test_a_file_that_a_network_file_system_has_lost_is_named(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(file: int) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle")

    rows = open_rows(out, CLASSES)
    rows.write(analysis(0))
    monkeypatch.setattr(os, "fstat", lost)
    with pytest.raises(DataError, match=r"was deleted or replaced .* rows are lost"):
        rows.write(analysis(1))
    monkeypatch.undo()
    rows.close()


def test_names_that_are_not_unicode(out: Path) -> None:
    with open_rows(out, CLASSES) as rows:
        rows.write(analysis(source="face-\udcff, ü\n.png"))
    assert {row["source"] for row in read_rows(out)} == {"face-\\udcff, ü\n.png"} or out.suffix == ".csv"
    if out.suffix == ".csv":
        with out.open(newline="", encoding="utf-8") as stream:
            assert next(csv.DictReader(stream))["source"] == "face-\\udcff, ü\n.png"


@pytest.mark.parametrize("source", ["a\rb.png", "a\nb.png", "a\r\nb.png", 'a"b,c.png'])
def test_line_ends_in_names_end_no_row(tmp_path: Path, source: str) -> None:
    out = tmp_path / "rows.csv"
    with open_rows(out, CLASSES) as rows:
        rows.write(analysis(source=source))
    with out.open(newline="", encoding="utf-8") as stream:
        assert [row["source"] for row in csv.DictReader(stream)] == [source, source]
    assert out.read_bytes().endswith(b"0.75\n")


@pytest.mark.parametrize("source", [None, "-"])
def test_a_picture_without_a_source(out: Path, source: str | None) -> None:
    with open_rows(out, CLASSES) as rows:
        rows.write(analysis(source=source))
    assert {row["source"] for row in read_rows(out)} == {source or ""}


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    for path, said in [
        (tmp_path / "rows.xlsx", r"no such choice '\.xlsx'; choose from \.csv, \.json, \.jsonl, \.parquet"),
        (tmp_path / "folder.csv", "is not a file"),
        (tmp_path / "file" / "rows.csv", "cannot be written"),
    ]:
        with pytest.raises(UsageError, match=said):
            open_rows(path, CLASSES)
    with pytest.raises(UsageError, match="the class 'score' is named like a column"):
        open_rows(tmp_path / "rows.csv", ("score", "happy"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"]


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"mien\[parquet\]"):
        open_rows(tmp_path / "rows.parquet", CLASSES)


def test_a_file_whose_name_is_not_unicode(out: Path) -> None:
    odd = out.with_stem("rows-\udcff")
    try:
        with open_rows(odd, CLASSES) as rows:
            rows.write(analysis())
    except UsageError:
        pytest.skip("this file system takes Unicode names only")
    odd.rename(out)
    assert len(read_rows(out)) == 2


def test_nothing_to_recover(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        recover_rows(tmp_path / "rows.parquet")


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_outputs import CLASSES, analysis
from mien.errors import DataError
from mien.outputs import open_rows
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with open_rows(Path({out!r}), CLASSES) as rows:
        for frame in range(100):
            rows.write(analysis(frame))
except DataError as error:
    print(rows.rows, error)
"""


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
def test_a_full_disk_leaves_whole_rows(out: Path) -> None:
    code = FULL.format(tests=str(Path(__file__).parent), out=str(out))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert f"{out}: cannot be written (File too large)" in done.stdout
    assert len(read_rows(out)) == int(done.stdout.split()[0]) > 10


def test_a_disk_that_is_full_before_the_first_row_is_named(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_bytes", fill_disk)
    monkeypatch.setattr("mien.rowfiles._to_parquet", fill_disk)
    with pytest.raises(DataError, match=r"rows\.\w+: cannot be written \(No space left on device\) after 0 rows$"):
        open_rows(out, CLASSES).close()


def test_rows_of_parquet_are_kept_where_the_disk_is_full_at_the_end(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "rows.parquet"
    rows = open_rows(out, CLASSES)
    rows.write(analysis())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet.ParquetWriter, "write_table", fill_disk)
        with pytest.raises(DataError, match=r"written \(No space left on device\) after 2 rows; they are in "):
            rows.close()
    assert files(tmp_path) == ["rows.parquet.partial.jsonl"]
    assert recover_rows(out) == len(read_rows(out)) == 2
    assert files(tmp_path) == [out.name]


def fill_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("left", [b"", b'{"source": "a.m'])
def test_a_journal_without_a_row_is_in_nobodys_way(tmp_path: Path, left: bytes) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "rows.parquet.partial.jsonl").write_bytes(left)
    with open_rows(tmp_path / "rows.parquet", CLASSES) as rows:
        rows.write(analysis())
    assert len(read_rows(rows.path)) == 2


def test_a_damaged_journal_is_kept_and_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "rows.parquet.partial.jsonl").write_bytes(b"\0\0\0\n")
    with pytest.raises(UsageError, match="holds the rows of a run that was killed"):
        open_rows(tmp_path / "rows.parquet", CLASSES)
    with pytest.raises(DataError, match="line 1 is damaged"):
        recover_rows(tmp_path / "rows.parquet")
    assert files(tmp_path) == ["rows.parquet.partial.jsonl"]


# Annotated pictures and videos.


@pytest.fixture(params=["pyav", "opencv"])
def encoder(request, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("av")
    if request.param == "opencv":
        monkeypatch.setattr(mien.encoders, "has_pyav", lambda: False)
    return request.param


def still(place: str, source: str | None = None) -> Frame:
    return Frame(source or place, 0, None, picture(0), None, place)


def moving(clip: Clip, index: int, time: float, place: str = "a.mp4") -> Frame:
    return Frame(clip.name, index, time, picture(index), clip, place)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pictures_keep_their_names_and_kinds(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    places = ["a.jpg", "b.PNG", "sub/a.jpg", "sub/deep/c.bmp", "d.JPEG", "e.heic", "f.gif", "noending"]
    with Annotated(tmp_path / "out") as saved:
        for place in places:
            saved.write(still(place), image)
    expected = ["a.jpg", "b.png", "sub/a.jpg", "sub/deep/c.png", "d.JPEG", "e.jpg", "f.png", "noending.png"]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in saved.paths] == expected
    assert files(tmp_path / "out") == sorted(expected)
    assert np.array_equal(decode((tmp_path / "out" / "b.png").read_bytes()), image)


def test_equal_names_are_numbered(tmp_path: Path) -> None:
    with Annotated(tmp_path) as saved:
        for place in ("x.jpg", "x.jpg", "x.bmp", "x.png", "X.jpg"):
            saved.write(still(place), picture(1))
    assert [path.name for path in saved.paths] == ["x.jpg", "x-2.jpg", "x.png", "x-2.png", "X-3.jpg"]


def test_something_of_a_name_stays_visible(tmp_path: Path) -> None:
    with Annotated(tmp_path) as saved:
        for place in ("odd/\x1b[2J.jpg", "odd/\x9b2J.jpg", "odd/\u202e\u202e.jpg"):
            saved.write(still(place), picture(0))
    assert [path.name for path in saved.paths] == ["_[2J.jpg", "_2J.jpg", "__.jpg"]


def test_many_of_one_name_are_numbered_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = Annotated._is_free
    monkeypatch.setattr(Annotated, "_is_free", lambda self, *pair: asked.append(pair) or real(self, *pair))
    for _ in range(2):
        asked.clear()
        with Annotated(tmp_path) as saved:
            for _ in range(50):
                saved.write(still("x.jpg"), picture(1))
        assert [path.name for path in saved.paths] == ["x.jpg", *(f"x-{number}.jpg" for number in range(2, 51))]
        assert len(asked) == 50


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "sub"
    folder.mkdir(parents=True)
    marked = encode_marked(picture(0), jpeg=True)
    contents = {
        ".a-0123456789ab.mp4": b"\0\0\0\x20ftypisom",
        ".b-0123456789ab.jpg": marked,
        ".c-0123456789ab.png": b"",
        ".young-0123456789ab.mp4": b"\0\0\0\x20ftypisom",
        ".users-0123456789ab.jpg": b"\xff\xd8\xff\xe0",
        ".short-0123456789.mp4": b"",
        "plain-0123456789ab.mp4": b"",
        ".other-0123456789ab.txt": b"",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        if "young" not in name:
            os.utime(folder / name, (time.time() - 90_000,) * 2)
    with Annotated(tmp_path / "out") as saved:
        saved.write(still("sub/x.png"), picture(0))
    assert files(folder) == sorted(["x.png", *list(contents)[3:]])


@pytest.mark.parametrize(
    "place", ["../../a.png", "/etc/a.png", "..", "a/../../b.png", "", ".", "//x/y.png", "c:\\x\\..\\y.png", "\\\\h\\a"]
)
def test_nothing_leaves_the_folder(tmp_path: Path, place: str) -> None:
    with Annotated(tmp_path / "deep" / "out") as saved:
        saved.write(still(place, "../../../source.png"), picture(0))
    assert len(saved.paths) == 1
    assert saved.paths[0].resolve().is_relative_to((tmp_path / "deep" / "out").resolve())
    assert len(files(tmp_path)) == 1


@given(st.text(alphabet=st.characters(codec=None)))
def test_safe_names_are_safe(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= 180
    assert not set(safe) & set('/\\:*?"<>|\0\n\x1b\x7f\x9b\u202e')
    assert safe not in (".", "..")


def test_files_of_the_user_are_never_replaced(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture(9))
    before = (tmp_path / "a.png").read_bytes()
    with open_sources([tmp_path]) as frames, Annotated(tmp_path) as saved:
        for frame in frames:
            saved.write(frame, frame.image)
    assert (tmp_path / "a.png").read_bytes() == before
    assert files(tmp_path) == ["a-2.png", "a.png"]


def test_files_of_an_earlier_run_are_replaced_unless_they_are_read(tmp_path: Path) -> None:
    for value in (1, 9):
        with Annotated(tmp_path / "out") as saved:
            saved.write(still("a.png"), picture(value))
    assert files(tmp_path) == ["out/a.png"]
    assert decode((tmp_path / "out" / "a.png").read_bytes())[40, 40, 0] == level(9)
    with Annotated(tmp_path / "out", inputs=[tmp_path / "out" / "a.png"]) as saved:
        saved.write(still("a.png"), picture(2))
    assert files(tmp_path) == ["out/a-2.png", "out/a.png"]


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(tmp_path / "elsewhere.png")
    with Annotated(tmp_path / "out") as saved:
        saved.write(still("a.png"), picture(0))
    assert saved.paths == [tmp_path / "out" / "a-2.png"]
    assert not (tmp_path / "elsewhere.png").exists()


@pytest.mark.parametrize("jpeg", [True, False])
@pytest.mark.parametrize("image", [picture(3), picture(3)[:, :, 0]], ids=["RGB", "grey"])
def test_marked_pictures_are_good_pictures(tmp_path: Path, jpeg: bool, image: np.ndarray) -> None:
    from PIL import Image

    path = tmp_path / "a"
    path.write_bytes(encode_marked(image, jpeg=jpeg))
    with Image.open(path) as opened:
        opened.verify()
        assert MARK.decode() in (opened.info.get("comment", b"").decode() if jpeg else opened.info["Comment"])
    assert is_marked(path)
    assert np.abs(decode(path.read_bytes(), channels=1).astype(int) - image.reshape(48, 64, -1)[:, :, 0]).max() < 30


def test_a_video_keeps_its_length_and_rate(tmp_path: Path, encoder: str) -> None:
    clip = Clip("a.mp4", 29.97, 60, (64, 48))
    with Annotated(tmp_path) as saved:
        for index in range(60):
            saved.write(moving(clip, index, index / 29.97, "sub/a.mkv"), picture(index))
        assert files(tmp_path) != ["sub/a.mp4"]
    assert saved.paths == [tmp_path / "sub" / "a.mp4"]
    assert files(tmp_path) == ["sub/a.mp4"]
    times, seconds = shown(saved.paths[0])
    assert times == pytest.approx([index / 29.97 for index in range(60)], abs=2e-3)
    assert seconds == pytest.approx(60 / 29.97, abs=0.01)
    with open_sources(saved.paths) as frames:
        assert all(abs(int(frame.image[40, 40, 0]) - level(frame.index)) <= 4 for frame in frames)


def test_uneven_times_keep_their_length(tmp_path: Path, encoder: str) -> None:
    stamps = [0, 0.033, 0.066, 0.5, 0.533, 1.5, 1.533, 1.566, 4.0]
    clip = Clip("a.mp4", 9 / 4.03, 9, (64, 48))
    with Annotated(tmp_path) as saved:
        for index, stamp in enumerate(stamps):
            saved.write(moving(clip, index, stamp), picture(index))
    times, seconds = shown(saved.paths[0])
    assert seconds == pytest.approx(4.2, abs=0.35)
    if encoder == "pyav":
        assert times == pytest.approx(stamps, abs=1e-3)


def test_odd_sizes_colours_and_kind(tmp_path: Path, encoder: str) -> None:
    import av

    clip = Clip("a.mp4", 25, 5, (63, 47))
    image = np.empty((47, 63, 3), np.uint8)
    image[:, :] = (200, 60, 20)
    with Annotated(tmp_path) as saved:
        for index in range(5):
            saved.write(moving(clip, index, index / 25), image if index != 2 else image[:40])
    with av.open(str(saved.paths[0])) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264" if encoder == "pyav" else "mpeg4", "yuv420p")
    assert frame.shape == (48, 64, 3)
    assert np.abs(frame.astype(int) - (200, 60, 20)).max() <= 6
    data = saved.paths[0].read_bytes()
    assert encoder == "opencv" or data.index(b"moov") < data.index(b"mdat")
    assert is_marked(saved.paths[0])


def test_one_file_for_each_clip(tmp_path: Path, encoder: str) -> None:
    clips = [Clip("a.mp4", 25, 3, (64, 48)), Clip("a.mp4", 25, 3, (64, 48))]
    with Annotated(tmp_path) as saved:
        for clip, index in itertools.product(clips, range(3)):
            saved.write(moving(clip, index, index / 25), picture(index))
        saved.write(still("b.png"), picture(0))
    assert [path.name for path in saved.paths] == ["a.mp4", "a-2.mp4", "b.png"]
    assert [len(shown(path)[0]) for path in saved.paths[:2]] == [3, 3]


def test_ctrl_c_finishes_the_video(tmp_path: Path, encoder: str) -> None:
    clip = Clip("a.mp4", 25, 100, (64, 48))
    with pytest.raises(KeyboardInterrupt), Annotated(tmp_path) as saved:  # noqa: PT012
        for index in range(20):
            saved.write(moving(clip, index, index / 25), picture(index))
        raise KeyboardInterrupt
    assert files(tmp_path) == ["a.mp4"]
    assert len(shown(tmp_path / "a.mp4")[0]) == 20


def test_a_real_video_all_the_way(tmp_path: Path, encoder: str) -> None:
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / "a.mov", 20, rotation=90)
    with open_sources([tmp_path / "in"]) as frames, Annotated(tmp_path / "out") as saved:
        for frame in frames:
            saved.write(frame, frame.image)
    with open_sources(saved.paths) as frames:
        (clip, *_), found = {frame.clip for frame in frames}, len(shown(saved.paths[0])[0])
    assert (found, clip.size_wh) == (20, (48, 64))


@pytest.mark.parametrize("fps", [30 / 100_000, 30 / 10_000_000])
def test_videos_of_which_few_frames_are_read_are_saved(tmp_path: Path, encoder: str, fps: float) -> None:
    clip = Clip("a.mp4", fps, 3, (64, 48))
    with Annotated(tmp_path) as saved:
        for index in range(3):
            saved.write(moving(clip, index, index / fps), picture(index))
    assert files(tmp_path) == ["a.mp4"]


def test_an_encoder_that_fails_is_a_data_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def write(self, image: np.ndarray, time: float) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            """Nothing to do."""

    monkeypatch.setattr("mien.annotated.open_encoder", lambda *arguments: Failing())
    clip = Clip("a.mp4", 25, 100, (64, 48))
    with pytest.raises(DataError, match=r"No space left on device.*a\.mp4"), Annotated(tmp_path) as saved:  # noqa: PT012
        for index in range(20):
            saved.write(moving(clip, index, index / 25), picture(index))
    assert files(tmp_path) == []
    assert saved.paths == []


def test_a_disk_that_is_full_at_the_end_is_a_data_error_and_leaves_nothing(
    tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = mien.encoders.PyAVEncoder if encoder == "pyav" else mien.encoders.OpenCVEncoder

    def close(self: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kind, "close", close)
    clip = Clip("a.mp4", 25, 100, (64, 48))
    saved = Annotated(tmp_path)
    for index in range(20):
        saved.write(moving(clip, index, index / 25), picture(index))
    said: list[BaseException] = []
    closing = threading.Thread(target=lambda: said.append(error_of(saved.close)), daemon=True)
    closing.start()
    closing.join(5)
    assert not closing.is_alive()
    assert isinstance(said[0], DataError)
    assert str(said[0]).startswith("cannot be written (No space left on device)")
    assert str(said[0]).endswith("a.mp4")
    assert files(tmp_path) == []


def error_of(call: Callable[[], None]) -> BaseException:
    with pytest.raises(DataError) as caught:
        call()
    return caught.value


FULL_VIDEO = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import mien.encoders
from clips import noise
from test_outputs import moving
from mien.errors import DataError
from mien.frames import Clip
from mien.outputs import Annotated
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if {encoder!r} == "opencv":
    mien.encoders.has_pyav = lambda: False
pictures = noise(40)
for limit in map(int, sys.argv[1:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with Annotated(Path({out!r})) as saved:
            clip = Clip("a.mp4", 25, 40, (64, 48))
            for index, image in enumerate(pictures):
                saved.write(moving(clip, index, index / 25), image)
    except DataError as error:
        print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
def test_a_full_disk_never_leaves_part_of_a_video(tmp_path: Path, encoder: str) -> None:
    code = FULL_VIDEO.format(tests=str(Path(__file__).parent), out=str(tmp_path), encoder=encoder)
    with Annotated(tmp_path / "whole") as saved:
        for index, image in enumerate(noise(40)):
            saved.write(moving(WHOLE, index, index / 25), image)
    size = saved.paths[0].stat().st_size
    saved.paths[0].unlink()
    limits = [500, size // 2, size - 1500, size - 500, size - 60, size - 10]
    command = [sys.executable, "-c", code, *map(str, limits)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [line for line in done.stdout.splitlines() if line.endswith("a.mp4")]
    assert len(done.stdout.splitlines()) == len(limits), done.stdout
    assert "/." not in done.stdout, "the name of a file that is no longer there"
    assert files(tmp_path) == []


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="is a file"):
        Annotated(tmp_path / "out")
    with pytest.raises(UsageError, match="name another folder"):
        Annotated(tmp_path / ("x" * 300))
