"""
Where a link that came from outside may lead: to public addresses, by https, and read alike by every parser.

A link to this machine passes only where the connection's own host is this machine. The text of a link is judged here,
the addresses behind a name by the resolver that the download's connections are made with.
"""

from __future__ import annotations

import re
import socket
from typing import Final
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url
from yarl import URL

from airflow_imagepipeline.contract.addresses import address_of, is_loopback, is_public
from airflow_imagepipeline.contract.errors import LinkRefused
from airflow_imagepipeline.contract.text import cleaned

_USUAL_PORTS: Final = {"https": 443, "http": 80}
_LONGEST_LINK: Final = 8192
_PLAIN: Final = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
"""Printable ASCII without a space and without the backslash, which parsers read in two ways."""
_HOST: Final = re.compile(r"[a-z0-9._\-]{1,253}|[0-9a-f:.]{0,45}:[0-9a-f:.]{0,45}")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def may_connect_to(address: str, *, allow_loopback: bool) -> bool:
    """Tell whether results may be fetched from an address: a public one, or this machine where the API is here too."""
    found = address_of(address)
    return found is not None and (allow_loopback if is_loopback(address) else is_public(found))


def checked_link(link: str, *, allow_loopback: bool) -> URL:
    """
    Return a link if it may be fetched, as far as its text tells. What is sent is this text: nothing is re-quoted.

    :param allow_loopback: whether a link to this machine may be fetched, by any port and without TLS.
    :raises LinkRefused: otherwise; the message holds neither path nor query.
    """
    host = _agreed_host(link)
    parts = urlsplit(link)
    local = allow_loopback and is_loopback(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        msg = f"A result's link to {host} is not https: nothing was fetched."
        raise LinkRefused(msg)
    if "@" in parts.netloc or not (local or parts.port in {None, 443}):
        msg = f"A result's link to {host} names a user or an unusual port: nothing was fetched."
        raise LinkRefused(msg)
    # aiohttp connects to an address without asking the resolver, so addresses are judged here.
    is_address = ":" in host or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2])
    if (is_loopback(host) and not local) or (is_address and not may_connect_to(host, allow_loopback=local)):
        msg = f"A result's link leads to {host}, which is no public address: nothing was fetched."
        raise LinkRefused(msg)
    return URL(link, encoded=True)


def _agreed_host(link: str) -> str:
    """Return the host that all parsers read; two that read different ones are what an attacker needs."""
    try:
        parts, url, third = urlsplit(link), URL(link, encoded=True), parse_url(link)
        usual = _USUAL_PORTS.get(parts.scheme)
        read = {
            (parts.hostname, parts.port or usual),
            ((url.raw_host or "").lower(), url.port or usual),
            ((third.host or "").strip("[]").lower(), third.port or usual),
        }
    except (ValueError, LookupError, LocationParseError):  # LookupError: yarl on "https://@[::1]@"
        read = set()
    host = next(iter(read))[0] if len(read) == 1 else None
    if not host or not _HOST.fullmatch(host) or not _PLAIN.fullmatch(link) or len(link) > _LONGEST_LINK:
        msg = "A result's link cannot be read in one way only: nothing was fetched."
        raise LinkRefused(msg)
    return host


class CheckedResolver(AbstractResolver):
    """
    Resolve names to addresses that may be connected to; one address that may not spoils the name.

    :param allow_loopback: whether a name of this machine (``localhost``) may be resolved.
    :param resolver: who is asked; None means the system.
    """

    def __init__(self, *, allow_loopback: bool, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()
        self._allow_loopback = allow_loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """
        Return the addresses of a host; the connection goes to these, so no later answer of the DNS counts.

        :raises LinkRefused: when one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        local = self._allow_loopback and is_loopback(host)
        if not all(may_connect_to(result["host"], allow_loopback=local) for result in found):
            msg = f"A result's link leads to {cleaned(host, 80)}, which has an address that is not public."
            raise LinkRefused(msg)
        return found

    async def close(self) -> None:
        """Release the resolver."""
        await self._resolver.close()
