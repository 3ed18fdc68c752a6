"""Uploads from anybody: hostile files and bodies, decoders that crash, what a killed service leaves behind."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from clips import picture, write_clip
from mien.errors import UsageError
from mien.server import Options, ServerSettings, video_reading
from mien.server.logs import JsonLines, TextLines
from mien.server.problems import Problem
from mien.server.video_decoding import FORMATS
from mien.server.video_job import Wish
from mien.server.video_reading import LAST_WORDS, Decoding, Limits, VideoError, probe
from mien.server.video_store import VideoStore
from serving import body, serve
from video_service import BOUNDARY, KIND, finish, jobs_in, part, paths, take, upload, whole, with_alias

pytest.importorskip("av")

LIMITS = Limits.of(ServerSettings())
SDP = b"c=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 30)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    with jobs_in(tmp_path_factory.mktemp("service") / "videos", probing=True, max_video_bytes=200_000) as started:
        yield started


def refused(call, *arguments, **options) -> tuple[int, str, str]:
    with pytest.raises(Problem) as caught:
        call(*arguments, **options)
    problem = caught.value
    assert not any(word in problem.detail for word in (os.sep + "tmp", "mien-videos", "Traceback"))
    return problem.status, problem.kind, problem.detail


def transport_stream(data: bytes) -> bytes:
    """The bytes, with those in their places by which an MPEG transport stream is known."""
    made = bytearray(data.ljust(1200, b"\n"))
    made[0] = made[188] = made[376] = 0x47
    return bytes(made)


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"


def test_files_that_lead_elsewhere_are_refused_and_lead_nowhere(jobs, clip, tmp_path):
    asked: list[str] = []

    def note(request) -> None:
        asked.append(request.path)
        body(clip.read_bytes(), "video/mp4")(request)

    with serve({"/clip.mp4": note}) as address:
        places = ("/etc/passwd", str(clip), f"{address}/clip.mp4")
        hostile = [PLAYLIST.format(place).encode() for place in places]
        hostile += [f"ffconcat version 1.0\nfile '{place}'\n".encode() for place in places]
        hostile += [SDP, f"<?xml version='1.0'?><MPD><BaseURL>{address}/clip.mp4</BaseURL></MPD>".encode()]
        hostile += [b"[playlist]\nFile1=/etc/passwd\n", f"RTSPtext\r\nrtsp://{address}/".encode()]
        for data in hostile:
            assert refused(take, jobs, whole(part(data)))[:2] == (415, "not-a-video")
        disguised = transport_stream(b"G=0\n" + SDP), transport_stream(b"GEXTM3U\n" + hostile[2])
        for data in disguised:
            assert refused(take, jobs, whole(part(data)))[:2] == (422, "unreadable")
        (tmp_path / "playlist.mp4").write_bytes(hostile[2])  # what if its first bytes were not looked at?
        assert refused(probe, tmp_path / "playlist.mp4", LIMITS)[:2] == (422, "unreadable")
        alias = with_alias(write_clip(tmp_path / "clip.mov", 30), clip)
        assert refused(take, jobs, whole(part(alias, "alias.mov")))[:2] == (422, "unreadable")
    assert not asked
    assert len(paths(jobs._store.folder)) == 1  # the session's folder: nothing of them is left


def test_files_that_are_no_video(jobs):
    png = b"\x89PNG\r\n\x1a\n" + bytes(2000)
    heic = b"\x00\x00\x00\x18ftypheic" + bytes(2000)
    for data in (b"a", b"hello" * 500, png, heic, b"PK\x03\x04" + bytes(2000), b"\x7fELF" + bytes(2000)):
        assert refused(take, jobs, whole(part(data)))[:2] == (415, "not-a-video")
    assert "POST /v1/analyze takes pictures" in refused(take, jobs, whole(part(png)))[2]
    assert refused(take, jobs, whole(part(b"")))[:2] == (422, "unreadable")
    for data in (b"\x00\x00\x00\x18ftypisom" + os.urandom(3000), b"\x1aE\xdf\xa3" + os.urandom(3000)):
        assert refused(take, jobs, whole(part(data)))[:2] == (422, "unreadable")


def test_bodies_that_are_wrong(jobs, clip):
    good = part(clip.read_bytes())
    wrong = {
        (415, "media-type"): [(b"{}", "application/json"), (clip.read_bytes(), "text/plain"), (b"", "")],
        (415, "not-a-video"): [(b"hello", "video/mp4"), (b"hello" * 500, "application/octet-stream")],
        (422, "unreadable"): [(b"", "video/mp4")],
        (400, "malformed"): [
            (good, KIND),
            (whole(good), "multipart/form-data"),
            (b"no boundary", KIND),
            (f"--{BOUNDARY}\r\nX: {'x' * 9000}\r\n\r\n".encode(), KIND),
        ],
        (422, "wrong-field"): [(whole(part(b"x", field="file")), KIND)],
        (422, "no-video"): [(whole(), KIND)],
        (422, "too-many-videos"): [(whole(good, good), KIND)],
        (413, "too-large"): [
            (whole(part(clip.read_bytes() + bytes(200_000))), KIND),
            (clip.read_bytes() + bytes(200_000), "video/mp4"),
        ],
    }
    for (status, kind), bodies in wrong.items():
        for data, content in bodies:
            assert refused(take, jobs, data, kind=content)[:2] == (status, kind)
    assert len(paths(jobs._store.folder)) == 1


@pytest.mark.parametrize("kind", ["video/mp4", "application/octet-stream", "video/x-matroska; codecs=a"])
def test_the_body_may_be_the_video(jobs, clip, kind):
    job = finish(take(jobs, clip.read_bytes(), kind=kind, piece=7))
    assert (job.status, job.source, job.frames_done) == ("done", "video", 30)


def test_a_file_name_is_shown_and_used_for_nothing(jobs, clip):
    name = "../../../etc/cron.d/\u202e<script>.mp4"
    job = take(jobs, whole(part(clip.read_bytes(), name)), Wish(Options("fake"), annotate=True), piece=7)
    assert (finish(job).status, job.source) == ("done", name)
    assert {path.name for path in paths(job.folder)} == {"rows.jsonl", "drawn", "annotated.mp4"}
    jobs.delete(job.id)
    assert take(jobs, whole(part(clip.read_bytes(), ""))).source == "video"


def test_limits_that_headers_tell(clip):
    assert probe(clip, LIMITS).frames == 30
    assert refused(probe, clip, replace(LIMITS, max_pixels=64 * 48 - 1))[:2] == (413, "too-large")
    assert refused(probe, clip, replace(LIMITS, max_seconds=0.9))[:2] == (413, "too-long")
    assert refused(probe, clip, replace(LIMITS, max_frames=29))[:2] == (413, "too-long")
    assert refused(probe, clip, replace(LIMITS, memory=2**26))[0] in (413, 422)


def test_limits_that_headers_do_not_tell(tmp_path):
    endless = write_clip(tmp_path / "endless.mkv", 30, live="1")
    parts = [
        write_clip(tmp_path / f"{side}.ts", [picture(index, (side, side)) for index in range(20)]) for side in (64, 128)
    ]
    grows = tmp_path / "grows.ts"
    grows.write_bytes(b"".join(one.read_bytes() for one in parts))
    with jobs_in(tmp_path / "videos", max_pixels=64 * 64, max_video_seconds=0.5) as jobs:
        job = finish(upload(jobs, endless))
        assert (job.status, job.error.kind, job.frames_done) == ("failed", "too-long", 16)
    with jobs_in(tmp_path / "videos", max_pixels=64 * 64) as jobs:
        job = finish(upload(jobs, grows))
        assert (job.status, job.error.kind) == ("failed", "too-large")
        assert 0 < job.frames_done <= 20


@pytest.mark.large
def test_damaged_files_crash_no_decoder(tmp_path):
    kinds = {"mp4": "libx264", "mkv": "libx264", "avi": "mpeg4", "ts": "mpeg2video", "webm": "libvpx-vp9"}
    whole_files = [write_clip(tmp_path / f"clip.{end}", 12, codec=codec).read_bytes() for end, codec in kinds.items()]
    chance, said = random.Random(1), []
    for _ in range(60):
        data = bytearray(chance.choice(whole_files))
        for _ in range(chance.choice((1, 4, 20, 100))):
            data[chance.randrange(8, len(data))] = chance.randrange(256)
        (tmp_path / "damaged").write_bytes(data)
        with Decoding(tmp_path / "damaged", LIMITS) as decoding:
            try:
                said.append(f"{sum(1 for _ in decoding.frames('damaged'))} frames")
            except VideoError as error:
                said.append(error.problem.detail)
    assert not [one for one in said if "decoder failed" in one]
    assert len(set(said)) > 3


def test_decoders_that_crash_or_hang_take_nothing_with_them(clip, tmp_path, monkeypatch):
    with jobs_in(tmp_path / "videos") as jobs:
        for code in (f"import os; os.kill(os.getpid(), {signal.SIGSEGV.value})", "print('x' * 9999)"):
            with monkeypatch.context() as patch:
                patch.setattr(video_reading, "COMMAND", (sys.executable, "-c", code))
                job = finish(upload(jobs, clip))
            assert (job.status, job.error.kind, job.error.status) == ("failed", "unreadable", 422)
        assert finish(upload(jobs, clip)).status == "done"
        with monkeypatch.context() as patch:
            patch.setattr(video_reading, "COMMAND", (sys.executable, "-c", "import time; time.sleep(60)"))
            assert refused(probe, clip, LIMITS, seconds=0.3)[:2] == (422, "unreadable")
            job = upload(jobs, clip)
            began = time.monotonic()
            jobs.delete(job.id)
            finish(job)
        assert time.monotonic() - began < 2


def test_the_log_says_what_a_failed_decoder_wrote_and_the_client_does_not_learn_it(clip, tmp_path, monkeypatch, caplog):
    code = "import sys; sys.stderr.write('x' * 3_000_000 + '\\x1b[2J\\n'); raise TypeError('ours')"
    monkeypatch.setattr(video_reading, "COMMAND", (sys.executable, "-c", code))
    with jobs_in(tmp_path / "videos") as jobs, caplog.at_level("WARNING", "mien.server"):
        job = finish(upload(jobs, clip))
    assert (job.status, job.error.kind) == ("failed", "unreadable")
    assert "ours" not in str(job.error.to_dict())
    (record,) = [record for record in caplog.records if record.getMessage() == "video decoder failed"]
    assert record.code == 1
    assert record.stderr.endswith("TypeError: ours")
    assert len(record.stderr) <= LAST_WORDS
    for formatter in (TextLines(), JsonLines()):
        line = formatter.format(record)
        assert "TypeError: ours" in line
        assert line.isprintable()
    assert not [thread.name for thread in threading.enumerate() if thread.name == "mien-video-stderr"]


def test_a_decoder_that_talks_a_lot_works_on(clip, monkeypatch):
    talk = "import sys; sys.stderr.write('\\xff' * 3_000_000); from mien.server.video_decoding import main; main()"
    monkeypatch.setattr(video_reading, "COMMAND", (sys.executable, "-c", talk))
    assert probe(clip, LIMITS, seconds=60).size_wh == (64, 48)


REACH = """
import os, socket, sys
from mien.server.video_decoding import _confine
file = os.open(sys.argv[1], os.O_RDWR)
_confine(2**30, files=0)
for reach in (lambda: open(sys.argv[1]), socket.socket, lambda: os.write(file, b"x")):
    try:
        reach()
    except OSError as error:
        print(error.errno)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limits")
