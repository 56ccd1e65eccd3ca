"""The key: where it may come from, over what it may travel, and that nothing shows it."""

from __future__ import annotations

import inspect
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection
from airflow.sdk._shared.secrets_masker import redact, reset_secrets_masker

from airflow_imagepipeline.contract.answers import ApiResponse
from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE
from airflow_imagepipeline.contract.errors import Misconfigured, Refused
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.contract.result import JobResult
from airflow_imagepipeline.hooks.connection import ApiAccess
from airflow_imagepipeline.hooks.download import Downloader
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.operators.imagepipeline import ImageToImageOperator
from airflow_imagepipeline.policy.job_event import JobEvent, Outcome
from airflow_imagepipeline.sensors.imagepipeline import ImagePipelineJobSensor
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator
from airflow_imagepipeline.triggers.imagepipeline import ImagePipelineJobTrigger
from tests.faults import STATUS, SUBMIT, ScriptedServer, answer, refused
from tests.security.sending import LOOK, SUBMISSION, by_both, of_both_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_imagepipeline.contract.calls import Call
    from tests.canary import Canaries

LINK = "https://files.example/a.png?X-Amz-Signature="


@pytest.mark.parametrize(
    "host",
    [
        "http://api.imagepipeline.io",
        "http://10.0.0.1",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://127.1",
        "http://2130706433",
        "http://[::ffff:127.0.0.1]",
        "HTTP://api.imagepipeline.io",
        "ftp://127.0.0.1",
        "https+insecure://api.imagepipeline.io",
    ],
)
@by_both
def test_the_key_is_not_sent_in_clear(
    *,
    host: str,
    send: Callable[[Call[Any]], Any],
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
    connected_to: list[Any],
) -> None:
    connection(host, canary_key)
    with pytest.raises(Misconfigured) as caught:
        send(SUBMISSION)
    canaries.watch(caught.value)
    is_fine, said = ImagePipelineHook().test_connection()
    assert not is_fine
    canaries.watch(said)
    assert connected_to == []


def test_a_schema_field_cannot_turn_https_off(
    connection: Callable[..., None], canary_key: str, connected_to: list[Any]
) -> None:
    connection("api.imagepipeline.io", canary_key, schema="http")
    with pytest.raises(Misconfigured, match="must be reached by https"):
        ImagePipelineHook().send(LOOK)
    assert connected_to == []


@pytest.mark.parametrize(
    "odd",
    ["\n", "\r\nX-Injected: 1", "\r", "\0", "\x7f", " ", "\t", "é", "\u2028", "\u200b"],
    ids=ascii,
)
@by_both
@of_both_calls
def test_a_key_that_could_begin_a_header_is_refused_unseen(
    *,
    odd: str,
    send: Callable[[Call[Any]], Any],
    call: Call[Any],
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
) -> None:
    with ScriptedServer() as api:
        for key in (canary_key + odd + "x", canary_key + odd, odd + canary_key):
            connection(api.url, key)
            with pytest.raises(Misconfigured, match="API key of connection") as caught:
                send(call)
            canaries.watch(caught.value)
    assert api.connections == 0


def test_a_key_in_another_field_is_not_used_and_not_shown(
    connection: Callable[..., None], canaries: Canaries, canary_key: str, connected_to: list[Any]
) -> None:
    extra = dict.fromkeys(("api_key", "API-Key", "token", "headers", "verify"), canary_key)
    for fields in ({"extra": extra}, {"login": canary_key}, {"schema": "https", "description": canary_key}):
        connection("http://127.0.0.1:9", None, **fields)
        with pytest.raises(Misconfigured, match="holds no API key") as caught:
            ImagePipelineHook().send(LOOK)
        canaries.watch(caught.value)
    assert connected_to == []


