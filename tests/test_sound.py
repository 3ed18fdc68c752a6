"""The sound of a video is heard in the one that is drawn from it, at the same time, where an .mp4 holds its kind."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from clips import MILLISECOND, picture
from mien.outputs import Annotated
from mien.sound import Sound
from mien.sources import open_sources

av = pytest.importorskip("av")

RATE = 32_000


def with_sound(
    path: Path, *, codec: str = "aac", begin: int = 0, seconds: float = 2.0, gop: int = 12, rate: int = RATE
) -> Path:
    """30 frames, one second, and noise from a half second after the first on, which comes at `begin` milliseconds.

    `gop`: frames from one that needs no other to the next.
    """
    picture_codec = "mpeg4" if path.suffix == ".avi" else "libx264"
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream(picture_codec, rate=30), container.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base, video.codec_context.gop_size = MILLISECOND, gop
        sound.layout = "mono"
        for index in range(30):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = begin + round(index * 1000 / 30), MILLISECOND
            container.mux(video.encode(frame))
        container.mux(video.encode())
        wave = np.random.default_rng(0).integers(-9000, 9000, (1, int(rate * seconds)), np.int16)
        wave[:, : rate // 2] = 0
        heard = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        heard.rate, heard.pts, heard.time_base = rate, begin * rate // 1000, Fraction(1, rate)
        fitting = av.AudioResampler(sound.format, "mono", rate, sound.codec_context.frame_size or None)
        for part in (*fitting.resample(heard), *fitting.resample(None)):
            container.mux(sound.encode(part))
        container.mux(sound.encode())
    return path


def drawn(path: Path, folder: Path, *, inputs: bool = True, every: int = 1) -> Path:
    with open_sources([path]) as opened, Annotated(folder, inputs=opened.paths if inputs else ()) as annotated:
        for frame in opened:
            if frame.index % every == 0:
                annotated.write(frame, frame.image)
    return annotated.paths[0]


def heard_from(path: Path) -> tuple[float, float]:
    """When it becomes loud, and when the sound ends, seconds from the first picture on."""
    changes, end = loudness(path)
    return next(time for time, loud in changes if loud), end


def loudness(path: Path) -> tuple[list[tuple[float, bool]], float]:
    """When it becomes loud or silent, and when the sound ends, seconds from the first picture on."""
    with av.open(str(path)) as container:
        begin = float(next(container.decode(video=0)).time)
        container.seek(0)
        parts = [(float(part.time) - begin, part.to_ndarray(), part.samples) for part in container.decode(audio=0)]
    heard = [(time, bool(np.abs(wave.astype(float)).max() > 0.05)) for time, wave, _ in parts]
    changes = [now for before, now in pairwise([(0.0, False), *heard]) if before[1] != now[1]]
    return changes, parts[-1][0] + parts[-1][2] / RATE


@pytest.mark.parametrize(
    ("name", "codec", "begin"),
    [("a.mp4", "aac", 0), ("a.mp4", "aac", 2000), ("a.mkv", "ac3", 0), ("a.mkv", "ac3", 2000)]
    + [("a.ts", "aac", 0), ("a.ts", "aac", 2000), ("a.avi", "mp3", 0)],
)
def test_sound_is_heard_at_its_time_and_ends_with_the_pictures(
    tmp_path: Path, name: str, codec: str, begin: int
) -> None:
    path = drawn(with_sound(tmp_path / name, codec=codec, begin=begin), tmp_path / "drawn")
    loud, end = heard_from(path)
    assert loud == pytest.approx(0.5, abs=0.13)  # to the packet
    assert end == pytest.approx(1.0, abs=0.13)


def test_of_every_so_many_frames_sound_is_whole(tmp_path: Path) -> None:
    path = drawn(with_sound(tmp_path / "a.mp4"), tmp_path / "drawn", every=10)
    assert heard_from(path)[0] == pytest.approx(0.5, abs=0.13)


def test_what_an_mp4_does_not_hold_and_what_nobody_named_is_not_heard(tmp_path: Path) -> None:
    wave = drawn(with_sound(tmp_path / "a.mkv", codec="pcm_s16le"), tmp_path / "drawn")
    unnamed = drawn(with_sound(tmp_path / "a.mp4"), tmp_path / "unnamed", inputs=False)
    for path in (wave, unnamed):
        with av.open(str(path)) as container:
            assert [stream.type for stream in container.streams] == ["video"]


def test_names_of_a_service_are_not_looked_at(tmp_path: Path) -> None:
    with open_sources([with_sound(tmp_path / "a.mp4")]) as opened:
        frame = replace(next(iter(opened)), source="a\0b.mp4", place="a.mp4")
    with Annotated(tmp_path / "drawn") as annotated:
        annotated.write(frame, frame.image)
    assert [path.name for path in annotated.paths] == ["a.mp4"]


def test_what_is_no_video_has_no_sound(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    assert Sound.open(tmp_path / "a.mp4") is None
    assert Sound.open(tmp_path / "gone.mp4") is None


def test_damaged_sound_does_not_stop_the_pictures(tmp_path: Path) -> None:
    path = with_sound(tmp_path / "a.mkv", seconds=1.0)
    data = bytearray(path.read_bytes())
    data[-400:] = bytes(400)
    path.write_bytes(data)
    with av.open(str(drawn(path, tmp_path / "drawn"))) as container:
        assert len(list(container.decode(video=0))) == 30


def test_sound_of_recordings_that_were_put_together_goes_on(tmp_path: Path) -> None:
    one = with_sound(tmp_path / "one.ts", seconds=1.0).read_bytes()
    (tmp_path / "all.ts").write_bytes(one * 3)
    changes, end = loudness(drawn(tmp_path / "all.ts", tmp_path / "drawn"))
    assert [time for time, _ in changes] == pytest.approx([0.5, 1, 1.5, 2, 2.5], abs=0.13)
    assert end == pytest.approx(3.0, abs=0.13)


def test_sound_of_a_recording_that_begins_between_pictures_comes_at_its_time(tmp_path: Path) -> None:
    whole = with_sound(tmp_path / "whole.ts", gop=10).read_bytes()
    (tmp_path / "late.ts").write_bytes(whole[188 * (len(whole) // 188 // 20) :])
    source = heard_from(tmp_path / "late.ts")[0]
    assert source < 0.3  # the first third is not shown
    assert heard_from(drawn(tmp_path / "late.ts", tmp_path / "drawn"))[0] == pytest.approx(source, abs=0.05)


def test_sound_of_a_kind_that_nobody_knows_is_left_out(tmp_path: Path) -> None:
    data = with_sound(tmp_path / "a.mp4").read_bytes()
    place = data.rindex(b"mp4a", 0, data.rindex(b"esds"))
    unknown = data[:place] + b"mhm1" + data[place + 4 :].replace(b"esds", b"free")
    (tmp_path / "a.mp4").write_bytes(unknown)
    with av.open(str(drawn(tmp_path / "a.mp4", tmp_path / "drawn"))) as container:
        assert (len(container.streams.audio), len(list(container.decode(video=0)))) == (0, 30)


def test_mp3_of_old_cameras_is_heard(tmp_path: Path) -> None:
    path = drawn(with_sound(tmp_path / "a.avi", codec="mp3", rate=11_025), tmp_path / "drawn")
    assert heard_from(path)[0] == pytest.approx(0.5, abs=0.2)


def test_of_several_sounds_one_is_heard_that_an_mp4_holds(tmp_path: Path) -> None:
    with av.open(str(with_sound(tmp_path / "a.mp4"))) as source, av.open(str(tmp_path / "b.mkv"), "w") as target:
        wave = target.add_stream("pcm_s16le", rate=RATE, layout="mono")
        copies = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream_index]
                target.mux(packet)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), format="s16", layout="mono")
        silence.rate, silence.pts, silence.time_base = RATE, 0, Fraction(1, RATE)
        target.mux(wave.encode(silence))
    assert heard_from(drawn(tmp_path / "b.mkv", tmp_path / "drawn"))[0] == pytest.approx(0.5, abs=0.13)


@pytest.mark.parametrize("codec", ["ac3", "eac3"])
def test_packets_of_sound_that_the_file_refuses_are_left_out(tmp_path: Path, codec: str) -> None:
    path = with_sound(tmp_path / "a.mkv", codec=codec, seconds=1.0)
    pieces = path.read_bytes().split(b"\x0b\x77")
    whole = drawn(path, tmp_path / "drawn")
    damaged = [*pieces[:8], pieces[8] + b"\0\0" + pieces[9], *pieces[10:]]
    path.write_bytes(b"\x0b\x77".join(damaged))
    counts = []
    for video in (whole, drawn(path, tmp_path / "damaged")):
        with av.open(str(video)) as container:
            counts.append([stream.frames for stream in container.streams])
    assert counts == [[30, counts[0][1]], [30, counts[0][1] - 1]]
