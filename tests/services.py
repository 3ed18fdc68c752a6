"""Services for tests: fake analyzers, an app that is asked without a network, and one that listens in a thread."""

import asyncio
import io
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import httpx
import numpy as np
from PIL import Image as PillowImage

from mien import Analysis, Box, Face, Prediction
from mien.modelspec import ModelSpec
from mien.server import ServerSettings, create_app
from mien.server.running import bind, make_server

CLASSES = ("calm", "cross")
LOCAL = "http://127.0.0.1"
POISON = 13
"""A picture whose first pixel has this red value makes the fake analyzer fail."""

Result = TypeVar("Result")


class FakeModel:
    spec = ModelSpec(CLASSES, "fake", 3)


class FakeAnalyzer:
    """One face in every picture, as large as it; notes the batches it was given."""

    model = FakeModel()
    classes = CLASSES

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[int]] = []
        self.let_go = threading.Event()
        self.let_go.set()
        self.begun = threading.Event()

    def analyze_batch(self, images: Sequence[np.ndarray]) -> list[Analysis]:
        reds = [int(image[0, 0, 0]) for image in images]
        self.batches.append(reds)
        self.begun.set()
        assert self.let_go.wait(30)
        time.sleep(self.seconds)
        if POISON in reds:
            raise RuntimeError("poisoned /etc/secret")
        return [Analysis((_face(image),), image) for image in images]

    def analyze_frames(self, frames, *, smooth=0.5, detect_every=None):
        for frame in frames:
            yield frame, Analysis((_face(frame.image),), frame.image, frame.source, frame.index, frame.time)


def _face(image: np.ndarray) -> Face:
    height, width = image.shape[:2]
    return Face(Box(0, 0, width, height), 0.5, Prediction({"calm": 0.25, "cross": 0.75}), {"nose": (1.0, 2.0)})


class FakeAnalyzers:
    """One fake analyzer for all options."""

    names = ("fake", "other")
    default = "fake"

    def __init__(self, analyzer: FakeAnalyzer | None = None) -> None:
        self.analyzer = analyzer or FakeAnalyzer()
        self.models: dict[str, Any] = {}

    def get(self, options: Any) -> FakeAnalyzer:
        del options
        return self.analyzer


def picture(red: int = 200, size_wh: tuple[int, int] = (24, 16), kind: str = "PNG") -> bytes:
    """An encoded picture of one colour."""
    target = io.BytesIO()
    PillowImage.new("RGB", size_wh, (red, 90, 40)).save(target, kind)
    return target.getvalue()


def ask(
    talk: Callable[[httpx.AsyncClient], Awaitable[Result]],
    analyzers: Any = None,
    headers: dict[str, str] | None = None,
    **settings: Any,
) -> Result:
    """Start an app, let `talk` ask it, end it."""

    async def run() -> Result:
        async with client(analyzers, headers, **settings) as connected:
            return await talk(connected)

    return asyncio.run(run())


@asynccontextmanager
async def client(analyzers: Any = None, headers: dict[str, str] | None = None, **settings: Any):
    """A client of an app that runs in this process, without a network."""
    app = create_app(analyzers or FakeAnalyzers(), ServerSettings(**settings))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=LOCAL, headers=headers) as connected:
            connected.app = app  # type: ignore[attr-defined]
            yield connected


def files(*data: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    """Parts named ``files``, called 0.png, 1.png, ..."""
    return [("files", (f"{number}.png", one, "image/png")) for number, one in enumerate(data)]


def check_problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """That it is such a problem document; gives it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"/problems/{kind}"
    assert document["status"] == status
    assert document["instance"].endswith("#" + answer.headers["x-request-id"])
    for word in ("Traceback", "/root", "/work", "/home", "site-packages"):
        assert word not in answer.text
    return document


@contextmanager
def listening(analyzers: Any = None, **settings: Any) -> Iterator[tuple[str, int]]:
    """A service that listens, in a thread: host and port."""
    chosen = ServerSettings(**{"port": 0, **settings})
    listener = bind(chosen)
    started = threading.Event()
    server = make_server(create_app(analyzers or FakeAnalyzers(), chosen), chosen, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    host, port = listener.getsockname()[:2]
    thread.start()
    try:
        assert started.wait(30)
        yield host, port
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def raw(place: tuple[str, int], data: bytes, seconds: float = 4.0) -> bytes:
    """Send bytes as they are; gives all that comes back until the other end hangs up, or so long passes."""
    with socket.create_connection(place, timeout=seconds) as connection:
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return b""
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the other end hangs up, or nothing comes for the socket's timeout."""
    received = bytearray()
    try:
        while piece := connection.recv(65536):
            received += piece
    except (TimeoutError, ConnectionResetError):
        pass
    return bytes(received)