def test_a_key_inside_of_the_host_is_refused_unseen(
    connection: Callable[..., None], canaries: Canaries, canary_key: str
) -> None:
    from urllib.parse import quote

    secret = quote(canary_key, safe="")
    for host in (
        f"https://{secret}@api.example",
        f"https://api.example/?key={secret}",
        f"https://api.example/{secret}",
    ):
        connection(host, "another-key-altogether")
        with pytest.raises(Misconfigured) as caught:
            ImagePipelineHook().send(LOOK)
        canaries.watch(caught.value)


ECHOES: dict[str, Callable[[str], Any]] = {
    "in a detail": lambda key: refused(401, f"the key {key} is not known"),
    "in a list of problems": lambda key: refused(422, [{"loc": ["header", "API-Key"], "msg": f"bad: {key}"}]),
    "in an object": lambda key: answer(403, json={"error": {"message": key, "headers": {"API-Key": key}}}),
    "in text": lambda key: answer(400, f"<pre>API-Key: {key}</pre>"),
    "in quotes": lambda key: answer(400, json.dumps({"x": json.dumps({"API-Key": key})})),
    "in a JSON that escapes slashes": lambda key: answer(400, json.dumps({"error": key}).replace("/", "\\/")),
    "in the target of a redirect": lambda key: answer(302, headers={"Location": f"https://h.example/{key}/x"}),
    "in the content type": lambda key: answer(200, "oops", headers={"Content-Type": f"text/{key}"}),
    "in a status word": lambda key: answer(200, json={"id": "job-1", "status": key}),
    "in a reason for a failure": lambda key: answer(200, json={"status": "FAILURE", "error": f"no {key}"}),
    "in an id": lambda key: answer(200, json={"id": key, "status": "PENDING"}),
    "as an id": lambda key: answer(200, json={"id": f"{key}/..", "status": "PENDING"}),
    "in a server error": lambda key: answer(500, f"Traceback: headers = {{'API-Key': {key!r}}}"),
    "as broken JSON": lambda key: answer(200, '{"key": "' + key),
}


@by_both
@of_both_calls
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_an_api_that_repeats_the_key_spreads_it_nowhere(
    *,
    send: Callable[[Call[Any]], Any],
    call: Call[Any],
    echo: Callable[[str], Any],
    connection: Callable[..., None],
    canaries: Canaries,
    canary_key: str,
) -> None:
    route = SUBMIT if call is SUBMISSION else STATUS
    with ScriptedServer({route: [echo(canary_key)]}) as api:
        connection(api.url, canary_key)
        try:
            outcome = send(call)
        except Exception as error:  # noqa: BLE001 - every end is one that may be shown
            outcome = error
            canaries.watch(str(vars(error)))
        else:
            canaries.watch([outcome.error, outcome.status_word, outcome.handle.to_payload()])
    canaries.watch(outcome)
    assert api.requests[0].header("API-Key") == canary_key


def test_a_short_key_changes_no_answer(connection: Callable[..., None]) -> None:
    body = {"id": "job-1", "status": "PENDING"}
    with ScriptedServer({STATUS: [answer(200, json=body)]}) as api:
        connection(api.url, "job-1")
        assert ImagePipelineHook().send(LOOK).handle.job_id == "job-1"


def test_airflow_is_told_to_mask_the_key(connection: Callable[..., None], canary_key: str) -> None:
    # Airflow's own net, below everything else: it knows the key once a connection was read, in both ways of reading.
    import asyncio

    def reads_in_a_worker() -> ApiAccess:
        return ImagePipelineHook().access

    def reads_in_the_triggerer() -> ApiAccess:
        return asyncio.run(ImagePipelineHook().aaccess())

    connection("http://127.0.0.1:9", canary_key)
    for read in (reads_in_a_worker, reads_in_the_triggerer):
        reset_secrets_masker()
        assert redact(f"see {canary_key}") == f"see {canary_key}"
        read()
        assert redact(f"see {canary_key}") == "see ***"


