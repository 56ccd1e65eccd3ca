"""
Carry an API request over the network: once with requests, once with aiohttp, and no more than that.

Both name a failure by the contract's classes, without following redirects, without retries of their own, and without
the library's error in the chain: it may hold the request's headers, and so the key. Both take the same way (see
``hooks.route``), and a connection that fails behind a whole answer has brought that answer. Time is bounded as a whole,
except that a server which drips response *headers* to requests is bounded only by the task's ``execution_timeout``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import airflow_imagepipeline
from airflow_imagepipeline.contract.answers import ApiResponse, most_bytes
from airflow_imagepipeline.contract.calls import ApiRequest, RequestKind
from airflow_imagepipeline.contract.errors import ImagePipelineError, Uncertain
from airflow_imagepipeline.hooks.failures import named_aiohttp, named_requests
from airflow_imagepipeline.hooks.route import authorities_for, proxy_for, tls_context

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


def _refuse_key(access: ApiAccess, request: ApiRequest) -> None:
    # The last guard: whatever made the request, the key leaves in its own header only. Uploads are images.
    body = b"" if request.kind is RequestKind.UPLOAD else request.body or b""
    access.refuse_key({"the job's id": unquote(request.path), "the request": body.decode()})


def send_with_requests(access: ApiAccess, request: ApiRequest) -> ApiResponse:
    """
    Send once and return the answer, whatever its status.

    :raises ImagePipelineError: when no answer came.
    """
    import requests
    from urllib3.exceptions import LocationParseError

    _refuse_key(access, request)
    source, until = source_of(access, request), time.monotonic() + TOTAL_SECONDS[request.kind]
    proxy = proxy_for(access.origin)
    scheme = urlsplit(access.origin).scheme
    response, body, failure = None, bytearray(), None
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
                proxies={scheme: proxy} if proxy else {},
                verify=authorities_for(access, source),
            ) as response,
        ):
            _read_until(response, body, until)
    except (requests.RequestException, LocationParseError) as exc:
        failure = named_requests(exc, source)
    # Out here, so that the library's error, which holds the request's headers, is not even a suppressed context.
    return _answer(access, request, response, body, failure)


def _requests_session() -> requests.Session:
    import requests

    session = requests.Session()
    # What the environment says of proxies and authorities is read elsewhere; a netrc file, nowhere.
    session.trust_env = False
    # requests works out where a redirect leads even if it is not followed: it would read the whole body, however
    # large, and raise what is no RequestException for a Location that is no address.
    session.get_redirect_target = lambda _: None  # type: ignore[method-assign, assignment]
    return session


def _answer(
    access: ApiAccess,
    request: ApiRequest,
    response: requests.Response | aiohttp.ClientResponse | None,
    body: bytearray,
    failure: ImagePipelineError | None,
) -> ApiResponse:
    if response is None:
        raise failure or Uncertain(f"{source_of(access, request)} brought no answer.")
    # What an API repeats of the key would go on into messages, and those into logs and events.
    shown = {name.lower(): access.without_key(value) for name, value in response.headers.items()}
    status = response.status_code if hasattr(response, "status_code") else response.status
    source = source_of(access, request)
    return ApiResponse(source, status, shown, bytes(body), time.time(), access.without_key, failure)


def _read_until(response: requests.Response, body: bytearray, until: float) -> None:
    import requests
    from urllib3.exceptions import HTTPError

    try:
        for chunk in _raw_chunks(response):
            body += chunk
            if len(body) > most_bytes(body):
                break
            if time.monotonic() > until:
                raise requests.ReadTimeout
    except HTTPError as exc:
        raise requests.exceptions.ChunkedEncodingError(type(exc).__name__) from exc


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


@asynccontextmanager
async def _session_for(request: ApiRequest, session: aiohttp.ClientSession) -> AsyncIterator[aiohttp.ClientSession]:
    # A connection that polls have kept open may be dead: a submission on it would be lost without anyone knowing
    # whether it was taken. Only a session of its own never takes such a connection.
    if request.kind is not RequestKind.SUBMIT:
        yield session
        return
    async with aiohttp_session() as own:
        yield own


async def send_with_aiohttp(access: ApiAccess, request: ApiRequest, session: aiohttp.ClientSession) -> ApiResponse:
    """
    Send once and return the answer, whatever its status.

    :raises ImagePipelineError: when no answer came.
    """
    import aiohttp
    from yarl import URL

    _refuse_key(access, request)
    source = source_of(access, request)
    timeout = aiohttp.ClientTimeout(
        total=TOTAL_SECONDS[request.kind], sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS[request.kind]
    )
    authorities = authorities_for(access, source)
    response, body, failure = None, bytearray(), None
    try:
        async with (
            _session_for(request, session) as chosen,
            chosen.request(
                request.method,
                # Sent as it is written: aiohttp would quote the job's id in its own way.
                URL(access.origin + request.path, encoded=True),
                data=request.body,
                headers=_headers(access, request),
                timeout=timeout,
                allow_redirects=False,
                proxy=proxy_for(access.origin),
                ssl=tls_context(authorities),
            ) as response,
        ):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > most_bytes(body):
                    break
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        failure = named_aiohttp(exc, source)
        if response is not None:
            # The reader raises as soon as it knows of a failure, before it gives what had come by then.
            while response.content._buffer:  # noqa: SLF001 - nothing public gives it
                body += response.content._read_nowait_chunk(-1)  # noqa: SLF001
    return _answer(access, request, response, body, failure)  # out here, as in send_with_requests
