"""Lists of faces to leave out: what ``mien data check --fix`` writes and what ``--exclude`` takes.

A list is UTF-8 text, one name a line as `Dataset.names` gives them. ``#`` begins a comment: at the start of a line,
or behind a name with blanks around it, where the reason stands. A name that could be misread is quoted as in JSON::

    # Left out of FER2013 by mien data check
    train/sad/Training_12345.jpg  # identical to test/sad/PublicTest_29001.jpg
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from mien.datasets.dataset import Dataset
from mien.datasets.storage import encode_names
from mien.errors import DataError, UsageError, many
from mien.files import write_text

MAX_LIST_BYTES = 256 * 1024**2
"""Lists larger than this are refused: it is some other file."""

_COMMENT = re.compile(r"\s+#(?=\s|$)|\s{2,}#")
"""Where a comment begins behind a name: ``photo #1.png`` is a name all the same."""


def exclude(dataset: Dataset, listed: str | Path | Collection[str]) -> Dataset:
    """A dataset without the faces of a list.

    Call it before a split is selected: a list names faces of any split. Files that are listed because they cannot be
    used are no problem of the dataset any more.

    Args:
        dataset: what `mien.datasets.open_dataset` gave.
        listed: the path of a list (see above), or the names themselves, as `Dataset.names` gives them.

    Returns:
        The other faces, in their order, and the other problems.

    Raises:
        UsageError: there is no such file, or it is no list.
        DataError: names are not in the dataset (all of them are named), or nothing would be left.
    """
    source = f"exclude: {listed}" if isinstance(listed, str | Path) else "exclude"
    names = read_list(listed) if isinstance(listed, str | Path) else tuple(dict.fromkeys(listed))
    encoded = encode_names(names) if names else np.empty(0, "S1")
    leaves = np.isin(dataset.keys, encoded)
    problems = _problem_names(dataset.problems)
    known = set(dataset.keys[leaves].tolist())
    missing = [name for name, key in zip(names, encoded.tolist(), strict=True) if key not in known]
    missing = [name for name in missing if name not in problems]
    if missing:
        raise DataError(
            f"{source}: {len(missing):,} of {many(len(names), 'name')} not found in {dataset.path} ({dataset.format}); "
            "a list belongs to the data in the form that it was made for. Make it anew with mien data check --fix, or "
            "take these names out",
            missing,
        )
    if leaves.all():
        raise DataError(f"{source}: leaves none of {many(len(dataset), 'face')}")
    gone = {problem for name in names for problem in problems.get(name, ())}
    kept = dataset.take(~leaves) if leaves.any() else dataset
    return replace(kept, problems=tuple(problem for problem in dataset.problems if problem not in gone))


def _problem_names(problems: Collection[str]) -> dict[str, list[str]]:
    """Problems by what may be their names: ``"a (b).png (is empty)"`` by ``"a"`` and ``"a (b).png"``."""
    found: dict[str, list[str]] = {}
    for problem in problems:
        for place in re.finditer(r" \(", problem):
            found.setdefault(problem[: place.start()], []).append(problem)
    return found


def read_list(path: str | Path) -> tuple[str, ...]:
    """Read a list: each name once, in the order of the file. None are a list too, if a comment says so.

    Raises:
        UsageError: there is no such file, it cannot be read, or it is no UTF-8 text.
        DataError: a line cannot be understood, or the file is empty.
    """
    text = _read_text(Path(path))
    if not text.strip():
        raise DataError(f"exclude: {path} is empty; a list has one name a line, such as mien data check --fix writes")
    names: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        name = _parse(line.strip(), f"{path}:{number}")
        if name:
            names[name] = None
    return tuple(names)


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"exclude: no such file: {path}; mien data check DATA --fix {path} writes a list")
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise UsageError(f"exclude: {path} is larger than {MAX_LIST_BYTES // 1024**2} MiB: not a list of names")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"exclude: {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"exclude: {path} is not UTF-8 text; a list has one name a line") from error


def _parse(line: str, place: str) -> str:
    """The name on a line; nothing on a blank line or a comment.

    Raises:
        DataError: a quoted name is damaged, or something follows it.
    """
    if line.startswith("#"):
        return ""
    if not line.startswith('"'):
        return _COMMENT.split(line, maxsplit=1)[0]
    try:
        name, end = json.JSONDecoder().raw_decode(line)
        name.encode("utf-8", "surrogateescape")
    except ValueError:
        raise DataError("exclude: a quoted name is not a text as JSON writes it", [place]) from None
    rest = line[end:].strip()
    if rest and not rest.startswith("#"):
        raise DataError("exclude: something other than a comment follows a quoted name", [place])
    return str(name)


def write_list(
    path: str | Path,
    reasons: Mapping[str, str],
    *,
    suggestions: Mapping[str, str] | None = None,
    heading: str = "",
) -> None:
    """Write a list, whole or not at all.

    Args:
        path: the file.
        reasons: name to why it is left out, in the order of the list; an empty reason gives no comment.
        suggestions: likewise, written as comments below the list: they count when the ``#`` before them is taken away.
        heading: lines of comment above the list.

    Raises:
        UsageError: the file cannot be written.
    """
    comments = [f"# {line}".rstrip() for line in heading.splitlines()]
    lines = [_line(name, " ".join(reason.split())) for name, reason in reasons.items()]
    doubts = [f"# {_line(name, ' '.join(reason.split()))}" for name, reason in (suggestions or {}).items()]
    write_text(path, "\n".join([*comments, *lines, *doubts]) + "\n")


def _line(name: str, reason: str) -> str:
    plain = name.isprintable() and name == name.strip() and name[:1] not in '#"' and not _COMMENT.search(name)
    written = name if plain else json.dumps(name)
    comment = f"  # {reason}".encode("utf-8", "backslashreplace").decode("utf-8") if reason else ""
    return written + comment
