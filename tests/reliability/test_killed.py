"""Rows 24-26, 83-85 and 92: processes that are really killed, a store in a file, another process as the next try."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_imagepipeline.exceptions import SubmissionUncertain
from airflow_imagepipeline.triggers.imagepipeline import ImagePipelineJobTrigger
from tests.faults import STATUS, SUBMIT, ScriptedServer, hold, pending, success
from tests.generations import spoken
from tests.reliability.conftest import Connect
from tests.reliability.task import LINK, Clock, Store, Task, fired
from tests.running import KEY

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("generation")]

DONE = success([LINK])


@contextmanager
def process(server: ScriptedServer, store: Path, **told: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a try in a process of its own."""
    usual = {"kill": "", "try_number": 1, "deferrable": False, "sigterm": False, "event": None}
    whole = {"store": str(store), "generation": spoken().name, **usual}
    connection = json.dumps({"conn_type": "imagepipeline", "host": server.origin, "password": KEY})
    started = subprocess.Popen(  # noqa: S603 - this very file's neighbour
        [sys.executable, "-m", "tests.reliability.process", json.dumps({**whole, **told})],
        cwd=ROOT,
        env={**os.environ, "AIRFLOW_CONN_IMAGEPIPELINE_DEFAULT": connection},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate(timeout=30)


def run(server: ScriptedServer, store: Path, **told: Any) -> tuple[int, str, str]:
    """Run a try to its end, however that comes."""
    with process(server, store, **told) as started:
        out, err = started.communicate(timeout=60)
        assert KEY not in out + err
        return started.returncode, out, err


def last(out: str) -> Any:
    """Return what the process said last; before it stand the lines of its log."""
    return json.loads(out.strip().splitlines()[-1])


def next_try(store: Path, connect: Connect, server: ScriptedServer, clock: Clock) -> Task:
    connect(server.origin)
    task = Task(clock, deferrable=False, store=Store(store))
    task.try_number = 1
    return task


@pytest.mark.fault(24)
def test_a_worker_killed_before_it_records_its_intent_has_sent_nothing(
    tmp_path: Path, connect: Connect, clock: Clock
) -> None:
    store = tmp_path / "store"
    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE]}) as server:
        assert run(server, store, kill="before the intent is stored")[0] == -signal.SIGKILL
        assert server.count() == 0
        assert next_try(store, connect, server, clock).run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(24)
def test_a_worker_killed_between_intent_and_request_leaves_a_question_for_a_human(
    tmp_path: Path, connect: Connect, clock: Clock
) -> None:
    store = tmp_path / "store"
    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE]}) as server:
        assert run(server, store, kill="before the request leaves")[0] == -signal.SIGKILL
        task = next_try(store, connect, server, clock)
        task.fails(SubmissionUncertain)
        task.fails(SubmissionUncertain)
        assert server.count() == 0
        task.clear()
        task.run()
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(25)
def test_a_worker_killed_while_the_server_works_is_not_followed_by_a_second_request(
    tmp_path: Path, connect: Connect, clock: Clock
) -> None:
    store = tmp_path / "store"
    with ScriptedServer({SUBMIT: [hold()]}) as server:
        with process(server, store) as worker:
            server.wait_for(SUBMIT, timeout=60)
            worker.kill()
            worker.wait(30)
        task = next_try(store, connect, server, clock)
        task.fails(SubmissionUncertain)
        task.fails(SubmissionUncertain)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(26)
def test_a_worker_killed_before_the_id_is_stored_is_not_followed_by_a_second_request(
    tmp_path: Path, connect: Connect, clock: Clock
) -> None:
    store = tmp_path / "store"
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        assert run(server, store, kill="before the id is stored")[0] == -signal.SIGKILL
        task = next_try(store, connect, server, clock)
        task.fails(SubmissionUncertain)
        task.fails(SubmissionUncertain)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(85)
def test_a_worker_killed_while_it_waits_is_followed_by_one_that_takes_the_job_up(
    tmp_path: Path, connect: Connect, clock: Clock
) -> None:
    store = tmp_path / "store"
    with ScriptedServer({SUBMIT: [pending()], STATUS: [hold(), DONE]}) as server:
        with process(server, store) as worker:
            server.wait_for(STATUS, timeout=60)
            worker.kill()
            worker.wait(30)
        assert next_try(store, connect, server, clock).run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(84)
def test_a_deferral_that_is_never_reported_is_followed_by_a_try_that_takes_the_job_up(
    tmp_path: Path, connect: Connect, clock: Clock
) -> None:
    store = tmp_path / "store"
    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE]}) as server:
        killed, out, _ = run(server, store, deferrable=True, kill="before the deferral is reported")
        assert killed == -signal.SIGKILL
        assert "trigger" in last(out)
        assert next_try(store, connect, server, clock).run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(83)
def test_what_is_stored_is_enough_to_go_on_in_other_processes(tmp_path: Path, connect: Connect, clock: Clock) -> None:
    store = tmp_path / "store"
    with ScriptedServer({SUBMIT: [pending()], STATUS: [pending(), DONE, DONE]}) as server:
        _, out, _ = run(server, store, deferrable=True)
        task = next_try(store, connect, server, clock)
        event = asyncio.run(fired(ImagePipelineJobTrigger(**last(out)["trigger"])))
        assert task.resume(event)["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(92)
def test_sigterm_is_logged_and_the_next_try_takes_the_job_up(tmp_path: Path, connect: Connect, clock: Clock) -> None:
    store = tmp_path / "store"
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        is_over = False
        server.route(STATUS, lambda _: DONE if is_over else pending())
        with process(server, store, sigterm=True) as worker:
            server.wait_for(STATUS, timeout=60)
            before = store.read_text()
            worker.send_signal(signal.SIGTERM)
            seen = server.hits(STATUS)
            server.wait_for(STATUS, seen + 3)  # it waits on, as Airflow's own handler lets it
            worker.kill()
            out, err = worker.communicate(timeout=30)
        assert "may still finish and be billed" in out + err
        assert store.read_text() == before
        is_over = True
        assert next_try(store, connect, server, clock).run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1
