from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.helpers import is_ip_address
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.util import parse_url
from yarl import URL

from airflow_imagepipeline.contract.errors import LinkRefused
from airflow_imagepipeline.hooks.link_guard import CheckedResolver, checked_link, may_connect_to

if TYPE_CHECKING:
    from collections.abc import Sequence

PUBLIC = [
    "https://f005.backblazeb2.com/file/bucket/a.png?Authorization=3_2026_x_dnld",
    "https://bucket.s3.us-east-1.amazonaws.com/key%2Fwith%20space.png?X-Amz-Signature=ab%2Bcd&x=%41",
    "https://storage.example:443/a.png",
    "https://storage.example/a.png#fragment",
    "https://STORAGE.example/A.png",
    "https://storage.example./a.png",
    "https://xn--bcher-kva.example/a.png",
    "https://under_score.example/",
    "https://8.8.8.8/a.png",
    "https://[2606:4700:4700::1111]/a.png",
    "https://[64:ff9b::808:808]/a.png",
]
REFUSED = [
    "http://storage.example/a.png",
    "ftp://storage.example/a.png",
    "file:///etc/passwd",
    "//storage.example/a.png",
    "storage.example/a.png",
    "",
    "https://",
    "https:///a.png",
    "https://user@storage.example/",
    "https://user:word@storage.example/",
    "https://@storage.example/",
    "https://storage.example:8443/",
    "https://storage.example:22/",
    "https://storage.example:0/",
    "https://storage.example:99999/",
    "https://storage.example:x/",
    "https://127.0.0.1\\@storage.example/",
    "https://storage.example\\@127.0.0.1/",
    "https://storage.example/a\\b",
    "https://storage.example /a.png",
    "https://storage.example/a b.png",
    "https://storage.example/\r\nHost: 127.0.0.1",
    "https://storage.example/\ta",
    "https://storage.example/\x00",
    "https://stor\u00e4ge.example/",
    "https://storage.example/\u202egnp.a",
    "https://storage\u3002example/",
    "https://a%2eb.example/",
    "https://127.0.0.1%2f@storage.example/",
    "https://[::1/",
    "https://[storage.example]/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://0.0.0.0/",
    "https://0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/latest/meta-data/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "https://224.0.0.1/",
    "https://192.88.99.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[ff02::1]/",
    "https://[fec0::1]/",
    "https://" + "a" * 300 + ".example/",
    "https://storage.example/" + "a" * 9000,
]


@pytest.mark.parametrize("link", PUBLIC)
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_a_public_https_link_may_be_fetched_as_it_is_written(link: str, allow_loopback: bool) -> None:  # noqa: FBT001
    url = checked_link(link, allow_loopback=allow_loopback)
    assert url.raw_path_qs.startswith("/")
    assert link.partition("#")[0].endswith(url.raw_path_qs)


@pytest.mark.parametrize("link", REFUSED, ids=lambda link: ascii(link)[:60])
def test_every_other_link_is_refused_without_showing_it(link: str) -> None:
    with pytest.raises(LinkRefused) as caught:
        checked_link(link + "?sig=canary", allow_loopback=False)
    assert "canary" not in str(caught.value)
    assert "meta-data" not in str(caught.value)


OTHER_MACHINES = [link for link in REFUSED if not any(me in link.lower() for me in ("localhost", "127.", "[::1]"))]


@pytest.mark.parametrize("link", OTHER_MACHINES, ids=lambda link: ascii(link)[:60])
def test_an_emulator_on_this_machine_opens_no_other_door(link: str) -> None:
    with pytest.raises(LinkRefused):
        checked_link(link, allow_loopback=True)


LOOPBACK = [
    "http://127.0.0.1:8080/a.png",
    "http://127.0.0.2/a.png",
    "https://127.0.0.1:1/a.png",
    "http://localhost:5000/a.png",
    "http://LOCALHOST.:5000/a.png",
    "http://[::1]:5000/a.png",
]


@pytest.mark.parametrize("link", LOOPBACK)
def test_links_to_this_machine_are_for_an_api_on_this_machine(link: str) -> None:
    assert str(checked_link(link, allow_loopback=True)) == link
    with pytest.raises(LinkRefused):
        checked_link(link, allow_loopback=False)


def test_in_loopback_mode_another_host_still_needs_https_and_its_port() -> None:
    for link in ("http://storage.example/", "https://storage.example:8443/", "http://127.0.0.1.storage.example/"):
        with pytest.raises(LinkRefused):
            checked_link(link, allow_loopback=True)


