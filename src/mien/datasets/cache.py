"""Decoded faces, kept between runs in the platform's cache folder under ``mien`` (`MIEN_CACHE` overrides it).

A cache file belongs to one path and one purpose, so that a dataset that changes replaces its own file. It carries the
fingerprint of what it was made from; where that differs, or the file is damaged, it is as if it were not there.
A folder that cannot be written is no error either.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import platformdirs
from numpy.typing import NDArray

VERSION = 2
"""Raised when what is cached changes its meaning."""

MAX_BYTES = 2 * 1024**3
"""Larger arrays are not cached: reading them back would save little."""

Arrays = dict[str, NDArray[Any]]


def cache_folder() -> Path:
    """Where cache files are kept. It need not exist."""
    override = os.environ.get("MIEN_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("mien", appauthor=False))


def cache_bytes() -> int:
    """How much all cache files take, in bytes."""
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in cache_folder().rglob("*") if path.is_file())
    return 0


def recall(path: Path, purpose: str, fingerprint: str) -> Arrays | None:
    """The arrays that were kept for this path and purpose, None where there are none of this fingerprint.

    ``images`` is mapped from the file, copied where it is written to, so that reading it back takes no time.
    """
    target = _file(path, purpose)
    try:
        with target.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays: Arrays = {name: stored[name] for name in stored.files}
        if str(arrays.pop("fingerprint")) != _stamped(fingerprint):
            return None
        if "checksum" in arrays:
            images = np.load(target.with_suffix(".npy"), mmap_mode="c", allow_pickle=False)
            if _checksum(images) != int(arrays.pop("checksum")):
                return None
            arrays["images"] = np.asarray(images)
    except (OSError, ValueError, KeyError, EOFError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error):
        return None
    return arrays


def keep(path: Path, purpose: str, fingerprint: str, arrays: Arrays, images: NDArray[np.uint8] | None = None) -> None:
    """Keep arrays for this path and purpose: all of them or, where they cannot be written, none.

    Args:
        path: of the dataset.
        purpose: tells the cache files of one dataset apart.
        fingerprint: of what they were made from.
        arrays: small ones, by name.
        images: uint8 of any size; comes back as ``images``.
    """
    if images is not None and images.nbytes > MAX_BYTES:
        return
    target = _file(path, purpose)
    small: Arrays = {**arrays, "fingerprint": np.array(_stamped(fingerprint))}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if images is not None:
            small["checksum"] = np.array(_checksum(images))
            _replace(target.with_suffix(".npy"), lambda file: np.save(file, images))
        _replace(target, lambda file: np.savez(file, allow_pickle=False, **small))
    except OSError:
        return


def _replace(target: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write a file at once or not at all."""
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.replace(partial, target)  # noqa: PTH105
    finally:
        with contextlib.suppress(OSError):
            os.unlink(partial)  # noqa: PTH108


def _checksum(images: NDArray[np.uint8]) -> int:
    return zlib.crc32(np.ascontiguousarray(images).data)


def _stamped(fingerprint: str) -> str:
    return f"{VERSION}-{cv2.__version__}-{fingerprint}"


def _file(path: Path, purpose: str) -> Path:
    key = hashlib.sha256(f"{path.resolve()}\n{purpose}".encode("utf-8", "surrogateescape")).hexdigest()
    return cache_folder() / "datasets" / f"{key[:32]}.npz"
