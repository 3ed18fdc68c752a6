"""What an address says: its scheme, its options, its password, and what may be shown of it.

Options of a filesystem stand at an address's end, ``?region=eu-west-1``; any other question mark is part of a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from mien.addresses import without_secrets
from mien.errors import UsageError
from mien.frames import in_utf8, printable

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_OPTIONS = re.compile(r"\?(?:[\w.-]+=[^?]*)?\Z")
_LOCAL = frozenset({"file", "local"})
ARROW_SCHEMES = frozenset({"s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs"})
"""Schemes of pyarrow's own filesystems."""

STREAMED = frozenset({"http", "https", "rtsp", "rtsps"})
"""Schemes that `mien.sources` reads itself: of pictures and streams, not of folders."""


def is_store(text: str) -> bool:
    """Whether an address names something in an object store or another filesystem."""
    scheme = _SCHEME.match(text)
    return scheme is not None and scheme[1].lower() not in STREAMED


def local_path(text: str) -> str | None:
    """The path that a ``file://`` address means; None of all else.

    Raises:
        UsageError: it names no path.
    """
    scheme = _SCHEME.match(text)
    if scheme is None or scheme[1].lower() not in _LOCAL:
        return None
    path = unquote(text[scheme.end() :].removeprefix("localhost"), errors="surrogateescape")
    if not path:
        raise UsageError(f"{printable(text)}: names no path; file:///faces is the folder /faces")
    return path


def split_options(address: str) -> tuple[str, str]:
    """An address, and the options at its end: ``?region=eu-west-1``, or nothing."""
    options = _OPTIONS.search(address)
    return (address, "") if options is None else (address[: options.start()], options[0])


def masked(address: str) -> str:
    """An address as it may be shown: without user names that have passwords, and values of ``token=`` and the like."""
    if not is_store(address):
        return in_utf8(without_secrets(address))
    place, options = split_options(address)
    return in_utf8(without_password(place) + without_secrets(options))


def without_password(place: str) -> str:
    """Without ``user:password@``. What stands before an @ alone is a container's name, as Azure has it."""
    scheme, mark, rest = place.partition("://")
    host, slash, path = rest.partition("/")
    user, at, server = host.rpartition("@")
    if at:
        return f"{scheme}{mark}{server if ':' in user else host}{slash}{path}"
    return f"{scheme}{mark}{path.partition('@')[2]}" if password_is_cut(host, path) else place


def password_is_cut(host: str, path: str) -> bool:
    """Whether there is a slash in a password, as there often is in those of S3."""
    return ":" in host and "@" not in host and not host.rpartition(":")[2].isdecimal() and "@" in path


def address_below(base: str, parts: Sequence[str], options: str) -> str:
    """An address; where a name has a question mark, a last one says that no options follow."""
    place = "/".join((base.rstrip("/"), *parts))
    return place + (options or "?" * (is_store(base) and "?" in place))
