"""The table of addresses is the same on every version of Python."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from airflow_imagepipeline.contract.addresses import address_of, is_loopback, is_public


@pytest.mark.real_input("E5")
@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("127.255.255.255", True),
        ("::1", True),
        ("[::1]", True),
        ("::1%lo", True),
        ("::", False),
        ("::2", False),
        ("::ffff:127.0.0.1", False),
        ("[::ffff:7f00:1]", False),
        ("64:ff9b::127.0.0.1", False),
        ("::127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("0.0.0.0", False),  # noqa: S104 - nothing listens
        ("126.255.255.255", False),
        ("128.0.0.0", False),
        ("127.1", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("", False),
        (None, False),
    ],
)
def test_knows_this_machine(host: str | None, *, answer: bool) -> None:
    assert is_loopback(host) is answer


SPECIAL = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "::/8", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
    "3fff::/20", "4000::/3", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip
PUBLIC = [
    "1.0.0.0/8", "8.8.8.0/24", "100.128.0.0/10", "172.32.0.0/16", "192.0.1.0/24", "192.31.196.0/24", "198.20.0.0/16",
    "223.255.255.0/24", "2001:200::/23", "2003::/16", "2606:4700::/32", "2620:4f:8000::/48", "3ffe::/16",
]  # fmt: skip


@pytest.mark.parametrize(("network", "answer"), [*((one, False) for one in SPECIAL), *((one, True) for one in PUBLIC)])
def test_knows_the_ends_of_what_is_public(network: str, *, answer: bool) -> None:
    whole = ip_network(network)
    assert [is_public(whole[0]), is_public(whole[-1])] == [answer, answer]


@pytest.mark.parametrize("network", [one for one in [*SPECIAL, *PUBLIC] if ":" not in one])
def test_an_address_through_nat64_is_what_the_address_inside_is(network: str) -> None:
    inside = ip_network(network)[-1]
    through = address_of(f"64:ff9b::{inside}")
    assert through is not None
    assert is_public(through) is is_public(inside)


@pytest.mark.parametrize(
    "address", ["::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b:1::808:808", "2002:808:808::", "2001::808:808"]
)
def test_no_other_disguise_of_a_public_address_is_public(address: str) -> None:
    found = address_of(address)
    assert found is not None
    assert not is_public(found)


@pytest.mark.parametrize(
    "host", ["images.example", "127.1", "0x7f.0.0.1", "2130706433", "010.0.0.1", "1.2.3.4.5", "", ":"]
)
def test_what_resolvers_alone_read_as_an_address_is_a_name(host: str) -> None:
    assert address_of(host) is None
