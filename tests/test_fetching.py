"""Fetching: limits on size, time and redirects; no way into private networks; videos and streams behind addresses."""

import base64
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mien.addresses
import mien.fetching
from clips import jpeg, noise, write_clip
from mien.addresses import is_public, resolve, without_secrets
from mien.errors import DataError
from mien.fetching import FetchLimits, fetch, open_url
from mien.frames import Frame
from mien.remote import MOST_SMALL_PARTS
from mien.sources import Reading, open_sources
from processes import free_port
from serving import Answer, body, file_in_parts, redirect, serve

ALLOWED = FetchLimits(max_bytes=10_000, seconds=5, allow_private=True)
QUICK = FetchLimits(max_bytes=10_000, seconds=0.3, allow_private=True)
LOCAL = Reading(allow_private=True, seconds=5)


def drip(pieces: int, pause: float, piece: bytes = b"x") -> Answer:
    """A body that comes slowly."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(pieces * len(piece)))
        request.end_headers()
        for _ in range(pieces):
            request.wfile.write(piece)
            time.sleep(pause)

    return answer


def slow_head(request: BaseHTTPRequestHandler) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100:
        request.wfile.write(bytes([letter]))
        request.wfile.flush()
        time.sleep(0.05)


def endless(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(bytes(4096))


def who(request: BaseHTTPRequestHandler) -> None:
    body(f"{request.headers.get('Authorization')} {request.headers.get('Cookie')}".encode(), "text/plain")(request)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    answers = {
        "/a.jpg": body(jpeg(90)),
        "/a b/ü.jpg": body(jpeg(90)),
        "/a%20b/%C3%BC.jpg": body(jpeg(90)),
        "/page": body(b"<html>", "text/html"),
        "/empty.jpg": body(b""),
        "/gone.jpg": body(b"", status=404),
        "/large.jpg": body(bytes(10_001)),
        "/lies.jpg": body(jpeg(90), Content_Length="20000"),
        "/short.jpg": body(jpeg(90), Content_Length="9000"),
        "/endless.jpg": endless,
        "/drip.jpg": drip(100, 0.05),
        "/head.jpg": slow_head,
        "/zipped.jpg": body(jpeg(90), Content_Encoding="gzip"),
        "/who": who,
        "/loop": redirect("/loop"),
        "/once": redirect("a.jpg"),
        "/cookie": body(b"", status=302, Location="/who", Set_Cookie="a=b"),
        "/file": redirect("file:///etc/passwd"),
        "/metadata": redirect("http://169.254.169.254/latest"),
        "/elsewhere": redirect("http://localhost:1/who"),
        **{f"/step{index}": redirect(f"/step{index + 1}") for index in range(5)},
        "/step5": body(b"there"),
        "/six": redirect("/step0"),
    }
    with serve(answers) as address:
        yield address


def said(url: str, limits: FetchLimits = ALLOWED) -> str:
    with pytest.raises(DataError) as caught:
        fetch(url, limits)
    return str(caught.value)


def test_a_body_and_its_type(site: str) -> None:
    assert fetch(f"{site}/a.jpg", ALLOWED) == (jpeg(90), "image/jpeg")
    assert fetch(f"{site}/once", ALLOWED)[0] == jpeg(90)
    assert fetch(f"{site}/a b/ü.jpg", ALLOWED)[0] == jpeg(90)
    assert fetch(f"{site}/step0", ALLOWED)[0] == b"there"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/gone.jpg", "404 Not Found"),
        ("/large.jpg", "has 10,001 bytes; at most 10,000"),
        ("/lies.jpg", "has 20,000 bytes; at most 10,000"),
        ("/endless.jpg", "more than the 10,000 bytes"),
        ("/short.jpg", "broke before the end|ended after"),
        ("/zipped.jpg", "compressed body"),
        ("/loop", "redirected more than 5 times"),
        ("/six", "redirected more than 5 times"),
        ("/file", "only http and https"),
    ],
)
def test_what_is_refused(site: str, path: str, reason: str) -> None:
    text = said(site + path)
    assert any(part in text for part in reason.split("|")), text
    assert site in text


@pytest.mark.parametrize("path", ["/drip.jpg", "/head.jpg"])
def test_time_is_limited_in_all(site: str, path: str) -> None:
    begin = time.monotonic()
    assert "longer than the 0.3 s allowed" in said(site + path, QUICK)
    assert time.monotonic() - begin < 1.5


def test_a_server_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "longer than the 0.3 s" in said(f"http://127.0.0.1:{silent.getsockname()[1]}/", QUICK)


def test_a_closed_port() -> None:
    assert "refused" in said(f"http://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize(
    "url", ["http://", "http://a:b:c/", "http://[::1/", "ftp://example.org/a", "http://127.0.0.1:x/"]
)
def test_addresses_that_are_none(url: str) -> None:
    text = said(url)
    assert text
    assert ("names no host" in text) == (url == "http://")


def test_private_addresses_are_refused(site: str) -> None:
    limits = FetchLimits()
    for url in (site, site.replace("127.0.0.1", "localhost"), site.replace("127.0.0.1", "[::ffff:127.0.0.1]")):
        assert "not public; allow that (--allow-private)" in said(f"{url}/a.jpg", limits)
    assert "not public" in said("http://2130706433/", limits)
    assert "not public" in said("http://0/", limits)


def test_redirects_are_checked_too(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(site.rpartition(":")[2])

    def pretend(address: str) -> bool:
        return address == "127.0.0.1" or is_public(address)

    monkeypatch.setattr(mien.addresses, "is_public", pretend)
    assert fetch(f"http://127.0.0.1:{port}/a.jpg")[0] == jpeg(90)
    assert "169.254.169.254" in said(f"http://127.0.0.1:{port}/metadata", FetchLimits(seconds=5))


def test_the_address_that_was_checked_is_connected_to(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere when asked again: it is not asked again."""
    asked = []

    def look_up(host: str, port: int, **options: object) -> list[tuple]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    port = int(site.rpartition(":")[2])
    monkeypatch.setattr(mien.fetching.socket, "create_connection", _connect_without_looking_up)
    assert fetch(f"http://rebinding.example:{port}/a.jpg", ALLOWED)[0] == jpeg(90)
    assert asked == ["rebinding.example"]