def test_a_decoder_reaches_no_file_and_no_connection(tmp_path):
    (tmp_path / "file").touch()
    found = subprocess.run([sys.executable, "-c", REACH, str(tmp_path / "file")], capture_output=True, text=True)
    assert found.stdout.split() == [str(errno.EMFILE), str(errno.EMFILE), str(errno.EFBIG)], found.stderr


def test_opencv_alone_decodes_within_the_same_limits(clip, tmp_path, monkeypatch):
    without = "import mien.decoders as d, mien.server.video_decoding as v; d.has_pyav = v.has_pyav = lambda: False; "
    monkeypatch.setattr(video_reading, "COMMAND", (sys.executable, "-c", without + "v.main()"))
    assert probe(clip, LIMITS).size_wh == (64, 48)
    (tmp_path / "playlist.mp4").write_text(PLAYLIST.format(clip))
    assert refused(probe, tmp_path / "playlist.mp4", LIMITS)[:2] == (422, "unreadable")
    (tmp_path / "concat.mp4").write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    assert refused(probe, tmp_path / "concat.mp4", LIMITS)[:2] == (422, "unreadable")


def test_only_containers_that_hold_their_video_are_opened():
    import av

    named = set(FORMATS.split(","))
    known = {name for format_name in av.formats_available for name in format_name.split(",")}
    assert named <= known
    assert not named & {"hls", "concat", "sdp", "dash", "rtsp", "image2", "applehttp", "ffmetadata", "lavfi"}


