"""Rows 32-53: what may go wrong while a job is waited for; the submission is never repeated."""

from __future__ import annotations

import asyncio
import ssl
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.exceptions import (
    JobFailed,
    JobFailedForNow,
    JobLost,
    JobTimedOut,
    JobUnreachable,
    SubmissionUncertain,
    TooFewImages,
)
from airflow_imagepipeline.triggers.imagepipeline import ImagePipelineJobTrigger
from tests.faults import (
    STATUS,
    SUBMIT,
    Instruction,
    ScriptedServer,
    TcpProxy,
    close_after_request,
    drip_headers,
    endless,
    failure,
    forever,
    gzip_bomb,
    pending,
    redirect,
    refused,
    reset_after_request,
    silent,
    success,
)
from tests.faults.certificates import self_signed
from tests.generations import only_old, spoken
from tests.reliability.conftest import Connect, Impatient
from tests.reliability.task import LINK, Clock, Task, fired
from tests.reliability.words import answer, cut_after, drip, raw
from tests.running import in_turn

pytestmark = pytest.mark.usefixtures("generation")

DONE = success([LINK])


def done(task: Task) -> list[Instruction]:
    """Return the last answers of a wait: the worker looks once more after the triggerer, for fresh links."""
    return [DONE, DONE] if task.deferrable else [DONE]


def phases(task: Task) -> list[str]:
    assert task.store is not None
    return task.store.phases


PASSING = {
    "reset": (32, reset_after_request()),
    "close": (32, close_after_request()),
    "silence": (32, silent()),
    "an answer that is no HTTP": (32, raw(b"what\r\n\r\n")),
    "a cut body": (32, cut_after(9, '{"id": "job-1", "status": "PENDING"}')),
    "a dripping body": (34, drip('{"id": "job-1", "status": "PENDING"}', 0.1)),
    "500": (36, refused(500)),
    "502": (36, answer(502, "<html>bad gateway</html>")),
    "503": (36, refused(503)),
    "504": (36, answer(504, "")),
    "522": (36, answer(522, "")),
    "429": (35, refused(429)),
    "one 401": (37, refused(401)),
    "one 403": (37, refused(403)),
    "404 right after the submission": (38, refused(404)),
    "html": (40, answer(200, "<html>", headers={"Content-Type": "text/html"})),
    "plain text": (40, answer(200, "ok", headers={"Content-Type": "text/plain"})),
    "an empty body": (40, answer(200, "")),
    "cut json": (41, answer(200, '{"status": "PEN')),
    "invalid utf-8": (41, answer(200, b'{"status": "\xff\xfe"}')),
    "NUL": (41, answer(200, b'\x00{"status": "PENDING"}')),
    "NaN": (41, answer(200, '{"status": "SUCCESS", "x": NaN}')),
    "a field twice": (41, answer(200, '{"status": "SUCCESS", "status": "PENDING"}')),
    "200,000 brackets": (41, answer(200, "[" * 200_000)),
    "a number of 5,000 digits": (41, answer(200, '{"status": "PENDING", "x": ' + "9" * 5000 + "}")),
    "a list": (41, answer(200, json=[])),
    "a bomb": (42, gzip_bomb(64 * 1024 * 1024)),
    "no status": (43, answer(200, json={"id": "job-1"})),
    "a status that is a number": (43, answer(200, json={"id": "job-1", "status": 3})),
    "a status of spaces": (43, answer(200, json={"id": "job-1", "status": "  "})),
    "PROCESSING": (44, answer(200, json={"id": "job-1", "status": " processing "})),
    "an unknown word": (44, answer(200, json={"id": "job-1", "status": "WARMING_UP"})),
    "failure without a reason": (46, answer(200, json={"status": "FAILURE"})),
    "success without links": (47, answer(200, json={"status": "SUCCESS"})),
    "success with links null": (47, answer(200, json={"status": "SUCCESS", "download_urls": None})),
    "success with no links": (47, answer(200, json={"status": "SUCCESS", "download_urls": []})),
    "success with an empty link": (47, answer(200, json={"status": "SUCCESS", "download_urls": [""]})),
    "links that are objects": (49, answer(200, json={"status": "SUCCESS", "download_urls": [{"url": LINK}]})),
    "links that are a number": (49, answer(200, json={"status": "SUCCESS", "download_urls": 3})),
    "one redirect": (52, redirect(302, "http://127.0.0.1:9/elsewhere")),
}


