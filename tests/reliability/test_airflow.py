"""Rows 27-31 and 75-93: what Airflow itself may do to a task, without a real Airflow; the kill suite has one."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_imagepipeline.compat import longest_retention
from airflow_imagepipeline.exceptions import (
    JobTimedOut,
    JobUnreachable,
    RecordUnavailable,
    SubmissionNotSent,
    SubmissionUncertain,
)
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.triggers.imagepipeline import ImagePipelineJobTrigger
from tests.faults import STATUS, SUBMIT, Instruction, ScriptedServer, forever, pending, refused, success
from tests.generations import spoken
from tests.reliability.conftest import Connect
from tests.reliability.task import LINK, Clock, Task, called, fired
from tests.reliability.words import answer

pytestmark = pytest.mark.usefixtures("generation")

DONE = success([LINK])


class StoreIsDown(Exception):
    """Airflow's API server cannot be reached."""


@pytest.fixture
def deferred(clock: Clock) -> Task:
    return Task(clock, deferrable=True)


def done(task: Task) -> list[Instruction]:
    return [DONE, DONE] if task.deferrable else [DONE]


def defer(task: Task) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as raised:
        task.start()
    return raised.value


def fail_from(task: Task, operation: str, count: int) -> None:
    """Let the store fail at the n-th call of an operation, and from then on."""
    seen = 0

    def before(called_operation: str, _: str) -> None:
        nonlocal seen
        seen += called_operation == operation
        if called_operation == operation and seen >= count:
            raise StoreIsDown

    assert task.store is not None
    task.store.before = before


def mend(task: Task) -> None:
    assert task.store is not None
    task.store.before = lambda *_: None


# -- the record ------------------------------------------------------------------------------------------------------


@pytest.mark.fault(27)
def test_an_id_that_cannot_be_stored_is_logged_and_the_job_goes_on(
    task: Task, connect: Connect, logs: Callable[[], str]
) -> None:
    fail_from(task, "set", 4)  # the claim, the pointer, the record, and then the id
    with ScriptedServer({SUBMIT: [pending()], STATUS: done(task)}) as server:
        connect(server.origin)
        assert task.run()["job_id"] == "job-1"
        assert "Job job-1 is submitted, but its record cannot be written" in logs()
        assert 20.0 < task.clock.passed < 150.0  # a known id is not given up at the first fault
        assert server.hits(SUBMIT) == 1
        mend(task)
        task.fails(SubmissionUncertain)  # the report of the success was lost too
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    ("operation", "count"), [("get", 1), ("get", 2), ("get", 3), ("get", 4), ("set", 1), ("set", 2)]
)
def test_without_a_record_nothing_is_sent(task: Task, connect: Connect, operation: str, count: int) -> None:
    fail_from(task, operation, count)
    with ScriptedServer() as server:
        connect(server.origin)
        task.fails(RecordUnavailable)
        assert server.count() == 0


@pytest.mark.fault(28)
def test_a_store_that_is_back_lets_the_next_try_submit(task: Task, connect: Connect) -> None:
    fail_from(task, "get", 1)
    with ScriptedServer({SUBMIT: [pending()], STATUS: done(task)}) as server:
        connect(server.origin)
        task.fails(RecordUnavailable)
        mend(task)
        task.run()
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(28)
def test_a_record_that_cannot_be_understood_stops_the_submission(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: done(task)}) as server:
        connect(server.origin)
        task.run()
        assert task.store is not None
        for key, row in list(task.store.rows.items()):
            task.store.rows[key] = row.replace('"v": 1', '"v": 2')
        task.fails(RecordUnavailable)
        assert server.hits(SUBMIT) == 1


def other_worker_at(task: Task, operation: str, count: int, outcomes: list[str]) -> None:
    """Let a second worker run the same try, to its end, in the moment before a call of the first one's store."""
    store = task.store
    assert store is not None
    seen = 0

    def before(called_operation: str, _: str) -> None:
        nonlocal seen
        seen += called_operation == operation
        if called_operation != operation or seen != count:
            return
        mend(task)
        try:
            operator = task.operator()
            called(operator, "execute", task.context(operator))
            outcomes.append("done")
        except TaskDeferred:
            outcomes.append("done")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the other worker's
            outcomes.append(type(error).__name__)

    store.before = before


