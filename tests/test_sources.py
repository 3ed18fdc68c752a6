"""Which files are meant, in an order that does not change; and what reading them gives, whatever is wrong with some."""

import os
import shutil
import threading
import time
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mien.pictures
import mien.sources
from clips import cut, jpeg, noise, picture, write_clip
from mien.errors import DataError, UsageError
from mien.finding import find, list_lines, looks_like_video
from mien.frames import Clip, Frame, Reading, in_utf8, printable
from mien.items import Kind
from mien.outputs import Annotated
from mien.sources import open_sources


def expand(sources: list) -> list[Path]:
    return [item.path for item in find(sources)]


def read(*sources: object, **reading: object) -> tuple[list[Frame], list[tuple[str, str]]]:
    """Frames and failures."""
    failed: list[tuple[str, str]] = []
    options = Reading(**reading)
    with open_sources(list(sources), reading=options, on_failure=lambda *pair: failed.append(pair)) as opened:
        return list(opened), failed


def write_picture(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((10, 12, 3), value, np.uint8))
    return path


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of files; what is in them does not matter here."""
    names = ["b.png", "a.jpg", "notes.md", ".hidden.png", "more/d.PNG", "more/deep/c.webp", "other/z.bmp"]
    for name in names:
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "faces"


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_a_folder_gives_all_its_images_sorted(faces: Path) -> None:
    assert names(expand([faces]), faces) == ["a.jpg", "b.png", "more/d.PNG", "more/deep/c.webp", "other/z.bmp"]


@pytest.mark.parametrize("hidden", [".thumbnails", ".git/deep", "@eaDir/x", "__MACOSX"])
def test_hidden_folders_are_passed_over_unless_named(faces: Path, hidden: str) -> None:
    (faces / "more" / hidden).mkdir(parents=True)
    (faces / "more" / hidden / "thumb.jpg").touch()
    assert names(expand([faces]), faces) == ["a.jpg", "b.png", "more/d.PNG", "more/deep/c.webp", "other/z.bmp"]
    assert names(expand([faces / "more" / hidden]), faces) == [f"more/{hidden}/thumb.jpg"]


def test_sources_keep_their_order_and_come_once(faces: Path) -> None:
    found = expand([faces / "other", faces / "b.png", str(faces)])
    assert names(found, faces) == ["other/z.bmp", "b.png", "a.jpg", "more/d.PNG", "more/deep/c.webp"]


def test_patterns(faces: Path) -> None:
    assert names(expand([str(faces / "*.*")]), faces) == ["a.jpg", "b.png"]
    assert names(expand([str(faces / "**" / "*.webp")]), faces) == ["more/deep/c.webp"]


def test_patterns_match_archives_too(faces: Path) -> None:
    for name in ("more/a.zip", "b.ZIP", ".hidden.zip"):
        with zipfile.ZipFile(faces / name, "w") as archive:
            archive.writestr("in/1.png", b"")
    found = [(item.kind, item.place) for item in find([str(faces / "**" / "[abz].[zZb]*")])]
    assert found == [(Kind.MEMBER, "in/1.png"), (Kind.MEMBER, "in/1.png"), (Kind.PICTURE, "other/z.bmp")]


def test_videos_in_archives_are_named(tmp_path: Path) -> None:
    png = write_picture(tmp_path / "a.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("v.mp4", "in/1.png", "__MACOSX/._v.mp4", "script.ts", "in/w.MKV"):
            archive.writestr(name, png)
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as archive:
        archive.writestr("v.mp4", b"")
    frames, failed = read(tmp_path / "a.zip", tmp_path / "v.zip")
    assert [frame.place for frame in frames] == ["in/1.png"]
    root = f"{tmp_path}{os.sep}"
    assert [name.removeprefix(root) for name, _ in failed] == ["a.zip/v.mp4", "a.zip/in/w.MKV", "v.zip/v.mp4"]
    assert {reason for _, reason in failed} == {"videos in archives are not read; unpack it first"}


def test_a_pattern_relative_to_the_working_folder(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(faces)
    assert expand(["?.png"]) == [Path("b.png")]


def test_a_file_whose_name_looks_like_a_pattern(faces: Path) -> None:
    odd = faces / "face[1].png"
    odd.touch()
    assert expand([odd]) == [odd]


def test_a_list_names_files_folders_and_patterns(faces: Path) -> None:
    listed = faces / "some.txt"
    listed.write_text("\ufeff# comment\n\n  b.png \nmore\n*.jpg\ngone.png\n", encoding="utf-8")
    assert names(expand([listed]), faces) == ["b.png", "more/d.PNG", "more/deep/c.webp", "a.jpg", "gone.png"]


def test_a_list_with_absolute_paths(faces: Path, tmp_path: Path) -> None:
    listed = tmp_path / "elsewhere.txt"
    listed.write_text(f"{faces / 'a.jpg'}\n")
    assert expand([listed]) == [faces / "a.jpg"]


def test_a_list_may_not_name_a_list(faces: Path) -> None:
    (faces / "loop.txt").write_text("loop.txt\n")
    with pytest.raises(UsageError, match="may not name another list"):
        expand([faces / "loop.txt"])


def test_a_list_that_is_not_text(faces: Path) -> None:
    (faces / "photo.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError, match=r"photo\.txt: the list cannot be read as UTF-8"):
        expand([faces / "photo.txt"])


def test_a_missing_file_is_kept_beside_others(faces: Path) -> None:
    assert expand([faces / "gone.png", faces / "a.jpg"]) == [faces / "gone.png", faces / "a.jpg"]


@pytest.mark.parametrize("name", ["x" * 3000 + ".jpg", "a\0.jpg", "a/*\0.jpg", "9" * 5000])
def test_a_path_that_cannot_be_looked_at_does_not_stop_the_rest(faces: Path, name: str) -> None:
    (faces / "list.txt").write_text(f"{name}\na.jpg\n")
    for sources in ([name, faces / "a.jpg"], [faces / "list.txt"]):
        bad, good = find(sources)
        assert bad.kind in (Kind.BROKEN, Kind.MISSING)
        assert bad.reason
        assert good.path == faces / "a.jpg"
    (failure,) = read(name)[1] if bad.kind is Kind.BROKEN else [("", "there")]
    assert failure[1]


def test_a_path_in_a_locked_folder_does_not_stop_the_rest(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if "locked" in path.parts:
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    write_picture(faces / "a.jpg")
    frames, failed = read(faces / "locked" / "x.jpg", faces / "locked" / "v.mp4", faces / "a.jpg")
    assert [frame.place for frame in frames] == ["a.jpg"]
    assert [reason for _, reason in failed] == ["cannot be read (Permission denied)"] * 2
    frames, failed = read(faces / "locked" / "x.jpg")
    assert (frames, len(failed)) == ([], 1)


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0", b"other.txt\n", b"# nothing\n", None])
def test_a_bad_list_does_not_stop_the_rest(faces: Path, content: bytes | None) -> None:
    (faces / "other.txt").touch()
    listed = faces / "list.txt"
    if content is None:
        listed.mkdir()
    else:
        listed.write_bytes(content)
    bad, good = find([listed, faces / "a.jpg"])
    assert (bad.kind, good.path) == (Kind.MISSING, faces / "a.jpg")
    assert bad.reason
    with pytest.raises(UsageError, match=bad.reason.partition(" (")[0]):
        find([listed])


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder in a folder, 1100 times, and a picture; taken away by hand, as rmtree cannot."""
    folders = [tmp_path / "deep"]
    for _ in range(1100):
        folders.append(folders[-1] / "d")
    for folder in folders:
        folder.mkdir()
    (folders[-1] / "x.jpg").touch()
    yield folders[0]
    (folders[-1] / "x.jpg").unlink()
    for folder in reversed(folders):
        folder.rmdir()


