"""The proxy's toxics, each in front of a server that behaves."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from tests.faults import ScriptedServer, TcpProxy, answer, forever, hold, pending
from tests.faults.certificates import self_signed
from tests.faults.toxics import Lane, Strike

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 40
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer({"* /": [forever(answer(200, BODY))]}, allow_unused=True) as server:
        yield server


@pytest.fixture
def proxy(server: ScriptedServer) -> Iterator[TcpProxy]:
    with TcpProxy(server.port) as proxy:
        yield proxy


def fetch(proxy: TcpProxy, *, timeout: float = 10) -> bytes:
    return requests.get(proxy.url, timeout=timeout).content


def stream(proxy: TcpProxy) -> bytes:
    """Return every byte of an answer, head included."""
    got = bytearray()
    with socket.create_connection((proxy.host, proxy.port), timeout=10) as client:
        client.sendall(REQUEST)
        while data := client.recv(65536):
            got += data
    return bytes(got)


def test_without_toxics_everything_passes_and_is_counted(proxy: TcpProxy, server: ScriptedServer) -> None:
    first = stream(proxy)
    assert first.endswith(BODY)
    assert fetch(proxy) == BODY
    assert (proxy.connections, server.connections) == (2, 2)
    assert proxy.bytes_down >= 2 * len(BODY)
    assert proxy.bytes_up >= 2 * len(REQUEST)
    assert proxy.struck == 0


def test_many_clients_pass_at_once(proxy: TcpProxy) -> None:
    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(lambda _: fetch(proxy), range(200))) == {BODY}
    assert proxy.connections == 200


def test_latency_delays_and_ends(proxy: TcpProxy) -> None:
    proxy.latency(0.3)
    begin = time.monotonic()
    assert fetch(proxy) == BODY
    assert time.monotonic() - begin >= 0.3
    proxy.latency(60)
    with pytest.raises(requests.ReadTimeout):
        fetch(proxy, timeout=0.2)
    proxy.clear()
    assert fetch(proxy) == BODY


def test_bandwidth_throttles(proxy: TcpProxy) -> None:
    proxy.bandwidth(len(BODY) * 2)
    begin = time.monotonic()
    assert fetch(proxy) == BODY
    assert time.monotonic() - begin >= 0.4
    proxy.bandwidth(None)
    assert fetch(proxy) == BODY


def test_a_reset_strikes_open_and_new_connections_until_cleared(proxy: TcpProxy) -> None:
    with socket.create_connection((proxy.host, proxy.port), timeout=10) as client:
        client.sendall(REQUEST[:10])
        while proxy.bytes_up < 10:
            time.sleep(0.01)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(requests.ConnectionError) as caught:
        fetch(proxy)
    assert "NewConnectionError" not in repr(caught.value)
    proxy.clear()
    assert fetch(proxy) == BODY
    assert proxy.struck == 2


def test_a_reset_after_so_many_bytes(proxy: TcpProxy) -> None:
    proxy.reset(after=1000)
    with pytest.raises(ConnectionResetError):
        stream(proxy)
    assert proxy.bytes_down == 1000


def test_a_cut_passes_exactly_so_many_bytes(proxy: TcpProxy) -> None:
    whole = stream(proxy)
    proxy.cut_after(1000, times=1)
    assert stream(proxy) == whole[:1000]
    assert stream(proxy) == whole
    assert proxy.struck == 1


def test_an_upload_may_be_cut(proxy: TcpProxy, server: ScriptedServer) -> None:
    proxy.cut_after(5000, direction="up")
    with pytest.raises(requests.ConnectionError):
        requests.put(proxy.url, data=BODY, timeout=10)
    assert (proxy.bytes_up, server.count("PUT")) == (5000, 0)


def test_one_bit_is_flipped(proxy: TcpProxy) -> None:
    whole = stream(proxy)
    place = len(whole) - 100
    proxy.flip_bit(place, times=1)
    damaged = stream(proxy)
    assert [(at, one ^ other) for at, (one, other) in enumerate(zip(whole, damaged, strict=True)) if one != other] == [
        (place, 1)
    ]
    assert stream(proxy) == whole


def test_down_refuses_drops_and_comes_up_on_the_same_port(proxy: TcpProxy) -> None:
    with requests.Session() as session:
        assert session.get(proxy.url, timeout=10).content == BODY
        proxy.down()
        with pytest.raises(requests.ConnectionError):
            session.get(proxy.url, timeout=10)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((proxy.host, proxy.port))
        proxy.down()
        proxy.up()
        proxy.up()
        assert session.get(proxy.url, timeout=10).content == BODY


def test_down_may_spare_open_connections(proxy: TcpProxy) -> None:
    with requests.Session() as session:
        session.get(proxy.url, timeout=10)
        proxy.down(drop=False)
        assert session.get(proxy.url, timeout=10).content == BODY
        with pytest.raises(requests.ConnectionError, match="refused"):
            fetch(proxy)


def test_a_submit_is_lost_when_the_network_goes_down_behind_it() -> None:
    release = threading.Event()
    with (
        ScriptedServer({"POST /": [hold(release, then=pending("job-1"))]}) as server,
        TcpProxy(server.port) as proxy,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(requests.post, proxy.url, timeout=10)
        server.wait_for("POST /")
        proxy.down()
        with pytest.raises(requests.ConnectionError):
            asked.result(10)
        release.set()
    assert server.count("POST") == 1


def test_held_bytes_pass_when_released(proxy: TcpProxy, server: ScriptedServer) -> None:
    proxy.hold()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(fetch, proxy)
        while proxy.connections == 0:
            time.sleep(0.01)
        with pytest.raises(TimeoutError):
            asked.result(0.2)
        assert server.count() == 0
        proxy.release()
        assert asked.result(10) == BODY


def test_a_target_that_refuses_resets_the_client() -> None:
    with (
        ScriptedServer(listening=False) as server,
        TcpProxy(server.port) as proxy,
        pytest.raises(requests.ConnectionError),
    ):
        fetch(proxy)


def test_tls_passes_through(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with (
        ScriptedServer({"GET /": [answer(200, BODY)]}, tls=certificate.context) as server,
        TcpProxy(server.port) as proxy,
    ):
        url = proxy.url.replace("http:", "https:")
        assert requests.get(url, verify=str(certificate.authority), timeout=10).content == BODY


def test_leaving_ends_open_connections_and_the_thread(server: ScriptedServer) -> None:
    before = threading.active_count()
    with TcpProxy(server.port) as proxy:
        proxy.hold()
        client = socket.create_connection((proxy.host, proxy.port), timeout=10)
        client.sendall(REQUEST)
        while proxy.connections == 0:
            time.sleep(0.01)
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)
    assert threading.active_count() <= before + 1  # the server may still be reading from the broken connection


@pytest.mark.parametrize(
    ("strikes", "data", "offset", "expected"),
    [
        ([], b"abc", 0, (b"abc", None)),
        ([Strike("cut", 2)], b"abc", 0, (b"ab", "cut")),
        ([Strike("cut", 3)], b"abc", 0, (b"abc", "cut")),
        ([Strike("cut", 4)], b"abc", 0, (b"abc", None)),
        ([Strike("reset", 2)], b"abc", 5, (b"", "reset")),
        ([Strike("flip", 6)], b"abc", 5, (b"acc", None)),
        ([Strike("flip", 4)], b"abc", 5, (b"abc", None)),
        ([Strike("cut", 2, 0), Strike("flip", 0)], b"abc", 0, (b"`bc", None)),
        ([Strike("cut", 1), Strike("flip", 2)], b"abc", 0, (b"a", "cut")),
    ],
)
def test_strikes_are_counted_from_the_start_of_the_stream(
    strikes: list[Strike], data: bytes, offset: int, expected: tuple[bytes, str | None]
) -> None:
    assert Lane(strikes=strikes).treat(data, offset) == expected
