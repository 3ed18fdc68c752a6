"""GIF, WebP, PNG and AVIF of several pictures: whole pictures, their times, damage; a single picture stays one."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from clips import level
from mien.animations import FIRST_PICTURES, is_animation
from mien.errors import DataError
from mien.frames import Frame, Reading
from mien.sources import open_sources

NAMES = ["a.gif", "a.webp", "a.png", "a.avif"]


def animation(path: Path, count: int = 5, durations: int | list[int] = 100) -> Path:
    """Picture i is grey of `level(i)`, its left half transparent."""
    layers = np.zeros((count, 48, 64, 4), np.uint8)
    for index in range(count):
        layers[index, :, 32:] = (*[level(index)] * 3, 255)
    first, *others = [PIL.Image.fromarray(layer) for layer in layers]
    options = {".webp": {"lossless": True}, ".avif": {"quality": 100}, ".png": {"disposal": 1}}.get(
        path.suffix, {"disposal": 2}
    )
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, **options)
    return path


def read(*sources: Path, **options) -> tuple[list[Frame], list[str]]:
    failures: list[str] = []
    with open_sources(sources, on_failure=lambda _, reason: failures.append(reason), **options) as opened:
        return list(opened), failures


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "A.GIF", "a.png", "a.avif"])
def test_an_animation_is_read_as_a_video(tmp_path: Path, name: str) -> None:
    frames, failures = read(animation(tmp_path / name, durations=[100, 40, 200, 100, 100]))
    assert not failures
    assert [frame.index for frame in frames] == list(range(5))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.14, 0.34, 0.44])
    assert [int(frame.image[20, 50, 1]) for frame in frames] == pytest.approx([level(i) for i in range(5)], abs=2)
    if name != "a.webp":  # which Pillow writes without transparency
        assert all((frame.image[20, 10] == 255).all() for frame in frames)
    clip = frames[0].clip
    assert clip is not None
    assert (clip.frames, clip.size_wh, clip.fps) == (5, (64, 48), pytest.approx(10))
    assert [frame.index for frame in read(tmp_path / name, reading=Reading(every=2))[0]] == [0, 2, 4]


def test_pictures_without_a_time_are_shown_as_browsers_do(tmp_path: Path) -> None:
    frames, _ = read(animation(tmp_path / "a.gif", durations=0))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("name", NAMES)
def test_a_title_that_stands_longer_does_not_make_the_video_slow(tmp_path: Path, name: str) -> None:
    frames, _ = read(animation(tmp_path / name, durations=[5000, 40, 40, 40, 40]))
    assert [frame.time for frame in frames] == pytest.approx([0, 5, 5.04, 5.08, 5.12])
    assert frames[0].clip is not None
    assert frames[0].clip.fps == pytest.approx(25)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_picture_is_no_animation(tmp_path: Path, name: str) -> None:
    (frame,), _ = read(animation(tmp_path / name, count=1))
    assert (frame.clip, frame.time) == (None, None)
    assert not is_animation(tmp_path / "gone.gif")


def test_a_picture_for_programs_that_show_no_animation_is_not_of_it(tmp_path: Path) -> None:
    title, *others = [PIL.Image.new("L", (64, 48), level(index)) for index in range(4)]
    title.save(tmp_path / "a.png", save_all=True, default_image=True, append_images=others, duration=100)
    frames, _ = read(tmp_path / "a.png")
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [level(1), level(2), level(3)]
    assert frames[0].clip is not None
    assert frames[0].clip.frames == 3
    title.save(tmp_path / "b.png", save_all=True, default_image=True, append_images=others[:1], duration=100)
    assert not is_animation(tmp_path / "b.png")


def test_large_pictures_of_a_png_lie_in_several_chunks_each(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (FIRST_PICTURES + 1, 150, 150, 3), np.uint8)
    first, *others = [PIL.Image.fromarray(pixels) for pixels in noise]
    first.save(tmp_path / "a.png", save_all=True, append_images=others, duration=100, compress_level=0)
    assert (tmp_path / "a.png").read_bytes().count(b"fdAT") > len(others)
    frames, failures = read(tmp_path / "a.png")
    assert not failures
    assert all((frame.image == pixels).all() for frame, pixels in zip(frames, noise, strict=True))


def test_where_only_pictures_are_taken_the_first_is(tmp_path: Path) -> None:
    (frame,), failures = read(animation(tmp_path / "a.gif"), pictures_only=True)
    assert (frame.clip, failures) == (None, [])


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_animation_is_named(tmp_path: Path, name: str) -> None:
    path = animation(tmp_path / name, count=30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, (failure,) = read(path)
    assert len(frames) < 30
    assert ("the file is cut off or damaged" if frames else "cannot be decoded") in failure


def test_pictures_before_the_damage_are_read_wherever_a_gif_is_cut_off(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.gif", count=6)
    data = path.read_bytes()
    counts = []
    for length in range(len(data) // 2, len(data)):
        path.write_bytes(data[:length])
        frames, failures = read(path)
        counts.append(len(frames))
        assert all("is cut off" in failure for failure in failures)
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (2, 6)


def test_large_animations_are_refused(tmp_path: Path) -> None:
    frames, failures = read(animation(tmp_path / "a.gif"), reading=Reading(max_pixels=1000))
    assert (frames, failures) == ([], ["frames of 64 x 48 pixels are more than the 1,000 allowed"])


def test_a_failure_ends_it_where_nobody_asks(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.gif", count=30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.gif"), open_sources([path]) as opened:
        list(opened)