hosts = st.sampled_from(
    [
        "127.0.0.1",
        "storage.example",
        "[::1]",
        "localhost",
        "a%2eb",
        "127.1",
        "",
        "0x7f.1",
        "[::ffff:1.2.3.4]",
        "8.8.8.8",
    ]
)
glue = st.sampled_from(["\\", "@", ":", "/", "#", "?", "\t", "\n", " ", ".", "%", "\u3002", "\uff0f", "//", "443", ""])
links = st.builds(
    lambda scheme, parts: scheme + "".join(map("".join, parts)),
    st.sampled_from(["https://", "http://", "https:", "https:/", "HTTPS://", "https:\\\\"]),
    st.lists(st.tuples(glue, hosts, glue), min_size=1, max_size=3),
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(link=links | st.text(max_size=40).map("https://".__add__), allow_loopback=st.booleans())
def test_every_parser_reads_the_same_harmless_host_or_the_link_is_refused(link: str, allow_loopback: bool) -> None:  # noqa: FBT001
    try:
        url = checked_link(link, allow_loopback=allow_loopback)
    except LinkRefused:
        return
    host = urlsplit(link).hostname
    assert host
    assert {(url.raw_host or "").lower(), (URL(link, encoded=True).raw_host or "").lower()} == {host}
    assert (parse_url(link).host or "").strip("[]").lower() == host
    # What aiohttp takes for an address never reaches the resolver: it must have been judged by now.
    if is_ip_address(host):
        assert may_connect_to(host, allow_loopback=allow_loopback)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(address=st.ip_addresses(v=4))
def test_no_spelling_of_an_address_gets_further_than_the_address(address: object) -> None:
    packed = int(address)  # type: ignore[call-overload]
    octets = packed.to_bytes(4, "big")
    spellings = [
        str(packed),
        hex(packed),
        f"0{packed:o}",
        ".".join(map(hex, octets)),
        ".".join(f"0{octet:o}" for octet in octets),
        f"{octets[0]}.{packed & 0xFFFFFF}",
    ]
    for spelling in spellings:
        with pytest.raises(LinkRefused):
            checked_link(f"https://{spelling}/", allow_loopback=False)


class Answers(AbstractResolver):
    """A DNS server that gives the next list of addresses each time it is asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers = iter(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in next(self._answers)
        ]

    async def close(self) -> None:
        pass


def resolved(resolver: CheckedResolver, host: str) -> list[str]:
    return [result["host"] for result in asyncio.run(resolver.resolve(host, 443))]


def test_a_name_with_public_addresses_resolves_to_them() -> None:
    resolver = CheckedResolver(allow_loopback=False, resolver=Answers(["8.8.8.8", "2606:4700:4700::1111"]))
    assert resolved(resolver, "storage.example") == ["8.8.8.8", "2606:4700:4700::1111"]


@pytest.mark.parametrize(
    "bad",
    [
        "127.0.0.1", "10.0.0.1", "169.254.169.254", "fd00:ec2::254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "224.0.0.1", "192.88.99.1", "100.64.0.1", "0.0.0.0", "fe80::1%eth0", "no address",  # noqa: S104
    ],
)  # fmt: skip
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_one_address_that_is_not_public_spoils_the_name(bad: str, allow_loopback: bool) -> None:  # noqa: FBT001
    resolver = CheckedResolver(allow_loopback=allow_loopback, resolver=Answers(["8.8.8.8", bad]))
    with pytest.raises(LinkRefused, match="not public"):
        resolved(resolver, "storage.example")


def test_a_name_that_is_rebound_is_caught_when_it_is_asked_again() -> None:
    resolver = CheckedResolver(allow_loopback=True, resolver=Answers(["8.8.8.8"], ["127.0.0.1"]))
    assert resolved(resolver, "rebind.example") == ["8.8.8.8"]
    with pytest.raises(LinkRefused):
        resolved(resolver, "rebind.example")


def test_the_name_of_this_machine_resolves_only_for_an_api_on_this_machine() -> None:
    assert resolved(CheckedResolver(allow_loopback=True, resolver=Answers(["127.0.0.1"])), "localhost") == ["127.0.0.1"]
    with pytest.raises(LinkRefused):
        resolved(CheckedResolver(allow_loopback=False, resolver=Answers(["127.0.0.1"])), "localhost")


def test_the_system_is_asked_where_no_other_resolver_is_given() -> None:
    async def ask() -> list[ResolveResult]:
        resolver = CheckedResolver(allow_loopback=True)
        try:
            return await resolver.resolve("localhost", 80)
        finally:
            await resolver.close()

    assert {result["host"] for result in asyncio.run(ask())} == {"127.0.0.1"}
