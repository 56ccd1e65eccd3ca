"""A night in a process of its own, which may be killed: ``python -m tests.batch.process '{...}'``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

from airflow_imagepipeline.batch.landing import Lander
from airflow_imagepipeline.batch.manifest import ManifestFile
from airflow_imagepipeline.batch.submitting import Sender
from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.policy.fleet import Fleet
from airflow_imagepipeline.records.object_storage import Ledger
from tests.generations import BOTH, Spoken
from tests.operators.nights import Nights


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Countdown:
    """Dies at the n-th call."""

    def __init__(self, calls: int, die: Callable[[], Any] = _die) -> None:
        self.left = calls
        self.die = die

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.die()


def _before(method: Callable[..., Any], countdown: _Countdown) -> Callable[..., Any]:
    def patched(*args: Any, **kwargs: Any) -> Any:
        countdown()
        return method(*args, **kwargs)

    return patched


def _after(method: Callable[..., Any], countdown: _Countdown) -> Callable[..., Any]:
    def patched(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        countdown()
        return result

    return patched


def _before_submissions(countdown: _Countdown) -> Callable[..., Any]:
    send = ImagePipelineHook.asend

    async def patched(hook: ImagePipelineHook, call: Any, *rest: Any) -> Any:
        if call.request.kind is RequestKind.SUBMIT:
            countdown()
        return await send(hook, call, *rest)

    return patched


def _after_submissions(countdown: _Countdown) -> Callable[..., Any]:
    send = ImagePipelineHook.asend

    async def patched(hook: ImagePipelineHook, call: Any, *rest: Any) -> Any:
        answer = await send(hook, call, *rest)
        if call.request.kind is RequestKind.SUBMIT:
            countdown()
        return answer

    return patched


def _soon() -> None:
    asyncio.get_running_loop().call_later(0.003, _die)


POINTS: Final[dict[str, Callable[[int], tuple[type, str, Any]]]] = {
    "after the intent": lambda n: (Sender, "send", _before(Sender.send, _Countdown(n))),
    "during the POSTs": lambda n: (ImagePipelineHook, "asend", _before_submissions(_Countdown(n, _soon))),
    "before the ids are stored": lambda n: (ImagePipelineHook, "asend", _after_submissions(_Countdown(n))),
    "after the ids": lambda n: (Fleet, "add", _before(Fleet.add, _Countdown(n))),
    "during landing": lambda n: (Lander, "land", _after(Lander.land, _Countdown(n))),
    "during the manifest": lambda _: (ManifestFile, "write", _before(ManifestFile.write, _Countdown(1))),
    "during the compaction": lambda _: (Ledger, "_remove", _before(Ledger._remove, _Countdown(1))),
}


def main(told: dict[str, Any]) -> None:
    """Run the first try of a night as told."""
    (Spoken.generation,) = (one for one in BOTH if one.name == told["generation"])
    cls, name, patched = POINTS[told["kill"]](told["count"] // 3)
    mock.patch.object(cls, name, patched).start()
    vendor: Any = SimpleNamespace(url=told["url"], settings=None, stats=lambda: {"accepted": 0})
    nights = Nights(vendor, Path(told["folder"]), told["mode"])
    nights.run("n1", nights.rows(told["count"]), max_in_flight=told["max_in_flight"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
