"""Videos: order, timestamps, rotation, damage, and a thread that ends when nobody looks."""

import io
import itertools
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mien.decoders
import mien.pyav_decoder
from clips import cut, level, noise, picture, write_clip
from mien.containers import index_is_behind, is_whole_mp4
from mien.decoders import open_decoder, quiet
from mien.errors import DataError, MissingExtraError
from mien.frames import Frame
from mien.images import Image
from mien.pyav_decoder import open_container
from mien.videos import Ahead, _Clock, read_video

pytest.importorskip("av")
BACKENDS = ("opencv", "pyav")


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    return request.param


def collect(path: Path, backend: str = "pyav", **options) -> tuple[list[Frame], str]:
    """The frames there were, and what was said at the end."""
    frames: list[Frame] = []
    try:
        for frame in read_video(str(path), lambda: open_decoder(str(path), backend), **options):
            frames.append(frame)  # noqa: PERF402 - those before an error are wanted
    except DataError as error:
        return frames, str(error)
    return frames, ""


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("mien-video")}


def test_frames_come_in_order_with_their_times(tmp_path: Path, backend: str) -> None:
    frames, said = collect(write_clip(tmp_path / "a.mp4"), backend, place="b/a.mp4")
    assert said == ""
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == pytest.approx([index / 30 for index in range(30)], abs=1e-3)
    assert all(abs(int(frame.image[40, 40, 1]) - level(frame.index)) <= 3 for frame in frames)
    (clip,) = {frame.clip for frame in frames}
    assert (clip.name, clip.fps, clip.frames, clip.size_wh, clip.live) == (
        str(tmp_path / "a.mp4"),
        pytest.approx(30),
        30,
        (64, 48),
        False,
    )
    assert {frame.place for frame in frames} == {"b/a.mp4"}


def test_every_so_many_frames_keep_their_numbers_and_times(tmp_path: Path, backend: str) -> None:
    path = write_clip(tmp_path / "a.mp4")
    frames, said = collect(path, backend, every=7)
    assert said == ""
    assert [frame.index for frame in frames] == [0, 7, 14, 21, 28]
    assert [frame.time for frame in frames] == pytest.approx([index / 30 for index in range(0, 30, 7)], abs=1e-3)
    assert all(abs(int(frame.image[40, 40, 1]) - level(frame.index)) <= 3 for frame in frames)
    assert frames[0].clip is not None
    assert (frames[0].clip.fps, frames[0].clip.frames) == (pytest.approx(30 / 7), 5)
    assert "is cut off or damaged" in collect(cut(write_clip(tmp_path / "a.mkv", noise(120))), backend, every=7)[1]


def test_colours_are_red_green_blue(tmp_path: Path, backend: str) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :] = (200, 40, 90)
    frames, _ = collect(write_clip(tmp_path / "a.mp4", [image] * 3), backend)
    assert np.abs(frames[1].image[24, 32].astype(int) - (200, 40, 90)).max() <= 6


@pytest.mark.parametrize(
    ("rotation", "size_wh", "corner"),
    [(0, (64, 48), (0, 0)), (90, (48, 64), (-1, 0)), (180, (64, 48), (-1, -1)), (-90, (48, 64), (0, -1))],
)
def test_the_display_matrix_is_obeyed(
    tmp_path: Path, backend: str, rotation: int, size_wh: tuple[int, int], corner: tuple[int, int]
) -> None:
    frames, _ = collect(write_clip(tmp_path / "a.mp4", 5, rotation=rotation), backend)
    assert frames[0].clip.size_wh == size_wh
    corners = {place: frames[0].image[place].max() > 128 for place in ((0, 0), (0, -1), (-1, 0), (-1, -1))}
    assert [place for place, white in corners.items() if white] == [corner]


TURNS_AND_MIRRORS = {
    (1, 0, 0, 1): ((64, 48), (0, 0)),
    (-1, 0, 0, 1): ((64, 48), (0, -1)),
    (1, 0, 0, -1): ((64, 48), (-1, 0)),
    (-1, 0, 0, -1): ((64, 48), (-1, -1)),
    (0, 1, 1, 0): ((48, 64), (0, 0)),
    (0, 1, -1, 0): ((48, 64), (0, -1)),
    (0, -1, 1, 0): ((48, 64), (-1, 0)),
    (0, -1, -1, 0): ((48, 64), (-1, -1)),
}
"""How a display matrix shows a video of 64 x 48 pixels: its size, and the corner that the upper left one comes to."""


