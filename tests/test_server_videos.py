"""``/v1/videos``: the same rows as the command line's, while it works; stopped, kept, forgotten."""

import json
import logging
import os
import stat
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from clips import cut, picture, shown, write_clip
from mien.cli import app as command
from mien.datasets.scenes import write_scene_video
from mien.server import Analyzers, Options
from mien.server import video_jobs as jobs_module
from mien.server.logs import REQUEST_ID, fields
from mien.server.problems import Problem
from mien.server.video_job import Wish
from mien.server.video_rows import MARK_ROWS, PIECE, RowFile, RowReader
from mien.server.videos import VideoJobs
from services import FakeAnalyzer, FakeAnalyzers, check_problem, listening
from video_service import Clock, Gated, finish, jobs_in, paths, upload, wait_for

pytest.importorskip("av")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 30)


@pytest.fixture
def service(tmp_path):
    """Starts services on this machine; gives a client of each."""
    with ExitStack() as stack:

        def start(analyzers=None, **settings) -> httpx.Client:
            host, port = stack.enter_context(listening(analyzers, video_folder=tmp_path / "videos", **settings))
            return stack.enter_context(httpx.Client(base_url=f"http://{host}:{port}", timeout=20))

        yield start


def post(client: httpx.Client, path: Path, **options) -> httpx.Response:
    with path.open("rb") as file:
        return client.post("/v1/videos", params=options, files={"files": (path.name, file, "video/mp4")})


def test_rows_equal_the_command_lines(tmp_path, service, monkeypatch):
    write_scene_video(tmp_path / "scene.mp4", frames=20, size_wh=(320, 240), faces=1)
    client = service(Analyzers(["mien-small"]))
    accepted = post(client, tmp_path / "scene.mp4", annotate="true", smooth="0.25", detect_every="4", tta="flip")
    assert accepted.status_code == 202
    at = accepted.request.url.join(accepted.headers["location"])
    assert at.path == "/" + accepted.json()["links"]["self"]
    rows = client.get(f"/{accepted.json()['links']['rows']}")
    assert rows.headers["content-type"] == "application/x-ndjson"
    assert rows.headers["x-accel-buffering"] == "no"
    monkeypatch.chdir(tmp_path)
    told = ["--format", "jsonl", "--smooth", "0.25", "--detect-every", "4", "--tta", "flip", "--model", "mien-small"]
    printed = CliRunner().invoke(command, ["predict", "scene.mp4", *told]).stdout
    assert rows.text == printed
    assert len(printed.splitlines()) >= 20
    document = client.get(at).json()
    assert [document[name] for name in ("status", "source", "error")] == ["done", "scene.mp4", None]
    assert [document[name] for name in ("frames_done", "frames_total", "faces")] == [20, 20, len(printed.splitlines())]
    answer = client.get(f"/{document['links']['annotated']}")
    assert answer.headers["content-type"] == "video/mp4"
    (tmp_path / "annotated.mp4").write_bytes(answer.content)
    assert shown(tmp_path / "annotated.mp4") == shown(tmp_path / "scene.mp4")
    assert client.get(answer.url, headers={"range": "bytes=4-7"}).content == b"ftyp"
    refused = client.get(answer.url, headers={"range": "bytes=999999999-"})
    assert (refused.status_code, refused.json()["type"]) == (416, "/problems/bad-range")
    assert refused.headers["content-range"] == f"bytes */{len(answer.content)}"
    assert f"has {len(answer.content)} bytes" in refused.json()["detail"]
    assert client.get(answer.url, headers={"range": "lines=1-2"}).json()["status"] == 400