@pytest.mark.fault(29)
@pytest.mark.parametrize(
    ("operation", "count"),
    [*(("get", count) for count in range(1, 5)), *(("set", count) for count in range(1, 6))],
)
def test_two_workers_with_the_same_try_submit_once_wherever_the_second_comes_in(
    task: Task, connect: Connect, operation: str, count: int
) -> None:
    outcomes: list[str] = []
    other_worker_at(task, operation, count, outcomes)
    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE] * 4}, allow_unused=True) as server:
        connect(server.origin)
        try:
            task.run()
            outcomes.append("done")
        except (RecordUnavailable, SubmissionUncertain) as error:
            outcomes.append(type(error).__name__)
        assert server.hits(SUBMIT) == 1
        assert "done" in outcomes


@pytest.mark.fault(29)
@pytest.mark.parametrize("count", [5, 6])
def test_a_worker_that_comes_between_the_record_and_the_request_of_another_leaves_both_unsent(
    task: Task, connect: Connect, count: int
) -> None:
    outcomes: list[str] = []
    other_worker_at(task, "get", count, outcomes)
    with ScriptedServer() as server:
        connect(server.origin)
        task.fails(RecordUnavailable)
        assert outcomes == ["SubmissionUncertain"]
        assert server.count() == 0


@pytest.mark.fault(29)
def test_a_worker_that_finds_the_token_of_another_one_in_its_record_sends_nothing(task: Task, connect: Connect) -> None:
    store = task.store
    assert store is not None
    gets = 0

    def before(operation: str, key: str) -> None:
        nonlocal gets
        gets += operation == "get"
        if operation == "get" and gets == 5:  # the look after the writing: another worker has written in between
            row = json.loads(store.rows[key])
            store.rows[key] = json.dumps({**row, "token": "of another worker"})

    store.before = before
    with ScriptedServer() as server:
        connect(server.origin)
        assert "Another worker" in task.fails(RecordUnavailable)
        assert server.count() == 0


@pytest.mark.fault(29, 103)
@pytest.mark.parametrize("place", ["while the API says later", "while inputs are signed"])
def test_a_try_that_was_superseded_while_it_waited_sends_nothing(task: Task, connect: Connect, place: str) -> None:
    later: list[Any] = []

    def next_try(*_: Any) -> None:
        if not later:
            operator, task.try_number = task.operator(), 2
            later.append("begun")
            with suppress(TaskDeferred):
                later.append(called(operator, "execute", task.context(operator)))

    busy = [answer(429, "slow down")] if place == "while the API says later" else []
    with ScriptedServer({SUBMIT: [*busy, pending("job-2")], STATUS: [DONE] * 6}, allow_unused=True) as server:
        connect(server.origin)
        assert task.store is not None
        if busy:
            task.clock.on_sleep = next_try
        else:
            task.store.before = lambda operation, key: next_try() if (operation, key[-5:]) == ("get", "claim") else None
        assert "Another worker" in task.fails(RecordUnavailable)
        assert server.hits(SUBMIT) == len(busy) + 1
        task.store.before = lambda *_: None
        assert task.run()["job_id"] == "job-2"
        assert server.hits(SUBMIT) == len(busy) + 1


@pytest.mark.fault(111)
@pytest.mark.parametrize(
    ("operation", "count"), [("get", 1), ("get", 3), ("get", 5), ("get", 6), ("set", 2), ("set", 3)]
)
@pytest.mark.parametrize("late", [False, True], ids=["before its effect", "after its effect"])
def test_a_call_of_the_store_that_fails_before_the_request_leaves_the_next_try_free_to_submit(
    task: Task, connect: Connect, operation: str, count: int, *, late: bool
) -> None:
    store, seen = task.store, 0
    assert store is not None
    usual = store.get if operation == "get" else store.set

    def once(*given: Any, **more: Any) -> Any:
        nonlocal seen
        seen += 1
        result = usual(*given, **more) if late or seen != count else None
        if seen == count:
            raise StoreIsDown
        return result

    setattr(store, operation, once)
    with ScriptedServer({SUBMIT: [pending()], STATUS: done(task)}) as server:
        connect(server.origin)
        task.fails(RecordUnavailable)
        assert server.count() == 0
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(113)
@pytest.mark.parametrize("days", [None, 6, 8])
def test_a_retry_that_finds_no_trace_submits_only_where_none_can_have_expired(
    task: Task, connect: Connect, days: int | None
) -> None:
    task.days = days
    with ScriptedServer(
        {SUBMIT: [pending("job-1"), pending("job-2")], STATUS: done(task)}, allow_unused=True
    ) as server:
        connect(server.origin)
        task.try_number = 1  # the first try died before it began to work, or the store was emptied
        if days == 6:
            assert task.run()["job_id"] == "job-1"
            return
        assert "no trace" in task.fails(SubmissionUncertain)
        assert "no trace" in task.fails(SubmissionUncertain)
        assert server.count() == 0
        task.clear()
        assert task.run()["job_id"] == "job-1"


