"""
Fetch results by links that the API gave, in sessions of their own that never had the key.

No cookies, no proxies or credentials from the environment, redirects by hand, and each hop through the guard; bytes and
seconds are bounded. What a file must be is for the caller to say: it brings the check that a fetched file must pass.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import urljoin

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, stop_before_delay

import airflow_imagepipeline
from airflow_imagepipeline.contract.answers import ApiResponse, retry_after
from airflow_imagepipeline.contract.errors import (
    DownloadFailed,
    LinkExpired,
    LinkRefused,
    NotTheResult,
    ResultRefused,
)
from airflow_imagepipeline.contract.links import data_in
from airflow_imagepipeline.contract.text import cleaned, is_data_link
from airflow_imagepipeline.hooks.download_limits import DownloadLimits
from airflow_imagepipeline.hooks.link_guard import CheckedResolver, checked_link

if TYPE_CHECKING:
    from typing import BinaryIO

    from aiohttp.abc import AbstractResolver

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)
_CHUNK: Final = 65536
_OK: Final = 200
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REFUSALS: Final = range(400, 500)
_LATER: Final = frozenset({408, 421, 425, 429})
# https://www.iana.org/assignments/http-parameters, content codings. Other words (aws-chunked, utf-8) are labels that
# stores keep of an upload: they say nothing of the bytes.
_UNPACKED: Final = frozenset({"gzip", "x-gzip", "deflate"})
_UNKNOWN: Final = frozenset({"br", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip", "zstd"})
_GZIP_START, _ZLIB_START = b"\x1f\x8b", b"\x78"
_GZIP, _ZLIB, _RAW = 31, 15, -15


@dataclass(frozen=True)
class Download(Generic[T]):
    """
    A fetched file.

    :param sha256: hexadecimal digest of the file's bytes.
    :param size: bytes.
    :param found: what the caller's check returned.
    """

    path: Path
    sha256: str
    size: int
    found: T


class Downloader:
    """
    Fetch links into files.

    :param allow_loopback: whether links to this machine may be fetched: only when the API is here too.
    :param sleep: waits between attempts.
    :param resolver: who is asked for the addresses of a name; None means the system.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool,
        limits: DownloadLimits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allow_loopback = allow_loopback
        self._limits = limits or DownloadLimits()
        self._sleep = sleep
        self._resolver = resolver
        self._random = random.Random()

    def fetch(self, link: str, path: Path, check: Callable[[Path], T]) -> Download[T]:
        """
        Fetch a link into a file, again and again within the limits, until it passes the check.

        :param path: for the file; nothing of the link goes into a name.
        :param check: raises :class:`DownloadFailed` for a file that is not whole, :class:`NotTheResult` for one that is
            something else.
        :raises LinkExpired: when the host refuses the link.
        :raises DownloadFailed: when the file could not be fetched whole in all attempts.
        :raises LinkRefused: when the link must not be followed.
        :raises ResultRefused: when the file is too large.
        :raises OSError: when the file cannot be written here.
        """
        if is_data_link(link):
            content = data_in(link, self._limits.bytes)
            path.write_bytes(content)
            return Download(path, hashlib.sha256(content).hexdigest(), len(content), check(path))
        return asyncio.run(self._fetch(link, path, check))

    async def _fetch(self, link: str, path: Path, check: Callable[[Path], T]) -> Download[T]:
        engine = AsyncRetrying(
            retry=self._may_try_again,
            wait=self._pause,
            stop=stop_before_delay(self._limits.all_seconds),
            before_sleep=_remark,
            sleep=self._sleep,
            reraise=True,
        )
        result: Download[T] = await engine(self._attempt, link, path, check)
        return result

    async def _attempt(self, link: str, path: Path, check: Callable[[Path], T]) -> Download[T]:
        try:
            async with asyncio.timeout(self._limits.seconds), self._session() as session:
                sha256, size = await self._follow(session, link, path)
        except TimeoutError:
            msg = f"A result took longer than {self._limits.seconds:g} seconds to come."
            raise DownloadFailed(msg) from None
        return Download(path, sha256, size, check(path))

    def _session(self) -> aiohttp.ClientSession:
        resolver = CheckedResolver(allow_loopback=self._allow_loopback, resolver=self._resolver)
        limits = self._limits
        return aiohttp.ClientSession(
            # A connection for each request: one that a host kept open may be dead, or hold what it sent too much.
            connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={
                "Accept-Encoding": "identity",
                "User-Agent": f"airflow-provider-imagepipeline/{airflow_imagepipeline.__version__}",
            },
            timeout=aiohttp.ClientTimeout(sock_connect=limits.connect_seconds, sock_read=limits.silent_seconds),
        )

    async def _follow(self, session: aiohttp.ClientSession, link: str, path: Path) -> tuple[str, int]:
        for _ in range(self._limits.redirects + 1):
            url = checked_link(link, allow_loopback=self._allow_loopback)
            host = cleaned(url.host, 80)
            try:
                async with session.get(url, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await self._received(response, path, host)
                    link = _next_hop(response, link, host)
            except aiohttp.ClientConnectorCertificateError:
                msg = f"{host} shows no valid certificate, so no result is fetched from it."
                raise LinkRefused(msg) from None
            except aiohttp.ClientError as exc:
                # The library's error may hold the link, and so what signs it.
                msg = f"A result could not be fetched whole from {host} ({type(exc).__name__})."
                raise DownloadFailed(msg) from None
        msg = f"{host} redirected a result's link once more than {self._limits.redirects} times."
        raise LinkRefused(msg)

    async def _received(self, response: aiohttp.ClientResponse, path: Path, host: str) -> tuple[str, int]:
        if response.status != _OK:
            raise _bad_answer(response, host)
        coding = _coding_of(response, host)
        if (response.content_length or 0) > self._limits.bytes:
            raise self._too_large(host)
        with path.open("wb") as file:
            return await self._stream(_unpacked(response.content, coding, host), file, host)

    async def _stream(self, chunks: AsyncIterator[bytes], file: BinaryIO, host: str) -> tuple[str, int]:
        limits = self._limits
        digest, size = hashlib.sha256(), 0
        window_start, window_size = time.monotonic(), 0
        async for chunk in chunks:
            size += len(chunk)
            if size > limits.bytes:
                raise self._too_large(host)
            digest.update(chunk)
            file.write(chunk)
            window_size += len(chunk)
            if time.monotonic() - window_start > limits.slow_seconds:
                if window_size < limits.slowest * limits.slow_seconds:
                    msg = f"{host} sends the result at less than {limits.slowest} bytes a second."
                    raise DownloadFailed(msg)
                window_start, window_size = time.monotonic(), 0
        return digest.hexdigest(), size

    def _too_large(self, host: str) -> ResultRefused:
        return ResultRefused(f"{host} sends more than {self._limits.bytes} bytes for one result.")

    def _may_try_again(self, state: RetryCallState) -> bool:
        return self._limits.may_try_again(state.attempt_number, _error_of(state))

    def _pause(self, state: RetryCallState) -> float:
        return self._limits.pause(state.attempt_number, _error_of(state), self._random)


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _remark(state: RetryCallState) -> None:
    seconds = state.upcoming_sleep
    _log.warning("%s Attempt %d; the next one in %.0f s.", _error_of(state), state.attempt_number, seconds)


def _next_hop(response: aiohttp.ClientResponse, link: str, host: str) -> str:
    location = response.headers.get("Location", "")
    try:
        target = urljoin(link, location) if location else ""
    except ValueError:
        target = ""
    if not target:
        msg = f"{host} redirected a result's link without saying where to."
        raise DownloadFailed(msg)
    return target


def _coding_of(response: aiohttp.ClientResponse, host: str) -> str:
    named = ",".join(response.headers.getall("Content-Encoding", [])).lower().split(",")
    codings = [coding for coding in map(str.strip, named) if coding in _UNPACKED | _UNKNOWN]
    if len(codings) > 1 or _UNKNOWN.intersection(codings):
        packed = ", ".join(codings)[:80]
        msg = f"{host} compressed the result ({packed}), which was not asked for and cannot be unpacked here."
        raise NotTheResult(msg)
    return "".join(codings)


async def _unpacked(content: aiohttp.StreamReader, coding: str, host: str) -> AsyncIterator[bytes]:
    """Yield what was sent, unpacked, in pieces that are small also where little unpacks to much."""
    start = b""
    while coding and len(start) < len(_GZIP_START) and (piece := await content.readany()):
        start += piece
    unpack = _unpacker(coding, start)
    if unpack is None:
        yield start
        async for chunk in content.iter_chunked(_CHUNK):
            yield chunk
        return
    packed = start
    try:
        while packed and not unpack.eof:
            yield unpack.decompress(packed, _CHUNK)
            packed = unpack.unconsumed_tail or await content.readany()
        yield unpack.flush()
    except zlib.error:
        msg = f"{host} compressed the result ({coding}), and what came cannot be unpacked."
        raise DownloadFailed(msg) from None
    if not unpack.eof:
        msg = f"{host} compressed the result ({coding}), and sent a part of it only."
        raise DownloadFailed(msg)


def _unpacker(coding: str, start: bytes) -> zlib._Decompress | None:
    if coding == "deflate":
        # The stream of RFC 1950, or the bare one of RFC 1951, which browsers take, too.
        return zlib.decompressobj(_ZLIB if start.startswith(_ZLIB_START) else _RAW)
    # What only has the label of an upload's compression is taken as it is.
    return zlib.decompressobj(_GZIP) if coding and start.startswith(_GZIP_START) else None


def _bad_answer(response: aiohttp.ClientResponse, host: str) -> DownloadFailed:
    if response.status in _REFUSALS and response.status not in _LATER:
        return LinkExpired(f"{host} does not give the result for this link any more ({response.status}).")
    headers = {name.lower(): value for name, value in response.headers.items()}
    answer = ApiResponse(host, response.status, headers, b"", time.time())
    said = f"{host} answered {response.status} instead of the result."
    return DownloadFailed(said, retry_after=retry_after(answer))