def test_rows_come_while_the_work_goes_on(clip, service):
    analyzer = Gated(at=10)
    client = service(FakeAnalyzers(analyzer))
    job = post(client, clip, annotate="true").json()
    try:
        with client.stream("GET", f"/{job['links']['rows']}") as answer:
            lines = answer.iter_lines()
            first = [json.loads(next(lines)) for _ in range(10)]
            assert client.head(f"/{job['links']['rows']}").status_code == 200  # its connection is free for what follows
            document = client.get(f"/{job['links']['self']}").json()
            check_problem(client.get(f"/{job['links']['self']}/annotated"), 409, "not-yet")
            analyzer.let_go.set()
            rest = [json.loads(line) for line in lines]
    finally:
        analyzer.let_go.set()
    assert (document["status"], document["frames_done"], document["frames_total"]) == ("running", 10, 30)
    assert document["links"]["annotated"] is None
    assert [row["frame"] for row in first + rest] == list(range(30))
    wait_for(lambda: 'mien_videos_total{status="done"} 1.0' in client.get("/metrics").text)
    assert "mien_video_frames_total 30.0" in client.get("/metrics").text
    later = client.get(f"/{job['links']['rows']}", params={"after": 28}).text
    assert [json.loads(line)["frame"] for line in later.splitlines()] == [28, 29]
    assert client.get(f"/{job['links']['rows']}", params={"after": 99}).text == ""


def test_widths_whose_rows_a_decoder_pads(tmp_path, service):
    client = service()
    for width in (300, 854):
        pictures = [picture(index, (width, 48)) for index in range(3)]
        job = post(client, write_clip(tmp_path / "clip.mp4", pictures)).json()
        rows = client.get(f"/{job['links']['rows']}").text
        document = client.get(f"/{job['links']['self']}").json()
        assert (document["status"], document["error"], document["frames_done"]) == ("done", None, 3)
        assert [json.loads(line)["box"]["x2"] for line in rows.splitlines()] == [width] * 3


def test_addresses_and_options_that_are_wrong(clip, service):
    client = service()
    for path in ("nothing", "..%2f..%2fetc%2fpasswd", "nothing/rows", "nothing/annotated"):
        check_problem(client.get(f"/v1/videos/{path}"), 404, "not-found")
    check_problem(client.delete("/v1/videos/nothing"), 404, "not-found")
    wrong = ({"smooth": "-1"}, {"smooth": "nan"}, {"detect_every": "0"}, {"annotate": "perhaps"}, {"model": "none"})
    for options in (*wrong, {"smoth": "1"}, {"min_face_size": "20", "detector": "none"}):
        check_problem(post(client, clip, **options), 422, "wrong-option")
    job = post(client, clip).json()
    check_problem(client.get(f"/{job['links']['rows']}", params={"after": "-1"}), 422, "wrong-option")
    check_problem(client.get(f"/{job['links']['rows']}", params={"before": "1"}), 422, "wrong-option")
    check_problem(client.get(f"/{job['links']['self']}/annotated"), 404, "not-found")


def test_the_openapi_document_says_what_is_there(service):
    document = service().get("/openapi.json").json()
    routes = {path: set(methods) for path, methods in document["paths"].items() if path.startswith("/v1/videos")}
    ways = {"": {"get", "delete"}, "/rows": {"get"}, "/annotated": {"get"}}
    assert routes == {"/v1/videos": {"post"}, **{f"/v1/videos/{{id}}{path}": methods for path, methods in ways.items()}}
    sent = document["paths"]["/v1/videos"]["post"]
    known = {method["operationId"] for methods in document["paths"].values() for method in methods.values()}
    assert {link["operationId"] for link in sent["responses"]["202"]["links"].values()} <= known
    assert {"202", "400", "401", "413", "415", "422", "503"} <= set(sent["responses"])
    assert {"smooth", "detect_every", "annotate", "model"} <= {option["name"] for option in sent["parameters"]}
    assert "409" in document["paths"]["/v1/videos/{id}/annotated"]["get"]["responses"]
    assert "application/x-ndjson" in document["paths"]["/v1/videos/{id}/rows"]["get"]["responses"]["200"]["content"]