def with_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write another display matrix into an MP4 file (ISO/IEC 14496-12, section 8.3.2)."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (number << 16 for number in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("matrix", TURNS_AND_MIRRORS)
def test_mirrored_videos_are_shown_as_they_are_meant(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    size_wh, corner = TURNS_AND_MIRRORS[matrix]
    frames, _ = collect(with_matrix(write_clip(tmp_path / "a.mp4", 3), matrix))
    assert frames[0].clip.size_wh == size_wh
    assert [place for place in ((0, 0), (0, -1), (-1, 0), (-1, -1)) if frames[0].image[place].max() > 128] == [corner]


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_side_data_that_pyav_cannot_name_hides_mirrors_only(tmp_path: Path, rotation: int) -> None:
    import av

    class Unnamed:
        def __init__(self, rotation: int) -> None:
            self.rotation = rotation

        @property
        def side_data(self) -> None:
            raise ValueError("29 is not a valid Type")

    with av.open(str(write_clip(tmp_path / "a.mp4", 1, rotation=rotation))) as container:
        frame = next(container.decode(video=0))
        image = frame.to_ndarray(format="rgb24")
        expected = mien.pyav_decoder._turn(image, mien.pyav_decoder._display_matrix(frame))
        turned = mien.pyav_decoder._turn(image, mien.pyav_decoder._display_matrix(Unnamed(frame.rotation)))
    np.testing.assert_array_equal(turned, expected)
    np.testing.assert_array_equal(turned, np.rot90(image, rotation // 90))


@pytest.mark.parametrize("rotation", [0, 90, 180])
@pytest.mark.parametrize("width", [300, 854])
def test_rows_lie_one_after_the_other(tmp_path: Path, width: int, rotation: int) -> None:
    path = write_clip(tmp_path / "a.mp4", [picture(0, (width, 48))] * 2, rotation=rotation)
    frames, said = collect(path)
    assert (len(frames), said) == (2, "")
    assert all(frame.image.flags.c_contiguous for frame in frames)
    assert frames[0].clip.size_wh == ((48, width) if rotation == 90 else (width, 48))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize(
    ("pixels", "size_wh"),
    [
        (Fraction(3, 2), (96, 48)),
        (Fraction(3, 4), (64, 64)),
        (Fraction(64, 45), (91, 48)),
        (Fraction(255, 256), (64, 48)),
        (Fraction(200, 1), (64, 48)),
        (Fraction(1, 1), (64, 48)),
    ],
)
def test_pixels_that_are_not_square_are_made_so(
    tmp_path: Path, backend: str, name: str, pixels: Fraction, size_wh: tuple[int, int]
) -> None:
    frames, said = collect(write_clip(tmp_path / name, 5, pixels=pixels), backend)
    assert (len(frames), said) == (5, "")
    assert frames[0].clip.size_wh == size_wh
    bright = np.argwhere(frames[0].image[:, :, 1] > 128).max(axis=0) + 1
    assert bright.tolist() == pytest.approx([size_wh[1] / 4, size_wh[0] / 4], abs=1)


@pytest.mark.parametrize(("rotation", "size_wh"), [(90, (48, 96)), (180, (96, 48)), (-90, (48, 96))])
def test_pixels_are_made_square_before_frames_are_turned(
    tmp_path: Path, backend: str, rotation: int, size_wh: tuple[int, int]
) -> None:
    frames, _ = collect(write_clip(tmp_path / "a.mp4", 3, pixels=Fraction(3, 2), rotation=rotation), backend)
    assert frames[0].clip.size_wh == size_wh


def test_a_frame_is_as_large_as_it_is_shown(tmp_path: Path, backend: str) -> None:
    path = write_clip(tmp_path / "a.mp4", 3, pixels=Fraction(3, 1))
    assert collect(path, backend, max_pixels=192 * 48)[1] == ""
    assert "frames of 192 x 48 pixels are more" in collect(path, backend, max_pixels=192 * 48 - 1)[1]


def test_pixels_that_lie_well_are_not_copied() -> None:
    image = picture(0)
    assert np.shares_memory(mien.pyav_decoder._turn(image, (1, 0, 0, 1)), image)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_uneven_frame_rates(tmp_path: Path, backend: str, name: str) -> None:
    stamps = [0, 33, 66, 500, 533, 1500, 1533, 1566, 4000]
    frames, said = collect(write_clip(tmp_path / name, 9, stamps=stamps), backend)
    assert [frame.time for frame in frames] == pytest.approx([stamp / 1000 for stamp in stamps], abs=2e-3)
    assert said == ""


def test_recordings_that_were_put_together_follow_each_other(tmp_path: Path, backend: str) -> None:
    path = write_clip(tmp_path / "a.ts", 30)
    path.write_bytes(3 * path.read_bytes())
    frames, failure = collect(path, backend)
    times = [frame.time for frame in frames]
    assert failure == ""
    assert len(times) == 90
    assert times[-1] == pytest.approx((len(times) - 1) / 30, abs=0.2)
    assert max(np.diff(times)) < 0.2


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mov", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9"), ("a.flv", "libx264"), ("a.wmv", "wmv2")],
)
def test_other_containers(tmp_path: Path, backend: str, name: str, codec: str) -> None:
    frames, said = collect(write_clip(tmp_path / name, 20, codec=codec), backend)
    assert (len(frames), said) == (20, "")
    assert [frame.time for frame in frames] == pytest.approx([index / 30 for index in range(20)], abs=2e-3)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4")])