def _connect_without_looking_up(place: tuple[str, int], timeout: float) -> socket.socket:
    connection = socket.socket(socket.AF_INET)
    connection.settimeout(timeout)
    connection.connect(place)
    return connection


def test_one_private_address_among_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, 1, 6, "", (address, 80)) for address in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *place, **options: answers)
    with pytest.raises(DataError, match=r"10\.0\.0\.1"):
        resolve("both.example", 80, allow_private=False, seconds=1)


def test_a_slow_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *place, **options: time.sleep(1) or [])
    with pytest.raises(DataError, match="no answer in time"):
        resolve("slow.example", 80, allow_private=True, seconds=0.1)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:10.0.0.1", "::ffff:7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:db8::1"),
        *("192.0.0.192", "::ffff:192.0.0.192", "168.63.129.16", "fec0:0:0:ffff::1", "3fff::1"),
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


def test_a_login_is_sent_to_its_host_only_and_no_cookies(site: str) -> None:
    url = site.replace("//", "//user:p%40ss@")
    assert fetch(f"{url}/who", ALLOWED)[0].decode() == f"Basic {base64.b64encode(b'user:p@ss').decode()} None"
    assert fetch(f"{site}/cookie", ALLOWED)[0] == b"None None"
    text = said(f"{url}/elsewhere")
    assert "p%40ss" not in text
    assert "user" not in text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@a.org/x", "http://a.org/x"),
        ("rtsp://u:p@a.org:554/x?y=1", "rtsp://a.org:554/x?y=1"),
        ("https://a.org/x?id=3&access_token=abc", "https://a.org/x?id=3&access_token=***"),
        ("https://a.org/x?a=b%20c", "https://a.org/x?a=b%20c"),
        ("http://u:p@[::1", "[::1"),
    ],
)
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@given(st.text(alphabet="abcXYZ019._~", min_size=4), st.text(alphabet="abc019", min_size=1))
def test_a_password_never_shows(password: str, host: str) -> None:
    assert f":{password}@" not in without_secrets(f"http://user:{password}@{host}.org/")