def test_deleting_stops_the_work_and_removes_files(clip, service, tmp_path):
    analyzer = Gated(at=5)
    client = service(FakeAnalyzers(analyzer))
    job = post(client, clip, annotate="true").json()
    with client.stream("GET", f"/{job['links']['rows']}") as answer:
        lines = answer.iter_lines()
        next(lines)
        assert analyzer.begun.wait(10)
        assert client.delete(f"/{job['links']['self']}").json()["status"] == "cancelled"
        assert len(list(lines)) == 4  # the reader's stream ends
    check_problem(client.get(f"/{job['links']['self']}"), 404, "not-found")
    analyzer.let_go.set()
    wait_for(lambda: len(paths(tmp_path / "videos")) == 1)  # the session's folder


def test_a_job_that_waits_is_cancelled(clip, tmp_path):
    analyzer = Gated()
    with jobs_in(tmp_path / "videos", analyzer) as jobs:
        first, second = upload(jobs, clip), upload(jobs, clip)
        assert analyzer.begun.wait(10)
        assert (jobs.running, jobs.waiting, second.status) == (1, 1, "queued")
        assert jobs.delete(second.id).status == "cancelled"
        assert second.over
        assert not second.folder.exists()
        assert (jobs.running, jobs.waiting) == (1, 0)
        analyzer.let_go.set()
        assert finish(first).status == "done"
        assert second.frames_done == 0


def test_too_many_wait(clip, tmp_path):
    analyzer = Gated()
    with jobs_in(tmp_path / "videos", analyzer, video_queue=0) as jobs:
        upload(jobs, clip)
        with pytest.raises(Problem) as caught:
            upload(jobs, clip)
        assert caught.value.status == 503
        assert int(caught.value.headers["Retry-After"]) >= 1
    with pytest.raises(Problem, match="ending"):
        upload(jobs, clip)
    assert not (tmp_path / "videos").exists()


def test_closing_cancels_and_leaves_nothing(clip, tmp_path):
    analyzer = Gated(at=3)
    with jobs_in(tmp_path / "videos", analyzer) as jobs:
        running, waiting = upload(jobs, clip), upload(jobs, clip)
        assert analyzer.begun.wait(10)
    assert (running.status, waiting.status) == ("cancelled", "cancelled")
    assert not (tmp_path / "videos").exists()


def test_readers_are_done_when_the_service_is_about_to_end(clip, service, monkeypatch):
    made: list[VideoJobs] = []
    monkeypatch.setattr(VideoJobs, "start", lambda self, start=VideoJobs.start: (made.append(self), start(self)))
    analyzer = Gated(at=3)
    client = service(FakeAnalyzers(analyzer))
    job = post(client, clip).json()
    with client.stream("GET", f"/{job['links']['rows']}") as answer:
        lines = answer.iter_lines()
        rows = [next(lines) for _ in range(3)]  # all there are before the analyzer waits
        made[0].stop()
        analyzer.let_go.set()
        assert [*rows, *lines] == rows
    check_problem(post(client, clip), 503, "busy")
    assert client.get(f"/{job['links']['self']}").json()["status"] == "cancelled"


def test_files_are_private_and_what_was_uploaded_goes_first(clip, tmp_path):
    analyzer = Gated(at=1)
    with jobs_in(tmp_path / "videos", analyzer) as jobs:
        job = upload(jobs, clip, Wish(Options("fake"), annotate=True))
        assert analyzer.begun.wait(10)
        assert job.video.read_bytes() == clip.read_bytes()
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "videos").rglob("*")}
        drawing = {path for path in modes if path.parent.name == "drawn"}  # in a folder of mode 700
        assert {mode for path, mode in modes.items() if path not in drawing} == {0o700, 0o600}
        assert not any(job.id in str(path) or "clip" in path.name for path in modes)
        analyzer.let_go.set()
        finish(job)
        assert not job.video.exists()
        assert stat.S_IMODE(job.annotated.stat().st_mode) == 0o600


def test_jobs_expire(clip, tmp_path, monkeypatch):
    clock = Clock()
    with jobs_in(tmp_path / "videos", clock=clock, video_keep=60) as jobs:
        job = finish(upload(jobs, clip))
        clock.now = 59
        assert jobs.get(job.id) is job
        clock.now = 60
        with pytest.raises(Problem) as caught:
            jobs.get(job.id)
        assert caught.value.status == 404
        assert not job.folder.exists()
        monkeypatch.setattr(jobs_module, "KEPT", 1)
        old, new = finish(upload(jobs, clip)), finish(upload(jobs, clip))
        jobs.expire()
        assert (old.folder.exists(), new.folder.exists()) == (False, True)


