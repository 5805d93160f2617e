"""Which addresses may be asked.  **The only place that decides it**: all requests to strangers' addresses pass here.

A name is resolved once, each of its addresses is checked, and it is the checked address that is connected to: a name
server that gives another answer the next time changes nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

__all__ = ["Resolve", "is_public", "public_addresses", "resolve"]

#: Gives the addresses of a host name, as text.
Resolve = Callable[[str, int], Sequence[str]]

#: Where addresses of the Internet come from; what lies outside is of one link, one site, or not assigned at all.
_UNICAST = IPv6Network("2000::/3")

#: Translators put the IPv4 address of the other side into the last four bytes (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")

# Not known as special to every version of Python.
_SPECIAL_4 = (
    int(IPv4Address("192.0.0.0")) >> 8,  # RFC 6890: of protocols, for machines of the same network
    int(IPv4Address("192.88.99.0")) >> 8,  # RFC 7526: once the nearest relay of 6to4
)
_SPECIAL_6 = (IPv6Network("3fff::/20"), IPv6Network("2001:db8::/32"))  # documentation


def is_public(address: str) -> bool:
    """Whether ``address`` belongs to a machine on the Internet: not to this one, its network, or nobody.

    IPv4 addresses within IPv6 ones (mapped, compatible, 6to4, Teredo, NAT64, ISATAP) count as what they stand for.

    >>> is_public("93.184.216.34"), is_public("127.0.0.1"), is_public("::ffff:169.254.169.254")
    (True, False, False)

    :param address: an IPv4 or IPv6 address in its usual notation, with or without a zone
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public_4(found) if isinstance(found, IPv4Address) else _is_public_6(found)


def _is_public_4(address: IPv4Address) -> bool:
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified)
        and int(address) >> 8 not in _SPECIAL_4
    )


def _is_public_6(address: IPv6Address) -> bool:
    if address.ipv4_mapped is not None:
        return _is_public_4(address.ipv4_mapped)
    if address in _NAT64:
        return _is_public_4(_last_four(address))
    if address not in _UNICAST or any(address in network for network in _SPECIAL_6):
        return False
    if address.sixtofour is not None:
        return _is_public_4(address.sixtofour)
    if address.teredo is not None:
        return False  # a tunnel to some machine behind a translator
    if address.packed[8:12] in {b"\0\0\x5e\xfe", b"\2\0\x5e\xfe"} and not _is_public_4(_last_four(address)):
        return False  # ISATAP
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _last_four(address: IPv6Address) -> IPv4Address:
    return IPv4Address(address.packed[12:])


def resolve(host: str, port: int) -> list[str]:
    """The addresses of ``host`` by the resolver of the system, which reads numbers in all their spellings too."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def public_addresses(addresses: Sequence[str]) -> list[str]:
    """``addresses``, if all are public; else none: a name that stands for both is a trap, or of use inside only."""
    return list(addresses) if addresses and all(map(is_public, addresses)) else []
