"""Attacks on a running `mien serve`, and what each must get. ``python benchmarks/attacks.py`` makes a table of them."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from attacking import (
    TOKEN,
    Target,
    as_json,
    chunk,
    drip,
    endless,
    huge,
    large_webp,
    looping_tiff,
    lying_png,
    many_connections,
    many_scans,
    multipart,
    never_reads,
    part,
    png,
    slow_body,
    told_raw,
    zeros_png,
)
from services import files, picture, raw


@dataclass(frozen=True)
class Attack:
    """What is tried, what it must get (a regular expression), and how it is done."""

    name: str
    expected: str
    run: Callable[[Target], str]


NAMED_AS_PATH = 'form-data; name="files"; filename="../../etc/x\\0y"'
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"
UPGRADE = "Connection: Upgrade, close\nUpgrade: websocket\nSec-WebSocket-Key: AAAA"
JSON_URL = json.dumps({"images": [{"url": "http://169.254.169.254/latest/meta-data"}]}).encode()
TOO_LARGE = r"422 unreadable \(too-large\)"
UNREADABLE = r"422 unreadable \(unreadable\)"
NO_PICTURE = r"422 unreadable \(not-a-picture\)"

ATTACKS = (
    Attack("PNG that says 30,000 x 30,000", TOO_LARGE, lambda t: t.post(png(30000, 30000))),
    Attack("PNG that says 2^31 x 2^31", TOO_LARGE, lambda t: t.post(png(2**31 - 1, 2**31 - 1))),
    Attack("whole PNG of 100 million black pixels, 100 kB", TOO_LARGE, lambda t: t.post(zeros_png(10000, 10000))),
    Attack("PNG of 20,000,000 x 1 pixels", "200|422 .*", lambda t: t.post(zeros_png(20_000_000, 1))),
    Attack("PNG of 1 x 60,000 pixels", "200", lambda t: t.post(zeros_png(1, 60_000))),
    Attack(
        "PNG with a text of 100 MB, compressed",
        f"200|{UNREADABLE}",
        lambda t: t.post(zeros_png(9, 9, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9)))),
    ),
    Attack(
        "PNG with a colour profile of 100 MB, compressed",
        f"200|{UNREADABLE}",
        lambda t: t.post(zeros_png(9, 9, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(100_000_000), 9)))),
    ),
    Attack("PNG of 60 bytes with a chunk that says 4 GB", UNREADABLE, lambda t: t.post(lying_png())),
    Attack("GIF that says 65,535 x 65,535", f"{TOO_LARGE}|{UNREADABLE}", lambda t: t.post(huge("GIF"))),
    Attack("BMP that says 2^31 x 2^31", f"{TOO_LARGE}|{UNREADABLE}", lambda t: t.post(huge("BMP"))),
    Attack("JPEG that says 65,500 x 65,500", TOO_LARGE, lambda t: t.post(huge("JPEG"))),
    Attack("WebP of 16,383 x 16,383", f"{TOO_LARGE}|{UNREADABLE}", lambda t: t.post(large_webp())),
    Attack("JPEG with a thousand scans", UNREADABLE, lambda t: t.post(many_scans())),
    Attack("TIFF whose directory leads to itself", f"200|{UNREADABLE}", lambda t: t.post(looping_tiff())),
    Attack("JPEG cut in half", UNREADABLE, lambda t: t.post(picture(kind="JPEG", size_wh=(99, 99))[:400])),
    Attack("empty file", UNREADABLE, lambda t: t.post(b"")),
    Attack("PostScript, which Pillow hands to a program", NO_PICTURE, lambda t: t.post(b"%!PS-Adobe-3.0 EPSF-3.0\n")),
    Attack(
        "SVG that names a file of the machine",
        NO_PICTURE,
        lambda t: t.post(b'<svg xmlns:x="http://www.w3.org/1999/xlink"><image x:href="/etc/passwd"/></svg>'),
    ),
    Attack(
        "HTML, PDF, ZIP, ELF", NO_PICTURE, lambda t: t.post(b"<!doctype html>", b"%PDF-1.7", b"PK\x03\x04", b"\x7fELF")
    ),
    Attack(
        "GIF that is a script too",
        f"200|{UNREADABLE}",
        lambda t: t.post(picture(kind="GIF") + b"=1;alert(document.domain)//<script>alert(1)</script>"),
    ),
    Attack("PNG with a ZIP behind it", "200", lambda t: t.post(picture() + b"PK\x03\x04" + bytes(999))),
    Attack("file name with ../ and NUL", "200", lambda t: multipart(t, part(picture(), NAMED_AS_PATH) + b"--b--\r\n")),
    Attack("address instead of a picture", "422 no-addresses", lambda t: as_json(t, JSON_URL)),
    Attack("JSON nested 100,000 deep", "400 malformed", lambda t: as_json(t, b'{"images":' + b"[" * 100_000)),
    Attack("JSON number of 100,000 digits", "400 malformed", lambda t: as_json(t, b"9" * 100_000)),
    Attack("multipart without a boundary", "400 malformed", lambda t: multipart(t, part(picture()), "")),
    Attack(
        "multipart with a boundary of 1,000 characters",
        "400 malformed",
        lambda t: multipart(t, part(picture()), "; boundary=" + "b" * 1000),
    ),
    Attack("multipart that is cut off", "400 malformed", lambda t: multipart(t, part(picture())[:-9])),
    Attack("10,000 parts", "413 too-large", lambda t: multipart(t, part(b"") * 10_000 + b"--b--\r\n")),
    Attack(
        "part with 1,000 headers",
        "400 malformed",
        lambda t: multipart(t, part(b"", more="X-A: b\r\n" * 1000) + b"--b--\r\n"),
    ),
    Attack(
        "part with a header of 1 MB",
        "400 malformed",
        lambda t: multipart(t, part(b"", more=f"X-A: {'b' * 2**20}\r\n") + b"--b--\r\n"),
    ),
    Attack(
        "part with another name",
        "422 wrong-field",
        lambda t: multipart(t, part(picture(), 'form-data; name="path"') + b"--b--\r\n"),
    ),
    Attack("body larger than allowed", "413 too-large", lambda t: t.ask(content=bytes(3 * 2**20))),
    Attack("chunked body without an end", "413 too-large|hung up", endless),
    Attack("length that says 10 TB", "413 too-large", lambda t: t.send(f"Content-Length: {10**13}", b"x")),
    Attack(
        "length that says more than comes",
        "408 too-slow",
        lambda t: t.send("Content-Length: 99\nContent-Type: application/json", b"{}"),
    ),
    Attack(
        "length that says less than comes",
        "400 malformed",
        lambda t: t.send("Content-Length: 1\nContent-Type: application/json", b"{GARBAGE\r\n\r\n"),
    ),
    Attack(
        "length and chunks (request smuggling)",
        "400 malformed|413 .*|422 .*|400 malformed 400 malformed",
        lambda t: t.send(
            "Content-Length: 4\nTransfer-Encoding: chunked\nContent-Type: application/json", b"1\r\n{\r\n0\r\n\r\n"
        ),
    ),
    Attack("two lengths", "400 malformed", lambda t: t.send("Content-Length: 1\nContent-Length: 2", b"ab")),
    Attack("two host names", "400 malformed", lambda t: t.send("Host: evil.example", line="GET / HTTP/1.1")),
    Attack("no host name", "400 malformed", lambda t: t.send("", line="GET / HTTP/1.1", host="")),
    Attack("headers of 100 kB", "431 head-too-large", lambda t: t.send("X-A: " + "b" * 100_000, line="GET / HTTP/1.1")),
    Attack("what is no HTTP", "400 malformed", lambda t: told_raw(raw(t.place, TLS_HELLO))),
    Attack("head, a byte at a time", "408 too-slow", lambda t: drip(t, b"GET / HTTP/1.1\r\nX-A: " + b"a" * 400)),
    Attack("connection that says nothing", "408 too-slow", lambda t: told_raw(raw(t.place, b"", 5))),
    Attack("body, a byte at a time", "408 too-slow", slow_body),
    Attack("60 connections where 40 are allowed", "503 busy, then 200", many_connections),
    Attack("client that never reads its answers", "others: 200", never_reads),
    Attack("path with ../", "404 not-found", lambda t: t.send("", line="GET /page/../../../../etc/passwd HTTP/1.1")),
    Attack(
        "path with ../, percent-encoded",
        "404 not-found",
        lambda t: t.send("", line="GET /page/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1"),
    ),
    Attack("path with NUL", "404 not-found", lambda t: t.send("", line="GET /page/%00/etc/passwd HTTP/1.1")),
    Attack(
        "another host's name (DNS rebinding)",
        "403 wrong-host",
        lambda t: t.send("", line="GET /v1/models HTTP/1.1", host="evil.example"),
    ),
    Attack(
        "form of another site",
        "403 other-site",
        lambda t: t.ask(files=files(picture()), headers={"origin": "https://evil.example"}),
    ),
    Attack(
        "form of another site, without Origin",
        "403 other-site",
        lambda t: t.ask(files=files(picture()), headers={"sec-fetch-site": "cross-site"}),
    ),
    Attack("no token", "401 token", lambda t: t.ask("GET", "/v1/models", headers={"authorization": ""})),
    Attack(
        "wrong token, right length",
        "401 token",
        lambda t: t.ask("GET", "/v1/models", headers={"authorization": "Bearer " + "x" * len(TOKEN)}),
    ),
    Attack("TRACE", "405 method", lambda t: t.ask("TRACE", "/v1/models")),
    Attack(
        "upgrade to a web socket", "404 not-found|200|400 malformed", lambda t: t.send(UPGRADE, line="GET /ws HTTP/1.1")
    ),
    Attack(
        "option given twice",
        "422 wrong-option",
        lambda t: t.ask(path="/v1/analyze?tta=none&tta=full", files=files(picture())),
    ),
    Attack(
        "option of a megabyte",
        "431 head-too-large",
        lambda t: t.send("", line=f"POST /v1/analyze?model={'a' * 2**20} HTTP/1.1"),
    ),
    Attack("after all that, a picture", "200", lambda t: t.post(picture())),
)