@pytest.mark.fault(32, 34, 35, 36, 37, 38, 40, 41, 42, 43, 44, 46, 47, 49, 52)
@in_turn("instruction", [pytest.param(one, id=name) for name, (_, one) in PASSING.items()], mode="task")
def test_a_bad_look_is_followed_by_another_and_never_by_a_submission(
    task: Task, connect: Connect, instruction: Instruction, impatient: Impatient
) -> None:
    if instruction.name.startswith(("silent", "drip")):
        impatient(RequestKind.LOOK)
    with ScriptedServer({SUBMIT: [pending()], STATUS: [pending(), instruction, *done(task)]}) as server:
        connect(server.origin)
        assert task.run()["download_urls"] == [LINK]
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(32)
def test_an_api_that_is_away_for_a_while_is_waited_for(task: Task, connect: Connect) -> None:
    with (
        ScriptedServer({SUBMIT: [pending()], STATUS: [pending(), *done(task)]}) as server,
        TcpProxy(server.port) as proxy,
    ):
        connect(proxy.url)

        def world(sleeps: int) -> None:
            if sleeps == 1:
                proxy.down()
            if sleeps == 15:
                proxy.up()

        task.clock.on_sleep = world
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1
        assert len(task.clock.sleeps) == 15


async def _lingering(trigger: ImagePipelineJobTrigger) -> Any:
    # A triggerer's loop lives on, and TLS takes a moment to close.
    event = await fired(trigger)
    await asyncio.sleep(0.3)
    return event


def _run_over_tls(task: Task) -> Any:
    try:
        return task.start()
    except TaskDeferred:
        return task.resume(asyncio.run(_lingering(task.trigger())))


@pytest.mark.fault(33)
def test_a_certificate_that_turns_invalid_ends_the_wait_and_the_next_try_takes_the_job_up(
    task: Task, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, expired = self_signed(tmp_path), self_signed(tmp_path, expired=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(good.authority))
    trusting = ssl.create_default_context(cafile=str(good.authority))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    first = pending(headers={"Connection": "close"})  # so that the next look opens another connection
    with ScriptedServer({SUBMIT: [pending()], STATUS: [first, *done(task)]}, tls=good.context) as server:
        connect(server.origin)
        task.clock.on_sleep = lambda sleeps: server.use_tls(expired.context) if sleeps == 1 else None
        with pytest.raises(JobUnreachable, match="certificate"):
            _run_over_tls(task)
        assert phases(task) == ["submitted"]
        server.use_tls(good.context)
        assert _run_over_tls(task)["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(34)
def test_headers_that_drip_are_given_up_by_the_triggerer(clock: Clock, connect: Connect, impatient: Impatient) -> None:
    impatient(RequestKind.LOOK)
    task = Task(clock, deferrable=True)
    with ScriptedServer({SUBMIT: [pending()], STATUS: [drip_headers(0.2), *done(task)]}) as server:
        connect(server.origin)
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


RETRY_AFTER = {
    "17": 17,
    "1.5": 2,
    "Wed, 21 Oct 2015 07:28:00 GMT": 0,
    "soon": 0,
    "-5": 0,
    "1000000000000": 300,
    "Fri, 31 Dec 9999 23:59:59 GMT": 300,
    "Fri, 31 Dec 10000 23:59:59 GMT": 0,
    "": 0,
    "٣": 0,
}


@pytest.mark.fault(35)
@in_turn("text,status", [(text, status) for status in (429, 503) for text in RETRY_AFTER], mode="task")
def test_retry_after_is_obeyed_where_it_can_be_read_and_never_for_long(
    task: Task, connect: Connect, text: str, status: int
) -> None:
    answered = answer(status, "", headers=[("Retry-After", text.encode().decode("latin-1"))])
    with ScriptedServer({SUBMIT: [pending()], STATUS: [answered, *done(task)]}) as server:
        connect(server.origin)
        assert task.run()["status"] == "SUCCESS"
        assert RETRY_AFTER[text] <= task.clock.sleeps[0] <= max(RETRY_AFTER[text], 60)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(35)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_whatever_retry_after_says_the_wait_goes_on(text: str) -> None:
    clock = Clock()
    with (
        pytest.MonkeyPatch.context() as patch,
        ScriptedServer({STATUS: [answer(429, "", headers={"Retry-After": text}), DONE]}) as server,
    ):
        patch.setenv(
            "AIRFLOW_CONN_IMAGEPIPELINE_DEFAULT", f'{{"conn_type": "x", "host": "{server.origin}", "password": "k"}}'
        )
        patch.setattr("airflow_imagepipeline.hooks.imagepipeline.time", clock)
        from airflow_imagepipeline.contract.job import JobHandle
        from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook

        event = ImagePipelineHook().wait_for_job(
            JobHandle.from_payload("job-1", spoken().name), deadline=clock.time() + 3600
        )
        assert event.outcome == "succeeded"
        assert clock.passed <= 300


@pytest.mark.fault(35, 51)
def test_a_pause_never_goes_past_the_deadline(task: Task, connect: Connect) -> None:
    task.arguments["timeout"] = 100
    later = answer(503, "", headers={"Retry-After": "280"})
    with ScriptedServer({SUBMIT: [pending()], STATUS: [later, later]}) as server:
        connect(server.origin)
        task.fails(JobTimedOut)
        assert 99 <= task.clock.passed <= 101
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(36, 51)
@pytest.mark.parametrize("instruction", [refused(500), pending()], ids=["500 for ever", "PENDING for ever"])
def test_the_deadline_ends_a_wait_and_the_next_try_looks_at_the_same_job(
    task: Task, connect: Connect, instruction: Instruction
) -> None:
    task.arguments["poll_interval"] = 60
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(instruction)]}) as server:
        connect(server.origin)
        assert "may still finish and be billed" in task.fails(JobTimedOut)
        assert 3599 <= task.clock.passed <= 3601
        assert phases(task) == ["submitted"]
        looks = server.hits(STATUS)
        task.fails(JobTimedOut)  # past the deadline: one look, and no more
        assert server.hits(STATUS) == looks + 1
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(51)
def test_a_job_that_finished_after_the_deadline_is_not_given_up_unseen(task: Task, connect: Connect) -> None:
    task.arguments["timeout"] = 20
    late = [pending()] * 2
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        answers = iter([*late, *[pending()] * 20])
        over = False

        def look(_: object) -> Instruction:
            return DONE if over else next(answers)

        server.route(STATUS, look)
        connect(server.origin)
        task.fails(JobTimedOut)
        over = True
        task.clock.sleep(10_000)
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(37)
@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_key_that_is_refused_twice_ends_the_wait_and_a_mended_one_takes_the_job_up(
    task: Task, connect: Connect, status: int
) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [refused(status), refused(status), *done(task)]}) as server:
        connect(server.origin)
        task.fails(JobUnreachable)
        assert phases(task) == ["submitted"]
        connect(server.origin, "key-CANARY-new")
        assert task.run()["status"] == "SUCCESS"
        assert server.requests[-1].header(spoken().key_header) == "key-CANARY-new"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(38)
