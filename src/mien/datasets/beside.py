"""Small files beside pictures, such as YOLO's: those of a tar are kept in the cache, as reading it takes long."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mien.datasets import cache as cache_files
from mien.datasets.joined import Joined
from mien.datasets.listings import file_fingerprint
from mien.datasets.storage import ManyFn, Storage, read_many

FEW = 50
"""So many files are not worth keeping."""


def kept_many(storage: Storage, path: Path, *, cache: bool) -> ManyFn:
    """What reads many small files of a dataset, from the cache where it can.

    Args:
        storage: has them.
        path: of the dataset.
        cache: read and keep those of a tar.
    """

    def read(names: Sequence[str]) -> Mapping[str, bytes]:
        archives = storage.archives if isinstance(storage, Joined) else [path] if storage.kind else []
        kinds = storage.kinds if isinstance(storage, Joined) else [storage.kind]
        if not cache or "tar" not in kinds or len(names) <= FEW:
            return read_many(storage, names)
        asked = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
        fingerprint = f"{file_fingerprint(*archives)} {asked}"
        stored = cache_files.recall(path, "beside", fingerprint)
        if stored is not None and {"names", "ends", "data"} <= stored.keys():
            return _apart(stored)
        found = read_many(storage, names)
        cache_files.keep(path, "beside", fingerprint, _together(found))
        return found

    return read


def _together(files: Mapping[str, bytes]) -> cache_files.Arrays:
    lengths = np.array([len(data) for data in files.values()], np.int64)
    data = np.frombuffer(b"".join(files.values()), np.uint8)
    return {"names": np.array(list(files), np.str_), "ends": np.cumsum(lengths), "data": data}


def _apart(stored: cache_files.Arrays) -> dict[str, bytes]:
    data, ends = stored["data"].tobytes(), stored["ends"].tolist()
    starts = [0, *ends[:-1]]
    return {name: data[i:j] for name, i, j in zip(stored["names"].tolist(), starts, ends, strict=True)}
