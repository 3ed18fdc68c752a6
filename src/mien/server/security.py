"""Who may ask for what: host names, other sites, the token; and the headers that every answer carries."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

from mien.server.problems import Problem
from mien.server.settings import LOOPBACK_NAMES, PORTS, ServerSettings

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}
"""On every answer, those to wrong requests too."""

HEAD_BYTES = 16 * 1024
"""A request's head may be so long: its first line and its headers."""

HEALTH = "/health/"
"""Anybody may ask how the service is."""

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
CORS_METHODS = "GET, HEAD, POST, DELETE"
CORS_EXPOSED = "Location, Retry-After, X-Request-ID"

_NAME = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?$")


class Gate:
    """Decides on a request by its head alone."""

    def __init__(self, settings: ServerSettings, *, models_open: bool) -> None:
        """`models_open`: whether anybody who sees the page may have the model files."""
        self._hosts = _allowed_hosts(settings)
        self._origins = frozenset(settings.cors_origins)
        self._token = _digest(settings.token.encode()) if settings.token else None
        self._models_open = models_open

    def check(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Let the request pass, or not.

        Raises:
            Problem: 401 or 403.
        """
        if not path.startswith(HEALTH):  # load balancers ask by the address alone, and are told nothing
            self._check_host(headers)
        if method in CHANGING:
            self._check_site(headers)
        if self._token is not None and not self._is_open(path):
            self._check_token(headers.get(b"authorization", b""))

    def cors_headers(self, headers: Mapping[bytes, bytes]) -> dict[str, str]:
        """What tells a browser that a page of an allowed origin may read the answer."""
        if not self._origins:
            return {}
        origin = _text(headers.get(b"origin", b""))
        if origin not in self._origins:
            return {"vary": "Origin"}
        allowed = {"access-control-allow-origin": origin, "access-control-expose-headers": CORS_EXPOSED}
        return {**allowed, "vary": "Origin", "cross-origin-resource-policy": "cross-origin"}

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> dict[str, str] | None:
        """The headers that answer a browser's question whether it may ask; None where it is no such question."""
        asks = method == "OPTIONS" and b"access-control-request-method" in headers
        if not asks or _text(headers.get(b"origin", b"")) not in self._origins:
            return None
        allowed = {"access-control-allow-methods": CORS_METHODS, "access-control-max-age": "600"}
        return {**allowed, "access-control-allow-headers": "Authorization, Content-Type, X-Request-ID"}

    def _is_open(self, path: str) -> bool:
        if path.startswith("/page/models/"):
            return self._models_open
        return path == "/" or path.startswith((HEALTH, "/page/"))

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        """Against DNS rebinding: a page elsewhere must not reach this machine under a name of its own."""
        if self._hosts is None:
            return
        found = _NAME.match(_text(headers.get(b"host", b"")))
        if found is None or found[1].lower() not in self._hosts:
            detail = "this host name is not answered here; mien serve --allow-host NAME adds one"
            raise Problem(403, "wrong-host", "Host name not allowed", detail)

    def _check_site(self, headers: Mapping[bytes, bytes]) -> None:
        """Against pages elsewhere that send what a browser would let them send unasked."""
        origin = headers.get(b"origin")
        if origin is not None:
            own = _same_origin(_text(origin), _text(headers.get(b"host", b"")))
            if not own and _text(origin) not in self._origins:
                raise _other_site()
        elif headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
            raise _other_site()

    def _check_token(self, authorization: bytes) -> None:
        scheme, _, given = authorization.partition(b" ")
        same = hmac.compare_digest(_digest(given.strip()), self._token or b"")
        if scheme.lower() != b"bearer" or not same:
            detail = "send the service's token as 'Authorization: Bearer TOKEN'"
            raise Problem(401, "token", "A token is needed", detail, {"WWW-Authenticate": 'Bearer realm="mien"'})


def check_head(scope: Mapping[str, Any]) -> None:
    """Refuse too long a head.

    Raises:
        Problem: 431.
    """
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if size + len(scope.get("raw_path") or b"") + len(scope["query_string"]) > HEAD_BYTES:
        raise head_too_large()


def head_too_large() -> Problem:
    """431."""
    detail = f"the request's head has more than {HEAD_BYTES:,} bytes"
    return Problem(431, "head-too-large", "Headers too large", detail)


def _other_site() -> Problem:
    detail = (
        "requests from pages of other sites are refused; mien serve --cors-origin ORIGIN allows one; "
        "where a proxy is in between, it must pass the header Host on as it came"
    )
    return Problem(403, "other-site", "Comes from another site", detail)


def _allowed_hosts(settings: ServerSettings) -> frozenset[str] | None:
    """Names that the Host header may give; None for any."""
    if "*" in settings.allow_hosts or not (settings.loopback or settings.allow_hosts):
        return None
    own = f"[{settings.host}]" if ":" in settings.host and not settings.host.startswith("[") else settings.host
    return frozenset(name.lower() for name in (*LOOPBACK_NAMES, own, *settings.allow_hosts))


def _same_origin(origin: str, host: str) -> bool:
    """Whether an origin is the host that was asked. Schemes may differ: a proxy may speak TLS for us."""
    scheme, _, place = origin.partition("://")
    return bool(place) and _with_port(place, scheme) == _with_port(host, scheme)


def _with_port(place: str, scheme: str) -> tuple[str, str]:
    found = _NAME.match(place)
    return (found[1].lower(), found[2] or PORTS.get(scheme, "")) if found else ("", "")


def _digest(value: bytes) -> bytes:
    """So that comparing takes the same time whatever the lengths."""
    return hashlib.sha256(value).digest()


def _text(value: bytes) -> str:
    return value.decode("latin-1")