@pytest.mark.skipif(os.name == "nt", reason="paths are shorter on Windows")
def test_folders_may_be_as_deep_as_the_system_takes(deep: Path, faces: Path) -> None:
    assert [item.path.name for item in find([deep])] == ["x.jpg"]
    bad, good = find([deep / "**" / "*.jpg", faces / "a.jpg"])
    assert bad.path is None or bad.path.name == "x.jpg" or "deep" in bad.reason
    assert good.path == faces / "a.jpg"


@pytest.mark.parametrize("number", ["10000", "99999999999999999999", 99999999999999999999])
def test_webcams_have_sensible_numbers(faces: Path, number: str | int) -> None:
    bad, _ = find([number, faces / "a.jpg"])
    assert (bad.kind, bad.reason) == (Kind.BROKEN, "webcams have numbers from 0 to 9999")


def test_what_was_drawn_is_not_read_again(tmp_path: Path) -> None:
    pytest.importorskip("av")
    root = tmp_path / "in"
    write_picture(root / "a.jpg")
    write_picture(root / "b.png")
    write_clip(root / "c.mp4", 3)
    for _ in range(2):
        with open_sources([root]) as opened, Annotated(root / "drawn", inputs=opened.paths) as saved:
            for frame in opened:
                saved.write(frame, frame.image)
        assert names(saved.paths, root) == ["drawn/a.jpg", "drawn/b.png", "drawn/c.mp4"]
    assert names(expand([str(root / "**" / "*.*")]), root) == ["a.jpg", "b.png", "c.mp4"]
    assert expand([root / "drawn" / "a.jpg"]) == [root / "drawn" / "a.jpg"]
    for source in (root / "drawn", root / "drawn" / "*"):
        with pytest.raises(UsageError, match="but those that mien drew"):
            find([source])


