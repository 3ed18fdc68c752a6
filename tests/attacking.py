"""What attacks on a running `mien serve` are made of: hostile bytes, hostile ways of sending them, what comes back."""

import io
import re
import socket
import struct
import time
import zlib
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image as PillowImage

from services import files, picture, raw, read_all

BOUNDARY = "b"
TOKEN = "a-token-of-tests"
TIMES = {"body_timeout": 1.0, "max_connections": 40, "max_body": 2 * 2**20, "token": TOKEN}
"""Settings of the service that is attacked: as by default, but for what would take long."""


@dataclass(frozen=True)
class Target:
    """A service that listens."""

    place: tuple[str, int]

    def ask(self, method: str = "POST", path: str = "/v1/analyze", **sent: Any) -> str:
        """What a request gets: its status, and the kind of problem."""
        headers = {"authorization": f"Bearer {TOKEN}"} | sent.pop("headers", {})
        address = f"http://{self.place[0]}:{self.place[1]}"
        with httpx.Client(base_url=address, timeout=30) as client:
            return told(client.request(method, path, headers=headers, **sent))

    def post(self, *data: bytes) -> str:
        """What pictures get."""
        return self.ask(files=files(*data))

    def send(
        self, head: str, body: bytes = b"", line: str = "POST /v1/analyze HTTP/1.1", host: str = "127.0.0.1"
    ) -> str:
        """What bytes get that no decent client sends."""
        lines = [line, *([f"Host: {host}"] if host else []), f"Authorization: Bearer {TOKEN}", *head.split("\n")]
        lines += [] if "Connection" in head else ["Connection: close"]
        data = "\r\n".join([*filter(None, lines), "", ""]).encode("latin-1") + body
        return told_raw(raw(self.place, data))


def told(answer: httpx.Response) -> str:
    """``200``, ``413 too-large``, ``422 unreadable (too-large)``."""
    if answer.headers.get("content-type") != "application/problem+json":
        return str(answer.status_code)
    document = answer.json()
    kinds = [one["error"]["type"].rpartition("/")[2] for one in document.get("errors", ()) if "error" in one]
    inner = f" ({', '.join(sorted(set(kinds)))})" if kinds else ""
    return f"{answer.status_code} {document['type'].rpartition('/')[2]}{inner}"


def told_raw(received: bytes) -> str:
    """The same for bytes: of each answer on the connection."""
    found = re.findall(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n", received)
    kinds = re.findall(rb'"type": "/problems/([a-z-]+)"', received)
    statuses = [status.decode() for status in found]
    return " ".join([*statuses, *(kind.decode() for kind in kinds)]) or "hung up"


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG's chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, data: bytes = b"") -> bytes:
    """A grey PNG of any size, as its header says; `data` is what its pixels are compressed to."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join([header, *more, chunk(b"IDAT", data), chunk(b"IEND", b"")])


def zeros_png(width: int, height: int, *more: bytes) -> bytes:
    """A whole, black PNG: a thousand times as large when decoded."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(width + 1)) for _ in range(height)]
    return png(width, height, *more, data=b"".join([*parts, packer.flush()]))


def lying_png() -> bytes:
    """A small PNG with a chunk that says 4 GB: OpenCV would reserve them."""
    data = bytearray(png(48, 32, chunk(b"PLTE", bytes(9))))
    place = data.index(b"PLTE") - 4
    data[place : place + 4] = struct.pack(">I", 0xFFFF0026)
    return bytes(data)


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes a thousand times."""
    target = io.BytesIO()
    PillowImage.new("RGB", (800, 600), (9, 99, 200)).save(target, "JPEG", progressive=True)
    data = target.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 1000 + data[-2:]


def looping_tiff() -> bytes:
    """A TIFF whose next directory is itself."""
    entries = [(256, 4, 1, 9), (257, 4, 1, 9), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    entries += [(277, 3, 1, 1), (278, 4, 1, 9), (279, 4, 1, 81)]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", 8) + bytes(81)


def huge(kind: str) -> bytes:
    """A small picture whose header was changed to say that it is huge."""
    data = bytearray(picture(kind=kind))
    if kind == "GIF":
        data[6:10] = b"\xff\xff\xff\xff"
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    else:
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = b"\xff\xdc\xff\xdc"
    return bytes(data)


def large_webp() -> bytes:
    """A WebP whose header was changed to say 16,383 x 16,383, the largest there is."""
    target = io.BytesIO()
    PillowImage.new("RGB", (24, 16), (200, 90, 40)).save(target, "WEBP", lossless=True)
    data = bytearray(target.getvalue())
    place = data.index(b"VP8L") + 9
    data[place : place + 4] = struct.pack("<I", 16382 | 16382 << 14)
    return bytes(data)


def part(data: bytes, disposition: str = 'form-data; name="files"; filename="a.png"', more: str = "") -> bytes:
    """A part of a multipart body."""
    return f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{more}\r\n".encode() + data + b"\r\n"


def multipart(target: Target, body: bytes, boundary: str = f"; boundary={BOUNDARY}") -> str:
    """What a multipart body gets."""
    return target.ask(content=body, headers={"content-type": f"multipart/form-data{boundary}"})


def as_json(target: Target, body: bytes) -> str:
    """What a JSON body gets."""
    return target.ask(content=body, headers={"content-type": "application/json"})


def drip(target: Target, data: bytes, seconds: float = 4.0) -> str:
    """Send a byte at a time."""
    with socket.create_connection(target.place, timeout=5) as connection:
        end = time.monotonic() + seconds
        for byte in data:
            try:
                connection.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.05)
            if time.monotonic() > end:
                break
        return told_raw(read_all(connection))


def many_connections(target: Target) -> str:
    """Hold many connections open, then ask once more; and again when they are gone."""
    held = [socket.create_connection(target.place, timeout=5) for _ in range(60)]
    try:
        time.sleep(0.2)
        during = told_raw(raw(target.place, b"", 5))
    finally:
        for connection in held:
            connection.close()
    time.sleep(0.2)
    return f"{during}, then {target.ask('GET', '/health/live')}"


def endless(target: Target) -> str:
    """A chunked body without an end."""
    with socket.create_connection(target.place, timeout=5) as connection:
        head = f"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall((head + kind).encode())
        sent = 0
        try:
            piece = part(bytes(60000))
            while sent < 200 * 2**20:
                connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                sent += len(piece)
        except OSError:
            pass
        answer = told_raw(read_all(connection))
    return answer if sent < 30 * 2**20 else f"{answer}, after {sent:,} bytes"


def slow_body(target: Target) -> str:
    """A body of which a byte comes now and then."""
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 500\r\n"
    with socket.create_connection(target.place, timeout=5) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
        end = time.monotonic() + 4
        while time.monotonic() < end:
            try:
                connection.sendall(b"[")
            except OSError:
                break
            time.sleep(0.1)
        return told_raw(read_all(connection))


def never_reads(target: Target) -> str:
    """Ask for a lot, read nothing; others must still be answered."""
    with socket.create_connection(target.place, timeout=5) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        asked = f"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        connection.sendall(asked.encode() * 200)
        return f"others: {target.ask('GET', '/v1/models')}"
