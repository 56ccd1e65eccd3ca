"""The trigger of a batch: what is stored of it, when it fires, and what it never does."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.policy import fleet
from airflow_imagepipeline.triggers.batch import ImagePipelineBatchTrigger
from tests.faults import STATUS, ScriptedServer, failure, forever, hold, pending, success
from tests.generations import spoken
from tests.running import KEY, POLL, assert_discreet, through_triggerer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

PATH = "airflow_imagepipeline.triggers.batch.ImagePipelineBatchTrigger"
LATER = 4_000_000_000.0
LINKS = ["https://files.test/a.png"]
BEFORE = 1_700_000_000.0


def jobs(count: int) -> list[list[Any]]:
    return [[place, f"job-{place}", BEFORE] for place in range(count)]


def trigger(count: int = 3, **arguments: Any) -> ImagePipelineBatchTrigger:
    usual = {"plan": "n1-0", "cursor": 9, "deadline": LATER, "job_timeout": LATER, "poll_interval": POLL}
    return ImagePipelineBatchTrigger(spoken().name, jobs(count), **{**usual, **arguments})


def test_it_is_rebuilt_from_what_it_serialises_to() -> None:
    first = trigger(schedule={"v": 1, "observed": [[0.0, 1.5]], "credit": 2.0})
    path, kwargs = json.loads(json.dumps(first.serialize()))
    assert path == PATH
    assert ImagePipelineBatchTrigger(**kwargs).serialize() == first.serialize()


def test_a_row_of_another_version_still_runs(connection: Callable[..., None]) -> None:
    with ScriptedServer({STATUS: [forever(success(LINKS))]}) as server:
        connection(server.url)
        event = through_triggerer((PATH, {"v": 9, "api": spoken().name, "jobs": jobs(2), "color": "red"}))
    assert sorted(event["ended"]) == [0, 1]


def test_its_event_says_which_jobs_have_ended_however_they_did(connection: Callable[..., None]) -> None:
    with ScriptedServer({STATUS: [pending(), failure("bad"), forever(success(LINKS))]}) as server:
        connection(server.url)
        event = through_triggerer(trigger().serialize())
    assert sorted(event["ended"]) == [0, 1, 2]
    assert {name: event[name] for name in ("v", "plan", "cursor", "deadline", "message")} == {
        "v": 1,
        "plan": "n1-0",
        "cursor": 9,
        "deadline": LATER,
        "message": "",
    }


@pytest.mark.real_input("D11")
def test_one_slow_answer_holds_no_other_job(connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "BURST", 0.2)
    with ScriptedServer({f"{STATUS}job-1": [hold()], STATUS: [pending(), forever(success(LINKS))]}) as server:
        connection(server.url)
        event = through_triggerer(trigger(5).serialize())
        assert {request.method for request in server.requests} == {"GET"}
    assert sorted(event["ended"]) == [0, 2, 3, 4]
    assert event["message"] == ""


@pytest.mark.real_input("D11")
def test_a_trigger_that_is_cancelled_leaves_nothing_behind(connection: Callable[..., None]) -> None:
    async def cancelled() -> int:
        task = asyncio.ensure_future(anext(trigger(40).run()))
        while not server.requests:  # noqa: ASYNC110 - the server is no part of the loop
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return len(asyncio.all_tasks())

    with ScriptedServer({STATUS: [forever(hold())]}) as server:
        connection(server.url)
        assert asyncio.run(cancelled()) == 1


def test_an_event_of_two_hundred_jobs_is_small(connection: Callable[..., None]) -> None:
    with ScriptedServer({STATUS: [forever(success(LINKS))]}) as server:
        connection(server.url)
        event = through_triggerer(trigger(200).serialize())
    assert len(event["ended"]) == 200
    written = json.dumps(event)
    assert len(written) < 64_000
    assert_discreet(written, hide_links=True)


def test_the_deadline_ends_the_wait(connection: Callable[..., None]) -> None:
    with ScriptedServer({STATUS: [forever(pending())]}) as server:
        connection(server.url)
        event = through_triggerer(trigger(deadline=1.0).serialize())
    assert sorted(event["ended"]) == [0, 1, 2]


@pytest.mark.parametrize("arguments", [{"imagepipeline_conn_id": "no_such"}, {"schedule": {"v": 7}}])
def test_what_it_cannot_do_it_says_in_its_event(arguments: dict[str, Any], connection: Callable[..., None]) -> None:
    connection("http://127.0.0.1:9")
    event = through_triggerer(trigger(**arguments).serialize())
    assert event["ended"] == []
    assert event["message"]
    assert KEY not in event["message"]


def test_a_kill_is_logged_and_asks_nothing_of_the_api(logs: Callable[[], str]) -> None:
    asyncio.run(trigger().on_kill())
    assert "cannot cancel jobs: 3 jobs in flight" in logs()
