"""A handle finds its job again in another process; what is none is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE
from airflow_imagepipeline.contract.job import JobHandle, estimate_in
from tests.contract.answered import HANDLE, any_text, json_values

API = "sdxl/image2image/v1"
seeds = st.none() | st.integers()
times = st.none() | st.floats(0, 1e12)


@given(job_id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:-]{0,199}", fullmatch=True), at=times, seed=seeds)
def test_a_handle_survives_json(job_id: str, at: float | None, seed: int | None) -> None:
    handle = JobHandle(SDXL_IMAGE_TO_IMAGE, job_id, at, seed)
    assert JobHandle.from_payload(json.loads(json.dumps(handle.to_payload()))) == handle


def test_a_payload_has_a_version_and_no_more_than_it_says() -> None:
    assert HANDLE.to_payload() == {
        "v": 1,
        "api": API,
        "job_id": "job-1",
        "seed": 7,
        "submitted_at": 1_799_999_990.0,
    }


@pytest.mark.parametrize(
    ("payload", "handle"),
    [
        pytest.param("job-1", JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"), id="an id"),
        pytest.param(17, JobHandle(SDXL_IMAGE_TO_IMAGE, "17"), id="a number"),
        pytest.param({"job_id": "job-1"}, JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"), id="a mapping without an API"),
        pytest.param(
            {"v": 1, "api": API, "job_id": "job-1", "status": "PENDING", "images": []},
            JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"),
            id="an operator's result",
        ),
        pytest.param(
            {"job_id": "job-1", "seed": "7", "submitted_at": True},
            JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"),
            id="a seed and a time that are no numbers",
        ),
        pytest.param(
            {"job_id": "job-1", "seed": float("nan"), "submitted_at": float("inf")},
            JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"),
            id="a seed and a time that are not finite",
        ),
        pytest.param(
            {"job_id": "job-1", "seed": 10**400, "submitted_at": -(10**400)},
            JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"),
            id="a seed and a time beyond every float",
        ),
    ],
)
def test_reads_what_names_a_job(payload: object, handle: JobHandle) -> None:
    assert JobHandle.from_payload(payload) == handle


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        pytest.param(None, "names no job: None", id="none"),
        pytest.param("", "names no job: ''", id="an empty text"),
        pytest.param({}, "names no job: {}", id="an empty mapping"),
        pytest.param({"id": "job-1"}, "names no job", id="a mapping of another kind"),
        pytest.param({"job_id": ""}, "names no job", id="an empty id"),
        pytest.param({"job_id": "../x"}, "not a job id: '../x'", id="a path"),
        pytest.param(True, "not a job id: True", id="a boolean"),
        pytest.param(["job-1"], "not a job id: ", id="a list"),
        pytest.param({"job_id": "job-1", "api": "v9"}, "unknown API 'v9'", id="an unknown API"),
        pytest.param({"job_id": "job-1", "api": None}, "unknown API None", id="an API of none"),
    ],
)
def test_refuses_what_names_no_job(payload: object, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        JobHandle.from_payload(payload)
    assert said in str(caught.value)


@given(
    json_values
    | st.fixed_dictionaries(
        {"job_id": st.just("job-1") | json_values},
        optional={"api": st.just(API) | json_values, "seed": json_values, "submitted_at": json_values},
    )
    | st.dictionaries(any_text, json_values)
)
def test_anything_is_a_handle_or_a_value_error(payload: object) -> None:
    try:
        handle = JobHandle.from_payload(payload)
    except ValueError:
        return
    json.dumps(handle.to_payload(), allow_nan=False)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        pytest.param(7, 7.0, id="whole seconds"),
        pytest.param(0.5, 0.5, id="a part of a second"),
        pytest.param(86_399, 86_399.0, id="nearly a day"),
        pytest.param(86_400, None, id="a day"),
        pytest.param(0, None, id="nothing"),
        pytest.param(-3, None, id="less than nothing"),
        pytest.param(True, None, id="a boolean"),
        pytest.param("7", None, id="a text"),
        pytest.param(None, None, id="none"),
        pytest.param(float("nan"), None, id="no number"),
        pytest.param(float("inf"), None, id="for ever"),
        pytest.param(10**400, None, id="beyond every float"),
    ],
)
def test_an_estimate_is_believed_within_reason(said: object, seconds: float | None) -> None:
    assert estimate_in({"estimated_time_seconds": said}) == seconds


def test_an_answer_without_an_estimate_has_none() -> None:
    assert estimate_in({}) is None


@given(json_values)
def test_whatever_is_said_an_estimate_is_seconds_or_none(said: object) -> None:
    seconds = estimate_in({"estimated_time_seconds": said})
    assert seconds is None or 0 < seconds < 86_400
