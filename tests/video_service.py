"""What tests of the service's videos share: a fake analyzer that waits, jobs without HTTP, hostile files."""

import asyncio
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fastapi import Request

from mien import Analysis
from mien.frames import Clip
from mien.server import Options, ServerSettings, video_jobs
from mien.server.video_job import VideoJob, Wish
from mien.server.videos import VideoJobs
from services import FakeAnalyzer, FakeAnalyzers, _face

SMALL = Clip("", 30.0, 30, (64, 48))
WISH = Wish(Options("fake"))
BOUNDARY = "xxBOUNDARYxx"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


class Gated(FakeAnalyzer):
    """A face in every frame; waits before frame `at` until it is let go."""

    def __init__(self, at: int = 0) -> None:
        super().__init__()
        self.at = at
        self.let_go.clear()

    def analyze_frames(self, frames, *, smooth=0.5, detect_every=None):
        for frame in frames:
            if frame.index == self.at:
                self.begun.set()
                assert self.let_go.wait(20)
            yield frame, Analysis((_face(frame.image),), frame.image, frame.source, frame.index, frame.time)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def jobs_in(
    folder: Path, analyzer: Any = None, clock: Any = time.monotonic, *, probing: bool = False, **settings: Any
) -> Iterator[VideoJobs]:
    """Started jobs, closed at the end; `probing`: whether videos are looked at before they are taken, which is slow."""
    jobs = VideoJobs(FakeAnalyzers(analyzer), ServerSettings(**settings), folder, clock=clock)
    jobs.start()
    try:
        with nullcontext() if probing else patch.object(video_jobs, "probe", lambda path, limits: SMALL):
            yield jobs
    finally:
        if analyzer is not None:
            analyzer.let_go.set()
        jobs.close()


def part(data: bytes, name: str = "clip.mp4", field: str = "files") -> bytes:
    """A part, without the boundary behind it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + data + b"\r\n"


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def take(jobs: VideoJobs, body: bytes, wish: Wish = WISH, kind: str = KIND, piece: int = 65536) -> VideoJob:
    """Upload a body in pieces, without HTTP."""
    pieces = [body[start : start + piece] for start in range(0, len(body), piece)] or [b""]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    scope = {"type": "http", "method": "POST", "path": "/v1/videos", "headers": [(b"content-type", kind.encode())]}
    return asyncio.run(jobs.take(Request(scope, receive), wish))


def upload(jobs: VideoJobs, path: Path, wish: Wish = WISH, **options: Any) -> VideoJob:
    return take(jobs, whole(part(path.read_bytes(), path.name)), wish, **options)


def finish(job: VideoJob, seconds: float = 15.0) -> VideoJob:
    """Wait until it is over."""
    wait_for(lambda: job.over, seconds)
    return job


def wait_for(true: Any, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def paths(folder: Path) -> list[Path]:
    """Everything below a folder, without locks."""
    return [path for path in folder.rglob("*") if "lock" not in path.name]


def with_alias(path: Path, target: Path) -> bytes:
    """A QuickTime file whose pictures are said to lie in another file (its data reference is an alias)."""
    data = bytearray(path.read_bytes())
    place = data.index(b"dref") - 4
    old = struct.unpack_from(">I", data, place)[0]
    entry = _alias(str(target.absolute()).encode())
    new = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    data[place : place + old] = new
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = data.index(kind) - 4
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(new) - old)
    return bytes(data)


def _alias(target: bytes) -> bytes:
    """An ``alis`` entry as FFmpeg reads it: 150 bytes of header, then records; 2 is the absolute path."""
    header = bytearray(150)
    header[10] = 4
    header[50] = 4
    record = struct.pack(">hH", 2, len(target)) + target + b"\0" * (len(target) % 2) + struct.pack(">hH", -1, 0)
    body = bytes(header) + record
    return struct.pack(">I4sI", 12 + len(body), b"alis", 0) + body