def test_a_job_that_is_not_known_three_times_is_lost_for_good(task: Task, connect: Connect) -> None:
    gone = [refused(404)] * 3
    with ScriptedServer({SUBMIT: [pending()], STATUS: [pending(), *gone]}) as server:
        connect(server.origin)
        task.clock.on_sleep = lambda _: task.clock.set(task.clock.passed + 60)
        task.fails(JobLost)
        assert phases(task) == ["lost"]
        task.fails(SubmissionUncertain)  # the report was lost
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(38)
def test_a_job_is_not_given_up_in_the_minute_after_its_submission(task: Task, connect: Connect) -> None:
    task.arguments["poll_interval"] = 5
    with ScriptedServer({SUBMIT: [pending()], STATUS: [*[refused(404)] * 4, *done(task)]}) as server:
        connect(server.origin)
        task.clock.on_sleep = lambda _: task.clock.set(min(task.clock.passed, 59))
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(39)
@in_turn("status", [400, 405, 410, 422], mode="task")
def test_another_refusal_of_a_poll_is_final_only_three_times_in_a_row(
    task: Task, connect: Connect, status: int
) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [refused(status)] * 2 + done(task)}) as server:
        connect(server.origin)
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(refused(status))]}) as server:
        connect(server.origin)
        another = Task(task.clock, deferrable=task.deferrable, prompt="another")
        assert str(status) in another.fails(JobLost)
        assert (server.hits(SUBMIT), server.hits(STATUS) >= 3) == (1, True)


