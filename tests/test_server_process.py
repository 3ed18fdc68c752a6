"""`mien serve` as a process, and uvicorn with our protocol: start, end, clients that misbehave."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from clips import picture as still
from clips import write_clip
from mien.cli import app
from mien.server import logs
from processes import PATIENCE, running
from services import FakeAnalyzer, FakeAnalyzers, files, listening, picture, raw, read_all

TOKEN = "a-token-of-tests"


def address_of(process: subprocess.Popen[str]) -> str:
    """Where the service listens, by the line it prints when it does."""
    line = process.stdout.readline()
    assert line.startswith("mien: listening on http://"), (line, process.stderr.read() if process.poll() else "")
    return line.split()[3].strip(",")


def post(address: str, *data: bytes) -> httpx.Response:
    with httpx.Client(timeout=PATIENCE) as client:
        return client.post(f"{address}v1/analyze", files=files(*data))


def scene(width: int, height: int) -> bytes:
    import cv2

    from mien.datasets.scenes import draw_scene

    pixels = draw_scene(1, size_wh=(width, height), faces=3).image
    return cv2.imencode(".jpg", pixels[:, :, ::-1])[1].tobytes()


def test_it_serves_logs_keeps_nothing_and_ends_gracefully(monkeypatch, tmp_path) -> None:
    """One start for all: what is asked, what is logged, and a request in flight when it is told to end."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "MIEN_CACHE", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    with running("serve", "--port", "0", "--model", "mien-small", "--log-format", "json") as process:
        address = address_of(process)
        found = post(address, scene(320, 240))
        assert found.json()["results"][0]["faces"]
        with urllib.request.urlopen(f"{address}health/ready") as answer:
            assert answer.status == 200
        late: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: late.append(post(address, *[scene(1280, 960)] * 4)))
        thread.start()
        wait_for_work(address)
        process.send_signal(signal.SIGTERM)
        thread.join(PATIENCE)
        assert [len(one["faces"]) > 0 for one in late[0].json()["results"]] == [True] * 4
        assert process.wait(PATIENCE) == 0
        with pytest.raises(httpx.TransportError):
            post(address, picture())
        records = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert (records[0]["event"], records[0]["models"]) == ("started", ["mien-small"])
    assert {one["event"]: one["requests"] for one in records if one["event"] == "ending"} == {"ending": 1}
    requests = [one for one in records if one["event"] == "request" and one["route"] == "/v1/analyze"]
    assert [one["pictures"] for one in requests] == [1, 4]
    assert {"time", "level", "id", "method", "status", "seconds", "bytes", "faces"} <= set(requests[0])
    assert requests[0]["id"] == found.headers["x-request-id"]
    assert "0.png" not in str(records)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [], "ONNX Runtime's reports would lie here"


def test_who_reads_the_rows_of_a_video_does_not_hold_up_the_end(tmp_path) -> None:
    pytest.importorskip("av")
    clip = write_clip(tmp_path / "long.mp4", [still(0, (480, 360))] * 700)
    with running("serve", "--port", "0", "--model", "mien-small", "--video-folder", str(tmp_path / "v")) as process:
        address = address_of(process)
        job = httpx.post(f"{address}v1/videos", files={"files": clip.read_bytes()}, timeout=PATIENCE).json()
        with httpx.stream("GET", f"{address}{job['links']['rows']}", timeout=PATIENCE) as rows:
            while "mien_videos_running 1.0" not in httpx.get(f"{address}metrics").text:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            start = time.monotonic()
            rows.read()
        assert process.wait(PATIENCE) == 0
        assert time.monotonic() - start < 15, "shutdown_timeout is 20 s"
        assert "Traceback" not in process.stderr.read()
    assert [path for path in (tmp_path / "v").rglob("*") if path.suffix] == []


def wait_for_work(address: str) -> None:
    end = time.monotonic() + PATIENCE
    while "mien_queue_pictures 4.0" not in httpx.get(f"{address}metrics").text:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_second_signal_ends_it_at_once() -> None:
    with running("serve", "--port", "0", "--model", "mien-small", "--shutdown-timeout", "60") as process:
        address = address_of(process).removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((address[0], int(address[1]))) as held:
            head = "POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n"
            held.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130


