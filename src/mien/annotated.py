"""Annotated pictures and videos, saved in a folder: names kept, nothing of the user's ever written over."""

from __future__ import annotations

import re
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from mien.containers import MARK, is_marked, is_whole_mp4
from mien.encoders import Background, open_encoder
from mien.errors import DataError, UsageError
from mien.files import replacing
from mien.frames import UNPRINTABLE, Clip, Frame, in_utf8, reason
from mien.images import Image

JPEG_QUALITY = 92
MAX_NAME = 180
"""Bytes of a name, before its ending."""

_JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".heic", ".heif", ".avif"})
STALE_SECONDS = 86_400.0
"""A temporary file that nothing was written to for so long is left from a run that was killed."""

_FORBIDDEN = re.compile(r'[<>:"|?*/\\]')
_TEMPORARY = re.compile(r"\..*-[0-9a-f]{12}\.(jpe?g|png|mp4)", re.IGNORECASE | re.DOTALL)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class Annotated:
    """Saves drawn-on frames; a context manager.

    A picture becomes a JPEG where the source is one (or HEIC), a PNG otherwise; a video one ``.mp4`` of its own length:
    with the extra ``video`` H.264 with its timestamps and its sound, which browsers play; without it MPEG-4 part 2 at a
    constant rate, which most players play but no browser. Files lie as their sources do below the folder that was named
    (`Frame.place`). A name that is taken gets ``-2``; a file that an earlier run wrote here is replaced, any other is
    left alone. Each file appears under its name when it is whole; Ctrl-C finishes the video that was being written.
    What a run that was killed left half written, a day ago or more, is removed from the folders that are written to.

    Attributes:
        folder: where they go; made with the first file.
        paths: what was written, in order.
    """

    def __init__(self, folder: str | Path, *, inputs: Iterable[Path] = ()) -> None:
        """Choose the folder.

        Args:
            folder: where files go.
            inputs: files that are read, such as `Sources.paths`: they are not replaced even where an earlier run wrote
                them, and the sound of videos among them is heard in those that are written.

        Raises:
            UsageError: the folder is a file, or cannot be looked at.
        """
        self.folder = Path(folder)
        try:
            taken = self.folder.exists() and not self.folder.is_dir()
        except OSError as error:
            raise UsageError(f"{self.folder}: cannot be saved in ({error.strerror}); name another folder") from error
        if taken:
            raise UsageError(f"{self.folder}: is a file; name a folder to save in")
        self.paths: list[Path] = []
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._cleared: set[Path] = set()
        self._inputs = frozenset(path.resolve() for path in inputs)
        self._clip: Clip | None = None
        self._video: _Video | None = None

    def write(self, frame: Frame, picture: Image) -> None:
        """Save a frame.

        Args:
            frame: where it comes from.
            picture: uint8 (height, width, 3) RGB, what to save; it must not change afterwards.

        Raises:
            DataError: the disk is full, or the encoder failed.
            UsageError: the folder cannot be written to.
        """
        if frame.clip is not self._clip:
            self._finish_video()
            self._clip = frame.clip
        if frame.clip is None:
            self._save_picture(frame, picture)
            return
        if self._video is None:
            self._video = _Video(self._choose(frame, ".mp4"), frame.clip, picture, self._sound_of(frame))
        self._video.write(picture, frame.time or 0.0)

    def _sound_of(self, frame: Frame) -> Path | None:
        """The file that a video's sound comes from: one of those that are read; a service's are names alone."""
        source = Path(frame.source)
        return source if self._inputs and source.resolve() in self._inputs else None

    def _save_picture(self, frame: Frame, picture: Image) -> None:
        suffix = PurePosixPath(frame.place or frame.source).suffix
        ending = (
            (suffix if suffix.lower() in (".jpg", ".jpeg") else ".jpg") if suffix.lower() in _JPEG_SUFFIXES else ".png"
        )
        path = self._choose(frame, ending)
        data = encode_marked(picture, jpeg=ending != ".png")
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise DataError(f"cannot be written ({error.strerror})", [str(path)]) from error
        self.paths.append(path)

    def _choose(self, frame: Frame, ending: str) -> Path:
        """A path of our own in the folder."""
        place = PurePosixPath(frame.place or PurePosixPath(frame.source.replace("\\", "/")).name)
        parts = [safe_name(part) for part in place.parts if part.strip("/") not in ("", "..", ".")] or ["picture"]
        stem = safe_name(place.stem) if place.suffix else parts[-1]
        folder = self.folder.joinpath(*parts[:-1])
        if folder not in self._cleared:
            self._cleared.add(folder)
            _clear(folder)
        return self._number(folder / stem, ending, frame.source)

    def _number(self, path: Path, ending: str, source: str) -> Path:
        """The path with an ending, and with the first number from the last one of its name on that is free."""
        key = f"{path}{ending}".casefold()
        number = self._numbers.get(key, 0) + 1
        while not self._is_free(
            chosen := path.with_name(f"{path.name}{f'-{number}' if number > 1 else ''}{ending}"), source
        ):
            number += 1
        self._numbers[key] = number
        self._taken.add(str(chosen).casefold())
        return chosen

    def _is_free(self, path: Path, source: str) -> bool:
        """Whether nothing of this run or of the user's has the name."""
        if str(path).casefold() in self._taken:
            return False
        if not path.exists() and not path.is_symlink():
            return True
        kept = path.resolve() in self._inputs or path.resolve() == Path(source).resolve()
        return path.is_file() and not path.is_symlink() and not kept and is_marked(path)

    def _finish_video(self) -> None:
        video, self._video, self._clip = self._video, None, None
        if video is not None:
            self.paths.append(video.finish())

    def close(self) -> None:
        """Finish what is being written."""
        self._finish_video()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Video:
    """One video, under a temporary name until it is finished."""

    def __init__(self, path: Path, clip: Clip, first: Image, sound: Path | None) -> None:
        self._path = path
        self._size_wh = (first.shape[1], first.shape[0])
        even_wh = (self._size_wh[0] + self._size_wh[0] % 2, self._size_wh[1] + self._size_wh[1] % 2)
        self._stack = ExitStack()
        self._temporary = self._stack.enter_context(replacing(path))
        self._encoder = Background(lambda: open_encoder(self._temporary, clip.fps, even_wh, sound))

    def write(self, picture: Image, time: float) -> None:
        if (picture.shape[1], picture.shape[0]) != self._size_wh:
            picture = np.asarray(cv2.resize(picture, self._size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        width, height = self._size_wh
        if width % 2 or height % 2:
            edge = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            picture = np.asarray(edge, np.uint8)
        with self._named():
            self._encoder.write(picture, time)

    def finish(self) -> Path:
        with self._named(), self._stack:
            self._encoder.close()
            if not is_whole_mp4(self._temporary):  # OpenCV does not say so
                raise DataError("cannot be written as a video; the disk may be full")
            with self._temporary.open("ab") as file:
                file.write(struct.pack(">I4s", 8 + len(MARK), b"free") + MARK)
        return self._path

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(f"cannot be written ({error.strerror})", [str(self._path)]) from error
        except DataError as error:
            raise DataError(reason(error), [str(self._path)]) from error


def safe_name(name: str) -> str:
    """The name as every file system takes it: no separators, control or reserved characters, not too long."""
    name = _FORBIDDEN.sub("_", UNPRINTABLE.sub("_", in_utf8(name))).rstrip(". ") or "_"
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    return name.encode()[:MAX_NAME].decode(errors="ignore")


def encode_marked(picture: Image, *, jpeg: bool) -> bytes:
    """Encode uint8 (height, width, 3) RGB or (height, width), with `MARK` in a comment.

    JPEG: ITU-T T.81, B.2.4.5. PNG: ISO/IEC 15948, 11.3.4.3.
    """
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if jpeg else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    data = cv2.imencode(".jpg" if jpeg else ".png", pixels, options)[1].tobytes()
    if jpeg:
        after = 4 + struct.unpack_from(">H", data, 4)[0]  # JFIF wants its own segment first
        return data[:after] + struct.pack(">HH", 0xFFFE, 2 + len(MARK)) + MARK + data[after:]
    chunk = b"tEXtComment\x00" + MARK
    return data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


def _clear(folder: Path) -> None:
    """Remove what a run that was killed left half written in a folder, as `mien.files.replacing` names it."""
    try:
        paths = [path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name)]
    except OSError:
        return
    for path in paths:
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - STALE_SECONDS and _begins_as_ours(path):
                path.unlink()


def _begins_as_ours(path: Path) -> bool:
    """Whether a half-written file is empty, or begins as those do that are written here."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(8)
    return not head or is_marked(path) or (path.suffix == ".mp4" and head[4:] == b"ftyp")
