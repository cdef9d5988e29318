"""Resolve hosts to addresses that a crawler may connect to: public ones.

A list of URLs comes from strangers. An URL that names (or redirects to, or resolves to) an address
of the crawler's own machine or network would read what only that network may: a router's page, a
cloud's metadata service. The address is therefore checked after the name is resolved, and the
connection goes to the checked address: a second look-up could give another one.
"""

from __future__ import annotations

import ipaddress
import socket

from aa_curation.check import Drop
from aa_curation.errors import FetchOutageError, FetchRefusedError

# RFC 6052, RFC 4291 (2.5.5.1, obsolete): an IPv4 address in the last four bytes.
_WRAPPING = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "::/96"))
# Global by Python's tables, or by IANA's, and yet of the machine's own network.
_OWN = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # IETF's; a cloud's metadata service answers at 192.0.0.192
        "168.63.129.16/32",  # Azure's own services, from inside of it
        "fec0::/10",  # site-local, obsolete
        "64:ff9b:1::/48",  # RFC 8215: local translation
    )
)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def resolve(host: str, port: int, *, allow_loopback: bool = False) -> list[str]:
    """The addresses of a host, all of them public.

    Args:
        host: a name or an address, without brackets.
        port: passed to the resolver.
        allow_loopback: accept 127.0.0.0/8 and ::1; for tests.

    Raises:
        FetchRefusedError: `unknown_host`, or `forbidden_address` if even one address is not public.
        FetchOutageError: the resolver does not answer.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise FetchOutageError(f"{host} cannot be resolved now: {error.strerror}") from None
        raise FetchRefusedError(Drop("unknown_host", detail=f"{host}: {error.strerror}")) from None
    except UnicodeError:
        raise FetchRefusedError(
            Drop("unknown_host", detail=f"{host!r} is not a host name")
        ) from None
    addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if not is_public(address) and not (allow_loopback and _inner(address).is_loopback):
            detail = f"{host} is {text}, which is not a public address"
            raise FetchRefusedError(Drop("forbidden_address", detail=detail))
    return addresses


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also where it is wrapped in another."""
    inner = _inner(address)
    own = any(address in network or inner in network for network in _OWN)
    return inner.is_global and not inner.is_multicast and not own


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.sixtofour:
            return address.sixtofour
        if address.teredo:
            return address.teredo[1]
        if any(address in network for network in _WRAPPING) and int(address) > 1:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
