"""Failing and refusing on order: every documented code can be had, in both generations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
import requests

from .api import EDIT, KEY, PATIENCE, SDXL, Dialect, only_edit, only_sdxl

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator import Emulator

_RETRYABLE = {
    "RATE_LIMIT_EXCEEDED": True,
    "CONCURRENT_JOBS_EXCEEDED": True,
    "MODEL_ERROR": True,
    "MODEL_UNAVAILABLE": True,
    "STORAGE_ERROR": True,
    "TIMEOUT": True,
    "INTERNAL_ERROR": True,
    "INSUFFICIENT_CREDITS": False,
    "CREDIT_CHARGE_FAILED": False,
    "INPUT_INVALID": False,
    "CANCELLED": None,
    "A_CODE_OF_TOMORROW": None,
}
_REFUSED_WITH = {
    "RATE_LIMIT_EXCEEDED": 429,
    "CONCURRENT_JOBS_EXCEEDED": 429,
    "MODEL_ERROR": 500,
    "MODEL_UNAVAILABLE": 503,
    "STORAGE_ERROR": 503,
    "TIMEOUT": 503,
    "INTERNAL_ERROR": 500,
    "INSUFFICIENT_CREDITS": 402,
    "CREDIT_CHARGE_FAILED": 500,
    "INPUT_INVALID": 422,
    "CANCELLED": 500,
    "A_CODE_OF_TOMORROW": 500,
}


@only_edit
@pytest.mark.parametrize("code", _RETRYABLE)
def test_every_code_can_be_had(tunable: Emulator, api: Dialect, body: dict[str, Any], code: str) -> None:
    tunable.settings.fail_next = [code]
    answer = api.run(tunable, body)
    assert answer["status"] == ("cancelled" if code == "CANCELLED" else "failed")
    assert (answer["failure_reason_code"], answer["retryable"]) == (code, _RETRYABLE[code])
    assert answer["error"]
    assert (answer["credits_charged"], answer["result_url"], answer["charged_at"]) == (False, None, None)
    assert api.run(tunable, body)["status"] == "completed"


@only_sdxl
def test_an_sdxl_job_fails_with_a_sentence_only(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    tunable.settings.fail_next = ["MODEL_ERROR"]
    assert api.run(tunable, body) == {"status": "FAILURE", "error": "The model failed"}


def test_codes_are_used_up_in_order_by_accepted_jobs(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    tunable.settings.fail_next = ["TIMEOUT", None, "STORAGE_ERROR"]
    api.submit(tunable, {})
    api.submit(tunable, body, key="wrong")
    ends = [api.run(tunable, body) for _ in range(4)]
    assert [end["status"] for end in ends] == [api.failed, api.done, api.failed, api.done]
    assert tunable.settings.fail_next == []


def test_a_failure_waits_for_the_jobs_time(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    tunable.settings.fail_next = ["MODEL_ERROR"]
    tunable.settings.job_seconds = 3600
    assert api.is_running(tunable, api.begin(tunable, body))


@pytest.mark.parametrize("code", _REFUSED_WITH)
def test_every_refusal_can_be_had(tunable: Emulator, api: Dialect, body: dict[str, Any], code: str) -> None:
    accepted = tunable.stats()["accepted"]
    tunable.settings.credits = 5
    tunable.settings.refuse_next = [code]
    tunable.settings.retry_after = 7
    answer = api.submit(tunable, body)
    assert answer.status_code == _REFUSED_WITH[code]
    assert answer.headers.get("Retry-After") == ("7" if answer.status_code in {429, 503} else None)
    if api is EDIT:
        assert set(answer.json()) == {"error", "error_code", "message"}
        named = "INSUFFICIENT_BALANCE" if code == "INSUFFICIENT_CREDITS" else code
        assert answer.json()["error_code"] == named
    else:
        assert list(answer.json()) == ["detail"]
    assert (tunable.stats()["accepted"], tunable.settings.credits) == (accepted, 5)
    assert api.submit(tunable, body).status_code == api.accepted


def test_a_wrong_key_uses_no_refusal_up(emulator: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    emulator.settings.refuse_next = ["RATE_LIMIT_EXCEEDED"]
    emulator.settings.retry_after = "Wed, 21 Oct 2099 07:28:00 GMT"
    assert api.submit(emulator, body, key="wrong").status_code == 401
    answer = api.submit(emulator, body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "Wed, 21 Oct 2099 07:28:00 GMT")
    assert emulator.stats()["refused_by_status"] == {"401": 1, "429": 1}


@only_edit
@pytest.mark.parametrize("envelope", ["message", "detail"])
def test_the_envelope_is_a_setting(
    tunable: Emulator, api: Dialect, body: dict[str, Any], envelope: Literal["message", "detail"]
) -> None:
    tunable.settings.error_envelope = envelope
    tunable.settings.credits = 0
    answers = [
        api.submit(tunable, body, key="wrong"),
        api.submit(tunable, body),
        api.look(tunable, "unknown"),
        api.submit(tunable, {"width": 0}),
    ]
    assert [answer.status_code for answer in answers] == [401, 402, 404, 422]
    if envelope == "detail":
        assert [list(answer.json()) for answer in answers] == [["detail"]] * 4
        return
    assert [(answer.json()["error_code"], answer.json()["message"]) for answer in answers] == [
        ("UNAUTHORIZED", "Invalid API key"),
        ("INSUFFICIENT_BALANCE", "No credits left"),
        ("NOT_FOUND", "Job not found"),
        (
            "INVALID_PARAMETERS",
            "prompt: Field required; width: Input should be greater than or equal to 1",
        ),
    ]


@pytest.mark.parametrize(("api", "left"), [(SDXL, 1), (EDIT, 2)], indirect=["api"], scope="session", ids=str)
def test_only_the_edit_endpoint_gives_a_failed_jobs_credit_back(
    tunable: Emulator, api: Dialect, body: dict[str, Any], left: int
) -> None:
    tunable.settings.credits = 2
    tunable.settings.fail_next = ["TIMEOUT"]
    api.run(tunable, body)
    assert tunable.settings.credits == left


def test_too_many_jobs_at_once_are_429(emulator: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    emulator.settings.concurrent_jobs = 2
    api.run(emulator, body)
    emulator.settings.job_seconds = 3600
    for _ in range(2):
        api.begin(emulator, body)
    answer = api.submit(emulator, body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    emulator.settings.concurrent_jobs = 3
    assert api.submit(emulator, body).status_code == api.accepted


def test_an_unknown_page_is_worded_as_the_framework_does(tunable: Emulator) -> None:
    answer = requests.get(tunable.url + "/edit/elsewhere/v1", headers={"X-API-Key": KEY}, timeout=PATIENCE)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