def test_nothing_found_is_an_error_that_names_the_sources(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for sources in ([str(tmp_path / "empty")], [str(faces / "*.tiff")]):
        with pytest.raises(UsageError, match=r"no images found in .*\.jpg"):
            expand(sources)
    for sources in (["gone.png"], []):
        with pytest.raises(UsageError, match=r"no images found in .*webcam's number$"):
            expand(sources)


@pytest.mark.parametrize("source", ["", None, b"a.png", 1.5, True, np.zeros((8, 8, 3), np.uint8)])
def test_what_is_no_source_is_refused(source: object) -> None:
    with pytest.raises(UsageError, match="source: must"):
        find([source])


@pytest.mark.parametrize("sources", ["a.png", Path("a.png"), 0, None, iter(["a.png"])])
def test_a_single_source_is_no_list_of_them(sources: object) -> None:
    with pytest.raises(UsageError, match=r"sources: must be a list, received .*; put a single source into one"):
        open_sources(sources)


def test_a_list_as_a_source_is_told_to_be_taken_apart() -> None:
    for sources in (["a.png"], ("a.png",), iter(["a.png"])):
        with pytest.raises(UsageError, match=r"name each by itself: \*sources"):
            find([sources])


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_the_folder_above_a_link_is_that_of_what_it_leads_to(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "sub")
    picture = next(path for path in faces.rglob("*") if path.suffix in (".png", ".jpg"))
    for folder in (tmp_path, tmp_path / "real"):
        shutil.copy(picture, folder / f"x{picture.suffix}")
    names = [str(tmp_path / spelled / f"x{picture.suffix}") for spelled in ("link/..", ".", "real/../real")]
    assert [item.name for item in find(names)] == names[:2]


def test_a_file_comes_once_however_it_is_spelled(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(faces)
    with zipfile.ZipFile("p.zip", "w") as archive:
        for name in ("x.png", "y.png", "v.mp4"):
            archive.writestr(name, b"")
    (faces / "list.txt").write_text(f"./a.jpg\n{faces}/b.png\n")
    sources = ["a.jpg", faces / "a.jpg", "../faces/a.jpg", "list.txt", ".", "p.zip", str(faces / "p.zip"), "./*.zip"]
    assert [item.name for item in find(sources)] == [
        *("a.jpg", f"{faces}/b.png", "more/d.PNG", "more/deep/c.webp", "other/z.bmp"),
        *("p.zip/x.png", "p.zip/y.png", "p.zip/v.mp4"),
    ]


@pytest.mark.parametrize("name", ["x\u2028y.jpg", "x\x85y.jpg", "x\x0cy.jpg", "x\x1ey.jpg"])
def test_lists_have_the_lines_of_text_files(name: str) -> None:
    assert list_lines(f"{name}\na.jpg\r\nb.jpg\rc.jpg".encode()) == [name, "a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("address", ["rtsp://h:99999/x", "rtsp://h:abc/", "http://h:99999/x.jpg"])
def test_wrong_ports_are_told_and_the_rest_goes_on(tmp_path: Path, address: str) -> None:
    frames, ((name, why),) = read(address, write_picture(tmp_path / "a.png"))
    assert (len(frames), name) == (1, address)
    assert why.startswith("is not an address (Port ")


def test_where_pictures_are_asked_for_videos_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.sources, "fetch_picture", lambda *_: None)  # an address that leads to a video
    (tmp_path / "a.mp4").touch()
    write_picture(tmp_path / "b.png")
    failed: list[tuple[str, str]] = []
    sources = [tmp_path, 0, "http://h/x"]
    with open_sources(sources, on_failure=lambda *pair: failed.append(pair), pictures_only=True) as opened:
        assert opened.total == 2
        assert [frame.place for frame in opened] == ["b.png"]
    why = "is a video; only pictures are taken"
    assert failed == [(str(tmp_path / "a.mp4"), why), ("webcam 0", why), ("http://h/x", why)]


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")
def test_loops_of_links_end(faces: Path) -> None:
    (faces / "more" / "up").symlink_to(faces, target_is_directory=True)
    (faces / "twice").symlink_to(faces / "other", target_is_directory=True)
    (faces / "broken.png").symlink_to(faces / "nowhere.png")
    (faces / "itself.png").symlink_to(faces / "itself.png")
    (faces / "itself").symlink_to(faces / "itself", target_is_directory=True)
    (faces / "types.ts").symlink_to(faces / "nowhere.ts")
    found = list(find([faces]))
    broken = [(item.name, item.reason) for item in found if item.kind is Kind.BROKEN]
    reason = "is a link to a file that is not there"
    assert broken == [(str(faces / "broken.png"), reason), (str(faces / "itself.png"), reason)]
    places = [item.place for item in found if item.kind is not Kind.BROKEN]
    assert places == ["a.jpg", "b.png", "more/d.PNG", "more/deep/c.webp", "other/z.bmp"]


@given(st.permutations(["a.jpg", "b.png", "more", "other/z.bmp"]))
def test_every_source_is_found_whatever_the_order(tmp_path_factory: pytest.TempPathFactory, order: list[str]) -> None:
    root = tmp_path_factory.mktemp("faces")
    for name in ("a.jpg", "b.png", "more/c.gif", "other/z.bmp"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    found = names(expand([root / name for name in order]), root)
    assert found == [name if name != "more" else "more/c.gif" for name in order]


# What each kind of source is taken for.


def test_videos_archives_and_lists_are_found_beside_pictures(faces: Path) -> None:
    for name in ("v.MP4", ".hidden.mp4", "more/w.mkv", "types.ts", "a.zip"):
        (faces / name).touch()
    found = [(item.path.relative_to(faces).as_posix(), item.kind) for item in find([faces])]
    assert found == [
        ("a.jpg", Kind.PICTURE),
        ("b.png", Kind.PICTURE),
        ("v.MP4", Kind.VIDEO),
        ("more/d.PNG", Kind.PICTURE),
        ("more/w.mkv", Kind.VIDEO),
        ("more/deep/c.webp", Kind.PICTURE),
        ("other/z.bmp", Kind.PICTURE),
    ]


def test_places_are_below_what_was_named(faces: Path) -> None:
    (faces / "list.txt").write_text("more\nb.png\n")
    for source, expected in [
        (faces, ["a.jpg", "b.png", "more/d.PNG", "more/deep/c.webp", "other/z.bmp"]),
        (faces / "more" / "d.PNG", ["d.PNG"]),
        (faces / "**" / "*.webp", ["more/deep/c.webp"]),
        (faces / "m*" / "*.PNG", ["more/d.PNG"]),
        (faces / "list.txt", ["d.PNG", "deep/c.webp", "b.png"]),
    ]:
        assert [item.place for item in find([source])] == expected


def test_webcams_and_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1").touch()
    (tmp_path / "list.txt").write_text("http://a.org/x.jpg\n2\n")
    sources = [
        0,
        "3",
        "1",
        "http://u:p@a.org/b%20c.png",
        "rtsp://h/x",
        "https://a.org/v.MP4?x=1",
        "HTTP://a.org",
        "http://camera/shot.mjpg",
        "list.txt",
        "/dev/video98",
    ]
    found = [(item.kind, item.name, item.place) for item in find(sources)]
    assert found == [
        (Kind.WEBCAM, "webcam 0", "webcam-0"),
        (Kind.WEBCAM, "webcam 3", "webcam-3"),
        (Kind.PICTURE, "1", "1"),
        (Kind.ADDRESS, "http://a.org/b%20c.png", "b c.png"),
        (Kind.STREAM, "rtsp://h/x", "x"),
        (Kind.STREAM, "https://a.org/v.MP4?x=1", "v.MP4"),
        (Kind.ADDRESS, "http://a.org", "a.org"),
        (Kind.ADDRESS, "http://camera/shot.mjpg", "shot.mjpg"),
        (Kind.ADDRESS, "http://a.org/x.jpg", "x.jpg"),
        (Kind.WEBCAM, "webcam 2", "webcam-2"),
        (Kind.WEBCAM, "webcam 98", "webcam-98"),
    ]


def test_files_without_a_telling_ending_are_looked_into(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name, codec in [
        ("a.mp4", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.mkv", "libx264"),
        ("a.flv", "libx264"),
        ("a.ts", "libx264"),
    ]:
        path = write_clip(tmp_path / name, 12, codec=codec)
        assert looks_like_video(path), name
        path.rename(tmp_path / f"clip-{path.suffix[1:]}")
    frames, failed = read(*sorted(tmp_path.iterdir()))
    assert (len(frames), failed) == (60, [])
    assert not looks_like_video(write_picture(tmp_path / "a.webp"))
    assert not looks_like_video(tmp_path / "gone")


def test_recordings_without_a_container_are_videos(tmp_path: Path) -> None:
    pytest.importorskip("av")
    write_clip(tmp_path / "a.h264", 12)
    write_clip(tmp_path / "b.vob", 12, codec="mpeg2video")
    write_clip(tmp_path / "c.m2v", 12, codec="mpeg2video")
    (tmp_path / "d.mjpeg").write_bytes(b"".join(map(jpeg, range(12))))
    frames, failed = read(tmp_path)
    assert (len(frames), failed) == (48, [])
    assert all(frame.clip for frame in frames)


# Reading.


def test_everything_at_once_in_order(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name in ("a.png", "c.jpg", "sub/e.bmp"):
        write_picture(tmp_path / name)
    write_clip(tmp_path / "b.mp4", 5)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "in/1.png")
        archive.writestr("notes.txt", "no picture")
        archive.write(tmp_path / "c.jpg", "2.jpg")
    with open_sources([tmp_path, tmp_path / "z.zip"]) as opened:
        assert opened.total == 10
        assert len(opened.paths) == 4
        frames = list(opened)
    root = str(tmp_path)
    told = [(frame.source.removeprefix(root).replace(os.sep, "/"), frame.index, frame.place) for frame in frames]
    assert told == [
        ("/a.png", 0, "a.png"),
        *(("/b.mp4", index, "b.mp4") for index in range(5)),
        ("/c.jpg", 0, "c.jpg"),
        ("/sub/e.bmp", 0, "sub/e.bmp"),
        ("/z.zip/in/1.png", 0, "in/1.png"),
        ("/z.zip/2.jpg", 0, "2.jpg"),
    ]
    assert [frame.time is None for frame in frames] == [frame.clip is None for frame in frames]
    assert all(frame.image.dtype == np.uint8 and frame.image.shape[2] == 3 for frame in frames)


def test_what_is_wrong_with_some_does_not_stop_the_rest(tmp_path: Path) -> None:
    pytest.importorskip("av")
    good = write_picture(tmp_path / "good.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "short.png").write_bytes(good.read_bytes()[:40])
    (tmp_path / "empty.mp4").touch()
    cut(write_clip(tmp_path / "video.mp4", noise(120), movflags="+faststart"))
    (tmp_path / "none").mkdir()
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4 broken")
    names = ["empty.jpg", "text.jpg", "short.png", "gone.png", "empty.mp4", "video.mp4", "none", "bad.zip", "*.tif"]
    frames, failed = read(*(tmp_path / name for name in names), "ftp://a.org/x", 98, good)
    assert frames[-1].source == str(good)
    assert len(frames) > 40
    assert [Path(name).name for name, _ in failed] == [*names, "x", "webcam 98"]
    reasons = [reason for _, reason in failed]
    assert reasons[0] == reasons[4] == "is empty (0 bytes)"
    assert "cannot be decoded as an image" in reasons[1]
    assert "cut off" in reasons[2]
    assert reasons[3] == "there is no such file"
    assert reasons[5].startswith(f"ended after {len(frames) - 1} of 120 frames")
    assert reasons[6] == "the folder holds no images or videos"
    assert reasons[7].startswith("cannot be read as a zip archive")
    assert reasons[8] == "no image or video has such a name"
    assert reasons[9].startswith("addresses begin with http://")
    assert reasons[10] == "there is no such camera"


def test_without_a_listener_the_first_failure_ends_it(tmp_path: Path) -> None:
    good, bad = write_picture(tmp_path / "a.png"), tmp_path / "gone.png"
    with open_sources([good, bad, good]) as opened:
        frames = iter(opened)
        assert next(frames).source == str(good)
        with pytest.raises(DataError) as caught:
            next(frames)
    assert str(caught.value) == f"there is no such file: {bad}"


def test_damaged_members_of_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png = write_picture(tmp_path / "a.png").read_bytes()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("locked.png", png)
        archive.writestr("bomb.png", bytes(100_000))
        archive.writestr("good.png", png)
        archive.writestr("damaged.png", png)
        archive.writestr("../../outside.png", png)
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2")
    data[place + 8] |= 1  # the first member says it is encrypted, in both of its heads
    data[6] |= 1
    damaged = data.index(b"damaged.png") + len("damaged.png") + 5
    data[damaged : damaged + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    monkeypatch.setattr(mien.pictures, "MAX_FILE_BYTES", 50_000)
    frames, failed = read(path)
    assert [frame.place for frame in frames] == ["good.png", "../../outside.png"]
    assert [name.removeprefix(f"{path}/") for name, _ in failed] == ["locked.png", "bomb.png", "damaged.png"]
    assert failed[0][1] == "is encrypted; unpack it first"
    assert failed[1][1] == "has 100,000 bytes; a picture may have 50,000"
    assert "cannot be read from the archive" in failed[2][1]


def test_large_pictures_are_refused(tmp_path: Path) -> None:
    frames, failed = read(write_picture(tmp_path / "a.png"), max_pixels=100)
    assert frames == []
    assert "12 x 10 pixels are more than the 100 allowed" in failed[0][1]


@pytest.mark.skipif(os.name == "nt", reason="no named pipes in folders")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "b.mp4")
    _, failed = read(tmp_path / "a.jpg", tmp_path / "b.mp4")
    assert [reason for _, reason in failed] == ["is a pipe; send it to standard input, and name - as the source"] * 2


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"face-\xff.png")
    try:
        write_picture(tmp_path / "a.png").rename(odd)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (frame,), failed = read(tmp_path)
    assert failed == []
    assert frame.source.endswith("face-\\udcff.png")
    assert frame.place == "face-\\udcff.png"


ANY_TEXT = st.text(alphabet=st.characters(codec=None), max_size=20)


@given(ANY_TEXT)
def test_names_become_utf8_and_keep_what_is(name: str) -> None:
    shown = in_utf8(name)
    shown.encode("utf-8")
    if not any("\ud800" <= letter <= "\udfff" for letter in name):
        assert shown == name


@given(ANY_TEXT)
def test_printable_names_do_nothing_to_a_terminal(name: str) -> None:
    shown = printable(name)
    shown.encode("utf-8")
    assert not any(unicodedata.category(letter) == "Cc" for letter in shown)
    if not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") for letter in name):
        assert shown == name


def test_control_characters_are_spelled_out() -> None:
    assert printable("\x1b[2J\x9b1m\n\t\x7f\u202e.jpg ä") == r"\x1b[2J\x9b1m\n\t\x7f\u202e.jpg ä"


def test_pictures_are_read_a_little_ahead_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(30):
        write_picture(tmp_path / f"{index:02}.png", index)
    started = []
    real = mien.sources.read_file
    monkeypatch.setattr(mien.sources, "read_file", lambda path, pixels: started.append(path) or real(path, pixels))
    with open_sources([tmp_path], reading=Reading(ahead=4)) as opened:
        frames = iter(opened)
        next(frames)
        time.sleep(0.05)
        assert len(started) <= 4
        assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(1, 30))


def test_large_pictures_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(12):
        write_picture(tmp_path / f"{index:02}.png", index)
    monkeypatch.setattr(mien.sources, "WAITING_BYTES", 1)
    frames, failed = read(tmp_path)
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(12))
    assert failed == []


def test_who_stops_early_leaves_nothing_running(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for index in range(20):
        write_picture(tmp_path / f"{index:02}.png", index)
    write_clip(tmp_path / "00a.mp4", 60)
    before = threading.active_count()
    with open_sources([tmp_path]) as opened:
        frames = iter(opened)
        assert [next(frames).index for _ in range(5)] == [0, 0, 1, 2, 3]
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
    assert list(frames) == []


def test_the_total_is_unknown_with_a_live_source(tmp_path: Path) -> None:
    good = write_picture(tmp_path / "a.png")
    for source in (0, "rtsp://a.org/x", "http://a.org/x.mp4"):
        with open_sources([good, source]) as opened:
            assert opened.total is None
    with open_sources([good, tmp_path / "gone.png", "http://a.org/x.png"]) as opened:
        assert opened.total == 2


@pytest.mark.parametrize("name", ["max_pixels", "max_bytes", "seconds", "ahead"])
def test_limits_must_be_above_zero(name: str) -> None:
    for wrong in (-1, "5", None):
        with pytest.raises(UsageError, match=f"{name}: must be a number above 0, received {wrong!r}"):
            Reading(**{name: wrong})


def test_other_wrong_values() -> None:
    with pytest.raises(UsageError, match="choose from auto, opencv, pyav"):
        Reading(video_backend="vlc")
    with pytest.raises(UsageError, match="allow_private: must be true or false, received 'no'"):
        Reading(allow_private="no")
    with pytest.raises(UsageError, match=r"reading: must be a mien\.sources\.Reading, .*, received dict"):
        open_sources(["a.jpg"], reading={"every": 2})
    with pytest.raises(UsageError, match="on_failure: must be a function of a source's name and a reason, received 's"):
        open_sources(["a.jpg"], on_failure="skip")
    with pytest.raises(UsageError, match="fps"):
        Clip("a", float("nan"), None, (4, 4))


def test_clips_are_told_apart(tmp_path: Path) -> None:
    pytest.importorskip("av")
    write_clip(tmp_path / "a.mp4", [picture(0)] * 3)
    write_clip(tmp_path / "b.mp4", [picture(0)] * 3)
    frames, _ = read(tmp_path)
    assert len({frame.clip for frame in frames}) == 2