STORE = """
import sys, time
from pathlib import Path
from mien.server.video_store import VideoStore
store = VideoStore(Path(sys.argv[1]))
store.open()
(store.make() / "video").write_bytes(b"private")
print(store.session, flush=True)
time.sleep(60)
"""


def open_elsewhere(folder: Path) -> tuple[subprocess.Popen, Path]:
    process = subprocess.Popen([sys.executable, "-c", STORE, str(folder)], stdout=subprocess.PIPE, text=True)
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_service_leaves_is_removed_at_the_next_start(tmp_path):
    folder = tmp_path / "videos"
    (killed, left), (alive, kept) = open_elsewhere(folder), open_elsewhere(folder)
    theirs = [folder / "mien-videos-notes" / "text", folder / "mien-videos-0123456789abcdef0123456789abcdef" / "text"]
    for path in theirs:
        path.parent.mkdir()
        path.write_text("mine")
    try:
        assert sum(path.name == "video" for path in paths(folder)) == 2
        killed.kill()
        killed.wait()
        with jobs_in(folder):
            assert not left.exists()
            assert next(kept.glob("*/video")).read_bytes() == b"private"
        assert kept.exists()
        assert all(path.read_text() == "mine" for path in theirs)
    finally:
        for process in (killed, alive):
            process.kill()
            process.communicate()
    with jobs_in(folder):
        assert not kept.exists()
    assert set(folder.rglob("text")) == set(theirs)


