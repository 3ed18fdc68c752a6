"""Folders and files wherever they are: on a disk that all machines share, or in an object store.

An address such as ``s3://bucket/faces`` goes to pyarrow's own filesystems (S3, GCS, Azure, HDFS) and, for other
schemes, to what fsspec knows. All else is a path, and so is ``file:///faces``.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from mien.batch.locations import (
    ARROW_SCHEMES,
    address_below,
    is_store,
    local_path,
    masked,
    password_is_cut,
    split_options,
    without_password,
)
from mien.errors import DataError, MienError, UsageError
from mien.frames import in_utf8, printable
from mien.rowfiles import need_pyarrow


@dataclass(frozen=True)
class Store:
    """A file or folder, and the filesystem that holds it.

    Attributes:
        address: a path, or an address with its options; `shown` is how it may be shown.
        path: in the filesystem's own words.
        filesystem: pyarrow's.
    """

    address: str
    path: str
    filesystem: Any = field(repr=False)

    @classmethod
    def open(cls, address: str) -> Store:
        """Find the filesystem of an address or path.

        Raises:
            UsageError: no filesystem answers to the scheme.
            DataError: the filesystem cannot be reached.
            MissingExtraError: pyarrow is not installed.
        """
        need_pyarrow()
        if is_store(address):
            path = local_path(address)
            if path is None:
                return cls(address, *reversed(_filesystem(address)))
            address = path
        from pyarrow.fs import LocalFileSystem

        return cls(address, os.path.abspath(address), LocalFileSystem())  # noqa: PTH100 - Path would follow links

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine."""
        from pyarrow.fs import LocalFileSystem

        return isinstance(self.filesystem, LocalFileSystem)

    @property
    def shown(self) -> str:
        """The address without passwords, tokens and options, as UTF-8 can write it."""
        return in_utf8(without_password(split_options(self.address)[0]) if is_store(self.address) else self.address)

    def child(self, *parts: str) -> Store:
        """What lies below."""
        base, options = split_options(self.address) if is_store(self.address) else (self.address, "")
        return Store(address_below(base, parts, options), "/".join((self.path.rstrip("/"), *parts)), self.filesystem)

    def beside(self, path: str) -> Store:
        """What a path means that stands in this file: below the file's folder."""
        base, options = split_options(self.address) if is_store(self.address) else (self.address, "")
        folder, slash, _ = base.rpartition("/")
        address = address_below(folder, [path], options) if slash else path
        return Store(address, f"{self.path.rpartition('/')[0]}/{path}", self.filesystem)

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        return bool(self.kind())

    def is_file(self) -> bool:
        """Whether there is a file."""
        return self.kind() == "file"

    def kind(self) -> str:
        """``file``, ``folder``, ``other``, or nothing where there is nothing."""
        return self.look()[0]

    def size(self) -> int:
        """Bytes of the file, as far as the filesystem tells; 0 otherwise."""
        return self.look()[1]

    def look(self) -> tuple[str, int]:
        """`kind` and `size` together."""
        with told(self):
            if self.is_local:  # pyarrow knows no names that are not UTF-8
                return _local_kind(self.path)
            info = self.filesystem.get_file_info(self.path)
        kind = "file" if info.is_file else "folder" if info.type.name == "Directory" else "other"
        return kind if info.type.value else "", info.size or 0

    def names(self) -> list[str]:
        """Names of what lies directly in a folder, sorted; none where there is no such folder."""
        with told(self):
            if self.is_local:
                return sorted(os.listdir(self.path)) if self.exists() else []  # noqa: PTH208 - text is wanted
            from pyarrow.fs import FileSelector

            found = self.filesystem.get_file_info(FileSelector(self.path, allow_not_found=True))
        return sorted(info.base_name for info in found)

    def walk(self) -> Iterator[tuple[str, str]]:
        """All files below a folder, each folder's files before its folders.

        Folders and files whose names begin with a dot or an underscore are passed over, as Hive's conventions have it.

        Yields:
            Path below the folder, and nothing; or a folder below it that cannot be read, and why.

        Raises:
            DataError: the folder itself cannot be read.
        """
        waiting = [""]
        while waiting:
            below = waiting.pop()
            folders = []
            try:
                found = self._listed(below)
            except DataError as error:
                if not below:
                    raise
                yield below, str(error)
                continue
            for info in found:
                if info.is_file:
                    yield f"{below}{info.base_name}", ""
                elif info.type.name == "Directory":
                    folders.append(f"{below}{info.base_name}/")
            waiting += reversed(folders)

    def _listed(self, below: str) -> list[Any]:
        from pyarrow.fs import FileSelector

        with told(self):
            found = self.filesystem.get_file_info(FileSelector(f"{self.path.rstrip('/')}/{below}".rstrip("/")))
        shown = (info for info in found if info.base_name and not info.base_name.startswith((".", "_")))
        return sorted(shown, key=lambda info: info.base_name)

    def opened(self, *, at_random: bool = True) -> Any:
        """The file, opened to read its bytes as they are.

        Args:
            at_random: whether it is read in any order, as Arrow reads it, not only from front to back.
        """
        if self.is_local and not (at_random and self.path.isprintable()):  # pyarrow opens only names that are UTF-8
            return open(self.path, "rb")
        if at_random:
            return self.filesystem.open_input_file(self.path)
        return self.filesystem.open_input_stream(self.path, compression=None)  # it would unpack .gz, but not .tgz

    def read(self) -> bytes:
        """The whole file.

        Raises:
            DataError: it cannot be read.
        """
        with told(self), self.opened(at_random=False) as stream:
            data: bytes = stream.read()
            return data

    def read_table(self) -> Any:
        """The whole file as an Arrow table, from Parquet.

        Its bytes are copied into Arrow's own memory: a thread of Arrow's may let go of them when Python has ended, and
        the process aborts where they are Python's.

        Raises:
            DataError: it cannot be read, or is damaged.
        """
        arrow, parquet = need_pyarrow()
        sink = arrow.BufferOutputStream()
        sink.write(self.read())
        try:
            return parquet.read_table(arrow.BufferReader(sink.getvalue()), use_threads=False)
        except (OSError, arrow.ArrowException) as error:
            raise DataError(f"{printable(self.shown)}: is damaged ({first_line(error)})") from error

    def write(self, data: bytes) -> None:
        """Write the file at once or not at all.

        Raises:
            DataError: the disk is full, or the place cannot be written to.
        """
        with self.replacing() as stream, told(self, "written"):
            stream.write(data)

    @contextmanager
    def replacing(self, scratch: Store | None = None) -> Iterator[Any]:
        """A stream to a temporary name, which takes the file's place at the end; removed where the body fails.

        What the body raises is passed on: write within `told`.

        Args:
            scratch: folder of the temporary file, in the same filesystem; None for that of the file itself.

        Raises:
            DataError: the disk is full, or the place cannot be written to.
        """
        folder, _, name = self.path.rpartition("/")
        beside = folder if scratch is None else scratch.path
        temporary = f"{beside}/.{secrets.token_hex(6)}-{name}"
        with told(self, "written"):
            for place in {folder, beside}:
                self.filesystem.create_dir(place or "/", recursive=True)
            stream = self.filesystem.open_output_stream(temporary, compression=None)
        try:
            yield stream
            with told(self, "written"):
                stream.close()
                self.filesystem.move(temporary, self.path)
        except BaseException:
            self._forget(temporary, stream)
            raise

    def _forget(self, path: str, stream: Any) -> None:
        with suppress(OSError, ValueError):
            stream.close()
        with suppress(OSError):
            self.filesystem.delete_file(path)

    def delete_file(self) -> None:
        """Remove a file, where it is there.

        Raises:
            DataError: it cannot be removed.
        """
        with told(self, "removed"), suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path)

    def delete_folder(self) -> None:
        """Remove a folder and all in it, where it is there.

        Raises:
            DataError: it cannot be removed.
        """
        with told(self, "removed"), suppress(FileNotFoundError):
            self.filesystem.delete_dir(self.path)