@pytest.mark.fault(113)
def test_records_that_are_gone_stop_a_retry_and_live_as_long_as_the_run(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [pending("job-1")], STATUS: done(task)}) as server:
        connect(server.origin)
        task.run()
        assert task.store is not None
        assert all(retention is longest_retention() for retention in task.store.retentions)
        task.store.rows.clear()
        task.fails(SubmissionUncertain)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(30)
def test_a_mapped_index_that_stands_for_another_item_is_another_request(task: Task, connect: Connect) -> None:
    task.map_index = 3
    first, second = task.arguments[spoken().image], "https://img.example/other.png"
    answers = [pending("job-a"), pending("job-b")]
    with ScriptedServer({SUBMIT: answers, STATUS: done(task) * 3}) as server:
        connect(server.origin)
        assert task.run()["job_id"] == "job-a"
        task.arguments[spoken().image] = second
        assert task.run()["job_id"] == "job-b"
        task.arguments[spoken().image] = first
        assert task.run()["job_id"] == "job-a"  # the old record has stayed
        assert server.hits(SUBMIT) == 2


@pytest.mark.fault(30)
def test_a_task_that_is_not_mapped_and_asks_for_something_else_at_a_retry_is_stopped(
    task: Task, connect: Connect
) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: done(task)}) as server:
        connect(server.origin)
        task.run()
        task.arguments["guidance_scale"] = 2.5
        assert "guidance_scale changed" in task.fails(SubmissionUncertain)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(31)
def test_an_edited_prompt_and_a_clear_make_another_job(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")], STATUS: done(task) * 2}) as server:
        connect(server.origin)
        assert task.run()["job_id"] == "job-1"
        task.clear(prompt="another prompt")
        assert task.run()["job_id"] == "job-2"
        assert server.hits(SUBMIT) == 2


@pytest.mark.fault(31)
def test_another_signature_of_the_same_image_is_the_same_request(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: done(task) * 2}) as server:
        connect(server.origin)
        task.run()
        task.arguments[spoken().image] = task.arguments[spoken().image].replace("canary-in", "canary-fresh")
        assert task.run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


# -- the triggerer ---------------------------------------------------------------------------------------------------


async def _cut_short(trigger: ImagePipelineJobTrigger, server: ScriptedServer, looks: int) -> None:
    running = asyncio.ensure_future(fired(trigger))
    await asyncio.to_thread(server.wait_for, STATUS, looks)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.fault(75, 79, 80)
def test_a_trigger_that_ends_midway_does_nothing_more_and_another_one_starts_from_zero(
    deferred: Task, connect: Connect
) -> None:
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        is_over = False
        server.route(STATUS, lambda _: DONE if is_over else pending())
        connect(server.origin)
        defer(deferred)
        assert deferred.store is not None
        before = json.dumps(deferred.store.rows)
        asyncio.run(_cut_short(deferred.trigger(), server, 3))
        server.settle()
        looks = server.hits(STATUS)
        assert json.dumps(deferred.store.rows) == before
        is_over = True
        assert server.hits(STATUS) == looks
        assert deferred.resume(deferred.wait())["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(76)
def test_two_triggerers_with_the_same_trigger_only_look(deferred: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [*[pending()] * 4, DONE, DONE, DONE]}) as server:
        connect(server.origin)
        defer(deferred)

        async def both() -> list[Any]:
            return list(await asyncio.gather(fired(deferred.trigger()), fired(deferred.trigger())))

        first, second = asyncio.run(both())
        assert first == second
        assert deferred.resume(first)["status"] == "SUCCESS"
        assert [request.method for request in server.requests].count("POST") == 1
        assert {request.method for request in server.requests[1:]} == {"GET"}


@pytest.mark.fault(77, 79)
def test_a_kill_is_logged_and_changes_nothing(task: Task, connect: Connect, logs: Callable[[], str]) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: done(task)}) as server:
        connect(server.origin)
        task.run()
        assert task.store is not None
        before, count = json.dumps(task.store.rows), server.count()
        task.operator().on_kill()
        if task.deferrable:
            asyncio.run(task.trigger().on_kill())
            asyncio.run(task.trigger().cleanup())
        assert "may still finish and be billed" in logs()
        assert (json.dumps(task.store.rows), server.count()) == (before, count)


