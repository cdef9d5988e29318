from __future__ import annotations

import ipaddress
import socket

import pytest

from aa_curation.crawl.address import is_public, resolve
from aa_curation.errors import FetchOutageError, FetchRefusedError


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        # Private IPv4 addresses in the clothes of IPv6: mapped, 6to4, NAT64.
        *("192.0.0.192", "168.63.129.16", "fec0::1", "64:ff9b:1::a9fe:a9fe", "::169.254.169.254"),
        # Teredo: the client's address is the last four bytes, inverted (10.1.2.3 here).
        *("2001:0:808:808::f5fe:fdfc", "192.0.0.8", "fecf:ffff::1", "64:ff9b:1:ffff::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "64:ff9b::a9fe:a9fe"),
    ],
)
def test_addresses_of_the_own_network_are_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "8.8.8.8",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::",
        "168.63.129.15",
        "168.63.129.17",
        "192.0.1.0",
    ],
)
def test_addresses_of_the_internet_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


# The second form of the same number, and the third: the C library reads all of them.
@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "0", "localhost"])
def test_every_spelling_of_loopback_is_refused(host: str) -> None:
    with pytest.raises(FetchRefusedError, match="forbidden_address"):
        resolve(host, 80)


def test_loopback_can_be_allowed_and_nothing_else_with_it() -> None:
    assert resolve("127.0.0.1", 80, allow_loopback=True) == ["127.0.0.1"]
    for host in ("169.254.169.254", "10.0.0.1", "0.0.0.0"):
        with pytest.raises(FetchRefusedError, match="forbidden_address"):
            resolve(host, 80, allow_loopback=True)


def _answers(*addresses: str) -> object:
    return lambda *_, **__: [(0, 0, 0, "", (address, 80)) for address in addresses]


def test_a_name_with_one_private_address_among_public_ones_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _answers("8.8.8.8", "192.168.0.1"))
    with pytest.raises(FetchRefusedError, match=r"192\.168\.0\.1, which is not a public address"):
        resolve("rebinding.example", 80)
    monkeypatch.setattr(socket, "getaddrinfo", _answers("8.8.8.8", "8.8.4.4"))
    assert resolve("plain.example", 80) == ["8.8.8.8", "8.8.4.4"]


def test_a_resolver_out_of_order_is_an_outage_and_an_unknown_name_a_rejection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(number: int) -> object:
        def getaddrinfo(*_: object, **__: object) -> None:
            raise socket.gaierror(number, "said so")

        return getaddrinfo

    monkeypatch.setattr(socket, "getaddrinfo", fails(socket.EAI_AGAIN))
    with pytest.raises(FetchOutageError, match="said so"):
        resolve("a.example", 80)
    monkeypatch.setattr(socket, "getaddrinfo", fails(socket.EAI_NONAME))
    with pytest.raises(FetchRefusedError, match="unknown_host"):
        resolve("a.example", 80)


def test_what_no_resolver_can_be_asked_is_no_host() -> None:
    with pytest.raises(FetchRefusedError, match=r"unknown_host.*is not a host name"):
        resolve("a" * 64 + ".example", 80)


def test_a_zone_of_an_address_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _answers("fe80::1%eth0"))
    with pytest.raises(FetchRefusedError, match=r"fe80::1%eth0, which is not a public address"):
        resolve("here.example", 80)
    monkeypatch.setattr(socket, "getaddrinfo", _answers("8.8.8.8", "8.8.8.8", "::1"))
    assert resolve("twice.example", 80, allow_loopback=True) == ["8.8.8.8", "::1"]
