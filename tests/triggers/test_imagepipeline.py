"""The trigger: what is stored of it, what it fires, and what it never does."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.triggers.imagepipeline import ImagePipelineJobTrigger
from tests.faults import STATUS, ScriptedServer, failure, forever, hold, pending, success
from tests.generations import only_old, spoken
from tests.running import POLL, through_triggerer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

PATH = "airflow_imagepipeline.triggers.imagepipeline.ImagePipelineJobTrigger"
LINKS = ["https://files.test/a.png"]
LATER = 4_000_000_000.0


def job(job_id: str = "job-1") -> dict[str, Any]:
    return {"v": 1, "api": spoken().name, "job_id": job_id, "seed": 7, "submitted_at": 1_700_000_000.0}


def trigger(**arguments: Any) -> ImagePipelineJobTrigger:
    return ImagePipelineJobTrigger(**{"job": job(), "deadline": LATER, "poll_interval": POLL, **arguments})


async def first_event(running: ImagePipelineJobTrigger) -> Any:
    return (await anext(running.run())).payload


def test_it_is_rebuilt_from_what_it_serialises_to() -> None:
    first = trigger(imagepipeline_conn_id="mine", deadline=123.5, poll_interval=2.0)

    path, kwargs = json.loads(json.dumps(first.serialize()))

    assert path == PATH
    assert ImagePipelineJobTrigger(**kwargs).serialize() == first.serialize()


def test_only_ids_and_numbers_are_stored() -> None:
    _, kwargs = trigger().serialize()

    assert kwargs == {
        "v": 1,
        "job": job(),
        "imagepipeline_conn_id": "imagepipeline_default",
        "deadline": LATER,
        "poll_interval": POLL,
    }


@only_old
@pytest.mark.parametrize(
    "kwargs",
    [
        pytest.param({"job": job()}, id="arguments of an older version"),
        pytest.param({"job": {"job_id": "job-1"}}, id="a job of an older version"),
        pytest.param({"v": 9, "job": {**job(), "color": "red"}, "jitter": 0.5}, id="arguments of a newer version"),
    ],
)
def test_a_row_of_another_version_still_runs(connection: Callable[..., None], kwargs: dict[str, Any]) -> None:
    with ScriptedServer({STATUS: [success(LINKS)]}) as server:
        connection(server.url)
        event = through_triggerer((PATH, kwargs))
    assert (event["outcome"], event["job"]["job_id"]) == ("succeeded", "job-1")


@pytest.mark.parametrize(
    ("script", "deadline", "outcome", "words"),
    [
        pytest.param([pending(), success(LINKS)], LATER, "succeeded", "", id="done"),
        pytest.param([pending(), failure("out of memory")], LATER, "failed", "out of memory", id="failed"),
        pytest.param([pending()], 1.0, "timed_out", "The deadline passed", id="looked at once after the deadline"),
        pytest.param([success(LINKS)], 1.0, "succeeded", "", id="done after the deadline"),
    ],
)
def test_it_fires_one_event_without_links(
    connection: Callable[..., None], script: list[Any], deadline: float, outcome: str, words: str
) -> None:
    with ScriptedServer({STATUS: script}) as server:
        connection(server.url)
        event = through_triggerer(trigger(deadline=deadline).serialize())

    assert event.keys() == {"v", "job", "outcome", "message", "reason_code", "retryable"}
    assert (event["v"], event["job"], event["outcome"]) == (1, job(), outcome)
    assert words in event["message"]


@pytest.mark.parametrize(
    ("host", "key", "words"),
    [
        pytest.param("http://api.example.com", "k", "must be reached by https", id="a host that cannot work"),
        pytest.param(None, "", "holds no API key", id="no key"),
    ],
)
def test_an_error_inside_is_an_event(connection: Callable[..., None], host: str | None, key: str, words: str) -> None:
    connection(host, key)
    event = through_triggerer(trigger().serialize())
    assert event["outcome"] == "unreachable"
    assert words in event["message"]


def test_a_missing_connection_is_an_event() -> None:
    event = through_triggerer(trigger(imagepipeline_conn_id="nowhere").serialize())
    assert event["outcome"] == "unreachable"
    assert "AirflowNotFoundException" in event["message"]


def test_all_looks_of_a_run_share_one_connection(connection: Callable[..., None]) -> None:
    with ScriptedServer({STATUS: [*[pending()] * 5, success(LINKS)]}) as server:
        connection(server.url)
        through_triggerer(trigger().serialize())
    assert server.count("GET") == 6
    assert server.connections == 1


def test_it_can_be_cancelled_while_it_waits_for_an_answer(connection: Callable[..., None]) -> None:
    async def cancelled(server: ScriptedServer) -> None:
        run = asyncio.create_task(first_event(trigger()))
        await asyncio.to_thread(server.wait_for, STATUS)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    with ScriptedServer({STATUS: [hold()]}) as server:
        connection(server.url)
        asyncio.run(asyncio.wait_for(cancelled(server), 10))


def test_it_can_be_cancelled_between_two_looks(connection: Callable[..., None]) -> None:
    async def cancelled(server: ScriptedServer) -> None:
        run = asyncio.create_task(first_event(trigger(poll_interval=600.0)))
        await asyncio.to_thread(server.wait_for, STATUS)
        await asyncio.sleep(0.1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    with ScriptedServer({STATUS: [pending()]}) as server:
        connection(server.url)
        asyncio.run(asyncio.wait_for(cancelled(server), 10))


def test_the_loop_runs_on_while_the_api_keeps_an_answer_back(connection: Callable[..., None]) -> None:
    # The answer is released from the loop itself: a look that blocked it would never get one.
    async def released() -> Any:
        release = threading.Event()
        with ScriptedServer({STATUS: [hold(release, success(LINKS))]}) as server:
            connection(server.url)
            run = asyncio.create_task(first_event(trigger()))
            await asyncio.to_thread(server.wait_for, STATUS)
            release.set()
            return (await run)["outcome"]

    assert asyncio.run(asyncio.wait_for(released(), 20)) == "succeeded"


def test_many_triggers_share_a_loop(connection: Callable[..., None]) -> None:
    async def together() -> list[str]:
        async def outcome(number: int) -> str:
            value: str = (await first_event(trigger(job=job(f"job-{number}"))))["outcome"]
            return value

        return await asyncio.gather(*map(outcome, range(20)))

    with ScriptedServer({STATUS: [*[pending(job_id="")] * 20, forever(success(LINKS))]}) as server:
        connection(server.url)
        assert asyncio.run(together()) == ["succeeded"] * 20
    assert server.count("POST") == 0