@pytest.mark.fault(78)
def test_a_clear_while_deferred_takes_the_running_job_up(deferred: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE, DONE]}) as server:
        connect(server.origin)
        defer(deferred)
        deferred.clear()
        result = deferred.run()
        deferred.operator().on_kill()  # of the old try, after the new one has begun
        assert result["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(81)
def test_airflows_timeout_comes_after_our_own_and_the_next_try_takes_the_job_up(
    deferred: Task, connect: Connect
) -> None:
    from tests.airflow_versions import TaskDeferralTimeout

    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE, DONE]}) as server:
        connect(server.origin)
        raised = defer(deferred)
        assert raised.timeout is not None
        own = deferred.trigger().deadline - deferred.clock.time()
        assert 3599 <= own <= 3600
        assert raised.timeout.total_seconds() - own == pytest.approx(300, abs=1)
        operator = deferred.operator()
        with pytest.raises(TaskDeferralTimeout):
            operator.resume_execution("__fail__", {"error": "Trigger timeout"}, deferred.context(operator))
        assert deferred.run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(82)
def test_execution_timeout_bounds_the_wait_in_the_triggerer_and_through_retries(
    deferred: Task, connect: Connect
) -> None:
    deferred.arguments["execution_timeout"] = timedelta(seconds=120)
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(pending())]}) as server:
        connect(server.origin)
        defer(deferred)
        deadline = deferred.trigger().deadline
        assert deadline - deferred.clock.time() == pytest.approx(120, abs=1)
        deferred.clock.sleep(60)
        defer(deferred)  # an automatic retry: the same job, the same deadline
        assert deferred.trigger().deadline == deadline
        assert deferred.wait()["outcome"] == "timed_out"
        with pytest.raises(JobTimedOut):
            deferred.resume(deferred.event)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(84, 85, 86)
@pytest.mark.parametrize("tries_lost", [1, 2, 3])
def test_tries_that_are_lost_with_airflows_api_server_are_followed_by_one_that_takes_the_job_up(
    task: Task, connect: Connect, tries_lost: int
) -> None:
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        is_over = False
        server.route(STATUS, lambda _: DONE if is_over else refused(500))
        connect(server.origin)
        task.arguments["timeout"] = 30
        with suppress(TaskDeferred, JobTimedOut):
            task.start()  # what the supervisor should have heard is lost
        fail_from(task, "get", 1)
        for _ in range(tries_lost):
            task.fails(RecordUnavailable)
        mend(task)
        is_over = True
        assert task.run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(87)
def test_a_trigger_that_stumbles_says_so_in_an_event(
    deferred: Task, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumble(*_: object) -> None:
        message = "CANARY of somebody's library"
        raise RuntimeError(message)

    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE, DONE]}) as server:
        connect(server.origin)
        defer(deferred)
        with monkeypatch.context() as patch:
            patch.setattr(ImagePipelineHook, "aseen", stumble)
            event = deferred.wait()
        assert (event["outcome"], event["job"]["job_id"]) == ("unreachable", "job-1")
        assert "RuntimeError" in event["message"]
        assert "CANARY" not in event["message"]
        with pytest.raises(JobUnreachable):
            deferred.resume(event)
        assert deferred.run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(88)
@pytest.mark.parametrize("change", ["later version", "earlier version"])
def test_a_stored_trigger_survives_another_version(deferred: Task, connect: Connect, change: str) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE]}) as server:
        connect(server.origin)
        defer(deferred)
        path, kwargs = deferred.trigger().serialize()
        assert path == "airflow_imagepipeline.triggers.imagepipeline.ImagePipelineJobTrigger"
        assert kwargs["v"] == 1
        stored = {**kwargs, "invented_later": 3} if change == "later version" else {"job": kwargs["job"]}
        event = asyncio.run(fired(ImagePipelineJobTrigger(**stored)))
        assert event["outcome"] == "succeeded"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(89)
