"""Videos in stores: read as those of this machine are, and no failure of the store is taken for the end."""

import io
from pathlib import Path

import numpy as np
import pytest

from clips import noise, picture, write_clip
from mien.batch import videos
from mien.batch.stores import Store
from mien.batch.videos import StoredFile, cut_video, segment_frames, video_frames
from mien.errors import DataError
from mien.frames import Frame, Reading

pytest.importorskip("av")
pytest.importorskip("pyarrow")
ADDRESS = "memory://videos/a"


class Failing(io.BytesIO):
    """A file of a filesystem that fails from a byte on."""

    def __init__(self, data: bytes, failure: Exception, at: int) -> None:
        super().__init__(data)
        self._failure, self._end = failure, at

    def read(self, size: int | None = -1) -> bytes:
        left = self._end - self.tell()
        if left <= 0:
            raise self._failure
        return super().read(left if size is None or size < 0 else min(size, left))


class Filesystem:
    """Opens one file, whatever it is asked for."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file = file

    def open_input_file(self, path: str) -> io.BytesIO:
        return self._file


def stored(monkeypatch: pytest.MonkeyPatch, file: io.BytesIO) -> Store:
    """A store that `open_video` finds at `ADDRESS`."""
    store = Store(ADDRESS, "videos/a", Filesystem(file))
    monkeypatch.setattr(videos.Store, "open", lambda address: store)
    return store


def collect(backend: str) -> tuple[list[Frame], str]:
    frames: list[Frame] = []
    try:
        for frame in video_frames("a", ADDRESS, Reading(video_backend=backend)):
            frames.append(frame)  # noqa: PERF402 - those before an error are wanted
    except DataError as error:
        return frames, str(error)
    return frames, ""


@pytest.mark.parametrize("backend", ["opencv", "pyav"])
@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.flv"])
@pytest.mark.parametrize("failure", [OSError("the network is gone"), RuntimeError("the network is gone")])
def test_a_store_that_fails_is_not_the_end_of_a_video(tmp_path, monkeypatch, backend, name, failure):
    options = {} if name == "a.ts" else {"live": "1"} if name == "a.mkv" else {"flvflags": "no_duration_filesize"}
    data = write_clip(tmp_path / name, noise(60), **options).read_bytes()
    file = Failing(data, failure, len(data) // 2)
    stored(monkeypatch, file)
    frames, said = collect(backend)
    assert 15 < len(frames) < 45
    assert said == "cannot be read (the network is gone): a"
    assert file.closed


def test_a_store_that_fails_as_a_video_is_opened(monkeypatch):
    file = Failing(b"", OSError("the network is gone"), 0)
    stored(monkeypatch, file)
    assert collect("pyav") == ([], "cannot be read (the network is gone): a")
    assert file.closed


def test_a_stored_file_never_raises():
    class Broken:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("of a library")

    file = StoredFile(Store(ADDRESS, "videos/a", Filesystem(Broken())))
    assert (file.read(5), file.seek(3), file.tell(), file.readinto(bytearray(5))) == (b"", -1, 0, 0)
    assert str(file.failure) == "cannot be read (of a library)"
    file.close()


def test_a_stored_file_knows_its_place():
    file = StoredFile(Store(ADDRESS, "videos/a", Filesystem(io.BytesIO(b"0123456789"))))
    assert (file.read(3), file.tell()) == (b"012", 3)
    assert (file.seek(-2, io.SEEK_END), file.tell(), file.read()) == (8, 8, b"89")
    assert (file.seek(-1), file.tell()) == (-1, 10)


def test_stored_videos_are_cut_as_files_are(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(videos, "SEGMENT_FRAMES", 24)
    path = write_clip(tmp_path / "a.mp4", 96)
    reading, memory = Reading(), Store.open(f"memory://{tmp_path.name}/a.mp4")
    memory.write(path.read_bytes())
    starts = cut_video(str(path), reading, None)
    assert [start for start, _ in starts] == [0, 24, 48, 72]
    assert cut_video(memory.address, reading, None) == starts
    frames = list(segment_frames("a", memory.address, reading, start=24, stop=48, stamp=starts[1][1]))
    assert len(frames) == 24
    assert np.abs(frames[0].image.astype(int) - picture(24)).max() < 12
    memory.delete_file()


def test_a_video_whose_store_fails_is_not_cut(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(videos, "SEGMENT_FRAMES", 24)
    data = write_clip(tmp_path / "a.mp4", noise(96), movflags="+faststart").read_bytes()
    stored(monkeypatch, io.BytesIO(data))
    assert len(cut_video(ADDRESS, Reading(), None)) == 4
    stored(monkeypatch, Failing(data, OSError("the network is gone"), len(data) * 3 // 4))
    assert cut_video(ADDRESS, Reading(), None) == []
