"""Every way in which a network fails has one class, whichever library was sending: the class decides about money."""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.contract import calls
from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.contract.errors import ImagePipelineError, Malformed, Misconfigured, NotSent, Uncertain
from airflow_imagepipeline.hooks import transport
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from tests.faults import (
    STATUS,
    SUBMIT,
    Accept,
    ScriptedServer,
    answer,
    close_after_request,
    cut_after,
    drip,
    drip_headers,
    endless,
    forever,
    gzip_bomb,
    keepalive_then_close,
    pending,
    raw,
    reset_after_request,
    silent,
    unanswered_port,
)
from tests.faults.certificates import self_signed
from tests.hooks.test_imagepipeline import HANDLE, PARAMETERS, in_both_libraries, sent
from tests.running import fails_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults import Instruction

pytestmark = pytest.mark.usefixtures("logs")

PENDING = b'{"id": "job-1", "status": "PENDING", "note": "' + b"x" * 200 + b'"}'
CALLS = {"submission": lambda: calls.submit_job(PARAMETERS), "look": lambda: calls.get_job(HANDLE)}

for_both_kinds = pytest.mark.parametrize("kind", CALLS)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(transport, "READ_SECONDS", dict.fromkeys(RequestKind, 0.8))
    monkeypatch.setattr(transport, "TOTAL_SECONDS", dict.fromkeys(RequestKind, 1.2))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextmanager
def _refusing(_: Path) -> Iterator[str]:
    with ScriptedServer(listening=False) as server:
        yield server.url


@contextmanager
def _unknown(_: Path) -> Iterator[str]:
    yield "https://x.invalid"


@contextmanager
def _unanswered(_: Path) -> Iterator[str]:
    with unanswered_port() as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _untrusted(folder: Path) -> Iterator[str]:
    with ScriptedServer(tls=self_signed(folder).context) as server:
        yield server.url


@contextmanager
def _expired(folder: Path) -> Iterator[str]:
    with ScriptedServer(tls=self_signed(folder, expired=True).context) as server:
        yield server.url


@contextmanager
def _mute_tls(_: Path) -> Iterator[str]:
    with ScriptedServer(at_connect=Accept.MUTE) as server:
        yield server.url.replace("http", "https")


@for_both_kinds
@in_both_libraries
@pytest.mark.parametrize(
    ("place", "error", "words"),
    [
        pytest.param(_refusing, NotSent, "no connection to the host", id="connection refused"),
        pytest.param(_unknown, NotSent, "no connection to the host", id="unknown name"),
        pytest.param(_unanswered, NotSent, "no connection to the host", id="nobody answers the connection"),
        pytest.param(_untrusted, Misconfigured, "certificate is not valid", id="unknown authority"),
        pytest.param(_expired, Misconfigured, "certificate is not valid", id="expired certificate"),
    ],
)
def test_where_no_connection_stands_nothing_was_sent(
    connection: Callable[..., None],
    place: Any,
    error: type[ImagePipelineError],
    words: str,
    tmp_path: Path,
    *,
    library: str,
    kind: str,
) -> None:
    with place(tmp_path) as url:
        connection(url)
        with fails_with(error, "(connection 'imagepipeline_default')", "was not sent", words):
            sent(CALLS[kind](), library)


@for_both_kinds
@in_both_libraries
@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param(reset_after_request(), Uncertain, id="reset"),
        pytest.param(close_after_request(), Uncertain, id="closed"),
        pytest.param(silent(), Uncertain, id="silence"),
        pytest.param(raw(b"nonsense\r\n\r\n"), Uncertain, id="no HTTP"),
        pytest.param(raw(b"HTTP/1.1 abc OK\r\n\r\n"), Uncertain, id="no status"),
        pytest.param(cut_after(10, PENDING), Uncertain, id="cut in the body"),
        pytest.param(cut_after(10, PENDING, framing="chunked"), Uncertain, id="cut between chunks"),
        pytest.param(cut_after(10, PENDING, abrupt=True), Uncertain, id="reset in the body"),
        pytest.param(cut_after(10, PENDING, framing="close"), Malformed, id="cut without a length"),
        pytest.param(drip(PENDING, 0.1), Uncertain, id="a byte at a time"),
        pytest.param(answer(200, b""), Malformed, id="nothing"),
        pytest.param(answer(200, b"<html>"), Malformed, id="a web page"),
        pytest.param(endless(b"x" * 65536, 64 * 2**20), Malformed, id="without an end"),
        pytest.param(gzip_bomb(300 * 2**20, "zeros"), Malformed, id="a compressed bomb"),
    ],
)
def test_once_the_request_has_left_nothing_is_certain(
    connection: Callable[..., None], script: Instruction, error: type[ImagePipelineError], *, library: str, kind: str
) -> None:
    with ScriptedServer({"* /": [forever(script)]}) as server:
        connection(server.url)
        with fails_with(error, "(connection 'imagepipeline_default')"):
            sent(CALLS[kind](), library)
    # aiohttp repeats a GET by itself when its connection dies; a submission leaves once.
    assert server.count("POST") == (kind == "submission")
    assert server.count() <= 2


@in_both_libraries
@pytest.mark.parametrize("what", [Accept.RESET, Accept.CLOSE])
def test_a_connection_that_ends_before_the_request_was_read_is_uncertain_too(
    connection: Callable[..., None], what: Accept, library: str
) -> None:
    with ScriptedServer(at_connect=what) as server:
        connection(server.url)
        with fails_with(Uncertain):
            sent(CALLS["submission"](), library)


