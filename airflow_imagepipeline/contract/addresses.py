"""
Which hosts mean this machine, and which addresses are public: one table of our own.

The standard library's answers (``is_global``, ``is_loopback``) change with the version of Python.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_LOOPBACK: Final = tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))

_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
"""The only part of IPv6 that is given out as global unicast. What maps IPv4 (``::ffff:0:0/96``) lies outside of it."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""In an IPv6-only network the resolver gives every IPv4 address in this form, RFC 6052."""

# IANA's registries of special-purpose addresses: what is not globally reachable, or leads on to any other address.
_SPECIAL: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by a carrier's customers
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local: a cloud's metadata service
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is, with or without brackets and zone; None for a name."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str | None) -> bool:
    """Tell whether a host means this machine: ``localhost`` or a loopback address."""
    if host is None:
        return False
    address = address_of(host)
    if address is None:
        return host.lower().rstrip(".") == "localhost"
    return any(address in network for network in _LOOPBACK)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is public. A NAT64 address is what the IPv4 address inside is."""
    if address in _NAT64:
        address = IPv4Address(address.packed[-4:])
    if address.version == 6 and address not in _PUBLIC_IPV6:  # noqa: PLR2004 - the version of IP
        return False
    return not any(address in network for network in _SPECIAL)
