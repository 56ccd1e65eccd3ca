from __future__ import annotations

import resource
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.contract.errors import (
    DownloadFailed,
    ResultRefused,
)
from tests.faults import (
    Instruction,
    ScriptedServer,
    TcpProxy,
    answer,
    drip,
    drip_headers,
    endless,
    raw,
    redirect,
    silent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.hooks.downloads import BODY, FILE, Clock, fetch


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize(
    ("headers", "bounds"),
    [
        ({}, (0, 1)),
        ({"Retry-After": "7"}, (7, 7)),
        ({"Retry-After": "7.2"}, (8, 8)),
        ({"Retry-After": "100000"}, (40, 40)),
        ({"Retry-After": "-5"}, (0, 1)),
        ({"Retry-After": "soon"}, (0, 1)),
        ({"Retry-After": "Sun, 22 Nov 2026 18:00:09 GMT", "Date": "Sun, 22 Nov 2026 18:00:00 GMT"}, (9, 9)),
    ],
    ids=["none", "seconds", "decimals", "too long", "negative", "a word", "a date"],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_is_obeyed_within_bounds(
    status: int, headers: dict[str, str], bounds: tuple[float, float], folder: Path, clock: Clock
) -> None:
    with ScriptedServer({FILE: [answer(status, headers=headers), answer(200, BODY)]}) as server:
        fetch(server.url, folder, clock, longest_retry_after=40)
    assert len(clock.slept) == 1
    assert bounds[0] <= clock.slept[0] <= bounds[1]


def test_no_attempt_starts_after_the_time_for_all_of_them(folder: Path, clock: Clock) -> None:
    with ScriptedServer({FILE: [answer(503, headers={"Retry-After": "30"})]}) as server, pytest.raises(DownloadFailed):
        fetch(server.url, folder, clock, all_seconds=20)
    assert clock.slept == []


@pytest.mark.parametrize(
    "stream",
    [
        endless(BODY, 50_000_000),
        endless(BODY, 50_000_000, framing="chunked"),
        answer(200, BODY * 3),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + BODY),
    ],
    ids=["without end", "chunked without end", "too long", "announced too long"],
)
def test_a_file_without_end_is_refused_at_the_limit(stream: Instruction, folder: Path, clock: Clock) -> None:
    with ScriptedServer({FILE: [stream]}) as server:
        with pytest.raises(ResultRefused, match=r"127\.0\.0\.1 sends more than 200000 bytes for one result"):
            fetch(server.url, folder, clock, bytes=200_000)
        server.settle()
    assert server.report().played[0].sent < 20_000_000
    assert clock.slept == []
    result = folder / "result"
    assert not result.exists() or result.stat().st_size <= 200_000


def test_a_length_that_lies_does_not_let_more_in(folder: Path, clock: Clock) -> None:
    with ScriptedServer(
        {FILE: [endless(BODY, 1_000_000, framing="length", announced=10), answer(200, BODY)]}
    ) as server:
        assert fetch(server.url, folder, clock, bytes=200_000) == BODY
    assert server.count() == 2


def test_a_trickle_is_given_up_although_bytes_keep_coming(folder: Path, clock: Clock) -> None:
    with ScriptedServer({FILE: [drip(BODY, 0.02, 10), answer(200, BODY)]}) as server:
        assert fetch(server.url, folder, clock, slow_seconds=0.2, slowest=50_000) == BODY
    with (
        ScriptedServer({FILE: [drip(BODY, 0.02, 10)]}) as server,
        pytest.raises(DownloadFailed, match="less than 50000 bytes a second"),
    ):
        fetch(server.url, folder, slow_seconds=0.2, slowest=50_000, attempts=1)


def test_a_slow_line_that_is_fast_enough_is_waited_for(folder: Path, clock: Clock) -> None:
    with ScriptedServer({FILE: [answer(200, BODY)]}) as server, TcpProxy(server.port) as proxy:
        proxy.bandwidth(200_000)
        assert fetch(proxy.url, folder, clock, slow_seconds=0.1, slowest=1000) == BODY
    assert clock.slept == []


@pytest.mark.parametrize(
    ("fault", "limits"),
    [
        (drip(BODY, 0.02, 10), {"seconds": 0.3}),
        (drip_headers(0.05), {"seconds": 0.3}),
        (silent(), {"silent_seconds": 0.2}),
        (silent(), {"seconds": 0.2}),
        (redirect(302, "/slow"), {"seconds": 0.3}),
    ],
    ids=["a body that drips", "a head that drips", "silence", "silence within the whole", "slow behind a redirect"],
)
def test_time_is_bounded_whatever_the_host_does(
    fault: Instruction, limits: dict[str, float], folder: Path, clock: Clock
) -> None:
    routes = {FILE: [fault], "GET /slow": [silent()]}
    with ScriptedServer(routes, allow_unused=True) as server, pytest.raises(DownloadFailed):
        fetch(server.url, folder, clock, attempts=1, **limits)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let this process write no file beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_no_fault_of_the_network(folder: Path, clock: Clock) -> None:
    with (
        ScriptedServer({FILE: [answer(200, BODY)]}) as server,
        room_for(50_000),
        pytest.raises(OSError, match="too large"),
    ):
        fetch(server.url, folder, clock)
    assert clock.slept == []