def _local_kind(path: str) -> tuple[str, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - text is at hand
    except (FileNotFoundError, NotADirectoryError):
        return "", 0
    except ValueError as error:  # a zero byte
        raise OSError(str(error)) from error
    if stat.S_ISREG(status.st_mode):
        return "file", status.st_size
    return "folder" if stat.S_ISDIR(status.st_mode) else "other", 0


@contextmanager
def parquet_writer(store: Store, stream: Any, schema: Any) -> Iterator[Any]:
    """pyarrow's writer of a stream to a store; where the body fails, it is closed without a word."""
    _, parquet = need_pyarrow()
    with told(store, "written"):
        writer = parquet.ParquetWriter(stream, schema)
    try:
        yield writer
        with told(store, "written"):
            writer.close()
    except BaseException:
        with suppress(Exception):
            writer.close()
        writer.is_open = False  # or it would try again when it is let go
        raise


@contextmanager
def told(store: Store, what: str = "read") -> Iterator[None]:
    """Turn what a filesystem raises into a `DataError` that names the place."""
    try:
        yield
    except MienError:
        raise
    except Exception as error:
        if not _is_failure(store, error):
            raise
        raise DataError(f"{printable(store.shown)}: cannot be {what} ({first_line(error)})") from error


def _is_failure(store: Store, error: Exception) -> bool:
    """Whether a filesystem may raise it: those of fsspec raise what their libraries do."""
    from pyarrow import ArrowException
    from pyarrow.fs import PyFileSystem

    return isinstance(error, OSError | ArrowException | UnicodeError) or isinstance(store.filesystem, PyFileSystem)


def first_line(error: BaseException) -> str:
    """What an error says, on one line, without a file's name where the system says it."""
    said = getattr(error, "strerror", None) or str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0]


