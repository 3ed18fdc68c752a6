"""Listings of archives, kept between runs: reading a tar from front to back takes long."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from mien.datasets import cache as cache_files
from mien.datasets.joined import Joined
from mien.datasets.storage import TABLE_ENDINGS, Listing, Storage, single_file

_TEXTS = ("names", "folders", "tables", "packed", "notes")


def list_files(storage: Storage, path: Path, *, cache: bool) -> Listing:
    """List a folder, or archives: these from the cache where it can be.

    Args:
        storage: what to list.
        path: of the dataset, by which the listing is kept.
        cache: whether it may be recalled and kept.

    Raises:
        DataError: it cannot be listed.
    """
    archives = storage.archives if isinstance(storage, Joined) else [path] if storage.kind else []
    if not archives or not cache:
        return storage.listing()
    also = storage.fingerprint() if isinstance(storage, Joined) else " ".join(TABLE_ENDINGS)
    fingerprint = f"{file_fingerprint(*archives)} {also}"
    stored = cache_files.recall(path, "listing", fingerprint)
    if stored is not None and {"stamps", *_TEXTS} <= stored.keys():
        return Listing(stamps=stored["stamps"], **{field: stored[field].tolist() for field in _TEXTS})
    found = storage.listing()
    texts = {field: np.array(getattr(found, field), np.str_) for field in _TEXTS}
    cache_files.keep(path, "listing", fingerprint, {"stamps": found.stamps, **texts})
    return found


def file_fingerprint(*paths: Path) -> str:
    """A digest that changes when one of these files changes its size or its time of change."""
    return hashlib.sha256(b"".join(single_file(path).tobytes() for path in paths)).hexdigest()