def refused(*arguments: str, **environment: str) -> str:
    """What `mien serve` says when it refuses to start."""
    command = [sys.executable, "-m", "mien", "serve", "--model", "mien-small", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr
    return done.stderr


def test_a_port_that_is_taken_is_a_wrong_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "choose another port" in refused(MIEN_PORT=str(taken.getsockname()[1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "token is needed"),
        (["--host", "256.1.1.1"], "token is needed"),
        (["--host", "192.0.2.1", "--insecure"], "no address of this machine"),
        (["--video-folder", __file__, "--port", "0"], "cannot be used"),
        (["--token", "short"], "8 printable"),
        (["--token", TOKEN, "--token-file", "x"], "the token is given twice, by --token or MIEN_TOKEN and by"),
        (["--token-file", "no-such-file"], "cannot be read"),
        (["--log-format", "xml"], "json, text"),
        (["--log-level", "loud"], "debug"),
        (["--cors-origin", "*"], "https://example.org"),
        (["--max-images", "9", "--queue", "8"], "max_images"),
        (["--model", "no-such.onnx", "--port", "0"], "no such file"),
    ],
)
def test_wrong_requests_are_refused_before_anything_starts(arguments, message) -> None:
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert message in str(result.exception) + result.output
    assert getattr(result.exception, "exit_code", result.exit_code) == 2


def test_flags_beat_variables_beat_defaults(monkeypatch) -> None:
    from mien.cli import serve

    taken = []
    monkeypatch.setattr(serve, "_serve", lambda settings, *_, **__: taken.append(settings))
    for name, value in {"PORT": "9000", "MAX_IMAGES": "7", "ALLOW_HOST": "a.example b.example"}.items():
        monkeypatch.setenv(f"MIEN_{name}", value)
    assert CliRunner().invoke(app, ["serve", "--port", "9001"]).exit_code == 0
    assert (taken[0].port, taken[0].max_images, taken[0].max_body) == (9001, 7, 32 * 2**20)
    assert taken[0].allow_hosts == ("a.example", "b.example")


def test_a_token_comes_from_a_file(monkeypatch, tmp_path: Path) -> None:
    from mien.cli import serve

    taken = []
    monkeypatch.setattr(serve, "_serve", lambda settings, *_, **__: taken.append(settings))
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o644)
    result = CliRunner().invoke(app, ["serve", "--token-file", str(path), "--host", "0.0.0.0"])
    assert taken[0].token == TOKEN
    assert "chmod 600" in result.output


def test_without_the_extra_it_says_what_to_install(monkeypatch) -> None:
    from mien.cli import serve

    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["serve"])
    assert "pip install 'mien[serve]'" in str(result.exception)


def test_bodies_are_limited_while_they_come() -> None:
    """The limit holds before the end has come, without a length, and the sender gets to read why."""
    with listening(max_body=100_000) as place, socket.create_connection(place, timeout=10) as connection:
        head = "POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
        for _ in range(60):
            connection.sendall(b"1000\r\n" + b" " * 4096 + b"\r\n")
        answer = read_all(connection)
    assert b" 413 " in answer.splitlines()[0]
    assert b"connection: close" in answer.lower()
    assert b"/problems/too-large" in answer


def test_clients_that_ask_before_they_send_are_answered_without_sending() -> None:
    head = "POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    with listening(max_body=1000) as place:
        answer = raw(place, f"{head}Content-Length: 5000\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 413")
        again = raw(place, f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n".encode(), 0.5)
        assert again.startswith(b"HTTP/1.1 100")


def test_a_refused_request_does_not_spoil_the_connection() -> None:
    with listening(token=TOKEN) as (host, port), httpx.Client(base_url=f"http://{host}:{port}") as client:
        assert client.post("/v1/analyze", files=files(picture())).status_code == 401
        sent = client.post("/v1/analyze", files=files(picture()), headers={"authorization": f"Bearer {TOKEN}"})
        assert sent.status_code == 200


def test_a_client_that_hangs_up_frees_its_place() -> None:
    analyzer = FakeAnalyzer()
    analyzer.let_go.clear()
    body = httpx.Request("POST", "http://a", files=files(picture(1)))
    data = body.read()
    lines = ["POST /v1/analyze HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}"]
    lines += [f"Content-Type: {body.headers['content-type']}", "", ""]
    settings = {"workers": 1, "queue_pictures": 2, "max_images": 2}
    with listening(FakeAnalyzers(analyzer), **settings) as (host, port):
        address = f"http://{host}:{port}/"
        waits = threading.Thread(target=post, args=(address, picture(0)))
        waits.start()
        assert analyzer.begun.wait(10)
        with socket.create_connection((host, port)) as connection:
            connection.sendall("\r\n".join(lines).encode() + data)
            until(lambda: httpx.get(f"{address}health/ready").status_code == 503)
        until(lambda: httpx.get(f"{address}health/ready").status_code == 200)
        analyzer.let_go.set()
        waits.join(10)
        assert post(address, picture(2)).status_code == 200
    assert analyzer.batches == [[0], [2]]


def until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_log_lines_are_json_or_text() -> None:
    import logging

    record = logging.LogRecord("mien.server", logging.INFO, "", 0, "request", (), None)
    record.status, record.route = 200, "/v1/\nanalyze"
    said = json.loads(logs.JsonLines().format(record))
    assert (said["event"], said["level"], said["status"]) == ("request", "info", 200)
    text = logs.TextLines().format(record)
    assert text.endswith('info request status=200 route="/v1/\\nanalyze"')
    assert "\n" not in text


@pytest.mark.parametrize(("seconds", "open_after"), [(0.2, False), (30.0, True)])
def test_connections_wait_as_long_as_they_are_told_for_the_next_request(seconds, open_after) -> None:
    """A proxy that keeps connections longer than the service would now and then send a request into a closed one."""
    with listening(FakeAnalyzers(), keep_alive=seconds) as place, socket.create_connection(place, 5) as held:
        held.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        held.settimeout(5)
        while not held.recv(65536).endswith(b'"live"}'):
            pass
        held.settimeout(1.0)
        try:
            assert (held.recv(1) == b"") is not open_after
        except TimeoutError:
            assert open_after
