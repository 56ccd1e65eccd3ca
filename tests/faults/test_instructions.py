"""Every instruction, seen from a real client: what it gets, and what the server reports."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from tests.faults import (
    Accept,
    Instruction,
    Outcome,
    ScriptedServer,
    answer,
    chunked,
    close_after_request,
    cut_after,
    drip,
    endless,
    hold,
    keepalive_then_close,
    pending,
    raw,
    redirect,
    reset_after_request,
    silent,
)

if TYPE_CHECKING:
    from tests.faults import Request

BODY = bytes(range(256)) * 8


def talk(server: ScriptedServer, method: str = "GET") -> bytes:
    """Ask on a raw socket and return every byte until the server ends the connection."""
    got = bytearray()
    with socket.create_connection((server.host, server.port), timeout=10) as client:
        client.sendall(f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while data := client.recv(65536):
            got += data
    return bytes(got)


def outcomes(server: ScriptedServer) -> list[Outcome]:
    return [played.outcome for played in server.report().played]


def serve(*script: Instruction) -> ScriptedServer:
    return ScriptedServer({"* /": script})


def test_an_answer_has_exactly_these_bytes() -> None:
    with serve(answer(418, "hé", headers=[("X", "1"), ("X", "2")])) as server:
        got = talk(server)
    head = b"HTTP/1.1 418 I'm a Teapot\r\nContent-Length: 3\r\nConnection: close\r\nX: 1\r\nX: 2\r\n\r\n"
    assert got == head + "hé".encode()
    assert outcomes(server) == [Outcome.DONE]


@pytest.mark.parametrize(
    ("instruction", "method", "expected"),
    [
        (answer(520), "GET", b"HTTP/1.1 520 Scripted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        (answer(204), "GET", b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
        (answer(200, "x"), "HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n"),
        (
            answer(200, "x", headers={"content-length": "9"}),
            "GET",
            b"\r\nConnection: close\r\ncontent-length: 9\r\n\r\nx",
        ),
        (answer(200, json=None), "GET", b"\r\nContent-Type: application/json\r\n\r\nnull"),
        (answer(200, json=1, headers={"Content-Type": "text/html"}), "GET", b"\r\nContent-Type: text/html\r\n\r\n1"),
        (chunked(b"abcde", 2), "GET", b"\r\n\r\n2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n"),
        (raw(b"\x00 no HTTP"), "GET", b"\x00 no HTTP"),
        (cut_after(3, "abcdef"), "GET", b"\r\nContent-Length: 6\r\n\r\nabc"),
        (cut_after(3, "abcdef", framing="chunked"), "GET", b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        (cut_after(3, "abcdef", framing="close"), "GET", b"\r\nConnection: close\r\n\r\nabc"),
        (cut_after(0, "abcdef"), "GET", b"\r\nContent-Length: 6\r\n\r\n"),
        (drip("abc", 0.01, framing="chunked"), "GET", b"\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"),
        (endless(b"ab", 5, framing="chunked"), "GET", b"\r\n\r\n2\r\nab\r\n2\r\nab\r\n"),
        (close_after_request(), "GET", b""),
        (hold(0.01), "GET", b""),
    ],
)
def test_the_bytes_on_the_wire(instruction: Instruction, method: str, expected: bytes) -> None:
    with serve(instruction) as server:
        got = talk(server, method)
    assert got.endswith(expected)
    assert got.startswith(b"HTTP/1.1 ") or got == expected
    (played,) = server.report().played
    assert (played.instruction, played.outcome, played.sent) == (instruction.name, Outcome.DONE, len(got))


@pytest.mark.parametrize("instruction", [reset_after_request(), cut_after(3, BODY, abrupt=True)])
def test_a_reset_reaches_the_client_after_the_whole_request(instruction: Instruction) -> None:
    with serve(instruction) as server, pytest.raises(requests.RequestException) as caught:
        requests.post(server.url, data=BODY, timeout=10)
    assert "ConnectionResetError" in repr(caught.value)
    assert [request.body for request in server.requests] == [BODY]


@pytest.mark.parametrize(("what", "error"), [(Accept.RESET, ConnectionResetError), (Accept.CLOSE, None)])
def test_a_connection_may_end_before_anything_is_read(what: Accept, error: type[OSError] | None) -> None:
    with ScriptedServer({"* /": [answer(200, "x")]}, at_connect=[what]) as server:
        with socket.create_connection((server.host, server.port), timeout=10) as client:
            if error is None:
                assert client.recv(1) == b""
            else:
                client.sendall(b"G")
                with pytest.raises(error):
                    client.recv(1)
        assert talk(server).endswith(b"x")
    assert (server.connections, server.count()) == (2, 1)


def test_every_connection_may_be_reset() -> None:
    with ScriptedServer(at_connect=Accept.RESET) as server:
        for _ in range(2):
            with pytest.raises(requests.ConnectionError, match="reset by peer") as caught:
                requests.post(server.url, timeout=10)
            assert "NewConnectionError" not in repr(caught.value)  # it would mean "not sent": the RST came too early
    assert (server.connections, server.count()) == (2, 0)


def test_silence_is_a_read_timeout() -> None:
    with serve(silent()) as server, pytest.raises(requests.ReadTimeout):
        requests.post(server.url, data=b"x", timeout=(10, 0.2))
    assert (server.count("POST"), outcomes(server)) == (1, [Outcome.STOPPED])


def test_a_held_answer_comes_when_released() -> None:
    release = threading.Event()
    with serve(hold(release, then=pending("job-1"))) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(requests.post, server.url, timeout=10)
        server.wait_for("* /")
        assert not asked.done()
        release.set()
        assert asked.result(10).json()["id"] == "job-1"


def test_a_delayed_answer_takes_its_time() -> None:
    begin = time.monotonic()
    with serve(answer(200, "x").delayed(0.2)) as server:
        assert requests.get(server.url, timeout=10).text == "x"
    assert time.monotonic() - begin >= 0.2


def test_a_hook_runs_after_the_request_and_before_the_answer() -> None:
    seen: list[bytes] = []

    def hook(request: Request) -> None:
        seen.append(request.body)
        assert server.count() == 1

    with serve(pending("job-1").with_before(hook)) as server:
        assert requests.post(server.url, data=b"body", timeout=10).status_code == 202
    assert seen == [b"body"]


def test_a_pooled_connection_loses_the_next_request_and_a_fresh_one_does_not() -> None:
    with serve(keepalive_then_close(answer(200, "x")), pending("job-1")) as server, requests.Session() as session:
        assert session.get(server.url, timeout=10).text == "x"
        with pytest.raises(requests.ConnectionError):
            session.post(server.url, timeout=10)
        assert session.post(server.url, timeout=10).status_code == 202
    assert [(request.method, request.fresh) for request in server.requests] == [
        ("GET", True),
        ("POST", False),
        ("POST", True),
    ]
    assert "lost with its connection" in [played.instruction for played in server.report().played]


@pytest.mark.parametrize(("code", "method"), [(302, "GET"), (307, "POST")])
def test_a_redirect_leads_to_another_server(code: int, method: str) -> None:
    with (
        ScriptedServer({"* /there": [answer(200, "there")]}) as other,
        ScriptedServer({"POST /": [redirect(code, other.url + "/there")]}) as server,
    ):
        response = requests.post(server.url, data=b"x", headers={"API-Key": "k"}, timeout=10)
    assert (response.text, other.count(method), other.requests[0].header("api-key")) == ("there", 1, "k")


def test_a_redirect_may_stay_unfollowed() -> None:
    with ScriptedServer() as other, serve(redirect(302, other.url)) as server:
        assert requests.post(server.url, allow_redirects=False, timeout=10).headers["Location"] == other.url
    assert other.count() == 0


@pytest.mark.parametrize("status", [502, 407])
def test_it_may_stand_for_a_proxy_that_refuses_a_tunnel(status: int) -> None:
    with (
        ScriptedServer({"CONNECT ~api[.]example:443": [answer(status)]}) as proxy,
        pytest.raises(requests.exceptions.ProxyError),
    ):
        requests.get("https://api.example/", proxies={"https": proxy.url}, timeout=10)
    assert proxy.requests[0].target == "api.example:443"


def test_it_may_stand_for_a_plain_proxy() -> None:
    with ScriptedServer({"GET /a": [answer(200, "x")]}) as proxy:
        assert requests.get("http://api.example/a?b=1", proxies={"http": proxy.url}, timeout=10).text == "x"
    assert (proxy.requests[0].target, proxy.requests[0].query) == ("http://api.example/a?b=1", "b=1")