@lru_cache(maxsize=64)
def _root(address: str) -> tuple[Any, str]:
    """A filesystem and the path of what its address names; errors do not name it."""
    from pyarrow import ArrowInvalid, ArrowNotImplementedError
    from pyarrow.fs import FileSystem

    try:
        found: tuple[Any, str] = FileSystem.from_uri(address)
    except (ArrowInvalid, ArrowNotImplementedError) as error:
        if isinstance(error, ArrowInvalid) and address.partition("://")[0].lower() in ARROW_SCHEMES:
            raise UsageError(f"is no address of a filesystem ({_reason(error)})") from error
        return _from_fsspec(address)
    return found


def _reason(error: BaseException) -> str:
    """Without the address, which may hold a password."""
    return re.sub(r"'[^']*://.*'", "it", first_line(error))


def _filesystem(address: str) -> tuple[Any, str]:
    """The filesystem of an address; what reaches the same bucket is opened once. Paths are taken as they are."""
    place, options = split_options(address)
    scheme, _, rest = place.partition("://")
    host, _, path = rest.partition("/")
    try:
        if password_is_cut(host, path):
            raise UsageError("its password has a slash, which is written %2F")
        with told(Store(address, "", None)):
            filesystem, root = _root(f"{scheme}://{host}/{options.rstrip('?')}")
    except UsageError as error:
        raise UsageError(f"{printable(masked(address))}: {error}") from error
    path = path.strip("/")
    return filesystem, f"{root.rstrip('/')}/{path}" if path and root else path or root


def _from_fsspec(address: str) -> tuple[Any, str]:
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    scheme = address.partition("://")[0]
    try:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(split_options(address)[0])
    except ImportError as error:  # of fsspec, or of what this scheme needs
        raise UsageError(f"{scheme}:// needs a package: {error}") from error
    except ValueError as error:
        raise UsageError(
            f"no filesystem answers to {scheme}:// ({error}); allowed are paths and the schemes of pyarrow.fs "
            "(s3, gs, abfs, hdfs) and of fsspec"
        ) from error
    return PyFileSystem(FSSpecHandler(filesystem)), path
