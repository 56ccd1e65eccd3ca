"""The scripted server as a process sees it: many clients, other processes, TLS, ports that open late, and its end."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import aiohttp
import pytest
import requests

from tests.faults import (
    Accept,
    Outcome,
    ScriptedServer,
    answer,
    forever,
    hold,
    pending,
    silent,
    unanswered_port,
)
from tests.faults.certificates import self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults import Request


def get(server: ScriptedServer, path: str) -> requests.Response:
    return requests.get(server.url + path, timeout=10)


def test_hundreds_of_clients_are_answered() -> None:
    with ScriptedServer({"GET /": [forever(answer(200, "x").delayed(0.2))]}) as server:

        async def everyone() -> list[int]:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

                async def one() -> int:
                    async with session.get(server.url) as response:
                        return response.status

                return await asyncio.gather(*(one() for _ in range(300)))

        assert asyncio.run(everyone()) == [200] * 300
    assert server.connections == 300
    assert len(server.requests) == 300


def test_a_client_may_be_another_process_that_a_hook_kills() -> None:
    code = "import sys, urllib.request as u; u.urlopen(sys.argv[1], data=b'{}')"
    children: list[subprocess.Popen[bytes]] = []
    started = threading.Event()

    def kill(_: Request) -> None:
        assert started.wait(10)
        children[0].kill()

    with ScriptedServer({"POST /": [pending("job-1").with_before(kill)]}) as server:
        children.append(subprocess.Popen([sys.executable, "-c", code, server.url]))  # noqa: S603 - our own code
        started.set()
        assert children[0].wait(20) == -signal.SIGKILL
        server.wait_for("POST /")
    assert server.count("POST") == 1


def test_leaving_ends_threads_and_connections_that_still_wait() -> None:
    threads = set(threading.enumerate())
    with (
        ScriptedServer({"GET /": [silent(), hold(threading.Event())]}, at_connect=[Accept.MUTE]) as server,
        ThreadPoolExecutor(2) as pool,
        socket.create_connection((server.host, server.port), timeout=10) as muted,
    ):
        waiting = [pool.submit(get, server, "/") for _ in range(2)]
        server.wait_for("GET /", 2)
        with pytest.raises(AssertionError, match="2 requests are still being answered"):
            server.settle(timeout=0.05)
        server.stop()
        for one in waiting:
            with pytest.raises(requests.ConnectionError):
                one.result(10)
        assert muted.recv(1) == b""
    assert {played.outcome for played in server.report().played} == {Outcome.STOPPED}
    assert set(threading.enumerate()) <= threads
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port))


def test_a_port_that_refuses_may_open_later() -> None:
    with ScriptedServer({"GET /": [answer()]}, host="127.0.0.2", listening=False) as server:
        with pytest.raises(requests.ConnectionError, match="refused"):
            get(server, "/")
        server.listen()
        with pytest.raises(RuntimeError, match="listens already"):
            server.listen()
        with pytest.raises(OSError, match="in use"):
            ScriptedServer(host=server.host, port=server.port)
        assert get(server, "/").status_code == 200
    assert (server.count(), server.host) == (1, "127.0.0.2")


def test_an_unanswered_port_times_out_while_connecting() -> None:
    with unanswered_port() as port, pytest.raises(requests.ConnectTimeout):
        requests.get(f"http://127.0.0.1:{port}", timeout=(0.3, 10))


def test_tls_is_spoken_with_the_given_certificate_which_may_change(tmp_path: Path) -> None:
    good, expired = self_signed(tmp_path), self_signed(tmp_path, expired=True)
    with ScriptedServer({"GET /": [answer(200, "x"), answer(200, "y")]}, tls=good.context) as server:
        assert requests.get(server.url, verify=str(good.authority), timeout=10).text == "x"
        assert requests.get(server.url, verify=str(good.authority), timeout=10).text == "y"
        with pytest.raises(requests.exceptions.SSLError, match="self-signed"):
            requests.get(server.url, timeout=10)
        server.use_tls(expired.context)
        with pytest.raises(requests.exceptions.SSLError, match="expired"):
            requests.get(server.url, verify=str(expired.authority), timeout=10)
    assert server.origin.startswith("https://127.0.0.1:")
    assert (server.count(), server.refused_handshakes) == (2, 2)


def test_a_certificate_may_be_for_another_host(tmp_path: Path) -> None:
    other = self_signed(tmp_path, address="127.0.0.9")
    with ScriptedServer(tls=other.context) as server:
        client = ssl.create_default_context(cafile=other.authority)
        with (
            socket.create_connection((server.host, server.port)) as plain,
            pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
        ):
            client.wrap_socket(plain, server_hostname=server.host)