def test_a_stream_may_pause_longer_than_the_limit_while_nobody_reads(site: str) -> None:
    with open_url(f"{site}/a.jpg", QUICK) as response:
        time.sleep(0.4)
        assert response.read_piece() == jpeg(90)
        assert response.read_piece() == b""


# From addresses to frames.


def read(*urls: str, reading: Reading = LOCAL) -> tuple[list[Frame], list[tuple[str, str]]]:
    failed: list[tuple[str, str]] = []
    with open_sources(urls, reading=reading, on_failure=lambda *pair: failed.append(pair)) as opened:
        return list(opened), failed


def test_pictures_behind_addresses(site: str) -> None:
    frames, failed = read(*(f"{site}/{name}" for name in ("a.jpg", "gone.jpg", "page", "empty.jpg", "once")))
    assert [(frame.source, frame.place, frame.clip, frame.time) for frame in frames] == [
        (f"{site}/a.jpg", "a.jpg", None, None),
        (f"{site}/once", "once", None, None),
    ]
    assert frames[0].image.shape == (24, 32, 3)
    assert [name.removeprefix(site) for name, _ in failed] == ["/gone.jpg", "/page", "/empty.jpg"]
    assert [reason for _, reason in failed] == [
        "the server answered 404 Not Found",
        "cannot be decoded as an image (the server says it is text/html)",
        "is empty (0 bytes)",
    ]


def test_the_size_limit_reaches_through(site: str) -> None:
    _, failed = read(f"{site}/large.jpg", reading=Reading(allow_private=True, max_bytes=100))
    assert failed == [(f"{site}/large.jpg", "has 10,001 bytes; at most 100 are fetched")]


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_sources_refuse_private_addresses(scheme: str) -> None:
    _, failed = read(f"{scheme}://u:secret@127.0.0.1/a", reading=Reading())
    assert failed[0][0] == f"{scheme}://127.0.0.1/a"
    assert "not public" in failed[0][1]


