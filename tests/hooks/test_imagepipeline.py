"""The hook: what it sends where, what it sends again, and what it tells of a connection."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_imagepipeline.contract import calls
from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, JobStatus
from airflow_imagepipeline.contract.errors import Busy, InvalidParameters, Misconfigured, NotSent, Refused, Uncertain
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.contract.parameters import ImageToImageParameters
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from tests.faults import STATUS, SUBMIT, ScriptedServer, answer, pending, redirect, refused, success
from tests.running import KEY, fails_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_imagepipeline.contract.calls import Call

pytestmark = pytest.mark.usefixtures("quick", "logs")

T = TypeVar("T")

ACCOUNT = "GET /v1/user/me"
PARAMETERS = ImageToImageParameters.checked({"init_image": "http://127.0.0.1/a.png", "prompt": "a door", "seed": 7})
HANDLE = JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1")

in_both_libraries = pytest.mark.parametrize("library", ["requests", "aiohttp"])


def sent(call: Call[T], library: str) -> T:
    """Send a call as a worker does, or as the triggerer does."""
    hook = ImagePipelineHook()
    if library == "requests":
        return hook.send(call)

    async def run() -> T:
        async with hook.asession() as session:
            return await hook.asend(call, session)

    return asyncio.run(run())


@in_both_libraries
def test_a_submission_is_one_json_post_on_a_connection_of_its_own(
    connection: Callable[..., None], library: str
) -> None:
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}) as server:
        connection(server.url)
        jobs = [sent(calls.submit_job(PARAMETERS), library) for _ in range(2)]

    assert [(job.handle.job_id, job.status) for job in jobs] == [("job-1", "PENDING"), ("job-2", "PENDING")]
    for request in server.requests:
        assert json.loads(request.body) == PARAMETERS.to_payload({})
        assert request.header("API-Key") == KEY
        assert request.header("Content-Type") == "application/json"
        assert request.header("Connection") == "close"
        assert request.fresh


@in_both_libraries
def test_a_look_is_a_get_with_the_key_and_without_a_body(connection: Callable[..., None], library: str) -> None:
    with ScriptedServer({STATUS: [success(["https://files.test/a.png"])]}) as server:
        connection(server.url)
        job = sent(calls.get_job(HANDLE), library)

    (request,) = server.requests
    assert (job.status, job.download_urls) == (JobStatus.SUCCESS, ("https://files.test/a.png",))
    assert (request.path, request.header("API-Key"), request.body) == ("/sdxl/image2image/v1/status/job-1", KEY, b"")
    assert request.header("Accept-Encoding") == "identity"


@in_both_libraries
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(connection: Callable[..., None], code: int, library: str) -> None:
    with ScriptedServer() as other:
        location = f"{other.url}/elsewhere?token=secret"
        with ScriptedServer({SUBMIT: [redirect(code, location)], STATUS: [redirect(code, location)]}) as server:
            connection(server.url)
            for call in (calls.submit_job(PARAMETERS), calls.get_job(HANDLE)):
                with fails_with(Misconfigured, f"answered {code}", f"{other.url}/elsewhere", "was not followed"):
                    sent(call, library)
        assert other.requests == ()


@in_both_libraries
def test_a_netrc_file_adds_no_credentials(
    connection: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer({STATUS: [pending()]}) as server:
        connection(server.url)
        sent(calls.get_job(HANDLE), library)
    assert server.requests[0].header("Authorization") is None


@in_both_libraries
def test_a_key_that_the_api_repeats_is_not_shown(connection: Callable[..., None], library: str) -> None:
    with ScriptedServer({STATUS: [refused(401, f"no such key: {KEY}")]}) as server:
        connection(server.url)
        with fails_with(Refused, "no such key"):
            sent(calls.get_job(HANDLE), library)


@in_both_libraries
def test_a_missing_connection_is_named(library: str) -> None:
    with fails_with(AirflowNotFoundException, "imagepipeline_default"):
        sent(calls.get_job(HANDLE), library)


def test_a_submission_that_was_not_taken_is_sent_again(connection: Callable[..., None]) -> None:
    later = {"Retry-After": "7"}
    script = [refused(429, "slow down"), refused(503, "closed", headers=later), refused(408, "late"), pending("job-1")]
    with ScriptedServer({SUBMIT: script}) as server:
        connection(server.url)
        hook = ImagePipelineHook()
        slept: list[float] = []
        hook._sleep = lambda seconds: slept.append(float(seconds))
        job = hook.submit_job(PARAMETERS)

    assert job.handle.job_id == "job-1"
    assert len(slept) == 3
    assert slept[1] >= 7.0
    assert len({request.body for request in server.requests}) == 1
    assert all(request.fresh for request in server.requests)


def test_a_job_is_as_old_as_the_attempt_that_was_taken(connection: Callable[..., None]) -> None:
    hook = ImagePipelineHook()
    script = [refused(429, "later", headers={"Retry-After": "1"}), pending()]
    with ScriptedServer({SUBMIT: script}) as server:
        connection(server.url)
        begun = time.time()
        job = hook.submit_job(PARAMETERS)
    assert job.handle.submitted_at is not None
    assert job.handle.submitted_at - begun >= 1


@pytest.mark.fault(103, 107)
def test_every_attempt_has_links_made_after_the_wait_and_is_allowed_just_before_it_leaves(
    connection: Callable[..., None],
) -> None:
    done: list[str] = []
    hook = ImagePipelineHook()
    hook._sleep = lambda _: done.append("slept")

    @contextmanager
    def allowed() -> Iterator[None]:
        done.append("allowed")
        yield

    def links() -> dict[str, str]:
        done.append("signed")
        return {}

    hook.around_submission = allowed
    later = refused(429, "later").with_before(lambda _: done.append("sent"))
    with ScriptedServer({SUBMIT: [later, pending().with_before(lambda _: done.append("sent"))]}) as server:
        connection(server.url)
        hook.submit_job(PARAMETERS, links)
    assert done == ["signed", "allowed", "sent", "slept", "signed", "allowed", "sent"]


def test_a_submission_waits_for_a_server_that_comes_up(connection: Callable[..., None]) -> None:
    with ScriptedServer({SUBMIT: [pending("job-1")]}, listening=False) as server:
        connection(server.url)
        hook = ImagePipelineHook()
        hook._sleep = lambda _: server.listen()
        assert hook.submit_job(PARAMETERS).handle.job_id == "job-1"


def test_a_submission_is_given_up_after_four_attempts(connection: Callable[..., None]) -> None:
    with ScriptedServer({SUBMIT: [refused(429, "slow down")] * 4}) as server:
        connection(server.url)
        with fails_with(Busy, "slow down"):
            ImagePipelineHook().submit_job(PARAMETERS)
    assert server.hits(SUBMIT) == 4


def test_a_submission_that_nobody_takes_was_not_sent(connection: Callable[..., None]) -> None:
    with ScriptedServer({SUBMIT: []}, listening=False) as server:
        connection(server.url)
        with fails_with(NotSent, "was not sent: no connection to the host"):
            ImagePipelineHook().submit_job(PARAMETERS)
    assert server.connections == 0


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(answer(500), id="500"),
        pytest.param(answer(503), id="503 without Retry-After"),
        pytest.param(answer(504), id="504"),
    ],
)
def test_a_submission_that_may_have_been_taken_is_not_sent_again(connection: Callable[..., None], script: Any) -> None:
    with ScriptedServer({SUBMIT: [script]}) as server:
        connection(server.url)
        with fails_with(Uncertain):
            ImagePipelineHook().submit_job(PARAMETERS)
    assert server.hits(SUBMIT) == 1


@pytest.mark.parametrize("field", ["init_image", "extra"])
def test_an_input_on_this_machine_is_refused_where_the_api_is_elsewhere(
    connection: Callable[..., None], field: str
) -> None:
    connection("https://x.invalid")
    local, public = "http://127.0.0.1/a.png", "https://example.com/a.png"
    arguments: dict[str, Any] = {"init_image": local if field == "init_image" else public, "prompt": "a door"}
    if field == "extra":
        arguments["extra_parameters"] = {"mask": local}
    with fails_with(InvalidParameters, "the image lies on this machine"):
        ImagePipelineHook().submit_job(ImageToImageParameters.checked(arguments))


@pytest.mark.parametrize(
    ("account", "old", "is_fine", "words"),
    [
        pytest.param(answer(json={"api_key": KEY}), None, True, "accepts the key", id="an account"),
        pytest.param(refused(404), refused(404, "Job not found"), True, "did not refuse the key", id="unknown job"),
        pytest.param(
            refused(401), pending("airflow-connection-test"), True, "the first job will", id="a job by chance"
        ),
        pytest.param(refused(401), refused(401), False, "The API key was refused", id="key refused"),
        pytest.param(refused(404), refused(403), False, "may not use this endpoint", id="not allowed"),
        pytest.param(answer(500), None, False, "answered 500", id="broken"),
        pytest.param(refused(404), answer(500), False, "answered 500", id="broken behind the account"),
        pytest.param(refused(404), answer(200, "<html>"), False, "no readable JSON", id="a web page"),
        pytest.param(redirect(302, "https://login.example.com/"), None, False, "was not followed", id="redirect"),
    ],
)
def test_the_test_of_a_connection_says_what_it_found(
    connection: Callable[..., None], account: Any, old: Any, words: str, *, is_fine: bool
) -> None:
    with ScriptedServer({ACCOUNT: [account], STATUS: [old] if old else []}) as server:
        connection(server.url)
        found, said = ImagePipelineHook().test_connection()
    assert (found, words in said) == (is_fine, True), said
    assert KEY not in said
    assert server.count("POST") == 0


@pytest.mark.parametrize(
    ("host", "key", "words"),
    [
        pytest.param("http://api.example.com", KEY, "must be reached by https", id="host"),
        pytest.param(None, "", "holds no API key", id="key"),
    ],
)
def test_the_test_of_a_connection_names_what_cannot_work(
    connection: Callable[..., None], host: str | None, key: str, words: str
) -> None:
    connection(host, key)
    found, said = ImagePipelineHook().test_connection()
    assert not found
    assert words in said


def test_the_test_of_a_connection_to_the_emulator_needs_the_right_key(
    vendor: Any, connection: Callable[..., None]
) -> None:
    assert ImagePipelineHook().test_connection()[0]
    connection(vendor.url, "another-key")
    found, said = ImagePipelineHook().test_connection()
    assert not found
    assert "(connection 'imagepipeline_default') answered 401" in said
    assert "The API key was refused: correct the password of the connection." in said
    assert vendor.count("submits") == 0
