"""A service for tests of the page: mien's static files with the headers of `mien serve`, and canned answers.

What a picture "shows" is in its name: ``3-friends.png`` has three faces, ``0-wall.png`` none, ``slow-1.png`` takes a
while, ``busy.png`` is refused once with 503; what is no picture is refused with 422. Frames (``frame.jpg``) show a
face that moves.
"""

import email
import io
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image, UnidentifiedImageError

import mien.server
from mien import EXPRESSIONS

STATIC = Path(mien.server.__path__[0]) / "static"

CSP = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self'; font-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

Analyse = Callable[[str, bytes], dict]


def face(box: tuple[float, ...], best: str, share: float) -> dict:
    """A face as `Face.to_dict` gives it; what `best` leaves is shared by the other classes."""
    rest = (1 - share) / (len(EXPRESSIONS) - 1)
    return {
        "track": None,
        "box": dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
        "score": 0.9912,
        "expression": best,
        "confidence": share,
        "probabilities": {name: share if name == best else rest for name in EXPRESSIONS},
        "keypoints": {},
    }


class Refused(Exception):  # noqa: N818
    """A problem document: status, title, detail."""


def canned(name: str, data: bytes) -> dict:
    """The answer for a picture, by its name."""
    try:
        width, height = Image.open(io.BytesIO(data)).size
    except UnidentifiedImageError:
        raise Refused(
            422, "Not a picture", f"{name}: is not a picture that can be read; use JPEG, PNG or WebP"
        ) from None
    if name.startswith("slow"):
        time.sleep(0.4)
    count = int(name[0]) if name[0].isdigit() else 1
    side = min(width / max(count, 1), height) * 0.5
    moved = 0.05 * width * math.sin(2 * time.monotonic()) if name == "frame.jpg" else 0
    faces = []
    for index in range(count):
        left = width * (index + 0.5) / count - side / 2 + moved
        box = tuple(round(value, 2) for value in (left, height * 0.3, left + side, height * 0.3 + side))
        faces.append(face(box, EXPRESSIONS[(3 + index) % 7], 0.9 - 0.2 * (index % 3)))
    return {"source": name, "frame": 0, "time": None, "size_wh": [width, height], "faces": faces}


@dataclass
class Service:
    """What a running service was asked, and how it behaves.

    Attributes:
        config: page/config.json.
        token: what requests must bring; empty: nothing.
        analyse: name and bytes of a picture to its answer.
        limits: what v1/models says of them.
        extra: further files, path to bytes.
        asked: (method, path with query, headers, names of files) of each request.
        received: the bytes of each picture, in order.
        address: without a final slash.
    """

    config: dict = field(default_factory=lambda: {"service": True, "local": False, "token": False, "version": "1.2.3"})
    token: str = ""
    analyse: Analyse = canned
    limits: dict[str, int] = field(default_factory=dict)
    extra: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    address: str = ""
    busy: set[str] = field(default_factory=set)

    def posted(self) -> list[str]:
        """Names of the files that were sent, in order."""
        return [name for _, _, _, names in self.asked for name in names]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.service.asked.append(("GET", self.path, dict(self.headers), []))
        if path == "/v1/models":
            self._guarded(
                lambda: {"models": models(), "tta": ["none", "flip", "full"], "limits": self.server.service.limits}
            )
        elif path == "/page/config.json":
            self._send(200, json.dumps(self.server.service.config).encode(), "application/json")
        else:
            self._file(path)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + body).get_payload()
        files = [(part.get_filename(), part.get_payload(decode=True)) for part in parts]
        self.server.service.asked.append(("POST", self.path, dict(self.headers), [name for name, _ in files]))
        self.server.service.received += [data for _, data in files]
        self._guarded(lambda: self._analysed(files))

    def _analysed(self, files: list[tuple[str, bytes]]) -> dict:
        for name, _ in files:
            if name.startswith("busy") and name not in self.server.service.busy:
                self.server.service.busy.add(name)
                raise Refused(503, "Too busy", "The service has too much to do; try again in a moment")
        return {
            "model": "mien-small",
            "classes": list(EXPRESSIONS),
            "results": [self.server.service.analyse(*one) for one in files],
        }

    def _guarded(self, answer: Callable[[], dict]) -> None:
        try:
            if self.server.service.token and self.headers.get("Authorization") != f"Bearer {self.server.service.token}":
                raise Refused(401, "A token is needed", "Send the service's token")
            self._send(200, json.dumps(answer()).encode(), "application/json")
        except Refused as problem:
            status, title, detail = problem.args
            document = {"type": "/problems/x", "title": title, "status": status, "detail": detail}
            if status == 422:
                document = {**document, "detail": "No picture could be read.", "errors": [document]}
            self._send(status, json.dumps(document).encode(), "application/problem+json")

    def _file(self, path: str) -> None:
        name = "index.html" if path == "/" else path.lstrip("/")
        kind = KINDS.get(Path(name).suffix, "application/octet-stream")
        if path in self.server.service.extra:
            self._send(200, self.server.service.extra[path], kind)
        elif (STATIC / name).is_file() and ".." not in name:
            self._send(200, (STATIC / name).read_bytes(), kind)
        else:
            self._send(404, b"", "text/plain")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        named = {**HEADERS, "Content-Type": kind, "Content-Length": str(len(data)), "Cache-Control": "no-store"}
        for name, value in (named | ({"Retry-After": "0"} if status == 503 else {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Knows the service that it stands for."""

    daemon_threads = True

    def __init__(self, service: Service) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.service = service

    def handle_error(self, request, client_address) -> None:
        """Pages that are closed hang up early."""


@contextmanager
def serve_page(service: Service) -> Iterator[Service]:
    """Serve on this machine until the block ends."""
    with Server(service) as server:
        service.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


def models() -> list[dict]:
    classes = list(EXPRESSIONS)
    return [{"name": "mien-small", "default": True, "classes": classes, "input": [48, 48, 1]}]