@pytest.mark.parametrize("backend", ["opencv", "pyav"])
@pytest.mark.parametrize("front", [True, False], ids=["index in front", "index behind"])
def test_a_video_behind_an_address(tmp_path: Path, backend: str, front: bool) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.mp4", 40, movflags="+faststart" if front else "0").read_bytes()
    with serve({"/a.mp4": file_in_parts(data), "/video": file_in_parts(data)}) as site:
        for name in ("/a.mp4", "/video"):
            frames, failed = read(site + name, reading=Reading(allow_private=True, video_backend=backend))
            assert failed == []
            assert [frame.index for frame in frames] == list(range(40))
            assert frames[-1].time == pytest.approx(39 / 30, abs=1e-3)
            assert frames[0].clip.name == site + name
            assert not frames[0].clip.live


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain"])
def test_a_video_that_the_server_does_not_call_one(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.mp4", noise(40)).read_bytes()
    assert len(data) > ALLOWED.max_bytes
    reading = Reading(allow_private=True, seconds=5, max_bytes=ALLOWED.max_bytes)
    with serve({"/video": file_in_parts(data, kind), "/picture": body(jpeg(90), kind)}) as site:
        frames, failed = read(f"{site}/video", f"{site}/picture", reading=reading)
    assert ([frame.index for frame in frames], failed) == ([*range(40), 0], [])


def test_a_video_from_a_server_without_parts(tmp_path: Path) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.mp4", 40, movflags="+faststart").read_bytes()
    short = body(data[: len(data) // 2], "video/mp4", Content_Length=str(len(data)))
    with serve({"/a.mp4": body(data, "video/mp4"), "/short.mp4": short}) as site:
        frames, failed = read(f"{site}/a.mp4", f"{site}/short.mp4")
    assert len(frames) >= 40
    assert [name for name, _ in failed] == [f"{site}/short.mp4"]


@pytest.mark.parametrize("backend", ["opencv", "pyav"])
@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
def test_an_index_behind_from_a_server_without_parts(tmp_path: Path, backend: str, length: bool) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.mp4", 40).read_bytes()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "video/mp4")
        if length:
            request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    with serve({"/a.mp4": answer}) as site:
        options = {"allow_private": True, "seconds": 5, "video_backend": backend}
        frames, failed = read(f"{site}/a.mp4", reading=Reading(**options))
        assert ([frame.index for frame in frames], failed) == (list(range(40)), [])
        assert not frames[0].clip.live
        frames, failed = read(f"{site}/a.mp4", reading=Reading(**options, max_bytes=len(data) - 1))
    assert frames == []
    ((_, reason),) = failed
    assert reason.startswith("has its index at its end, and the server does not give parts of it; download it first")


def without_length(data: bytes, kind: str, *, chunked: bool) -> Answer:
    """A body that ends with its last chunk, or as the server hangs up."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        if chunked:
            request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for start in range(0, len(data), 4096):
            piece = data[start : start + 4096]
            request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        request.wfile.write(b"0\r\n\r\n" if chunked else b"")

    return answer


@pytest.mark.parametrize("chunked", [True, False])
def test_who_reads_on_after_the_end_gets_nothing(chunked: bool) -> None:
    answer = without_length(jpeg(90), "image/jpeg", chunked=chunked)
    with serve({"/a": answer}) as site, open_url(f"{site}/a", ALLOWED) as response:
        assert b"".join(iter(response.read_piece, b"")) == jpeg(90)
        assert [response.read_piece() for _ in range(3)] == [b""] * 3


@pytest.mark.parametrize(("name", "kind"), [("a.mp4", "video/mp4"), ("a.mkv", "video/x-matroska"), ("a.flv", "")])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_video_without_a_length_that_tells_its_own_is_read_whole(
    tmp_path: Path, name: str, kind: str, chunked: bool
) -> None:
    pytest.importorskip("av")
    options = {"movflags": "+faststart"} if name == "a.mp4" else {}
    data = write_clip(tmp_path / name, noise(40), **options).read_bytes()
    answers = {f"/{name}": without_length(data, kind, chunked=chunked)}
    with serve({**answers, f"/cut/{name}": without_length(data[: len(data) // 2], kind, chunked=chunked)}) as site:
        frames, failed = read_slowly(f"{site}/{name}")
        assert ([frame.index for frame in frames], failed) == (list(range(40)), [])
        assert not frames[0].clip.live
        frames, failed = read_slowly(f"{site}/cut/{name}")
    assert 10 < len(frames) < 30
    assert f"ended after {len(frames)} of " in failed[0][1]


def test_a_stream_without_any_length_is_live_and_drops_frames(tmp_path: Path) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.ts", noise(40)).read_bytes()
    with serve({"/a.ts": without_length(data, "video/mp2t", chunked=True)}) as site:
        frames, failed = read_slowly(f"{site}/a.ts")
    assert frames[0].clip.live
    assert frames[0].clip.frames is None
    assert len(frames) < 40
    why = "of 40 frames had to be left out, as it came faster than they were taken, and nothing says how long it is"
    assert failed == [(f"{site}/a.ts", f"{40 - len(frames)} {why}; download it first to have all of them")]


def test_a_stream_without_any_length_of_which_nothing_is_dropped_is_whole(tmp_path: Path) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.ts", noise(2)).read_bytes()
    with serve({"/a.ts": without_length(data, "video/mp2t", chunked=True)}) as site:
        frames, failed = read(f"{site}/a.ts")
    assert (len(frames), failed) == (2, [])


def read_slowly(url: str) -> tuple[list[Frame], list[tuple[str, str]]]:
    """As `read`, by somebody who takes his time over each frame."""
    frames, failed = [], []
    with open_sources([url], reading=LOCAL, on_failure=lambda *pair: failed.append(pair)) as opened:
        for frame in opened:
            frames.append(frame)
            time.sleep(0.01)
    return frames, failed


@pytest.mark.parametrize("backend", ["opencv", "pyav"])
def test_an_index_out_of_sight_is_a_failure_and_no_crash(tmp_path: Path, backend: str) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.mp4", 40).read_bytes()
    brand = int.from_bytes(data[:4], "big")
    data = data[:brand] + (2000).to_bytes(4, "big") + b"uuid" + bytes(1992) + data[brand:]
    with serve({"/a.mp4": body(data, "video/mp4")}) as site:
        frames, failed = read(f"{site}/a.mp4", reading=Reading(allow_private=True, video_backend=backend))
    assert frames == []
    assert [name for name, _ in failed] == [f"{site}/a.mp4"]


def camera(count: int, *, ends: bool, lengths: bool = True, broken: int | None = None) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        for index in range(count):
            data = b"no picture" if index == broken else jpeg(index * 10)
            length = b"Content-Length: %d\r\n" % len(data) if lengths else b""
            request.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + data + b"\r\n")
            request.wfile.flush()
            time.sleep(0.02)
        request.wfile.write(b"--frame--\r\n" if ends else b"--frame\r\nContent-Type: image/jpeg\r\n")

    return answer


@pytest.mark.parametrize("lengths", [True, False])
def test_a_stream_of_pictures(lengths: bool) -> None:
    with serve({"/live": camera(8, ends=True, lengths=lengths, broken=3)}) as site:
        frames, failed = read(f"{site}/live")
    assert failed == []
    assert [round(float(frame.image.mean()) / 10) for frame in frames] == [0, 1, 2, 4, 5, 6, 7]
    assert frames[0].clip.live
    assert frames[0].clip.frames is None
    assert 0.05 < frames[-1].time < 2


def test_a_stream_that_drops() -> None:
    with serve({"/live": camera(5, ends=False)}) as site:
        frames, failed = read(f"{site}/live")
    assert len(frames) == 5
    assert failed == [(f"{site}/live", "the stream ended after 5 frames")]


def test_a_stream_that_falls_silent() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        camera(3, ends=False)(request)
        time.sleep(2)

    with serve({"/live": answer}) as site:
        frames, failed = read(f"{site}/live", reading=Reading(allow_private=True, seconds=0.4))
    assert len(frames) == 3
    assert failed == [(f"{site}/live", "took longer than the 0.4 s allowed")]


@pytest.mark.parametrize("backend", ["opencv", "pyav"])
def test_a_playlist_in_disguise_opens_nothing(backend: str) -> None:
    asked = []
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://%b/a.ts\n" + b"#" * 1000 + b"\n#EXT-X-ENDLIST\n"

    def answer(request: BaseHTTPRequestHandler) -> None:
        body(playlist % request.headers["Host"].encode(), "video/mp4")(request)

    with serve({"/a.mp4": answer, "/a.ts": lambda request: asked.append(request.path)}) as site:
        _, failed = read(f"{site}/a.mp4", reading=Reading(allow_private=True, video_backend=backend))
        assert failed == [(f"{site}/a.mp4", "does not begin as a video does")]
    assert asked == []


def test_a_playlist_is_for_those_who_trust_it(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mien.addresses, "is_public", lambda address: True)
    with serve({"/a": body(b"#EXTM3U\n", "application/vnd.apple.mpegurl")}) as local:
        _, failed = read(f"{local}/a", reading=Reading())
        assert failed[0][1].startswith("is a playlist, whose addresses cannot be checked")
        _, failed = read(f"{local}/a")
    assert "cannot be opened as a video" in failed[0][1]


@pytest.mark.parametrize("backend", ["opencv", "pyav"])
def test_a_silent_rtsp_server(backend: str) -> None:
    if backend == "pyav":
        pytest.importorskip("av")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://user:secret@127.0.0.1:{silent.getsockname()[1]}/x"
        begin = time.monotonic()
        _, failed = read(url, reading=Reading(allow_private=True, seconds=0.3, video_backend=backend))
    assert time.monotonic() - begin < 3
    assert failed == [(url.replace("user:secret@", ""), "did not answer within the 0.3 s allowed")]


def short_parts(data: bytes, span: str = "bytes {first}-{last}/{size}", most: int = 20_000) -> Answer:
    """Answer requests for a range with a part of it, as RFC 9110 allows."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range", "")
        if not asked:
            body(data, "video/mp4")(request)
            return
        first = int(asked.removeprefix("bytes=").partition("-")[0])
        part = data[first : first + most]
        told = span.format(first=first, last=first + len(part) - 1, size=len(data))
        body(part, "video/mp4", 206, Content_Range=told)(request)

    return answer


def test_a_server_that_gives_a_byte_at_a_time_is_not_asked_for_ever(tmp_path: Path) -> None:
    pytest.importorskip("av")
    asked = []
    tiny = short_parts(write_clip(tmp_path / "a.ts", noise(40)).read_bytes(), most=1)

    def counted(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.headers.get("Range"))
        tiny(request)

    with serve({"/a.ts": counted}) as site:
        _, failed = read(f"{site}/a.ts", reading=Reading(allow_private=True))
    assert len(failed) == 1
    assert len(asked) < 3 * MOST_SMALL_PARTS


@pytest.mark.parametrize("backend", ["opencv", "pyav"])
@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.mp4"])
def test_a_video_in_shorter_parts_than_asked_for_is_read_whole(tmp_path: Path, backend: str, name: str) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / name, noise(40)).read_bytes()
    assert len(data) > 50_000
    with serve({f"/{name}": short_parts(data)}) as site:
        frames, failed = read(f"{site}/{name}", reading=Reading(allow_private=True, video_backend=backend))
    assert ([frame.index for frame in frames], failed) == (list(range(40)), [])


@pytest.mark.parametrize("span", ["bytes {first}-{last}/*", "", "bytes 7-{last}/{size}"])
def test_a_server_whose_parts_are_of_no_use_is_asked_for_the_whole(tmp_path: Path, span: str) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.mkv", noise(40)).read_bytes()
    with serve({"/a.mkv": short_parts(data, span)}) as site:
        frames, failed = read(f"{site}/a.mkv")
    assert ([frame.index for frame in frames], failed) == (list(range(40)), [])


@pytest.mark.parametrize("wrong", ["another part", "nothing"])
def test_a_server_that_stops_giving_the_parts_asked_for(tmp_path: Path, wrong: str) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.mkv", noise(60), live="1").read_bytes()
    right = short_parts(data)
    other = short_parts(data, "bytes 0-{last}/{size}") if wrong == "another part" else short_parts(data, most=0)

    def answer(request: BaseHTTPRequestHandler) -> None:
        (right if request.headers.get("Range", "bytes=0-") == "bytes=0-" else other)(request)

    with serve({"/a.mkv": answer}) as site:
        frames, failed = read(f"{site}/a.mkv")
    assert 0 < len(frames) < 20
    reason = "stopped giving the parts" if wrong == "another part" else "connection ended after "
    assert reason in failed[0][1]


@pytest.mark.parametrize("backend", ["opencv", "pyav"])
def test_a_video_whose_connection_breaks(tmp_path: Path, backend: str) -> None:
    pytest.importorskip("av")
    data = write_clip(tmp_path / "a.mp4", noise(60), movflags="+faststart").read_bytes()

    def answer(request: BaseHTTPRequestHandler) -> None:
        first = (
            int(request.headers["Range"].removeprefix("bytes=").partition("-")[0]) if "Range" in request.headers else 0
        )
        headers = {
            "Content_Range": f"bytes {first}-{len(data) - 1}/{len(data)}",
            "Content_Length": str(len(data) - first),
        }
        body(data[first : len(data) // 2], "video/mp4", 206, **headers)(request)

    with serve({"/a.mp4": answer}) as site:
        frames, failed = read(f"{site}/a.mp4", reading=Reading(allow_private=True, video_backend=backend))
    assert 15 < len(frames) < 45
    ((name, reason),) = failed
    assert name == f"{site}/a.mp4"
    assert "broke before the end" in reason or "connection ended after" in reason
