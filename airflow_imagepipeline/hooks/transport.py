"""
Carry an API request over the network: once with requests, once with aiohttp, and no more than that.

Both name a failure by the contract's classes, without following redirects, without retries of their own, and without
the library's error in the chain: it may hold the request's headers, and so the key. Time is bounded as a whole,
except that a server which drips response *headers* to requests is bounded only by the task's ``execution_timeout``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import airflow_imagepipeline
from airflow_imagepipeline.contract.answers import LARGEST_ANSWER, ApiResponse
from airflow_imagepipeline.contract.calls import ApiRequest, RequestKind
from airflow_imagepipeline.hooks.failures import named_aiohttp, named_requests, refuse_missing_authorities

if TYPE_CHECKING:
    import aiohttp
    import requests

    from airflow_imagepipeline.hooks.connection import ApiAccess

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final[Mapping[RequestKind, float]] = {
    RequestKind.SUBMIT: 60.0,
    RequestKind.LOOK: 30.0,
    RequestKind.UPLOAD: 60.0,
}
"""Longest silence of the server."""
TOTAL_SECONDS: Final[Mapping[RequestKind, float]] = {
    RequestKind.SUBMIT: 90.0,
    RequestKind.LOOK: 60.0,
    RequestKind.UPLOAD: 300.0,
}
"""Longest time for a request and its whole answer."""

_CHUNK: Final = 65536


def source_of(access: ApiAccess, request: ApiRequest) -> str:
    """Return what an error's sentence calls this request."""
    return f"{request.method} {request.path} (connection {access.conn_id!r})"


def _headers(access: ApiAccess, request: ApiRequest) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        # Nothing is compressed on the way, so that nothing small becomes large here.
        "Accept-Encoding": "identity",
        "User-Agent": f"airflow-provider-imagepipeline/{airflow_imagepipeline.__version__}",
        **access.key_headers(request.key_header),
    }
    if request.body is not None:
        headers["Content-Type"] = request.content_type
    if request.kind is RequestKind.SUBMIT:
        # A kept-alive connection may be dead: the request would be lost without anyone knowing whether it was taken.
        headers["Connection"] = "close"
    return headers


def send_with_requests(access: ApiAccess, request: ApiRequest) -> ApiResponse:
    """
    Send once and return the answer, whatever its status.

    :raises ImagePipelineError: when no answer came.
    """
    import requests
    from urllib3.exceptions import LocationParseError

    source, until = source_of(access, request), time.monotonic() + TOTAL_SECONDS[request.kind]
    if urlsplit(access.origin).scheme == "https":
        refuse_missing_authorities(source)
    try:
        with (
            _requests_session() as session,
            session.request(
                request.method,
                access.origin + request.path,
                data=request.body,
                headers=_headers(access, request),
                timeout=(CONNECT_SECONDS, READ_SECONDS[request.kind]),
                allow_redirects=False,
                stream=True,
                # Keeps requests from adding the credentials of a netrc file.
                auth=lambda prepared: prepared,
            ) as response,
        ):
            body = _read_until(response, until)
    except (requests.RequestException, LocationParseError) as exc:
        failure = named_requests(exc, source)
    else:
        return _answer(access, request, response.status_code, response.headers, body)
    # Out here, so that the library's error, which holds the request's headers, is not even a suppressed context.
    raise failure


def _requests_session() -> requests.Session:
    import requests

    session = requests.Session()
    # requests works out where a redirect leads even if it is not followed: it would read the whole body, however
    # large, and raise what is no RequestException for a Location that is no address.
    session.get_redirect_target = lambda _: None  # type: ignore[method-assign, assignment]
    return session


def _answer(
    access: ApiAccess, request: ApiRequest, status: int, headers: Mapping[str, str], body: bytes
) -> ApiResponse:
    # What an API repeats of the key would go on into messages, and those into logs and events.
    shown = {name.lower(): access.without_key(value) for name, value in headers.items()}
    body = access.without_key(body.decode("latin-1")).encode("latin-1")
    return ApiResponse(source_of(access, request), status, shown, body, time.time())


def _read_until(response: requests.Response, until: float) -> bytes:
    import requests
    from urllib3.exceptions import HTTPError

    body = bytearray()
    try:
        for chunk in _raw_chunks(response):
            body += chunk
            if len(body) > LARGEST_ANSWER:
                break
            if time.monotonic() > until:
                raise requests.ReadTimeout
    except HTTPError as exc:
        raise requests.exceptions.ChunkedEncodingError(type(exc).__name__) from exc
    return bytes(body)


def _raw_chunks(response: requests.Response) -> Iterator[bytes]:
    # read1 returns what has arrived: a server that drips is noticed between its drops.
    while chunk := response.raw.read1(_CHUNK, decode_content=False):
        yield chunk


@asynccontextmanager
async def aiohttp_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Open the one session of a trigger's run: no cookies, no decompression, proxies decided by request."""
    import aiohttp

    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def send_with_aiohttp(access: ApiAccess, request: ApiRequest, session: aiohttp.ClientSession) -> ApiResponse:
    """
    Send once and return the answer, whatever its status.

    :raises ImagePipelineError: when no answer came.
    """
    import aiohttp

    timeout = aiohttp.ClientTimeout(
        total=TOTAL_SECONDS[request.kind], sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS[request.kind]
    )
    url = access.origin + request.path
    try:
        async with session.request(
            request.method,
            url,
            data=request.body,
            headers=_headers(access, request),
            timeout=timeout,
            allow_redirects=False,
            proxy=_proxy_for(url),
        ) as response:
            body = await _aread_capped(response)
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        failure = named_aiohttp(exc, source_of(access, request))
    else:
        return _answer(access, request, response.status, response.headers, body)
    raise failure  # as in send_with_requests


async def _aread_capped(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > LARGEST_ANSWER:
            break
    return bytes(body)


def _proxy_for(url: str) -> str | None:
    # The proxies that requests would use, so that worker and triggerer take the same way. aiohttp's own trust_env
    # would also read a netrc file.
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
