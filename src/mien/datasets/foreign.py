"""Files of other programs in which faces may be, and what to do with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from mien.errors import listing

_MOST = 10_000
"""So many entries of a folder are looked at."""

_WAYS = (
    (
        re.compile(r".*\.(npy|pkl|pickle|h5|hdf5|mat|pt|pth)"),
        "mien.fit(model, x, y) learns arrays that your own program has loaded; docs/data.md says what .npz files hold",
    ),
    (
        re.compile(r".*\.tfrecords?(-.*)?"),
        "TensorFlow's records are not read; write the pictures into class folders (train/happy/1.png)",
    ),
    (re.compile(r".*\.(xlsx|xls|ods|sqlite|db3?)"), "save the table as CSV, with columns such as path,label"),
    (
        re.compile(r".*(label|annotation|emotion|expression|metadata|list|train|test|val).*\.(json|txt|text)"),
        "tables of files are .csv, .tsv or .jsonl, with columns such as path,label",
    ),
    (
        re.compile(r".*\.(mp4|avi|mov|mkv|webm)"),
        "videos are no labelled faces; cut frames out of them, into class folders (train/happy/1.png)",
    ),
)


def foreign_files(folder: Path) -> list[str]:
    """Files below a folder that other programs wrote, by their names; none for a path that is no folder."""
    found = islice(folder.rglob("*"), _MOST) if folder.is_dir() else ()
    return sorted({path.name for path in found if way_of([path.name])})


def way_of(names: Iterable[str]) -> str:
    """What to do with files of these names, after a semicolon; "" where none is known."""
    names = list(names)
    for pattern, way in _WAYS:
        known = [name for name in names if pattern.fullmatch(name.lower())]
        if known:
            return f"; {listing(known)}: {way}"
    return ""