@in_both_libraries
def test_a_tls_greeting_without_an_answer_ends(connection: Callable[..., None], tmp_path: Path, library: str) -> None:
    with _mute_tls(tmp_path) as url:
        connection(url)
        with pytest.raises((NotSent, Uncertain)):
            sent(CALLS["submission"](), library)


def test_headers_that_drip_are_bounded_in_the_triggerer(connection: Callable[..., None]) -> None:
    with ScriptedServer({"* /": [drip_headers(0.05)]}) as server:
        connection(server.url)
        with fails_with(Uncertain):
            sent(CALLS["look"](), "aiohttp")


@in_both_libraries
def test_a_proxy_that_is_gone_is_no_connection(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    with ScriptedServer(listening=False) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        connection("https://x.invalid")
        with fails_with(NotSent, "no connection to the host"):
            sent(CALLS["submission"](), library)


@in_both_libraries
def test_a_proxy_whose_name_is_none_has_sent_nothing(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy..example:3128")
    monkeypatch.setenv("NO_PROXY", "")
    connection("https://x.invalid")
    with fails_with(Misconfigured, "could not be formed", "the proxy"):
        sent(CALLS["submission"](), library)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_that_are_not_there_have_sent_nothing(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, str(tmp_path / "gone.pem"))
    connection("https://x.invalid")
    with fails_with(Misconfigured, "was not sent", name, "gone.pem"):
        sent(CALLS["submission"](), "requests")


@in_both_libraries
@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(502, NotSent, "ProxyError"), (403, NotSent, "ProxyError"), (407, Misconfigured, "proxy asks for credentials")],
)
def test_a_proxy_that_opens_no_tunnel_has_sent_nothing(
    connection: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    error: type[ImagePipelineError],
    words: str,
    *,
    library: str,
) -> None:
    with ScriptedServer({"CONNECT ~.*": [answer(status)]}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        connection("https://x.invalid")
        with fails_with(error, "was not sent", words):
            sent(CALLS["submission"](), library)
        # The key goes through the tunnel only.
        assert proxy.requests[0].header("API-Key") is None


ANSWERED = b'{"id": "job-1", "status": "PENDING", "note": "' + b"x" * 200 + b'"}'
READABLE = {
    "more announced than came": lambda: cut_after(len(ANSWERED), ANSWERED + b" " * 30),
    "a missing last chunk": lambda: cut_after(len(ANSWERED), ANSWERED + b" " * 30, framing="chunked"),
    "reset behind the whole body": lambda: cut_after(len(ANSWERED), ANSWERED + b" " * 30, abrupt=True),
    "gzip that nobody asked for": lambda: answer(200, gzip.compress(ANSWERED), headers={"Content-Encoding": "gzip"}),
    "the store's word for an upload": lambda: answer(200, ANSWERED, headers={"Content-Encoding": "aws-chunked"}),
    "a charset as encoding": lambda: answer(200, ANSWERED, headers={"Content-Encoding": "utf-8"}),
    "not a number": lambda: answer(200, ANSWERED[:-1] + b', "cost_usd": NaN}'),
}


@pytest.mark.fault(120)
@pytest.mark.real_input("D3", "D4")
@for_both_kinds
@in_both_libraries
@pytest.mark.parametrize("script", READABLE)
def test_a_whole_object_in_a_broken_envelope_is_read(
    connection: Callable[..., None], script: str, *, library: str, kind: str
) -> None:
    with ScriptedServer({"* /": [READABLE[script]()]}) as server:
        connection(server.url)
        assert sent(CALLS[kind](), library).handle.job_id == "job-1"
    assert server.count() == 1


@pytest.mark.fault(120)
@in_both_libraries
@pytest.mark.parametrize("came", [40, 60])
def test_an_id_that_came_whole_is_used_though_the_rest_was_cut(
    connection: Callable[..., None], came: int, library: str
) -> None:
    with ScriptedServer({"* /": [cut_after(came, ANSWERED)]}) as server:
        connection(server.url)
        assert sent(CALLS["submission"](), library).handle.job_id == "job-1"


@pytest.mark.fault(120)
def test_an_id_is_read_from_more_than_was_announced(connection: Callable[..., None]) -> None:
    # aiohttp's parser throws the answer away when more than that follows: there it stays uncertain.
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n"
    with ScriptedServer({"* /": [raw(head + ANSWERED)]}) as server:
        connection(server.url)
        assert sent(CALLS["submission"](), "requests").handle.job_id == "job-1"


@pytest.mark.fault(9)
@pytest.mark.asyncio
async def test_a_submission_of_a_batch_takes_no_connection_that_polls_have_kept(
    connection: Callable[..., None],
) -> None:
    poll, submission = calls.get_job(HANDLE), calls.submit_job(PARAMETERS)
    with ScriptedServer({STATUS: [keepalive_then_close(pending())], SUBMIT: [pending()]}) as server:
        connection(server.origin)
        hook = ImagePipelineHook()
        async with hook.asession() as session:
            await hook.asend(poll, session)
            job = await hook.asend(submission, session)
        assert job.handle.job_id == "job-1"
        assert [(request.method, request.fresh) for request in server.requests] == [("GET", True), ("POST", True)]
