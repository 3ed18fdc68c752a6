"""Tables that are packed by gzip, xz or bzip2, told by their first bytes whatever they are called."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Sequence
from typing import IO, Any

from mien.errors import DataError

MAX_TABLE_BYTES = 2 * 1024**3
"""A CSV or npz file within an archive, or packed, may unpack to this much. ``fer2013.csv`` has 301 MB."""

MAX_UTF16_BYTES = 64 * 1024**2
"""A table in UTF-16, of which the whole is read, is no larger."""

_ENDINGS = (".gz", ".xz", ".bz2")
_OPEN: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
}
_LONGEST = max(map(len, _OPEN))
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError)


def unpacked_name(name: str) -> str:
    """A table's name in lower case, as it is when it is unpacked."""
    lowered = name.lower()
    ending = next((one for one in _ENDINGS if lowered.endswith(one)), "")
    return lowered.removesuffix(ending)


def unpacked_once(names: Sequence[str]) -> list[str]:
    """Without packed tables that stand unpacked beside themselves."""
    unpacked = {name.lower() for name in names if name.lower() == unpacked_name(name)}
    return [name for name in names if name.lower() in unpacked or unpacked_name(name) not in unpacked]


def unpacked(file: IO[bytes]) -> IO[bytes]:
    """The contents of a file that stands at its beginning: unpacked where it is packed, else the file itself.

    Reading raises OSError where what is packed is damaged, cut short, or larger than `MAX_TABLE_BYTES`. What comes back
    closes the file with itself.
    """
    head = file.read(_LONGEST)
    file.seek(0)
    opening = next((one for magic, one in _OPEN.items() if head.startswith(magic)), None)
    return file if opening is None else io.BufferedReader(_Bounded(opening(file), file))


def in_utf8(file: IO[bytes], name: str) -> IO[bytes]:
    """The contents of a table that stands at its beginning: in UTF-8 where it is UTF-16 text, as Excel writes it.

    Raises:
        DataError: it is larger than `MAX_UTF16_BYTES`, or no such text.
    """
    head = file.peek(2)[:2] if isinstance(file, io.BufferedReader) else file.read(2)
    if not isinstance(file, io.BufferedReader):
        file.seek(0)
    if head not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return file
    with file:
        data = file.read(MAX_UTF16_BYTES + 1)
    try:
        if len(data) <= MAX_UTF16_BYTES:
            return io.BytesIO(data.decode("utf-16").encode("utf-8"))
    except UnicodeError:
        pass
    raise DataError("is UTF-16 text, damaged or too large; save it as UTF-8", [name])


class _Bounded(io.RawIOBase):
    """Reads what another file unpacks, up to `MAX_TABLE_BYTES`."""

    def __init__(self, unpacking: IO[bytes], packed: IO[bytes]) -> None:
        self._unpacking, self._packed = unpacking, packed
        self._done = 0

    def readable(self) -> bool:
        """See `io.IOBase.readable`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase.readinto`."""
        try:
            data = self._unpacking.read(len(buffer))
        except _DAMAGE as error:
            raise OSError(f"it is damaged or cut short: {error}") from error
        self._done += len(data)
        if self._done > MAX_TABLE_BYTES:
            raise OSError(f"unpacks to more than {MAX_TABLE_BYTES / 1024**3:,.0f} GiB")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """See `io.IOBase.close`."""
        self._unpacking.close()
        self._packed.close()
        super().close()