@pytest.mark.parametrize(
    "last",
    [
        answer(200, json={"status": "SUCCESS", "download_urls": [LINK] * 9}),
        answer(
            200,
            json={"status": "FAILURE", "error": "see https://files.example/log?X-Amz-Signature=canary " + "é" * 5000},
        ),
    ],
)
def test_an_event_is_small_and_holds_no_link(deferred: Task, connect: Connect, last: Instruction) -> None:
    with ScriptedServer({SUBMIT: [pending("j" * 200)], STATUS: [last]}) as server:
        connect(server.origin)
        defer(deferred)
        event = json.dumps(deferred.wait(), ensure_ascii=False)
        assert len(event.encode()) <= 1024
        assert "X-Amz" not in event
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(90)
def test_a_connection_that_leads_elsewhere_neither_looks_nor_submits_there(task: Task, connect: Connect) -> None:
    task.arguments["timeout"] = 10
    with ScriptedServer({SUBMIT: [pending()]}) as server, ScriptedServer(host="127.0.0.2") as elsewhere:
        is_over = False
        server.route(STATUS, lambda _: DONE if is_over else pending())
        connect(server.origin)
        task.fails(JobTimedOut)
        connect(elsewhere.origin)
        assert elsewhere.origin in task.fails(RecordUnavailable)
        assert elsewhere.count() == 0
        connect(server.origin)
        is_over = True
        assert task.run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(90)
def test_a_connection_that_is_gone_while_deferred_is_an_event_and_one_that_is_rotated_is_read_anew(
    deferred: Task, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE]}) as server:
        connect(server.origin)
        defer(deferred)
        monkeypatch.delenv("AIRFLOW_CONN_IMAGEPIPELINE_DEFAULT")
        assert deferred.wait()["outcome"] == "unreachable"
        connect(server.origin, "key-CANARY-rotated")
        assert deferred.wait()["outcome"] == "succeeded"
        assert server.requests[-1].header(spoken().key_header) == "key-CANARY-rotated"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(90)
@pytest.mark.parametrize("outcome", ["succeeded", "lost"])
def test_a_connection_that_leads_elsewhere_when_a_deferred_task_goes_on_keeps_the_job(
    deferred: Task, connect: Connect, outcome: str
) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [DONE] * 3}, allow_unused=True) as server:
        connect(server.origin)
        defer(deferred)
        event = {**deferred.wait(), "outcome": outcome}
        with ScriptedServer(host="127.0.0.2") as elsewhere:
            connect(elsewhere.origin)
            with pytest.raises(JobUnreachable, match="Restore the connection"):
                deferred.resume(event)
            assert elsewhere.count() == 0
        connect(server.origin)
        assert deferred.run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@contextmanager
def _no_blocking_in_this_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    # What waits for another machine, in the way that holds the whole loop up. Nothing is timed.
    blocked: list[str] = []
    here = threading.get_ident()
    with monkeypatch.context() as patch:
        for owner, name in [(socket, "getaddrinfo"), (socket, "create_connection"), (time, "sleep")]:
            real = getattr(owner, name)

            def watched(*given: Any, _real: Any = real, _name: str = name, **named: Any) -> Any:
                if threading.get_ident() == here:
                    blocked.append(_name)
                return _real(*given, **named)

            patch.setattr(owner, name, watched)
        receive = socket.socket.recv

        def watched_recv(self: socket.socket, *given: Any) -> bytes:
            if threading.get_ident() == here and self.gettimeout() != 0.0:
                blocked.append("recv")
            return receive(self, *given)

        patch.setattr(socket.socket, "recv", watched_recv)
        yield blocked


@pytest.mark.fault(91)
def test_nothing_in_a_trigger_holds_the_loop_up(
    deferred: Task, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [pending(), refused(500), DONE]}) as server:
        connect(server.origin.replace("127.0.0.1", "localhost"))
        defer(deferred)
        with _no_blocking_in_this_thread(monkeypatch) as blocked:
            assert deferred.wait()["outcome"] == "succeeded"
            assert blocked == []
            time.sleep(0)
            assert blocked == ["sleep"]  # the watch itself works
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(93)
def test_without_a_store_only_the_first_try_of_a_human_decision_submits(
    task: Task, connect: Connect, logs: Callable[[], str]
) -> None:
    task.store = None
    with ScriptedServer({SUBMIT: [refused(500), pending()], STATUS: done(task)}) as server:
        connect(server.origin)
        task.fails(SubmissionUncertain)
        task.fails(SubmissionUncertain)  # an automatic retry
        assert server.hits(SUBMIT) == 1
        assert logs().count("keeps no submission records") == 2
        task.clear()
        assert task.run()["status"] == "SUCCESS"
        task.fails(SubmissionUncertain)
        assert server.hits(SUBMIT) == 2


@pytest.mark.fault(93)
def test_without_a_store_a_try_that_surely_sent_nothing_costs_a_human_too(task: Task, connect: Connect) -> None:
    task.store = None
    with ScriptedServer({SUBMIT: [refused(429)] * 4}) as server:
        connect(server.origin)
        task.fails(SubmissionNotSent)
        task.fails(SubmissionUncertain)
        assert server.hits(SUBMIT) == 4