def test_no_text_of_any_object_shows_key_link_or_prompt(
    connection: Callable[..., None], canaries: Canaries, canary_key: str, canary_signature: str, canary_prompt: str
) -> None:
    from airflow_imagepipeline.contract.calls import submit_job
    from airflow_imagepipeline.contract.parameters import ImageToImageParameters

    connection("http://127.0.0.1:9", canary_key)
    link = LINK + canary_signature
    parameters = ImageToImageParameters(
        init_image=link,
        prompt=canary_prompt,
        negative_prompt=canary_prompt,
        extra_parameters={"mask_image": link},
    )
    call = submit_job(parameters, {link: link})
    handle = JobHandle(parameters.api, "job-1")
    job = Job(handle, parameters.api.statuses["SUCCESS"], download_urls=(link,))
    hook = ImagePipelineHook()
    shown: list[Any] = [
        hook,
        hook.access,
        ApiAccess("c", "https://api.example", canary_key),
        parameters,
        call,
        call.request,
        ApiResponse("GET /", 200, {}, link.encode(), 0.0),
        handle,
        job,
        JobEvent(handle, Outcome.SUCCEEDED, "done", job),
        JobResult(handle, job.status, download_urls=(link,)),
        Downloader(allow_loopback=False),
        ImagePipelineJobTrigger(handle.to_payload()),
        ImageToImageOperator(task_id="t", init_image=link, prompt=canary_prompt),
        ImagePipelineJobSensor(task_id="t", job="job-1"),
        ImagePipelineToObjectStorageOperator(task_id="t", job="job-1", destination="file:///tmp/x"),
    ]
    for thing in shown:
        canaries.watch(f"{thing!r} {thing!s} {thing:}", type(thing).__name__)
    canaries.watch(repr(shown))
    # A connection's own text shows its password on most versions of Airflow: nothing keeps one.
    assert not [value for value in vars(hook).values() if isinstance(value, Connection)]


def test_nothing_that_travels_holds_a_key_or_a_link(
    canaries: Canaries, canary_key: str, canary_signature: str, connection: Callable[..., None]
) -> None:
    connection("http://127.0.0.1:9", canary_key)
    handle = JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1", 1.0, 7)
    job = Job(handle, handle.api.statuses["SUCCESS"], download_urls=(LINK + canary_signature,))
    event = JobEvent(handle, Outcome.SUCCEEDED, "done", job)
    trigger = ImagePipelineJobTrigger(handle.to_payload(), deadline=1.0)
    for thing in (handle.to_payload(), event.to_payload(), trigger.serialize()[1]):
        canaries.watch(json.dumps(thing))
        canaries.watch(pickle.dumps(thing))
    assert set(trigger.serialize()[1]) == {"v", "job", "imagepipeline_conn_id", "deadline", "poll_interval"}
    assert set(handle.to_payload()) == {"v", "api", "job_id", "seed", "submitted_at"}


@pytest.mark.parametrize(
    "cls", [ImageToImageOperator, ImagePipelineJobSensor, ImagePipelineToObjectStorageOperator, ImagePipelineHook]
)
def test_no_argument_and_no_template_takes_a_key(cls: type[Any]) -> None:
    arguments = {
        name
        for owner in cls.__mro__
        if owner.__module__.startswith("airflow_imagepipeline")
        for name in inspect.signature(owner).parameters
    }
    names = arguments | set(getattr(cls, "template_fields", ()))
    assert "imagepipeline_conn_id" in names
    assert not [name for name in names if any(word in name for word in ("key", "token", "password", "secret", "auth"))]


@by_both
def test_a_refused_key_is_named_by_its_connection(
    send: Callable[[Call[Any]], Any], connection: Callable[..., None], canaries: Canaries, canary_key: str
) -> None:
    with ScriptedServer({STATUS: [refused(401, "who are you?")]}) as api:
        connection(api.url, canary_key, conn_id="of_the_team")
        connection(api.url, canary_key)
        with pytest.raises(Refused, match=r"connection 'imagepipeline_default'.*API key was refused") as caught:
            send(LOOK)
    canaries.watch(caught.value)
