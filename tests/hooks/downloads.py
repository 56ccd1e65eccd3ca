"""What the tests of downloads share: the file, the check that it must pass, a clock and a DNS server."""

from __future__ import annotations

import hashlib
import random
import socket
from pathlib import Path

from aiohttp.abc import AbstractResolver, ResolveResult

from airflow_imagepipeline.contract.errors import (
    DownloadFailed,
    NotTheResult,
)
from airflow_imagepipeline.hooks.download import Downloader
from airflow_imagepipeline.hooks.download_limits import DownloadLimits
from tests.faults import (
    Instruction,
)

BODY = random.Random(1).randbytes(100_000)
FILE = "GET /file"
CANARY = "canary-2b1c"


class Resolves(AbstractResolver):
    """A DNS server that knows one answer a question, and says the last one for ever.

    :param answers: addresses.
    """

    def __init__(self, *answers: str) -> None:
        self.asked = 0
        self._answers = answers

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if not self._answers:
            raise OSError(None, "no such host")
        address = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return [{"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


class Clock:
    """Takes the place of the sleep between attempts, and waits for nothing."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


def whole(path: Path) -> bytes:
    """Play the caller's check: a file is whole when it is the body."""
    data = path.read_bytes()
    if data == BODY:
        return data[:4]
    if BODY.startswith(data) and data:
        message = "half a file"
        raise DownloadFailed(message)
    message = "something else"
    raise NotTheResult(message)


def attempt_of(fault: Instruction) -> list[Instruction]:
    """Return what one attempt uses up: aiohttp itself asks once more when a connection dies without an answer."""
    return [fault, fault] if fault.name in {"reset_after_request()", "close_after_request()"} else [fault]


def fetch(url: str, folder: Path, clock: Clock | None = None, **limits: float) -> bytes:
    downloader = Downloader(
        allow_loopback=True,
        limits=DownloadLimits(**limits),  # type: ignore[arg-type]
        sleep=clock or Clock(),
    )
    download = downloader.fetch(f"{url}/file?Authorization={CANARY}", folder / "result", whole)
    data = download.path.read_bytes()
    assert (download.size, download.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert download.found == data[:4]
    return data
