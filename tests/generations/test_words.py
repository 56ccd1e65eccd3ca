"""The current generation's own words: the end that is called cancelled, fields of tomorrow, errors in two envelopes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_imagepipeline.exceptions import (
    JobFailed,
    JobFailedForNow,
    JobLost,
    JobUnreachable,
    OutOfCredits,
    SubmissionNotSent,
    SubmissionRefused,
)
from airflow_imagepipeline.sensors.imagepipeline import ImagePipelineJobSensor
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator
from tests.faults import STATUS, SUBMIT, ScriptedServer, answer, forever, pending
from tests.generations import CURRENT
from tests.running import (
    POLL,
    FakeStore,
    context,
    edit_image,
    fails_with,
    in_sensor_modes,
    in_task_modes,
    run_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults import Instruction
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs")

LINK: Final = "http://127.0.0.1/a.png"
RESULT: Final = "https://files.test/result"
CANCELLED: Final[dict[str, dict[str, Any]]] = {
    "bare": {"status": "cancelled"},
    "with nulls": {"status": "cancelled", "error": None, "failure_reason_code": None, "retryable": None},
    "with its code": {"status": "cancelled", "failure_reason_code": "CANCELLED", "error": "The job was cancelled"},
    "with a sentence": {"status": "Cancelled", "error": "cancelled by support"},
}
in_cancelled_words = pytest.mark.parametrize("words", CANCELLED)


def sensor(job: Any, **arguments: Any) -> functools.partial[ImagePipelineJobSensor]:
    usual = {"task_id": "wait", "poke_interval": POLL, "timeout": 30.0, "api": CURRENT.name}
    return functools.partial(ImagePipelineJobSensor, **{**usual, "job": job, **arguments})


def status(**fields: Any) -> Instruction:
    """Say where the job stands, as the current generation does."""
    return answer(json={"job_id": "job-1", **fields})


@in_task_modes
@in_cancelled_words
def test_a_cancelled_job_ends_the_operators_wait(connection: Callable[..., None], words: str, mode: str) -> None:
    store = FakeStore()
    with ScriptedServer({SUBMIT: [pending()], STATUS: [pending(), status(**CANCELLED[words])]}) as server:
        connection(server.url)
        with fails_with(JobFailed, "Job job-1 (edit/image/v1) failed", "ancelled"):
            run_to_end(edit_image(LINK), context(store), mode)
    assert store.record()["phase"] == "failed"


@in_task_modes
@in_cancelled_words
def test_a_job_that_is_cancelled_at_once_fails_the_task(connection: Callable[..., None], words: str, mode: str) -> None:
    with ScriptedServer({SUBMIT: [status(**CANCELLED[words])]}) as server:
        connection(server.url)
        with fails_with(JobFailed, "ancelled"):
            run_to_end(edit_image(LINK), context(FakeStore()), mode)


@in_sensor_modes
@in_cancelled_words
def test_a_cancelled_job_ends_the_sensors_wait(connection: Callable[..., None], words: str, mode: str) -> None:
    with ScriptedServer({STATUS: [pending(), status(**CANCELLED[words])]}) as server:
        connection(server.url)
        with fails_with(AirflowFailException, "Job job-1 (edit/image/v1) failed", "ancelled"):
            run_to_end(sensor("job-1"), context(), mode)


def test_a_cancelled_job_is_not_landed(connection: Callable[..., None], tmp_path: Path) -> None:
    make = functools.partial(
        ImagePipelineToObjectStorageOperator,
        task_id="store",
        job="job-1",
        api=CURRENT.name,
        destination=f"file://{tmp_path}",
    )
    with ScriptedServer({STATUS: [status(status="cancelled")]}) as server:
        connection(server.url)
        with fails_with(JobFailed, "cancelled"):
            run_to_end(make, context(), "plain")


@in_task_modes
@pytest.mark.parametrize(
    ("code", "said", "retryable"),
    [
        pytest.param("MODEL_ERROR", False, False, id="in vain, says the answer"),
        pytest.param("INPUT_INVALID", True, True, id="not in vain, says the answer"),
        pytest.param("MODEL_ERROR", None, True, id="not in vain, says the page"),
        pytest.param("INPUT_INVALID", "yes", False, id="in vain, says the page"),
        pytest.param("CANCELLED", None, None, id="nobody says"),
    ],
)
def test_the_answers_own_word_on_trying_again_comes_first(
    connection: Callable[..., None], *, code: str, said: Any, retryable: bool | None, mode: str
) -> None:
    failed = status(status="failed", error="no luck", failure_reason_code=code, retryable=said)
    with ScriptedServer({SUBMIT: [pending()], STATUS: [failed]}) as server:
        connection(server.url)
        with pytest.raises(AirflowException) as caught:
            run_to_end(edit_image(LINK, retry_failed_jobs=True), context(FakeStore()), mode)
    failure: Any = caught.value
    assert (failure.reason_code, failure.retryable) == (code, retryable)
    assert type(failure) is (JobFailed if retryable is False else JobFailedForNow)


@in_task_modes
def test_fields_of_tomorrow_and_odd_values_do_not_matter(connection: Callable[..., None], mode: str) -> None:
    odd = {"progress": "most of it", "queue_position": -1, "warnings": "none", "estimated_time_seconds": None}
    new = {"region": {"name": "eu", "hops": [1, None]}, "download_urls": ["https://evil.test/x"], "id": 7}
    script = [
        status(status="queued", **odd, **new),
        status(status="warming_up", **new),
        status(status=" Processing ", **odd),
        forever(status(status="completed", result_url=RESULT, error=None, cost_usd="0.04", **odd, **new)),
    ]
    with ScriptedServer({SUBMIT: [status(status="queued", **odd)], STATUS: script}) as server:
        connection(server.url)
        result = run_to_end(edit_image(LINK), context(FakeStore()), mode)
    assert (result["status"], result["download_urls"], "cost" in result) == ("SUCCESS", [RESULT], False)


@in_task_modes
@pytest.mark.parametrize("link", [None, "", [], 7, {"url": RESULT}], ids=repr)
def test_a_completed_job_without_a_link_is_looked_at_again_and_then_given_up(
    connection: Callable[..., None], link: Any, mode: str
) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: [status(status="completed", result_url=link)] * 3}) as server:
        connection(server.url)
        with fails_with(JobUnreachable, "SUCCESS without links"):
            run_to_end(edit_image(LINK), context(FakeStore()), mode)


def detail(said: str) -> dict[str, Any]:
    return {"detail": said}


def message(said: str, code: str = "SOME_CODE") -> dict[str, Any]:
    return {"error": "A title", "error_code": code, "message": said}


ENVELOPES: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "detail": detail,
    "detail as a list": lambda said: {"detail": [{"loc": ["body", "prompt"], "msg": said, "type": "value_error"}]},
    "message": message,
    "message alone": lambda said: {"message": said},
    "error alone": lambda said: {"error": said},
    "error that only announces": lambda said: {"error": True, "message": said},
    "error that is an object": lambda said: {"error": {"message": said, "code": 7}},
}
in_envelopes = pytest.mark.parametrize("envelope", ENVELOPES)


@in_task_modes
@in_envelopes
@pytest.mark.parametrize(
    ("code", "kind"),
    [(401, SubmissionRefused), (402, OutOfCredits), (404, SubmissionRefused), (422, SubmissionRefused)],
)
def test_a_refused_submission_is_repeated_in_the_vendors_words(
    connection: Callable[..., None], *, envelope: str, code: int, kind: type[AirflowException], mode: str
) -> None:
    with ScriptedServer({SUBMIT: [answer(code, json=ENVELOPES[envelope]("not like this"))]}) as server:
        connection(server.url)
        with fails_with(kind, f"answered {code}: ", "not like this", "Nothing was submitted."):
            run_to_end(edit_image(LINK), context(FakeStore()), mode)


@in_task_modes
@in_envelopes
def test_a_job_that_the_api_will_not_speak_of_is_lost(
    connection: Callable[..., None], envelope: str, mode: str
) -> None:
    with ScriptedServer({STATUS: [answer(404, json=ENVELOPES[envelope]("no such job"))] * 3}) as server:
        connection(server.url)
        with fails_with(JobLost, "answered 404: ", "no such job"):
            run_to_end(edit_image(LINK, job_id="job-1"), context(FakeStore()), mode)


@in_task_modes
@pytest.mark.parametrize(
    ("status_code", "code", "kind"),
    [
        pytest.param(400, "INSUFFICIENT_BALANCE", OutOfCredits, id="no balance, as a 400"),
        pytest.param(403, "INSUFFICIENT_CREDITS", OutOfCredits, id="no credits, as a 403"),
        pytest.param(403, "PLAN_REQUIRED", SubmissionRefused, id="a code of no list"),
        pytest.param(400, "RATE_LIMIT_EXCEEDED", SubmissionNotSent, id="too many, as a 400"),
    ],
)
def test_the_code_says_more_than_the_status(
    connection: Callable[..., None], *, status_code: int, code: str, kind: type[AirflowException], mode: str
) -> None:
    times = 4 if kind is SubmissionNotSent else 1
    script = [answer(status_code, json=message("see the code", code), headers={"Retry-After": "0"})] * times
    with ScriptedServer({SUBMIT: script}) as server:
        connection(server.url)
        with fails_with(kind, "see the code"):
            run_to_end(edit_image(LINK), context(FakeStore()), mode)


@in_task_modes
@pytest.mark.parametrize("envelope", ["message", "detail"])
def test_a_wrong_key_is_refused_in_either_envelope(
    vendor: Vendor, connection: Callable[..., None], photos: str, *, envelope: Any, mode: str
) -> None:
    vendor.settings.error_envelope = envelope
    connection(vendor.url, "another-key-altogether")
    with fails_with(SubmissionRefused, "answered 401: Invalid API key. The API key was refused"):
        run_to_end(edit_image(f"{photos}/a.png"), context(FakeStore()), mode)
    assert vendor.count("accepted") == 0
