"""What tests of batch runs read and write: tiny pictures, tars, Parquet files; a detector and an object store."""

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

from mien.batch.discovery import Found, discover
from mien.faces import Detections
from mien.images import Image
from processes import free_port

CLASSES = ("dark", "middle", "bright")
CENTRES = (0.0, 0.5, 1.0)


def png(value: int = 90, size: tuple[int, int] = (10, 12)) -> bytes:
    """A picture of one grey, encoded."""
    return cv2.imencode(".png", np.full((*size, 3), value, np.uint8))[1].tobytes()


def value_of(image: Image) -> int:
    """The grey of such a picture."""
    return int(image[0, 0, 0])


def write(path: Path, data: bytes | None = None) -> Path:
    """Write a file, a picture where nothing else is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png() if data is None else data)
    return path


def tar_bytes(members: Iterable[tuple[str, bytes]], mode: str = "w", **options: object) -> bytes:
    """A tar of files; `mode` compresses it."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode, **options) as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return held.getvalue()


def write_parquet(path: Path, column: pyarrow.Array, name: str = "image", rows: int = 1000, **others: object) -> Path:
    """A Parquet file of one column of pictures, and others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({**others, name: column}), path, row_group_size=rows)
    return path


def found(*sources: object) -> list[Found]:
    """All that is discovered."""
    return list(discover(list(sources)))


@dataclass
class WholePicture:
    """A detector that takes each picture for a face, and does to some what it is told to."""

    name: str = "whole"
    killed_by: int | None = None
    """The grey of a picture that ends the process."""
    empty: int | None = None
    """The grey of a picture without a face."""

    def detect(self, image: Image) -> Detections:
        """One picture's."""
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Image]) -> list[Detections]:
        """All of them."""
        return [self._find(image) for image in images]

    def follow(self, image: Image, before: Detections) -> Detections:
        """As they were."""
        del image
        return before

    def _find(self, image: Image) -> Detections:
        if value_of(image) == self.killed_by:
            os._exit(9)
        count = int(value_of(image) != self.empty)
        height, width = image.shape[:2]
        boxes = np.array([[0, 0, width, height]] * count, np.float32).reshape(count, 4)
        return Detections(boxes, np.full(count, 0.99, np.float32), np.zeros((count, 5, 2), np.float32))


class FullDisk:
    """A filesystem of pyarrow's on which streams hold so many bytes and no more."""

    def __init__(self, filesystem: object, room: int) -> None:
        self._filesystem, self._room = filesystem, room

    def __getattr__(self, name: str) -> object:
        return getattr(self._filesystem, name)

    def open_output_stream(self, path: str, **options: object) -> pyarrow.PythonFile:
        """A stream that fails as a full disk does."""
        del options
        return pyarrow.PythonFile(_FullFile(path, self._room), mode="w")


class _FullFile(io.FileIO):
    def __init__(self, path: str, room: int) -> None:
        super().__init__(path, "w")
        self._room = room

    def write(self, data: bytes) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(28, "No space left on device")
        return super().write(data)


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """An S3 of this machine's with a bucket, for as long as it is wanted; gives the options of its addresses."""
    server = os.environ.get("MIEN_MOTO_SERVER") or shutil.which("moto_server", path=Path(sys.executable).parent)
    if server is None:  # 5.2.1 answers pyarrow's uploads with errors
        pytest.skip("moto is not installed: pip install 'moto[server]>=5.2.5', or name MIEN_MOTO_SERVER=path")
    port = free_port()
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen([server, "-p", str(port)], stdout=log, stderr=log)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, "nothing")
            _wait_for(port, process)
            _make_bucket(port)
            yield f"?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    pytest.fail("moto_server does not answer")


def _make_bucket(port: int) -> None:
    from pyarrow.fs import S3FileSystem

    options = {"endpoint_override": f"127.0.0.1:{port}", "scheme": "http", "region": "us-east-1"}
    S3FileSystem(allow_bucket_creation=True, **options).create_dir("bucket")
