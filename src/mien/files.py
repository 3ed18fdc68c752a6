"""Writing without losing: everything goes to a temporary name first and is renamed when it is whole.

And what reading a damaged file can raise.
"""

from __future__ import annotations

import errno
import json
import lzma
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryFile
from typing import Any

from mien.errors import UsageError

ZIP_DAMAGE: tuple[type[Exception], ...] = (
    EOFError,
    OSError,
    RuntimeError,  # zipfile's answer to encrypted members, and a kind of it to unknown compressions
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged zip file, or a member of it, can raise."""

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""What the system says where a disk is full, or a user's share of it; writing does not say to which file."""

_MARK = 6
"""Random bytes in a temporary name."""


@contextmanager
def replacing(path: str | Path, *, new: bool = False) -> Iterator[Path]:
    """Write a file at once or not at all: yields a temporary path in the same folder, renamed to `path` at the end.

    The temporary file has the same ending, and is removed where the body fails. Missing folders are made.

    Args:
        path: the file, which may be there.
        new: whether it must not be there: of several processes that write it at the same moment, one succeeds.

    Raises:
        FileExistsError: it must be new, and is there at the end.
        UsageError: the path is a folder, or its folder cannot be written to.
        OSError: the disk is full; it names the path.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file")
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(_MARK)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder you can write"
        ) from error
    try:
        yield temporary
        if new:
            _put(temporary, path)
        else:
            temporary.replace(path)
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _put(temporary: Path, path: Path) -> None:
    """Give a whole file its name, unless another has it. Links do that at once, where the file system has them.

    Raises:
        FileExistsError: another has it.
    """
    try:
        os.link(temporary, path)
        return
    except FileExistsError:
        raise
    except (OSError, AttributeError):  # as on FAT, or in a system that has no such call
        path.touch(exist_ok=False)
    try:
        temporary.replace(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def temporaries(folder: Path, names: Iterable[str]) -> list[Path]:
    """What `replacing` has in a folder while it writes files of these names, and leaves there where it is killed.

    Args:
        folder: need not be there.
        names: of the files in it; ``*`` stands for anything.
    """
    mark = "[0-9a-f]" * (2 * _MARK)
    patterns = [f".{name.stem}-{mark}{name.suffix}" for name in map(PurePath, names)]
    return [path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()]


def write_text(path: str | Path, text: str, *, new: bool = False) -> None:
    r"""Write UTF-8 text, whole or not at all; of file names that are no UTF-8, the odd bytes as ``\udce9``.

    `new` is as in `replacing`.
    """
    with replacing(path, new=new) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: str | Path, document: Any, *, new: bool = False) -> None:
    """Write JSON for people and programs: indented, UTF-8, whole or not at all. `new` is as in `replacing`."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n", new=new)


def check_writable(path: str | Path) -> None:
    """Find out before any work is done whether a file could be written, without touching an earlier one.

    Raises:
        UsageError: the path is a folder, or its folder cannot be made or written to.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is not a file; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder you can write"
        ) from error


def refuse_existing(path: Path, *, force: bool) -> None:
    """See that a file that is to be written is not there yet, or may be replaced.

    Raises:
        UsageError: it is there, and `force` is not given.
    """
    if path.exists() and not force:
        raise UsageError(f"{path}: already exists; name another file, or replace it with --force")
