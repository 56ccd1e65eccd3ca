"""What is sent, and how each answer is read: submissions and looks."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given

from airflow_imagepipeline.contract.answers import ApiResponse
from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, JobStatus
from airflow_imagepipeline.contract.calls import MOST_LINKS, Call, RequestKind, get_job, submit_job
from airflow_imagepipeline.contract.errors import (
    Busy,
    ImagePipelineError,
    Malformed,
    Refused,
    Uncertain,
    WrongAnswer,
)
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.contract.parameters import ImageToImageParameters
from tests.contract.answered import HANDLE, PARAMETERS, SOURCE, answer, any_answers, looked, submitted

LINK = "https://f000.example/1.png?Authorization=SECRET"


def test_a_submission_is_a_post_of_json() -> None:
    request = submit_job(PARAMETERS).request
    assert (request.kind, request.method, request.path) == (RequestKind.SUBMIT, "POST", "/sdxl/image2image/v1")
    assert request.key_header == "API-Key"
    assert request.body is not None
    assert json.loads(request.body) == {
        "init_image": "https://images.example/cup.png",
        "prompt": "a cup",
        "model_id": "sdxl",
        "seed": 7,
    }


def test_a_submission_sends_the_signed_link_in_place_of_the_private_address() -> None:
    parameters = ImageToImageParameters(init_image="s3://bucket/cup.png", prompt="a cup")
    request = submit_job(parameters, {"s3://bucket/cup.png": LINK}).request
    assert request.body is not None
    assert json.loads(request.body)["init_image"] == LINK
    assert "SECRET" not in repr(request)


def test_a_look_is_a_get_without_a_body() -> None:
    request = get_job(HANDLE).request
    assert (request.kind, request.method) == (RequestKind.LOOK, "GET")
    assert request.path == "/sdxl/image2image/v1/status/job-1"
    assert request.key_header == "API-Key"
    assert request.body is None


@pytest.mark.parametrize("job_id", [None, "", "../job-1"])
def test_no_look_is_made_from_an_unfit_id(job_id: str | None) -> None:
    with pytest.raises(Malformed, match="not a job id"):
        get_job(JobHandle(SDXL_IMAGE_TO_IMAGE, job_id))


# Submissions.


@pytest.mark.parametrize(
    ("body", "job_id"),
    [
        pytest.param({"id": "job-9", "status": "PENDING"}, "job-9", id="an id"),
        pytest.param({"id": 42, "status": "PENDING"}, "42", id="a number as id"),
        pytest.param({"id": 0, "status": "PENDING"}, "0", id="zero as id"),
        pytest.param({"task_id": "job-9", "status": "PENDING"}, "job-9", id="an id by its old name"),
        pytest.param({"id": None, "task_id": "job-9", "status": "PENDING"}, "job-9", id="no id, but an old one"),
        pytest.param({"id": "", "task_id": "job-9", "status": "PENDING"}, "job-9", id="an empty id, but an old one"),
        pytest.param({"id": "job-9", "task_id": "job-8", "status": "PENDING"}, "job-9", id="the first of two ids"),
        pytest.param({"id": "job-9", "status": "QUEUED"}, "job-9", id="an unknown status"),
        pytest.param({"id": "job-9", "status": "PENDING", "eta": 3}, "job-9", id="a field more than known"),
    ],
)
@pytest.mark.parametrize("code", [200, 201, 202, 299])
def test_a_taken_job_has_a_handle(body: object, job_id: str, code: int) -> None:
    job = submitted(body, code)
    assert job.handle == JobHandle(SDXL_IMAGE_TO_IMAGE, job_id, submitted_at=1_799_999_990.0, seed=7)
    assert job.status is JobStatus.PENDING
    assert job.download_urls == ()


@pytest.mark.parametrize("job_id", ["job-9", None])
def test_a_job_may_be_done_in_the_answer_to_its_submission(job_id: str | None) -> None:
    job = submitted({"id": job_id, "status": "SUCCESS", "download_urls": [LINK]})
    assert (job.handle.job_id, job.status, job.download_urls) == (job_id, JobStatus.SUCCESS, (LINK,))


@pytest.mark.parametrize("job_id", ["job-9", None])
def test_a_job_may_fail_in_the_answer_to_its_submission(job_id: str | None) -> None:
    job = submitted({"id": job_id, "status": "FAILURE", "error": "out of memory"})
    assert (job.handle.job_id, job.status, job.error) == (job_id, JobStatus.FAILURE, "out of memory")


def test_a_job_that_is_done_without_links_can_be_looked_at_again_by_its_id() -> None:
    assert submitted({"id": "job-9", "status": "SUCCESS"}).download_urls == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param({"status": "PENDING"}, "answered 202 PENDING without a job id", id="no id"),
        pytest.param({"status": "QUEUED", "id": None}, "answered 202 QUEUED without a job id", id="a null id"),
        pytest.param({"status": "PENDING", "id": ""}, "answered 202 PENDING without a job id", id="an empty id"),
        pytest.param({"status": "SUCCESS"}, "answered 202 SUCCESS without a job id", id="done, no id and no links"),
        pytest.param({"error": "no room"}, "answered 202 without a status: no room", id="the vendor's own words"),
        pytest.param({"status": "PENDING", "message": "m"}, "PENDING without a job id: m", id="words and a status"),
        pytest.param(b'{"id": "a", "id": "b", "status": "PENDING"}', "what is not a job id: ['a', 'b']", id="two ids"),
        pytest.param(b'{"id": "job', "answered 202 with no readable JSON", id="an id that was cut"),
        pytest.param({"status": "PENDING", "id": {}}, "answered 202 with what is not a job id: {}", id="an object"),
        pytest.param({"status": "PENDING", "id": []}, "answered 202 with what is not a job id: []", id="a list"),
        pytest.param({"status": "PENDING", "id": True}, "with what is not a job id: True", id="a boolean"),
        pytest.param({"status": "PENDING", "id": 1.5}, "with what is not a job id: 1.5", id="a fraction"),
        pytest.param({"status": "PENDING", "id": "../x"}, "with what is not a job id: '../x'", id="a path"),
        pytest.param(b"<html>accepted</html>", "answered 202 with no readable JSON", id="HTML"),
        pytest.param(b"", "answered 202 with no readable JSON", id="nothing"),
    ],
)
def test_a_taken_job_without_a_usable_id_is_malformed_and_says_so(body: object, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        submitted(body)
    assert str(caught.value).startswith(SOURCE)
    assert said in str(caught.value)


@pytest.mark.real_input("D4")
@pytest.mark.fault(120)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"id": "job-9"}, id="no status"),
        pytest.param({"id": "job-9", "status": 7}, id="a status that is no word"),
        pytest.param(b'{"id": "job-9", "cost_usd": NaN, "status": "PENDING"}', id="NaN"),
        pytest.param(b'{"status": "PENDING", "eta": 1, "eta": 2, "id": "job-9"}', id="a field twice"),
        pytest.param(b'{"id": "job-9", "status": "PEND', id="cut behind the id"),
        pytest.param(b'{"id": "job-9", "status": "PENDING"}<html>', id="a page behind it"),
        pytest.param(b'{"id": "job-9", "note": "\xff", "status": "PENDING"}', id="a byte that is no text"),
    ],
)
def test_an_answer_that_holds_an_id_is_read_for_it(body: object) -> None:
    job = submitted(body)
    assert (job.handle.job_id, job.status) == ("job-9", JobStatus.PENDING)


@pytest.mark.fault(120)
@pytest.mark.parametrize("body", [b'{"id": "job', b"", b"<html>"])
def test_what_broke_an_answer_is_named_where_nothing_in_it_is_an_id(body: bytes) -> None:
    broken = replace(answer(body, 202), failure=Uncertain("the connection failed"))
    with pytest.raises(Uncertain, match="the connection failed"):
        submit_job(PARAMETERS).parse(broken)


@pytest.mark.parametrize(("code", "cls"), [(402, Refused), (429, Busy), (500, Uncertain), (503, Uncertain)], ids=str)
def test_a_submission_that_fails_is_never_read_as_a_job(code: int, cls: type[ImagePipelineError]) -> None:
    with pytest.raises(cls):
        submitted({"id": "job-9", "status": "PENDING"}, code)


# Looks.


@pytest.mark.parametrize(
    ("word", "status", "news"),
    [
        pytest.param("PENDING", JobStatus.PENDING, "", id="pending"),
        pytest.param(" success\n", JobStatus.SUCCESS, "", id="small letters and spaces"),
        pytest.param("Failure", JobStatus.FAILURE, "", id="mixed letters"),
        pytest.param("Failed", JobStatus.FAILURE, "", id="failed"),
        pytest.param("QUEUED", JobStatus.PENDING, "QUEUED", id="an unknown word is news"),
        pytest.param(" step\x1b 1/2 ", JobStatus.PENDING, "step 1/2", id="news are cleaned"),
        pytest.param("x" * 50, JobStatus.PENDING, "x" * 39 + "…", id="news are short"),
        pytest.param("SUC\0CESS", JobStatus.PENDING, "SUC CESS", id="nearly a known word is none"),
    ],
)
def test_reads_a_status(word: str, status: JobStatus, news: str) -> None:
    job = looked({"status": word, "download_urls": [LINK]})
    assert (job.status, job.status_word) == (status, news)


@pytest.mark.real_input("D9")
@pytest.mark.parametrize("word", [None, "", " \n", "\0\u200b", 0, True, ["SUCCESS"], {"status": "SUCCESS"}])
def test_a_missing_status_is_malformed_unless_there_are_links(word: object) -> None:
    with pytest.raises(Malformed, match="answered 200 without a status: out of room"):
        looked({"status": word, "id": "job-1", "message": "out of room"})
    assert looked({"status": word, "id": "job-1", "download_urls": [LINK]}).status is JobStatus.SUCCESS


@pytest.mark.real_input("D9")
def test_a_word_that_says_more_than_failed_is_the_reason() -> None:
    assert looked({"status": "Timed_out"}).error == "timed_out"
    assert looked({"status": "error", "message": "no room"}).error == "no room"
    assert looked({"status": "error"}).error == ""


@pytest.mark.real_input("D9")
def test_an_error_in_a_good_answer_to_a_submission_is_a_failed_job_in_the_vendors_words() -> None:
    job = submitted({"status": "error", "message": "the model is closed"}, 200)
    assert (job.handle.job_id, job.status, job.error) == (None, JobStatus.FAILURE, "the model is closed")


@pytest.mark.parametrize("named", [{}, {"id": "job-1"}, {"id": None}, {"id": ""}, {"task_id": "job-1"}])
def test_a_look_keeps_the_known_handle(named: dict[str, object]) -> None:
    assert looked({"status": "PENDING", **named}).handle is HANDLE


def test_a_number_as_id_is_the_id_it_was_read_as() -> None:
    handle = submitted({"id": 42, "status": "PENDING"}).handle
    body = json.dumps({"id": 42, "status": "PENDING"}).encode()
    assert get_job(handle).parse(ApiResponse(SOURCE, 200, {}, body, 0.0)).handle is handle


@pytest.mark.parametrize("other", ["job-2", "job-11", 7, {"id": "job-1"}, ["job-1"], True, "\ud800"])
@pytest.mark.parametrize("name", ["id", "task_id"])
def test_an_answer_for_another_job_is_wrong(name: str, other: object) -> None:
    with pytest.raises(WrongAnswer, match="answered for another job: "):
        looked({name: other, "status": "SUCCESS", "download_urls": [LINK]})


@pytest.mark.parametrize(
    ("value", "links"),
    [
        pytest.param([LINK], (LINK,), id="a list"),
        pytest.param(LINK, (LINK,), id="one text"),
        pytest.param(["b", "a", "b"], ("b", "a"), id="duplicates once, in order"),
        pytest.param(["a", ""], ("a",), id="an empty one is none"),
        pytest.param([str(n) for n in range(MOST_LINKS)], tuple(str(n) for n in range(16)), id="sixteen"),
        pytest.param(None, (), id="null"),
        pytest.param([], (), id="an empty list"),
        pytest.param("", (), id="an empty text"),
        pytest.param([{"url": "a"}], (), id="objects"),
        pytest.param(["a", None], (), id="half-written"),
        pytest.param({"0": "a"}, (), id="an object"),
        pytest.param(1, (), id="a number"),
    ],
)
def test_reads_the_links(value: object, links: tuple[str, ...]) -> None:
    assert looked({"status": "SUCCESS", "download_urls": value}).download_urls == links


def test_no_links_field_is_no_links() -> None:
    assert looked({"status": "SUCCESS"}).download_urls == ()


@pytest.mark.fault(110)
def test_of_more_links_than_a_job_can_have_the_first_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    links = [str(n) for n in range(17)]
    assert looked({"status": "SUCCESS", "download_urls": links}).download_urls == tuple(links[:4])
    assert "17 links; a job makes at most 4 images" in caplog.text


@pytest.mark.parametrize("status", ["PENDING", "FAILURE"])
def test_links_count_only_with_success(status: str) -> None:
    assert looked({"status": status, "download_urls": [LINK]}).download_urls == ()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        pytest.param({"error": "out of memory"}, "out of memory", id="a text"),
        pytest.param({"message": "out of memory"}, "out of memory", id="a message"),
        pytest.param({"detail": [{"loc": ["body"], "msg": "bad"}]}, "body: bad", id="FastAPI's list"),
        pytest.param({"error": {"message": "nsfw"}}, "nsfw", id="an object"),
        pytest.param({}, "", id="nothing"),
        pytest.param({"error": None}, "", id="null"),
        pytest.param({"error": f"see {LINK}"}, "see https://f000.example/1.png?…", id="a link loses its signature"),
    ],
)
def test_a_failed_job_says_why(said: dict[str, object], error: str) -> None:
    assert looked({"status": "FAILURE", **said}).error == error


@pytest.mark.parametrize("status", ["PENDING", "SUCCESS"])
def test_an_error_counts_only_with_failure(status: str) -> None:
    assert looked({"status": status, "error": "none", "download_urls": [LINK]}).error == ""


def test_a_pause_that_comes_with_a_status_is_kept() -> None:
    assert looked({"status": "PENDING"}, 200, retry_after="9").retry_after == 9.0
    assert looked({"status": "PENDING"}, 200, retry_after="soon").retry_after == 0.0
    assert looked({"status": "PENDING"}).retry_after == 0.0


def test_links_stay_out_of_repr() -> None:
    assert "SECRET" not in repr(looked({"status": "SUCCESS", "download_urls": [LINK]}))


# Any answer at all.


@pytest.mark.parametrize("call", [get_job(HANDLE), submit_job(PARAMETERS)], ids=["look", "submission"])
@given(response=any_answers())
def test_any_answer_is_a_job_or_an_error_of_the_contract(call: Call[Job], response: ApiResponse) -> None:
    try:
        job = call.parse(response)
    except ImagePipelineError as error:
        message = str(error)
        assert message.startswith(SOURCE)
        assert not [c for c in message if unicodedata.category(c)[0] == "C"]
        assert len(message) < len(SOURCE) + 900
        return
    assert response.is_success
    assert all(isinstance(link, str) and link for link in job.download_urls)
    assert bool(job.error) <= (job.status is JobStatus.FAILURE)
    assert bool(job.download_urls) <= (job.status is JobStatus.SUCCESS)
    assert len(job.error) <= 300


# How long it will take.


def test_the_vendors_estimate_is_read_from_a_submission_and_from_a_look() -> None:
    body = {"id": "job-1", "status": "PENDING", "estimated_time_seconds": 12}
    assert submitted(body).estimated_seconds == 12.0
    assert looked(body).estimated_seconds == 12.0


@pytest.mark.parametrize("said", [None, True, "12", 0, 90_000], ids=str)
def test_an_estimate_that_cannot_be_meant_is_no_error(said: object) -> None:
    job = looked({"id": "job-1", "status": "PENDING", "estimated_time_seconds": said})
    assert job.estimated_seconds is None
