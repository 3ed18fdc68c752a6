"""Where videos lie for a while: a private folder for this process, locked, emptied at its end or at the next start."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien.errors import UsageError

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
LOCK, GATE = "lock", ".mien-videos.lock"
"""A session's own lock file, held as long as its process lives; and the one of the folder that holds the sessions."""

MARK = b"mien serve keeps videos here for a while\n"
"""What a session's lock file says; a folder without it is not ours."""

MOST_TRIES = 1000
"""Services that begin and end at the same time make and remove the folder that they share."""

_SESSION = re.compile(r"mien-videos-[0-9a-f]{32}")

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, *, wait: bool) -> bool:
        """Lock a file until it is closed; False where another process has it."""
        try:
            msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(file: int, *, wait: bool) -> bool:
        """Lock a file until it is closed, or until its process is gone; False where another process has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


class VideoStore:
    """A session's folder in a folder that other services may share: each has its own, and none touches another's.

    A session's lock ends with its process, however that ends. `open` removes sessions whose lock is free.

    Attributes:
        folder: what holds the sessions.
        session: this process's own; None while it is not open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session: Path | None = None
        self._held = -1

    def open(self) -> None:
        """Remove what services that are gone left here, and begin a session, unless one has begun.

        Raises:
            UsageError: the folder is somebody else's, or cannot be written to.
        """
        if self.session is None:
            self._begin()

    def _begin(self) -> Path:
        """A new session, in place of the one there was."""
        self._let_go()
        try:
            with self._gate():
                for path in sorted(self.folder.iterdir()):
                    _remove_if_left(path)
                session = self.folder / f"mien-videos-{secrets.token_hex(16)}"
                session.mkdir(PRIVATE_FOLDER)
                self._held = open_private(session / LOCK)
                os.write(self._held, MARK)
                _lock(self._held, wait=False)
        except OSError as error:
            raise UsageError(
                f"video_folder: {self.folder} cannot be used ({error.strerror}); "
                "name a folder of your own: --video-folder"
            ) from error
        self.session = session
        return session

    def _let_go(self) -> None:
        """Give up the lock, if there is one."""
        held, self._held = self._held, -1
        if held >= 0:
            os.close(held)

    def _prepare(self) -> None:
        """Make the folder. In one that is there nobody else must be able to swap what lies in it."""
        self.folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        if not _is_safe(self.folder):
            raise UsageError(
                f"video_folder: {self.folder} is a link, belongs to another user or can be written to by everybody; "
                "name a folder of your own: --video-folder"
            )

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """Only one process at a time begins, ends or removes sessions."""
        path = self.folder / GATE
        while True:
            gate = self._open_gate()
            try:
                _lock(gate, wait=True)
                if _is_open_as(gate, path):
                    yield
                    return
            finally:
                os.close(gate)  # whoever had it before has removed it: there is a new one, or none

    def _open_gate(self) -> int:
        """The gate's file; the folder is made where the last service that ended has just taken it away."""
        for _ in range(MOST_TRIES):
            try:
                self._prepare()
                return os.open(self.folder / GATE, os.O_RDWR | os.O_CREAT | _no_links(), PRIVATE_FILE)
            except FileNotFoundError:
                continue
            except FileExistsError:  # also where the folder was there, and gone when mkdir looked what it is
                if os.path.lexists(self.folder) and not self.folder.is_dir():
                    raise
        raise FileNotFoundError(errno.ENOENT, "it goes away again and again", str(self.folder))

    def make(self) -> Path:
        """A new private folder with a name that cannot be guessed.

        Raises:
            OSError: the disk is full.
            UsageError: the folder was taken away, and cannot be made again.
        """
        if self.session is None:
            raise UsageError("video_folder: the store is not open")
        try:
            return _new_folder(self.session)
        except FileNotFoundError:  # whoever cleans up temporary files has taken the session away
            return _new_folder(self._begin())

    @property
    def free(self) -> int:
        """Bytes free on the disk."""
        there = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        return shutil.disk_usage(there).free

    def close(self) -> None:
        """Remove everything of this session; nothing is left where no other service uses the folder."""
        if self.session is None:
            return
        session, self.session = self.session, None
        with suppress(OSError), self._gate():
            self._let_go()
            with suppress(FileNotFoundError):
                _remove(session)
            if [path.name for path in self.folder.iterdir()] == [GATE]:
                (self.folder / GATE).unlink()
                self.folder.rmdir()


def open_private(path: Path) -> int:
    """A new file that nobody else can read, as a descriptor.

    Raises:
        OSError: there is such a file already, or it cannot be made.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _no_links(), PRIVATE_FILE)


def _new_folder(session: Path) -> Path:
    path = session / secrets.token_hex(16)
    path.mkdir(PRIVATE_FOLDER)
    return path


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder and its folders."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def _no_links() -> int:
    return getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def _is_ours(path: Path) -> bool:
    """Whether it is a folder of the user we are."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and (sys.platform == "win32" or found.st_uid == os.geteuid())


def _is_safe(path: Path) -> bool:
    """Whether nobody but this user and the system's own can rename or replace what lies in the folder."""
    found = path.lstat()
    if sys.platform == "win32" or not stat.S_ISDIR(found.st_mode):
        return stat.S_ISDIR(found.st_mode)
    open_to_all = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.geteuid()) and not open_to_all


def _is_open_as(descriptor: int, path: Path) -> bool:
    """Whether a path still names the file that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _remove_if_left(path: Path) -> None:
    """Remove a session whose process is gone."""
    with suppress(OSError):
        if not _SESSION.fullmatch(path.name) or not _is_ours(path):
            return
        if not any(path.iterdir()):
            path.rmdir()  # it died before it had a lock
            return
        held = os.open(path / LOCK, os.O_RDWR | _no_links())
        try:
            left = os.read(held, len(MARK)) in (MARK, b"") and _lock(held, wait=False)
        finally:
            os.close(held)
        if left:
            _remove(path)


def _remove(session: Path) -> None:
    """Remove a session, its lock file last: what remains where this is cut short can still be told for ours."""
    for path in session.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    (session / LOCK).unlink(missing_ok=True)
    session.rmdir()
