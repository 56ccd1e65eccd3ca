"""What the fault tests share: a connection, a task instance in one of two modes, and time that passes in no time."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable

import pytest

from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.hooks import imagepipeline, transport
from airflow_imagepipeline.operators import job as job_operator
from airflow_imagepipeline.operators import submission
from airflow_imagepipeline.triggers import imagepipeline as triggers
from tests.reliability.task import Clock, Task

Connect = Callable[..., None]
Impatient = Callable[[RequestKind], None]


@pytest.fixture
def connect(connection: Connect) -> Connect:
    """Return what sets the connection; it may be called again, as a human may edit a connection."""
    return connection


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of everything that waits; the network keeps the real one."""
    clock = Clock()
    sleep = asyncio.sleep

    async def asleep(seconds: float) -> None:
        clock.sleep(seconds)
        await sleep(0)

    for module in (imagepipeline, job_operator, submission, triggers):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(triggers, "asyncio", types.SimpleNamespace(sleep=asleep))
    return clock


@pytest.fixture(params=["worker", "triggerer"])
def task(request: pytest.FixtureRequest, clock: Clock) -> Task:
    """Return a task instance that waits in the worker, and one that waits in the triggerer."""
    return Task(clock, deferrable=request.param == "triggerer")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[RequestKind], None]:
    """Return what makes the client give up a silent or slow server soon, for one kind of request."""

    def hurry(kind: RequestKind) -> None:
        monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.5)
        monkeypatch.setattr(transport, "READ_SECONDS", {**transport.READ_SECONDS, kind: 0.9})
        monkeypatch.setattr(transport, "TOTAL_SECONDS", {**transport.TOTAL_SECONDS, kind: 1.2})

    return hurry


@pytest.fixture(autouse=True)
def _discreet(logs: Callable[[], str]) -> None:
    """Look for the key and for signed links in all that is logged."""
