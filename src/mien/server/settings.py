"""What the service is told, validated once. ``mien serve`` fills it from flags and ``MIEN_`` variables."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from mien.errors import UsageError

MEBIBYTE = 2**20
LEAST_MEMORY = 256 * MEBIBYTE
"""For bodies, where nothing else was asked for."""

PORTS = {"http": "80", "https": "443"}
"""Scheme to the port that browsers leave out."""

_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+")
"""A Host header without its port."""

_ORIGIN = re.compile(rf"(?P<scheme>https?)://(?:{_HOST.pattern})(?::(?P<port>[1-9]\d{{0,4}}))?")

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""Host names that a browser on this machine may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """All of the service's settings. Sizes in bytes, times in seconds.

    Attributes:
        host: address to listen on; anything but this machine itself needs a token, or `insecure`.
        port: 0 for any free one.
        token: what clients must send as ``Authorization: Bearer ...``; empty for none.
        insecure: allow other hosts without a token.
        allow_hosts: further names in the Host header that are answered, without port; ``*`` for any.
        cors_origins: origins of pages elsewhere that may use the service, ``https://example.org``.
        max_body: of a request with pictures.
        max_images: of a request.
        max_pixels: of a picture; larger ones are refused before they are decoded.
        queue_pictures: pictures that wait or are worked on; beyond, requests get 503.
        queue_bytes: bytes of bodies in memory; beyond, requests get 503. As many again for decoded pictures, beyond
            which they wait to be decoded. 0 for 256 MiB, or twice `max_body` where that is more: JSON counts twice, as
            text and as what it says.
        batch_pictures: the most pictures that are worked on together; 1 for one at a time.
        batch_wait: the longest that a picture waits for company, while nothing else is worked on.
        workers: threads that work on batches; 0 for as many as `threads`.
        threads: CPU threads for all of them together; 0 for as many as there are cores.
        timeout: for a request, from its last byte to its answer.
        body_timeout: for a body to come.
        keep_alive: for a connection's next request; a proxy that keeps connections longer gets hung up on.
        max_connections: beyond, requests get 503.
        shutdown_timeout: for requests in flight when the service is told to end.
        max_videos: videos worked on at once.
        video_queue: videos that wait; beyond, 503.
        max_video_bytes: of an uploaded video.
        max_video_seconds: of a video's length.
        video_timeout: for the work on a video.
        video_keep: from a video's end until it is forgotten.
        video_folder: private folder for uploaded videos; None for one of its own below the system's temporary folder.

    Raises:
        UsageError: a value is out of range, or the host needs a token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = field(default="", repr=False)
    insecure: bool = False
    allow_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_body: int = 32 * MEBIBYTE
    max_images: int = 32
    max_pixels: int = 25_000_000
    queue_pictures: int = 128
    queue_bytes: int = 0
    batch_pictures: int = 16
    batch_wait: float = 0.005
    workers: int = 0
    threads: int = 0
    timeout: float = 60.0
    body_timeout: float = 30.0
    keep_alive: float = 5.0
    max_connections: int = 256
    shutdown_timeout: float = 20.0
    max_videos: int = 1
    video_queue: int = 8
    max_video_bytes: int = 256 * MEBIBYTE
    max_video_seconds: float = 600.0
    video_timeout: float = 3600.0
    video_keep: float = 900.0
    video_folder: Path | None = None

    def __post_init__(self) -> None:
        _check_numbers(self)
        if not self.host:
            raise UsageError("host: must be an address such as 127.0.0.1, received an empty one")
        object.__setattr__(self, "token", _token(self.token))
        if not self.loopback and not self.token and not self.insecure:
            raise UsageError(
                f"host: {self.host} can be reached from other machines, so a token is needed: --token or MIEN_TOKEN "
                "(8 characters or more); or --insecure, if whoever reaches it may use it"
            )
        if self.max_images > self.queue_pictures:
            raise UsageError(
                f"max_images: must not be above queue_pictures ({self.queue_pictures}), received {self.max_images}; "
                "raise --queue or lower --max-images"
            )
        if self.memory < 2 * self.max_body:
            raise UsageError(
                f"queue_bytes: must be twice max_body ({self.max_body:,}) or more, as JSON counts twice, received "
                f"{self.queue_bytes:,}; raise --queue-memory or lower --max-body"
            )
        for argument, check in (("allow_hosts", _check_host_name), ("cors_origins", _check_origin)):
            if isinstance(getattr(self, argument), str):  # whose letters would count as names
                raise UsageError(f"{argument}: must be several, in a tuple, received {getattr(self, argument)!r}")
            for name in getattr(self, argument):
                check(name)

    @property
    def loopback(self) -> bool:
        """Whether `host` is this machine alone."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def memory(self) -> int:
        """`queue_bytes`, or what 0 stands for."""
        return self.queue_bytes or max(LEAST_MEMORY, 2 * self.max_body)

    @property
    def limits(self) -> dict[str, int | float]:
        """What clients may send, for ``/v1/models``."""
        names = ("max_body", "max_images", "max_pixels", "max_video_bytes", "max_video_seconds", "timeout")
        return {name: getattr(self, name) for name in names}


_LEAST: dict[str, float] = {
    **dict.fromkeys(("max_body", "max_images", "max_pixels", "queue_pictures", "batch_pictures"), 1),
    **dict.fromkeys(("max_connections", "max_videos", "max_video_bytes"), 1),
    **dict.fromkeys(
        ("threads", "workers", "port", "batch_wait", "shutdown_timeout", "video_queue", "queue_bytes", "keep_alive"), 0
    ),
    **dict.fromkeys(("timeout", "body_timeout", "max_video_seconds", "video_timeout", "video_keep"), 0.01),
}


def _check_numbers(settings: ServerSettings) -> None:
    for name, least in _LEAST.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
            raise UsageError(f"{name}: must be a number, {least:g} or more, received {value!r}")
    if settings.port > 65535:
        raise UsageError(f"port: must be from 0 (any free one) to 65535, received {settings.port}")


def _token(token: object) -> str:
    """The token, empty where there is none, as where a variable is not set; what was received is never shown.

    Raises:
        UsageError: it is no token.
    """
    if token is None:
        return ""
    if not isinstance(token, str):
        raise UsageError(f"token: must be text, received {type(token).__name__}")
    if token and (len(token) < 8 or not token.isascii() or not token.isprintable()):
        raise UsageError("token: must be 8 printable ASCII characters or more")
    return token


def _check_host_name(name: str) -> None:
    """Refuse what is in no Host header, as it would let nobody in."""
    if name != "*" and not _HOST.fullmatch(name):
        raise UsageError(
            "allow_hosts: must be a host's whole name (in ASCII, xn--...) or address without scheme, port and path, "
            f"such as faces.example.org or [::1], or * for any; received {name!r}"
        )


def _check_origin(origin: str) -> None:
    """Refuse what browsers never send as Origin."""
    found = _ORIGIN.fullmatch(origin)
    left_out = found is not None and found["port"] == PORTS[found["scheme"]]
    if found is None or left_out or int(found["port"] or 0) > 65535 or origin != origin.lower():
        raise UsageError(
            "cors_origins: must be as browsers send it, like https://example.org or http://localhost:3000: a whole "
            "name in lower case and ASCII (xn--...), without a path, without the ports 80 of http and 443 of https; "
            f"received {origin!r}"
        )
