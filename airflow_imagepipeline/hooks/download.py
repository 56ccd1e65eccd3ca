"""
Fetch results by links that the API gave, in sessions of their own that never had the key.

A link comes from outside, so it is followed only to public addresses, by https, through redirects checked one by one;
bytes and seconds are bounded. A link to this machine is fetched only when the connection's own host is this machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential
from yarl import URL

from airflow_imagepipeline.contract.errors import DownloadFailed, LinkExpired, LinkRefused
from airflow_imagepipeline.contract.links import is_loopback
from airflow_imagepipeline.contract.text import cleaned

if TYPE_CHECKING:
    from typing import BinaryIO

LARGEST_FILE: Final = 64 * 1024 * 1024
"""Bytes of one result at most."""
FILE_SECONDS: Final = 300.0
MOST_REDIRECTS: Final = 3
_ATTEMPTS: Final = 4
_CHUNK: Final = 65536
_SLOWEST: Final = 1024
_SLOW_WINDOW: Final = 30.0
_EXPIRED: Final = frozenset({401, 403, 404, 410})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_FORBIDDEN_NETWORKS: Final = tuple(
    ipaddress.ip_network(net)
    for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "192.88.99.0/24", "::ffff:0:0/96")
)
_OK: Final = 200


@dataclass(frozen=True)
class Download:
    """
    A fetched file.

    :param sha256: hexadecimal digest of the bytes as they came.
    :param size: bytes.
    """

    path: Path
    sha256: str
    size: int


def may_connect_to(address: str, *, allow_loopback: bool) -> bool:
    """Tell whether results may be fetched from an address: a public one, or this machine where the API is here too."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if ip.is_loopback:
        return allow_loopback
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _FORBIDDEN_NETWORKS)


def checked_link(link: str, *, allow_loopback: bool) -> URL:
    """
    Return a link if it may be fetched, as far as its text tells.

    :raises LinkRefused: otherwise; the message holds neither path nor query.
    """
    try:
        parts = urlsplit(link)
        url = URL(link)
        host, port = parts.hostname, parts.port
    except ValueError:
        msg = "A result's link is no link."
        raise LinkRefused(msg) from None
    local = is_loopback(host) and allow_loopback
    # Two parsers that read different hosts are what an attacker needs.
    if any(c <= "\x20" or c in "\\\x7f" for c in link) or host is None or url.host is None or url.host.lower() != host:
        msg = "A result's link cannot be read in one way only."
        raise LinkRefused(msg)
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        msg = f"A result's link to {cleaned(host, 80)} is not https."
        raise LinkRefused(msg)
    if parts.username is not None or (port not in {None, 443} and not local):
        msg = f"A result's link to {cleaned(host, 80)} names a user or an unusual port."
        raise LinkRefused(msg)
    if _is_address(host) and not may_connect_to(host, allow_loopback=allow_loopback):
        msg = f"A result's link leads to the address {cleaned(host, 80)}, which is not public."
        raise LinkRefused(msg)
    return url


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class CheckedResolver(AbstractResolver):
    """Resolve names to addresses that may be connected to; one address that may not spoils the name."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._resolver = ThreadedResolver()
        self._allow_loopback = allow_loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """
        Return the addresses of a host; the connection goes to these, so no later answer of the DNS counts.

        :raises LinkRefused: when one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        if not all(may_connect_to(result["host"], allow_loopback=self._allow_loopback) for result in found):
            msg = f"A result's link leads to {cleaned(host, 80)}, which has an address that is not public."
            raise LinkRefused(msg)
        return found

    async def close(self) -> None:
        """Release the resolver."""
        await self._resolver.close()


def fetch(links: Sequence[str], folder: Path, *, allow_loopback: bool) -> list[Download]:
    """
    Fetch links into files of a folder.

    :param folder: for the files; their names are made here, never taken from a link.
    :param allow_loopback: whether links to this machine may be fetched: only when the API is here too.
    :raises LinkExpired: when a link is not answered with a file any more.
    :raises DownloadFailed: when a file could not be fetched whole, after four attempts.
    :raises LinkRefused: when a link must not be followed.
    """
    return asyncio.run(_fetch_all(links, folder, allow_loopback=allow_loopback))


async def _fetch_all(links: Sequence[str], folder: Path, *, allow_loopback: bool) -> list[Download]:
    connector = aiohttp.TCPConnector(resolver=CheckedResolver(allow_loopback=allow_loopback), use_dns_cache=False)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), timeout=_timeout()
    ) as session:
        return [
            await _fetch_one(session, link, folder / f"result-{i:02d}", allow_loopback=allow_loopback)
            for i, link in enumerate(links)
        ]


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=FILE_SECONDS, sock_connect=10, sock_read=30)


async def _fetch_one(session: aiohttp.ClientSession, link: str, path: Path, *, allow_loopback: bool) -> Download:
    engine = AsyncRetrying(
        retry=retry_if_exception(
            lambda error: isinstance(error, DownloadFailed) and not isinstance(error, LinkExpired)
        ),
        wait=wait_random_exponential(multiplier=1, max=20),
        stop=stop_after_attempt(_ATTEMPTS),
        reraise=True,
    )
    result: Download = await engine(_follow, session, link, path, allow_loopback=allow_loopback)
    return result


async def _follow(session: aiohttp.ClientSession, link: str, path: Path, *, allow_loopback: bool) -> Download:
    for _ in range(MOST_REDIRECTS + 1):
        url = checked_link(link, allow_loopback=allow_loopback)
        try:
            async with session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as response:
                if response.status not in _REDIRECTS:
                    return await _received(response, path)
                link = urljoin(link, response.headers.get("Location", ""))
        except (aiohttp.ClientError, TimeoutError) as exc:
            msg = f"A result could not be fetched from {cleaned(url.host, 80)} ({type(exc).__name__})."
            raise DownloadFailed(msg) from None
    msg = f"A result's link was redirected more than {MOST_REDIRECTS} times."
    raise LinkRefused(msg)


async def _received(response: aiohttp.ClientResponse, path: Path) -> Download:
    host = cleaned(response.url.host, 80)
    if response.status in _EXPIRED:
        msg = f"{host} does not give the result any more ({response.status})."
        raise LinkExpired(msg)
    if response.status != _OK:
        msg = f"{host} answered {response.status} instead of the result."
        raise DownloadFailed(msg)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        msg = f"{host} compressed the result, which was not asked for."
        raise DownloadFailed(msg)
    with path.open("wb") as file:
        digest, size = await _stream(response, file, host)
    return Download(path, digest, size)


async def _stream(response: aiohttp.ClientResponse, file: BinaryIO, host: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    window_start, window_size = time.monotonic(), 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        window_size += len(chunk)
        if size > LARGEST_FILE:
            msg = f"{host} sends more than {LARGEST_FILE} bytes for one result."
            raise LinkRefused(msg)
        if time.monotonic() - window_start > _SLOW_WINDOW:
            if window_size < _SLOWEST * _SLOW_WINDOW:
                msg = f"{host} sends the result at less than {_SLOWEST} bytes a second."
                raise DownloadFailed(msg)
            window_start, window_size = time.monotonic(), 0
        file.write(chunk)
    return digest.hexdigest(), size