def test_an_analyzer_that_fails(clip, tmp_path, monkeypatch, caplog):
    class Failing(FakeAnalyzer):
        def analyze_frames(self, frames, **options):
            yield from list(super().analyze_frames(frames, **options))[:2]
            raise RuntimeError("secret of /etc/secret")

    said = []
    monkeypatch.setattr(logging.getLogger("mien.server"), "handle", lambda record: said.append(fields(record)))
    with caplog.at_level("INFO", "mien.server"), jobs_in(tmp_path / "videos", Failing()) as jobs:
        token = REQUEST_ID.set("request-17")
        job = finish(upload(jobs, clip))
        REQUEST_ID.reset(token)
        document = job.to_dict()
        assert document["error"]["instance"].endswith("#request-17")
        wait_for(lambda: len(said) == 2)
        assert [(one["event"], one["id"]) for one in said] == [("video", "request-17")] * 2
        assert "secret" in said[0]["traceback"]
        assert (document["status"], document["faces"]) == ("failed", 2)
        assert document["error"]["type"] == "/problems/failed"
        assert "secret" not in json.dumps(document)
        assert finish(upload(jobs, clip)).status == "failed"  # the worker is still there


def test_a_video_that_is_cut_off_gives_the_rows_so_far(tmp_path):
    path = cut(write_clip(tmp_path / "cut.mp4", [picture(index) for index in range(30)], movflags="faststart"), 0.8)
    with jobs_in(tmp_path / "videos") as jobs:
        job = finish(upload(jobs, path, Wish(Options("fake"), annotate=True)))
        assert job.status == "failed"
        assert "of 30 frames" in job.error.detail
        assert 0 < job.rows.count < 30
        assert len(shown(job.annotated)[0]) == job.frames_done


def test_work_that_takes_too_long(clip, tmp_path):
    analyzer = Gated(at=2)
    with jobs_in(tmp_path / "videos", analyzer, video_timeout=0.5) as jobs:
        job = upload(jobs, clip)
        wait_for(lambda: job.status == "failed")
        analyzer.let_go.set()
        assert finish(job).error.kind == "timeout"


class Full(RowFile):
    """Rows on a disk that has no room."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.close()
        self._file = os.open("/dev/full", os.O_WRONLY)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk(clip, tmp_path, monkeypatch):
    with jobs_in(tmp_path / "videos") as jobs:
        with monkeypatch.context() as patch:
            patch.setattr("mien.server.video_job.RowFile", Full)
            job = finish(upload(jobs, clip))
        assert (job.status, job.error.kind) == ("failed", "no-room")
        monkeypatch.setattr("mien.server.video_store.VideoStore.free", 1000)
        with pytest.raises(Problem) as caught:
            upload(jobs, clip)
        assert (caught.value.status, caught.value.kind) == (503, "no-room")
        assert len(paths(tmp_path / "videos")) == 3  # session, first job, its rows


def test_readers_read_no_further_than_they_are_asked(tmp_path):
    rows = RowFile(tmp_path / "rows")
    lines = [json.dumps({"row": number, "fill": "x" * 100}) for number in range(3 * MARK_ROWS)]
    for start in range(0, len(lines), 50):
        rows.write(lines[start : start + 50])
    for after in (0, 1, MARK_ROWS - 1, MARK_ROWS, 2 * MARK_ROWS + 7, len(lines), len(lines) + 2):
        reader = RowReader(rows, after)
        pieces = []
        while piece := reader.read():
            assert len(piece) <= PIECE
            pieces.append(piece)
        assert b"".join(pieces).decode().splitlines() == lines[after:]
        if after == len(lines) + 2:
            rows.write(["third", "second", "first"])
            assert reader.read() == b"first\n"
        reader.close()
    rows.close()
