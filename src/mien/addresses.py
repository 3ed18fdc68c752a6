"""Internet addresses: what may be shown of them, which may be connected to."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mien.errors import DataError

SECRETS = re.compile(r"key|token|sig|pass|pwd|secret|auth|cred|session", re.IGNORECASE)
"""Parameters of an address whose value is not shown."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_INNER = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "168.63.129.16/32", "fec0::/10", "3fff::/20")))
"""Not public, whatever `ipaddress` says, which differs between versions of Python: protocol assignments, under which
Oracle's cloud tells its machines their credentials; the address under which Azure does; site-local; documentation."""


def without_secrets(url: str) -> str:
    """The address as it may be shown: without user name and password, values of ``token=`` and the like masked."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2]
    query = parts.query
    if SECRETS.search(query):
        pairs = parse_qsl(query, keep_blank_values=True)
        query = urlencode([(name, "***" if SECRETS.search(name) else value) for name, value in pairs], safe="*/:")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet; what an IPv6 address carries inside counts."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
    if any(ip in network for network in _INNER):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def resolve(host: str, port: int, *, allow_private: bool, seconds: float) -> list[tuple[int, tuple[str, int]]]:
    """The addresses behind a name, all of them checked.

    Returns:
        (family, (address, port)), in the order the system prefers.

    Raises:
        DataError: the name does not resolve in time, or leads to an address that is not public.
    """
    found: list[tuple[int, tuple[str, int]]] = []
    errors: list[str] = []

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            errors.append(str(error.strerror if isinstance(error, OSError) else error))
            return
        found.extend((family, (str(place[0]), port)) for family, _, _, _, place in answers)

    thread = threading.Thread(target=look_up, name="mien-resolve", daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise DataError(f"the host name {host!r} was not found ({errors[0] if errors else 'no answer in time'})")
    refused = [address for _, (address, _) in found if not is_public(address)]
    if refused and not allow_private:
        raise DataError(
            f"leads to {refused[0]}, an address that is not public; allow that (--allow-private) if you trust it"
        )
    return found
