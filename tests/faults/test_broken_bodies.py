"""Bodies that drip, break off, never end or explode, as requests and aiohttp see them."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
import requests

from tests.faults import (
    Instruction,
    Outcome,
    ScriptedServer,
    cut_after,
    drip,
    drip_headers,
    endless,
    gzip_bomb,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = bytes(range(256)) * 8


def outcomes(server: ScriptedServer) -> list[Outcome]:
    return [played.outcome for played in server.report().played]


def serve(*script: Instruction) -> ScriptedServer:
    return ScriptedServer({"* /": script})


@pytest.mark.slow
@pytest.mark.parametrize("instruction", [drip(b"x" * 50, 0.05), drip_headers(0.05)])
def test_a_drip_outlasts_the_gap_timeout_of_requests(instruction: Instruction) -> None:
    begin = time.monotonic()
    with serve(instruction) as server:
        assert requests.get(server.url, timeout=1).status_code == 200
    assert time.monotonic() - begin > 1


@pytest.mark.parametrize("instruction", [drip(b"x" * 5000, 0.05), drip_headers(0.2, headers={"X": "x" * 500})])
def test_a_drip_meets_the_total_timeout_of_aiohttp(instruction: Instruction) -> None:
    async def ask(url: str) -> bytes:
        timeout = aiohttp.ClientTimeout(total=0.3)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return await response.read()

    with serve(instruction) as server, pytest.raises(TimeoutError):
        asyncio.run(ask(server.url))
    assert outcomes(server)[0] in {Outcome.CLIENT_LEFT, Outcome.STOPPED}


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("read", [requests.get, None], ids=["requests", "aiohttp"])
def test_a_cut_body_is_noticed(framing: str, read: Callable[..., object] | None) -> None:
    async def ask(url: str) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.read()

    cut = cut_after(1000, BODY, framing="chunked" if framing == "chunked" else "length")
    with serve(cut) as server, pytest.raises((requests.RequestException, aiohttp.ClientPayloadError)):
        read(server.url, timeout=10) if read else asyncio.run(ask(server.url))


def test_a_body_cut_without_a_length_is_not_noticed() -> None:
    with serve(cut_after(1000, BODY, framing="close")) as server:
        assert requests.get(server.url, timeout=10).content == BODY[:1000]


@pytest.mark.parametrize(
    "instruction",
    [
        endless(b"x" * 65536, 1 << 30),
        endless(b"x" * 65536, 1 << 30, framing="chunked"),
        endless(b"x" * 65536, 1 << 30, framing="length", announced=10 << 30),
    ],
)
def test_an_endless_body_ends_with_the_client(instruction: Instruction) -> None:
    with serve(instruction) as server:
        with requests.get(server.url, stream=True, timeout=10) as response:
            assert response.raw.read(1 << 20) == b"x" * (1 << 20)
        server.settle()
    (played,) = server.report().played
    assert played.outcome is Outcome.CLIENT_LEFT
    assert 1 << 20 <= played.sent < 1 << 30


def test_a_gzip_bomb_is_small_on_the_wire_and_big_behind_it() -> None:
    size = 16 << 20
    tracemalloc.start()
    bombs = [gzip_bomb(size), gzip_bomb(size, "zeros")]
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    with serve(*bombs) as server:
        text = requests.get(server.url, timeout=10).json()
        zeros = requests.get(server.url, headers={"Accept-Encoding": "identity"}, stream=True, timeout=10)
        packed = zeros.raw.read(decode_content=False)
        zeros.close()
    assert (text["id"], text["status"]) == ("job-1", "PENDING")
    assert len(json.dumps(text)) == size
    assert len(packed) < size / 500
    assert zlib.decompress(packed, wbits=31) == bytes(size)