def test_a_video_that_is_cut_gives_what_there_is(tmp_path: Path, backend: str, name: str, codec: str) -> None:
    options = {"movflags": "+faststart"} if name == "a.mp4" else {}
    frames, said = collect(cut(write_clip(tmp_path / name, noise(120), codec=codec, **options)), backend)
    assert 40 <= len(frames) <= 80
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert f"ended after {len(frames)} of " in said
    assert "1" in said.partition(" of ")[2].partition(" frames")[0]


def test_an_avi_that_is_cut_is_told_by_its_count_of_frames(tmp_path: Path) -> None:
    """Its index is gone, so FFmpeg guesses a shorter time from the bytes that are left."""
    path = write_clip(tmp_path / "a.avi", noise(20))
    assert collect(path)[1] == ""
    frames, said = collect(cut(path, 2 / 3))
    assert 9 < len(frames) < 15
    assert f"ended after {len(frames)} of 20 frames; the file is cut off or damaged" in said


def test_a_whole_avi_with_pauses_is_not_called_cut(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", 9, codec="mpeg4", stamps=[0, 33, 66, 500, 533, 1500, 1533, 1566, 4000])
    frames, said = collect(path)
    assert (len(frames), said) == (9, "")


def test_frames_that_an_edit_list_hides_are_not_missed(tmp_path: Path, backend: str) -> None:
    path = write_clip(tmp_path / "a.mp4", 90)
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 12
    data[place : place + 4] = (int.from_bytes(data[place : place + 4], "big") // 3).to_bytes(4, "big")
    path.write_bytes(data)
    frames, said = collect(path, backend)
    assert (len(frames), said) == (30, "")


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is no video", bytes(5000), None], ids=["empty", "text", "zero", "cut"]
)
def test_what_is_no_video(tmp_path: Path, backend: str, content: bytes | None) -> None:
    path = tmp_path / "a.mp4"
    if content is None:
        cut(write_clip(path), 0.4)
    else:
        path.write_bytes(content)
    frames, said = collect(path, backend)
    assert frames == []
    assert "cannot be opened as a video" in said or "no video" in said
    assert str(path) in said


def test_noise_in_the_middle_does_not_stop_the_rest(tmp_path: Path, backend: str) -> None:
    path = write_clip(tmp_path / "a.mkv", noise(60))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    frames, _ = collect(path, backend)
    assert len(frames) > 45
    assert frames[-1].time > 1.8


def damage(path: Path, packets: range, size: int = 200) -> Path:
    """Write zeros over the beginnings of these packets of a video."""
    import av

    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in packets:
        data[places[number] : places[number] + size] = bytes(size)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("codec", "options"), [("libx264", {}), ("libx264", {"movflags": "+faststart"}), ("mpeg4", {})]
)
def test_damage_in_the_middle_is_told(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    path = damage(write_clip(tmp_path / "a.mp4", noise(90), codec=codec, **options), range(40, 46))
    frames, said = collect(path)
    assert 60 < len(frames) < 90
    assert f"{90 - len(frames)} of 90 frames cannot be decoded; the file is damaged" in said


def test_a_trimmed_video_without_its_first_frames_is_healthy(tmp_path: Path) -> None:
    import av

    path = write_clip(tmp_path / "whole.mp4", noise(60))
    with av.open(str(path)) as old, av.open(str(tmp_path / "a.mp4"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if number >= 7 and packet.size:
                packet.stream = stream
                new.mux(packet)
    frames, said = collect(tmp_path / "a.mp4")
    assert 49 <= len(frames) <= 53
    assert said == ""


@pytest.mark.parametrize("front", [True, False], ids=["index in front", "index behind"])
def test_a_file_that_cannot_be_searched_does_not_crash_opencv(tmp_path: Path, front: bool) -> None:
    class Pipe(io.FileIO):
        def seekable(self) -> bool:
            return False

    path = write_clip(tmp_path / "a.mp4", movflags="+faststart" if front else "0")
    decoder = open_decoder(Pipe(path), "opencv")
    assert sum(1 for _ in decoder) == 30
    decoder.close()


def test_what_opencv_raises_is_a_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no such camera"):
        open_decoder(10**20)

    def failing(*arguments: object) -> None:
        raise cv2.error("out of cameras")

    monkeypatch.setattr(cv2, "VideoCapture", failing)
    for place in (0, "a.mp4"):
        with pytest.raises(DataError, match=r"no such camera|cannot be opened"):
            open_decoder(place, "opencv")


def test_interlaced_video_is_read_or_named(tmp_path: Path, backend: str) -> None:
    """OpenCV 5.0 gives black pictures, or now and then what lay in memory, without a word."""
    frames, said = collect(write_clip(tmp_path / "a.mpg", 20, codec="mpeg2video", interlaced=True), backend)
    if not any(frame.image.any() for frame in frames):
        assert backend == "opencv"
        assert "it is interlaced, which this OpenCV cannot convert: pip install 'mien[video]'" in said
    elif len({frame.image.tobytes() for frame in frames}) > 1:
        assert (len(frames), said) == (20, "")


def test_a_video_that_stands_still_is_read(tmp_path: Path, backend: str) -> None:
    still = np.tile(np.arange(0, 256, 4, np.uint8)[:, None, None], (1, 64, 3))
    frames, said = collect(write_clip(tmp_path / "a.mp4", [still] * 20), backend)
    assert (len(frames), said) == (20, "")


def test_a_program_that_fails_while_a_video_is_read_ends_as_programs_do(tmp_path: Path, backend: str) -> None:
    write_clip(tmp_path / "a.mp4", [picture(index, (1280, 720)) for index in range(12)])
    script = f"""
from mien.sources import Reading, open_sources
frames = iter(open_sources(["a.mp4"], reading=Reading(video_backend="{backend}", ahead=100)))
next(frames)
raise SystemExit(3)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")


def test_a_name_that_is_not_unicode(tmp_path: Path, backend: str) -> None:
    odd = tmp_path / os.fsdecode(b"v\xff.mp4")
    try:
        write_clip(tmp_path / "a.mp4", 4).rename(odd)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert len(collect(odd, backend)[0]) == 4


def test_metadata_in_another_encoding_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 3)
    written = path.read_bytes()
    assert b"Lavf" in written
    path.write_bytes(written.replace(b"Lavf", b"\xff\xfe\xe9f"))
    frames, said = collect(path)
    assert (len(frames), said) == (3, "")


def test_large_frames_are_refused(tmp_path: Path, backend: str) -> None:
    frames, said = collect(write_clip(tmp_path / "a.mp4"), backend, max_pixels=3000)
    assert frames == []
    assert "64 x 48 pixels are more than the 3,000 allowed" in said


def test_large_frames_are_refused_before_one_is_decoded(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*arguments: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(mien.decoders.PyAVDecoder, "_packets", decode)
    monkeypatch.setattr(mien.decoders.OpenCVDecoder, "_grab", decode)
    _, said = collect(write_clip(tmp_path / "a.mp4"), backend, max_pixels=3000)
    assert "64 x 48 pixels are more than the 3,000 allowed" in said


def test_frames_that_grow_on_the_way_are_refused(tmp_path: Path, backend: str) -> None:
    """OpenCV brings them all to the size of the first."""
    parts = [write_clip(tmp_path / f"{side}.ts", [picture(0, (side, side))] * 20) for side in (64, 128)]
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, said = collect(tmp_path / "a.ts", backend, max_pixels=64 * 64)
    assert {frame.image.shape for frame in frames} == {(64, 64, 3)}
    if backend == "pyav":
        assert len(frames) <= 20
        assert "128 x 128 pixels are more than the 4,096 allowed" in said


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts", "a.flv"])
def test_a_whole_video_may_begin_late(tmp_path: Path, backend: str, name: str) -> None:
    """Matroska tells how long a file is from 0 on, wherever its frames begin."""
    path = write_clip(tmp_path / name, noise(50), stamps=range(100_000, 102_000, 40))
    frames, said = collect(path, backend)
    assert (len(frames), said) == (50, "")
    assert [frame.time for frame in frames] == pytest.approx([index * 0.04 for index in range(50)], abs=2e-3)


def test_a_video_that_begins_late_and_is_cut(tmp_path: Path, backend: str) -> None:
    frames, said = collect(cut(write_clip(tmp_path / "a.mkv", noise(120), stamps=range(10_000, 14_800, 40))), backend)
    assert 40 <= len(frames) <= 80
    assert f"ended after {len(frames)} of " in said


def test_an_flv_that_begins_late_and_is_cut(tmp_path: Path) -> None:
    """OpenCV does not count its length from 0, as it does Matroska's."""
    path = cut(write_clip(tmp_path / "a.flv", noise(250), stamps=range(100_000, 110_000, 40)))
    frames, said = collect(path, "opencv")
    assert len(frames) < 200
    assert f"ended after {len(frames)} of " in said


def test_who_stops_early_leaves_no_thread(tmp_path: Path, backend: str) -> None:
    path = write_clip(tmp_path / "a.mp4", 90)
    frames = read_video("a", lambda: open_decoder(str(path), backend), ahead=2)
    assert next(frames).index == 0
    assert threads()
    frames.close()
    assert not threads()
    collect(path, backend)
    assert not threads()


def test_a_missing_webcam() -> None:
    with pytest.raises(DataError, match="no such camera"):
        open_decoder(97)


def test_pyav_is_used_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_clip(tmp_path / "a.mp4", 3))
    assert type(open_decoder(path)).__name__ == "PyAVDecoder"
    monkeypatch.setattr(mien.decoders, "has_pyav", lambda: False)
    assert type(open_decoder(path)).__name__ == "OpenCVDecoder"
    with pytest.raises(MissingExtraError, match=r"mien\[video\]"):
        open_decoder(path, "pyav")


def test_nothing_is_written_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    cut(write_clip(tmp_path / "cut.mkv", noise(90)))
    cut(write_clip(tmp_path / "cut.mp4", noise(90), movflags="+faststart"))
    code = f"""
import os
from mien.sources import Reading, open_sources
before = dict(os.environ)
for backend in ("opencv", "pyav"):
    failed = []
    reading = Reading(video_backend=backend)
    with open_sources([{str(tmp_path)!r}, 96], reading=reading, on_failure=lambda *pair: failed.append(pair)) as opened:
        list(opened)
    assert len(failed) == 4, failed
assert dict(os.environ) == before
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_quiet_puts_the_level_back() -> None:
    before = cv2.utils.logging.getLogLevel()
    with quiet():
        with quiet():
            assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT
        assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT
    assert cv2.utils.logging.getLogLevel() == before


def test_boxes_of_an_mp4(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    assert is_whole_mp4(path)
    assert not is_whole_mp4(cut(path, 0.9))
    assert not is_whole_mp4(write_clip(tmp_path / "a.mkv"))
    assert not is_whole_mp4(tmp_path / "gone.mp4")


def test_where_the_index_is(tmp_path: Path) -> None:
    assert index_is_behind(write_clip(tmp_path / "a.mp4").read_bytes()[:600])
    assert index_is_behind(write_clip(tmp_path / "a.mov").read_bytes()[:600])
    assert not index_is_behind(write_clip(tmp_path / "b.mp4", movflags="+faststart").read_bytes()[:600])
    assert not index_is_behind(write_clip(tmp_path / "a.mkv").read_bytes()[:600])


@given(st.binary(max_size=100))
def test_any_bytes_may_be_asked_where_the_index_is(head: bytes) -> None:
    assert index_is_behind(b"\0\0\0\x08mdat" + head)
    assert not index_is_behind(b"\0\0\0\x08moov" + head)
    index_is_behind(head)


@given(st.lists(st.integers(), max_size=30), st.integers(1, 5), st.booleans())
@settings(max_examples=30, deadline=None)
def test_whatever_is_run_ahead_arrives_in_order(items: list[int], limit: int, fails: bool) -> None:
    def source() -> Iterator[int]:
        yield from items
        if fails:
            raise DataError("the end")

    taken = iter(Ahead(source(), limit))
    assert list(itertools.islice(taken, len(items))) == items
    with pytest.raises(DataError if fails else StopIteration):
        next(taken)


def test_no_more_than_so_many_items_wait() -> None:
    made = []

    def source() -> Iterator[int]:
        for index in range(100):
            made.append(index)
            yield index

    ahead = Ahead(source(), 3)
    taken = iter(ahead)
    next(taken)
    time.sleep(0.1)
    assert len(made) <= 5
    ahead.close()
    assert len(made) <= 6
    assert not threads()


def test_a_slow_consumer_of_a_live_source_sees_the_newest() -> None:
    go_on = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        go_on.wait(5)
        yield from range(1, 100)

    ahead = Ahead(source(), 2, newest=True)
    taken = iter(ahead)
    assert next(taken) == 0
    go_on.set()
    while not ahead._ended:
        time.sleep(0.001)
    assert list(taken) == [98, 99]
    assert ahead.dropped == 97


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_a_stream_that_comes_as_it_plays_may_lack_frames(seconds: float) -> None:
    class Live:
        fps, frames, exact, seconds, end, damaged = 100.0, None, False, None, None, 0
        finished, max_pixels, every = True, 1, 1

        def __iter__(self) -> Iterator[tuple[float | None, Image]]:
            for index in range(30):
                time.sleep(seconds)
                yield index / 100, picture(0)

        def close(self) -> None:
            pass

    taken = []
    with pytest.raises(DataError, match=r"of 30 frames had to be left out") if not seconds else nullcontext():
        for frame in read_video("a", Live, live=True):
            taken.append(frame)
            time.sleep(0.03)
    assert len(taken) < 30


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=30), st.floats(1, 240))
def test_time_begins_at_zero_and_never_decreases(stamps: list[float | None], fps: float) -> None:
    clock = _Clock(fps, live=False)
    told = [clock.tell(stamp) for stamp in stamps]
    assert told[0] == 0
    assert all(before <= after for before, after in itertools.pairwise(told))


@given(st.floats(-1e4, 1e4), st.lists(st.floats(0.001, 10), max_size=30))
def test_time_keeps_the_steps_of_the_container(first: float, steps: list[float]) -> None:
    stamps = np.cumsum([first, *steps]).tolist()
    clock = _Clock(30, live=False)
    assert [clock.tell(stamp) for stamp in stamps] == pytest.approx([stamp - first for stamp in stamps], abs=1e-6)


def test_pictures_of_clips_differ() -> None:
    """What the tests above rely on."""
    assert len({picture(index).tobytes() for index in range(60)}) == 60


@pytest.mark.parametrize(("version", "given"), [("18.1.0", {"metadata_errors": "replace"}), ("19.0.2", {})])
def test_pyav_is_told_about_metadata_where_it_asks(
    monkeypatch: pytest.MonkeyPatch, version: str, given: dict[str, str]
) -> None:
    """PyAV 19, which needs Python 3.12, takes metadata as they are and has no such option."""
    av = pytest.importorskip("av")
    monkeypatch.setattr(av, "__version__", version)
    monkeypatch.setattr(av, "open", lambda place, **options: (place, options))
    assert open_container("a.mp4", timeout=3) == ("a.mp4", {"timeout": 3, **given})