@pytest.mark.fault(40, 43)
@pytest.mark.parametrize("body", ["<html>", '{"id": "job-1"}'])
def test_ten_answers_in_a_row_that_cannot_be_read_end_the_wait(task: Task, connect: Connect, body: str) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [answer(200, body)] * 10 + done(task)}) as server:
        connect(server.origin)
        task.fails(JobUnreachable)
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(40, 41)
@pytest.mark.parametrize("label", ["text/html", "text/plain; charset=latin-1", ""])
def test_the_content_decides_and_not_its_label(task: Task, connect: Connect, label: str) -> None:
    body = "\ufeff" + f'{{"status": "success", "download_urls": "{LINK}"}}'
    labelled = answer(200, body.encode(), headers={"Content-Type": label})
    with ScriptedServer({SUBMIT: [pending()], STATUS: [labelled] * len(done(task))}) as server:
        connect(server.origin)
        assert task.run()["download_urls"] == [LINK]
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(42)
@pytest.mark.parametrize(
    "instruction", [gzip_bomb(300 * 1024 * 1024), endless(b" " * 65536, 64 * 1024 * 1024)], ids=["bomb", "endless"]
)
def test_an_oversize_answer_costs_little_memory(task: Task, connect: Connect, instruction: Instruction) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [instruction, *done(task)]}) as server:
        connect(server.origin)
        tracemalloc.start()
        try:
            assert task.run()["status"] == "SUCCESS"
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 32 * 1024 * 1024
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(44)
def test_a_new_status_word_is_warned_of_once(task: Task, connect: Connect, logs: Callable[[], str]) -> None:
    word = answer(200, json={"id": "job-1", "status": "Warming_Up"})
    with ScriptedServer({SUBMIT: [pending()], STATUS: [*[word] * 4, *done(task)]}) as server:
        connect(server.origin)
        task.run()
        assert logs().count("'Warming_Up'") == 1
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(45)
def test_the_first_success_is_final(task: Task, connect: Connect) -> None:
    # The worker's fresh look after the triggerer may find it pending again, for a moment.
    answers = [pending(), DONE, pending(), DONE] if task.deferrable else [pending(), DONE]
    with ScriptedServer({SUBMIT: [pending()], STATUS: answers}) as server:
        connect(server.origin)
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(121)
def test_a_success_that_only_the_triggerer_saw_is_kept_for_a_retry_and_not_waited_for(
    clock: Clock, connect: Connect
) -> None:
    task = Task(clock, deferrable=True)
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        connect(server.origin)
        is_stale = True
        server.route(STATUS, lambda _: pending() if is_stale and server.hits(STATUS) > 1 else DONE)
        assert "reported it as finished" in task.fails(JobUnreachable)
        assert clock.passed < 300.0  # of an hour that the job had
        is_stale = False
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(46, 48)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": "NSFW", "message": "other"}, "NSFW"),
        ({"message": "out of\x1b[31m memory\n"}, "out of"),
        ({"detail": "no GPU"}, "no GPU"),
        ({"error": "x" * 1000}, "x" * 200),
    ],
)
def test_a_failure_with_a_reason_is_final_and_not_paid_for_again(
    task: Task, connect: Connect, body: dict[str, str], reason: str
) -> None:
    failed = answer(200, json={"status": "FAILURE", **body})
    with ScriptedServer({SUBMIT: [pending()], STATUS: [failed]}) as server:
        connect(server.origin)
        said = task.fails(JobFailed)
        assert reason in said
        assert len(said) < 500
        assert "\x1b" not in said
        assert phases(task) == ["failed"]
        task.fails(SubmissionUncertain)  # the report was lost
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(46, 48)
def test_a_failure_without_a_reason_is_believed_the_second_time(task: Task, connect: Connect) -> None:
    bare = answer(200, json={"status": "FAILURE"})
    with ScriptedServer({SUBMIT: [pending()], STATUS: [bare, bare]}) as server:
        connect(server.origin)
        assert "No reason given" in task.fails(JobFailed)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(48)
def test_a_failed_job_is_paid_for_again_only_where_the_user_said_so(task: Task, connect: Connect) -> None:
    task.arguments["retry_failed_jobs"] = True
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")], STATUS: [failure(), *done(task)]}) as server:
        connect(server.origin)
        task.fails(JobFailedForNow)
        assert task.run()["job_id"] == "job-2"
        assert server.hits(SUBMIT) == 2


