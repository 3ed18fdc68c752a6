"""Videos of other kinds and lengths on the service: animations as the command line reads them, long videos."""

import io
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from clips import write_clip
from mien.decoders import open_decoder
from mien.server import ServerSettings
from mien.server.problems import Problem
from mien.server.video_reading import Decoding, Limits, VideoError
from mien.sources import open_sources
from test_animations import NAMES, animation
from video_service import finish, jobs_in, part, take, whole

LIMITS = Limits.of(ServerSettings())


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    with jobs_in(tmp_path_factory.mktemp("service") / "videos", probing=True, max_pixels=10_000) as started:
        yield started


def gif(size_wh: tuple[int, int] = (64, 48), count: int = 1) -> bytes:
    data = io.BytesIO()
    first, *others = [PIL.Image.new("L", size_wh, 90 * index) for index in range(count)]
    first.save(data, "GIF", save_all=True, append_images=others)
    return data.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_animations_give_the_frames_that_the_command_line_reads(jobs, tmp_path: Path, name: str) -> None:
    path = animation(tmp_path / name, durations=[100, 40, 200, 100, 100])
    with open_sources([path]) as opened:
        wanted = list(opened)
    with Decoding(path, LIMITS) as decoding:
        frames = list(decoding.frames(name))
    assert [(frame.index, frame.time) for frame in frames] == [(frame.index, frame.time) for frame in wanted]
    assert all(np.array_equal(one.image, other.image) for one, other in zip(frames, wanted, strict=True))
    job = finish(take(jobs, whole(part(path.read_bytes(), "no ending"))))
    assert (job.status, job.frames_done, job.frames_total) == ("done", 5, 5)


def test_an_animation_that_is_cut_off_gives_what_there_is(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.gif")
    path.write_bytes(path.read_bytes()[:-60])
    with Decoding(path, LIMITS) as decoding:
        frames = decoding.frames("a.gif")
        assert next(frames).index == 0
        with pytest.raises(VideoError, match="cut off or damaged"):
            list(frames)


@pytest.mark.parametrize(
    ("data", "status", "kind", "words"),
    [
        (gif(), 415, "not-a-video", "POST /v1/analyze takes pictures"),
        (gif((200, 100), count=2), 413, "too-large", "200 x 100 pixels"),
        (b"GIF89a" + bytes(700), 415, "not-a-video", "a picture"),
    ],
)
def test_gifs_that_are_no_video_or_too_large(jobs, data: bytes, status: int, kind: str, words: str) -> None:
    with pytest.raises(Problem, match=words) as caught:
        take(jobs, whole(part(data, "a.gif")))
    assert (caught.value.status, caught.value.kind) == (status, kind)


def threads() -> int:
    """Of this process, those of libraries too."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux shows them")
def test_no_frame_leaves_threads_behind(tmp_path: Path) -> None:
    """Each took some more address space, until the bound on it ended videos after some hundred frames."""
    pytest.importorskip("av")
    decoder = open_decoder(str(write_clip(tmp_path / "a.mp4", 120)), "pyav")
    frames = iter(decoder)
    next(frames)
    before = threads()
    most = max(threads() for _ in frames)
    decoder.close()
    assert most <= before + 2