def test_folders_that_others_could_swap_are_refused(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "own")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "file").write_text("")
    for name in ("link", "open", "file"):
        with pytest.raises(UsageError, match="--video-folder"):
            VideoStore(tmp_path / name).open()
    assert not list((tmp_path / "own").iterdir())
    left = tmp_path / "own" / ("mien-videos-" + "0" * 32)
    left.symlink_to(tmp_path / "open")
    (tmp_path / "open" / "lock").write_text("")
    store = VideoStore(tmp_path / "own")
    store.open()
    store.close()
    assert (tmp_path / "open" / "lock").exists()


def test_a_folder_that_goes_while_it_is_made_is_made_again(tmp_path, monkeypatch) -> None:
    """`Path.mkdir` says that there is something, and the last service takes it away before it looks what it is."""
    folder, real, calls = tmp_path / "shared", Path.mkdir, []

    def mkdir(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == 1:
            raise FileExistsError(17, "File exists", str(self))
        real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    store = VideoStore(folder)
    store.open()
    assert store.session is not None
    assert calls[:2] == [folder, folder]
    store.close()
    folder.write_text("mine")
    with pytest.raises(UsageError, match="cannot be used"):
        VideoStore(folder).open()


@pytest.mark.parametrize("gone", ["", "session", "../.."])
def test_a_folder_that_is_cleaned_up_meanwhile_is_made_again(tmp_path, gone) -> None:
    folder = tmp_path / "a" / "b" / "videos"
    store = VideoStore(folder)
    store.open()
    first = store.session
    shutil.rmtree(first if gone == "session" else (folder / gone).resolve())
    assert store.free > 0
    made = store.make()
    assert made.is_dir()
    assert store.session != first
    other = VideoStore(folder)
    other.open()
    assert made.is_dir(), "its lock is held"
    other.close()
    store.close()
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_again_is_tried_again(tmp_path) -> None:
    folder = tmp_path / "videos"
    store = VideoStore(folder)
    store.open()
    shutil.rmtree(folder)
    folder.write_text("mine")
    for _ in range(2):
        with pytest.raises((UsageError, OSError)):
            store.make()
    folder.unlink()
    assert store.make().is_dir()
    store.close()
    assert not folder.exists()


def test_a_service_whose_folder_has_gone_ends_in_peace(tmp_path) -> None:
    store = VideoStore(tmp_path / "videos")
    store.open()
    shutil.rmtree(tmp_path / "videos")
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_videos_are_taken_when_their_folder_has_been_cleaned_up(clip, tmp_path) -> None:
    with jobs_in(tmp_path / "videos") as running:
        shutil.rmtree(tmp_path / "videos")
        assert finish(upload(running, clip)).status == "done"


def test_services_that_begin_and_end_at_the_same_time_do_not_trip_each_other(tmp_path) -> None:
    folder = tmp_path / "shared"

    def begin_and_end(_: int) -> None:
        for _ in range(60):
            store = VideoStore(folder)
            store.open()
            assert store.make().is_dir()
            store.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin_and_end, range(4)))
    assert not folder.exists()