@pytest.mark.fault(47)
def test_success_without_links_three_times_ends_the_wait(task: Task, connect: Connect) -> None:
    bare = answer(200, json={"status": "SUCCESS"})
    with ScriptedServer({SUBMIT: [pending()], STATUS: [bare, bare, bare, *done(task)]}) as server:
        connect(server.origin)
        assert "without links" in task.fails(JobUnreachable)
        assert task.run()["download_urls"] == [LINK]
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(49)
@pytest.mark.parametrize(
    ("links", "taken"), [(LINK, [LINK]), ([LINK, LINK], [LINK]), ([LINK + "1", LINK + "0"], [LINK + "1", LINK + "0"])]
)
def test_links_in_unusual_shapes(task: Task, connect: Connect, links: object, taken: list[str]) -> None:
    shaped = answer(200, json={"status": "SUCCESS", "download_urls": links})
    with ScriptedServer({SUBMIT: [pending()], STATUS: [shaped] * len(done(task))}) as server:
        connect(server.origin)
        assert task.run()["download_urls"] == taken
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(49)
def test_of_more_links_than_a_job_can_have_the_first_are_taken(
    task: Task, connect: Connect, logs: Callable[[], str]
) -> None:
    many = answer(200, json={"status": "SUCCESS", "download_urls": [f"{LINK}{i}" for i in range(17)]})
    with ScriptedServer({SUBMIT: [pending()], STATUS: [many] * len(done(task))}) as server:
        connect(server.origin)
        taken = task.run()["download_urls"]
        assert taken == [f"{LINK}{i}" for i in range(len(taken))]
        assert len(taken) < 17
        assert "17 links" in logs()
        assert server.hits(SUBMIT) == 1


@only_old
@pytest.mark.fault(49)
def test_fewer_links_than_samples_are_told_and_fail_the_task_where_the_user_insists(
    task: Task, connect: Connect, logs: Callable[[], str]
) -> None:
    task.arguments["samples"] = 2
    with ScriptedServer({SUBMIT: [pending()], STATUS: [success([LINK])] * (3 * len(done(task)))}) as server:
        connect(server.origin)
        task.arguments["strict_count"] = True
        assert "gave 1 of the 2 images" in task.fails(TooFewImages)
        task.fails(TooFewImages)
        task.arguments["strict_count"] = False
        assert task.run()["download_urls"] == [LINK]
        assert logs().count("gave 1 of the 2 images") == 3  # once in each try
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(50)
def test_an_answer_for_another_job_is_final_only_three_times_in_a_row(task: Task, connect: Connect) -> None:
    other = success([LINK], "job-9")
    with ScriptedServer({SUBMIT: [pending()], STATUS: [other] * 2 + done(task)}) as server:
        connect(server.origin)
        assert task.run()["status"] == "SUCCESS"
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(other)]}) as server:
        connect(server.origin)
        another = Task(task.clock, deferrable=task.deferrable, prompt="another")
        assert "another job" in another.fails(JobLost)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(52)
@in_turn("code", [301, 302, 303, 307, 308], mode="task")
def test_a_redirected_look_is_not_followed_and_the_job_is_kept(task: Task, connect: Connect, code: int) -> None:
    with ScriptedServer(host="127.0.0.2") as elsewhere:
        away = redirect(code, f"{elsewhere.origin}/x")
        with ScriptedServer({SUBMIT: [pending()], STATUS: [*[away] * 5, *done(task)]}) as server:
            connect(server.origin)
            assert elsewhere.origin in task.fails(JobUnreachable)
            assert task.run()["status"] == "SUCCESS"
            assert server.hits(SUBMIT) == 1
        assert elsewhere.connections == 0


@pytest.mark.fault(53)
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_neither_shortens_nor_lengthens_a_wait(task: Task, connect: Connect, hours: int) -> None:
    task.arguments["timeout"] = 600
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(pending())]}) as server:
        connect(server.origin)
        task.clock.on_sleep = lambda sleeps: task.clock.jump(hours * 3600) if sleeps == 3 else None
        task.fails(JobTimedOut)
        assert 599 <= task.clock.passed <= 601
        assert max(task.clock.sleeps) <= 6
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(53)
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_triggerer_whose_clock_is_wrong_still_looks_once_and_never_beyond_its_own_count(
    clock: Clock, connect: Connect, hours: int
) -> None:
    task = Task(clock, deferrable=True, timeout=600)
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(pending())]}) as server:
        connect(server.origin)
        with pytest.raises(TaskDeferred):
            task.start()
        clock.jump(hours * 3600)
        assert task.wait()["outcome"] == "timed_out"
        assert clock.passed <= 600 + 3600 + 1
        assert server.hits(STATUS) >= 1
        assert server.hits(SUBMIT) == 1
