"""The end of a wait crosses from the triggerer to a worker as JSON; strangers are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, JobStatus
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.policy.job_event import JobEvent, Outcome, event_of
from tests.contract.answered import json_values

HANDLE = JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1", submitted_at=1_800_000_000.0, seed=7)
LINK = "https://f.example/1.png?Authorization=SECRET"
GOOD: dict[str, Any] = {"v": 1, "job": HANDLE.to_payload(), "outcome": "succeeded", "message": ""}


@given(
    outcome=st.sampled_from(Outcome),
    message=st.text(max_size=300),
    job_id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:-]{0,199}", fullmatch=True),
)
def test_an_event_survives_json(outcome: Outcome, message: str, job_id: str) -> None:
    event = JobEvent(JobHandle(SDXL_IMAGE_TO_IMAGE, job_id, 1.5, 7), outcome, message)
    assert JobEvent.from_payload(json.loads(json.dumps(event.to_payload()))) == event


@pytest.mark.parametrize("outcome", Outcome)
def test_an_event_carries_no_link(outcome: Outcome) -> None:
    job = Job(HANDLE, JobStatus.SUCCESS, download_urls=(LINK,))
    event = JobEvent(HANDLE, outcome, "done", job)
    assert "f.example" not in json.dumps(event.to_payload())
    assert "f.example" not in repr(event)
    assert JobEvent.from_payload(event.to_payload()).job is None


def test_an_event_is_small() -> None:
    longest = JobHandle(SDXL_IMAGE_TO_IMAGE, "a" * 200, 1_800_000_000.123456, 2**31)
    assert len(json.dumps(JobEvent(longest, Outcome.UNREACHABLE, "x" * 600).to_payload())) < 1024


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(None, id="none"),
        pytest.param([], id="a list"),
        pytest.param("succeeded", id="a text"),
        pytest.param({}, id="an empty object"),
        pytest.param({**GOOD, "v": 2}, id="a later version"),
        pytest.param({**GOOD, "v": "1"}, id="a version as text"),
        pytest.param({k: v for k, v in GOOD.items() if k != "v"}, id="no version"),
        pytest.param({k: v for k, v in GOOD.items() if k != "job"}, id="no job"),
        pytest.param({k: v for k, v in GOOD.items() if k != "outcome"}, id="no outcome"),
        pytest.param({**GOOD, "outcome": "done"}, id="an unknown outcome"),
        pytest.param({**GOOD, "outcome": ["succeeded"]}, id="an outcome that is a list"),
        pytest.param({**GOOD, "job": None}, id="a job of none"),
        pytest.param({**GOOD, "job": {"job_id": "../x"}}, id="a job with an unfit id"),
        pytest.param({**GOOD, "job": {**GOOD["job"], "api": "v9"}}, id="a job of an unknown API"),
        pytest.param({"status": "success", "job_id": "job-1"}, id="an event of another provider"),
    ],
)
def test_a_stranger_is_refused(stranger: object) -> None:
    with pytest.raises(ValueError, match=r"^not a job event: "):
        JobEvent.from_payload(stranger)


def test_a_refusal_is_short_and_clean() -> None:
    with pytest.raises(ValueError, match=r"^not a job event: ") as caught:
        JobEvent.from_payload({"link": LINK, "more": "\x1b" * 500})
    assert "SECRET" not in str(caught.value)
    assert len(str(caught.value)) <= len("not a job event: ") + 80


@pytest.mark.parametrize("message", [None, 3, ["x"]])
def test_a_message_is_a_text(message: object) -> None:
    assert JobEvent.from_payload({**GOOD, "message": message}).message == str(message)
    assert JobEvent.from_payload({k: v for k, v in GOOD.items() if k != "message"}).message == ""


@given(
    json_values
    | st.fixed_dictionaries(
        {"v": st.just(1)},
        optional={
            "job": json_values
            | st.just("job-1")
            | st.fixed_dictionaries({"job_id": st.just("a"), "seed": json_values}),
            "outcome": json_values | st.sampled_from(["succeeded", "lost"]),
            "message": json_values,
        },
    )
)
def test_anything_is_an_event_or_a_value_error(payload: object) -> None:
    try:
        event = JobEvent.from_payload(payload)
    except ValueError:
        return
    assert JobEvent.from_payload(json.loads(json.dumps(event.to_payload(), allow_nan=False))) == event


@pytest.mark.parametrize(
    ("job", "outcome", "message"),
    [
        pytest.param(Job(HANDLE, JobStatus.SUCCESS, (LINK,)), Outcome.SUCCEEDED, None, id="done"),
        pytest.param(Job(HANDLE, JobStatus.FAILURE, error="nsfw"), Outcome.FAILED, "nsfw", id="failed"),
        pytest.param(Job(HANDLE, JobStatus.FAILURE), Outcome.FAILED, "No reason given.", id="failed without a reason"),
    ],
)
def test_a_job_that_needs_no_wait_is_its_own_end(job: Job, outcome: Outcome, message: str | None) -> None:
    event = event_of(job)
    assert (event.handle, event.outcome, event.job) == (HANDLE, outcome, job)
    assert message in {None, event.message}
