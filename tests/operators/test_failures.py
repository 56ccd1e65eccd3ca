"""What a task fails with when the vendor says no, in a worker and through the triggerer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_imagepipeline.exceptions import (
    JobFailed,
    JobLost,
    JobTimedOut,
    JobUnreachable,
    OutOfCredits,
    SubmissionNotSent,
    SubmissionRefused,
)
from tests.faults import STATUS, SUBMIT, ScriptedServer, answer, forever, pending, refused, success
from tests.running import (
    FakeStore,
    cleared,
    context,
    fails_with,
    image_to_image,
    in_task_modes,
    in_turn,
    retried,
    run_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.generations import Generation
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

LINK = "http://127.0.0.1/a.png"


@in_turn(
    "status,kind,words",
    [
        (400, SubmissionRefused, "Correct the parameters"),
        (401, SubmissionRefused, "API key was refused"),
        (402, OutOfCredits, "no credits left"),
        (403, SubmissionRefused, "may not use this endpoint"),
        (404, SubmissionRefused, "check the connection's host"),
        (410, SubmissionRefused, "withdrawn this endpoint"),
        (422, SubmissionRefused, "Correct the parameters"),
        (501, SubmissionRefused, "will not take this request"),
    ],
)
def test_a_refused_submission_is_not_sent_again(
    connection: Callable[..., None], status: int, kind: type[AirflowException], words: str, mode: str
) -> None:
    store = FakeStore()
    with ScriptedServer({SUBMIT: [refused(status, "not like this"), pending()]}) as server:
        connection(server.url)
        first = context(store)
        with fails_with(kind, f"answered {status}: not like this.", words, "Nothing was submitted."):
            run_to_end(image_to_image(LINK, wait_for_completion=False), first, mode)
        assert server.count("POST") == 1
        # Nothing was taken, so nothing is remembered: once the cause is mended, the task submits.
        run_to_end(image_to_image(LINK, wait_for_completion=False), retried(first), mode)
    assert issubclass(kind, AirflowFailException)


@in_task_modes
@pytest.mark.parametrize("status", [429, 503])
def test_an_api_that_stays_busy_leaves_it_to_the_tasks_retries(
    connection: Callable[..., None], status: int, mode: str
) -> None:
    store = FakeStore()
    first = context(store)
    with ScriptedServer({SUBMIT: [*[refused(status, "later", headers={"Retry-After": "0"})] * 4, pending()]}) as server:
        connection(server.url)
        with fails_with(SubmissionNotSent, "The API is busy.", "a retry of the task submits"):
            run_to_end(image_to_image(LINK, wait_for_completion=False), first, mode)
        run_to_end(image_to_image(LINK, wait_for_completion=False), retried(first), mode)
    assert not issubclass(SubmissionNotSent, AirflowFailException)


@in_task_modes
def test_a_failed_job_fails_the_task_with_the_vendors_reason(
    vendor: Vendor, photos: str, mode: str, generation: Generation
) -> None:
    store = FakeStore()
    with fails_with(JobFailed, f"{generation.image} could not be downloaded: HTTP 404"):
        run_to_end(image_to_image(f"{photos}/missing.jpg"), context(store), mode)
    assert store.record()["phase"] == "failed"
    assert vendor.count("accepted") == 1


@in_task_modes
def test_an_unknown_job_is_lost(vendor: Vendor, mode: str) -> None:
    with fails_with(JobLost, "Job no-such-job", "answered 404: Job not found"):
        run_to_end(image_to_image(LINK, job_id="no-such-job"), context(FakeStore()), mode)
    assert vendor.count("submits") == 0


@in_task_modes
def test_a_job_that_takes_too_long_is_found_again_by_the_next_try(vendor: Vendor, photos: str, mode: str) -> None:
    # Longer than a busy machine takes for the whole first try.
    vendor.settings.job_seconds = 1.5
    store = FakeStore()
    first = context(store)
    make = image_to_image(f"{photos}/a.png", timeout=0.05)

    with fails_with(JobTimedOut, "deadline passed", "may still finish and be billed"):
        run_to_end(make, first, mode)
    assert store.record()["phase"] == "submitted"
    # A human's clear gives the same job new time; it is not paid for again.
    result = run_to_end(image_to_image(f"{photos}/a.png", timeout=30.0), cleared(first), mode)

    assert result["job_id"] == store.record()["job_id"]
    assert vendor.count("accepted") == 1


@in_task_modes
def test_the_execution_timeout_bounds_the_wait_through_the_triggerer_too(
    vendor: Vendor, photos: str, mode: str
) -> None:
    vendor.settings.job_seconds = 60.0
    make = image_to_image(f"{photos}/a.png", timeout=3600.0, execution_timeout=timedelta(seconds=0.2))
    with fails_with(JobTimedOut, "deadline passed"):
        run_to_end(make, context(FakeStore()), mode)


@in_task_modes
def test_a_job_whose_key_is_refused_meanwhile_stays_recorded(connection: Callable[..., None], mode: str) -> None:
    store = FakeStore()
    first = context(store)
    script = [refused(401, "no"), refused(401, "no"), *[success(["https://files.test/a.png"])] * 2]
    with ScriptedServer({SUBMIT: [pending()], STATUS: script}, allow_unused=True) as server:
        connection(server.url)
        with fails_with(JobUnreachable, "API key was refused"):
            run_to_end(image_to_image(LINK), first, mode)
        result = run_to_end(image_to_image(LINK), retried(first), mode)
    assert result["status"] == "SUCCESS"
    assert server.count("POST") == 1


@in_task_modes
def test_an_account_without_credits_does_not_cost_the_job_that_was_paid_for(
    connection: Callable[..., None], mode: str
) -> None:
    first = context(FakeStore())
    broke = refused(402, "no credits left")
    script = [broke, broke, *[success(["https://files.test/a.png"])] * 2]
    with ScriptedServer({SUBMIT: [pending()], STATUS: script}, allow_unused=True) as server:
        connection(server.url)
        with fails_with(JobUnreachable, "top it up, then clear the task"):
            run_to_end(image_to_image(LINK), first, mode)
        assert run_to_end(image_to_image(LINK), cleared(first), mode)["job_id"] == "job-1"
    assert server.count("POST") == 1


@in_task_modes
def test_a_wait_outlives_faults_of_the_api_and_its_unknown_words(
    connection: Callable[..., None], mode: str, logs: Callable[[], str]
) -> None:
    script = [
        answer(500, "oops"),
        answer(200, "<html>"),
        answer(json={"id": "job-1", "status": "WARMING_UP"}),
        refused(503, "later", headers={"Retry-After": "0"}),
        pending(),
        forever(success(["https://files.test/a.png"])),
    ]
    with ScriptedServer({SUBMIT: [pending()], STATUS: script}) as server:
        connection(server.url)
        result = run_to_end(image_to_image(LINK), context(FakeStore()), mode)
    assert result["status"] == "SUCCESS"
    assert "Unknown status 'WARMING_UP'" in logs()


@in_task_modes
def test_a_connection_that_breaks_during_the_wait_is_a_sentence_too(
    connection: Callable[..., None], tmp_path: Path, mode: str
) -> None:
    # Both modes read the connection anew when the task is retried; here its host has lost its meaning meanwhile.
    store = FakeStore()
    first = context(store)
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        connection(server.url)
        run_to_end(image_to_image(LINK, wait_for_completion=False), first, mode)
        connection("http://api.example.com")
        with fails_with(SubmissionRefused, "must be reached by https"):
            run_to_end(image_to_image(LINK, destination=f"file://{tmp_path}"), retried(first), mode)
    assert server.count("POST") == 1


def test_a_connection_that_breaks_while_deferred_leaves_the_job_to_a_retry(connection: Callable[..., None]) -> None:
    connection("http://api.example.com")
    event = {"v": 1, "job": {"job_id": "job-1"}, "outcome": "succeeded", "message": ""}
    with fails_with(JobUnreachable, "Job job-1", "must be reached by https"):
        image_to_image(LINK)().resume_execution("execute_complete", {"event": event}, context(FakeStore()))


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, {"v": 2}, "job-1"], ids=str)
def test_a_stranger_is_no_event(event: object) -> None:
    with fails_with(ValueError, "not a job event"):
        image_to_image(LINK)().resume_execution("execute_complete", {"event": event}, context(FakeStore()))


def test_a_kill_says_that_the_job_may_go_on(connection: Callable[..., None], logs: Callable[[], str]) -> None:
    operator = image_to_image(LINK)()
    operator.on_kill()
    assert "No job is known yet" in logs()
    event = {"v": 1, "job": {"job_id": "job-1"}, "outcome": "timed_out", "message": ""}
    connection("http://127.0.0.1:1")
    with fails_with(JobTimedOut):
        operator.resume_execution("execute_complete", {"event": event}, context(FakeStore()))
    operator.on_kill()
    assert "cannot cancel job job-1: it may still finish and be billed" in logs()
