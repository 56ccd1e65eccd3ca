"""What an API says is shown, short and harmless: it moves no cursor, forges no log line, renders no template."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.exceptions import JobFailed, OutOfCredits, SubmissionRefused, SubmissionUncertain
from tests.faults import STATUS, SUBMIT, ScriptedServer, answer, failure, forever, pending, raw, refused
from tests.running import in_task_modes
from tests.security.sending import LOOK, SUBMISSION, by_both
from tests.security.tasks import Run, vendor_that_says

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_imagepipeline.contract.calls import Call
    from tests.canary import Canaries

pytestmark = pytest.mark.usefixtures("quick")

LONGEST_MESSAGE = 900

HOSTILE = {
    "terminal escapes": "\x1b]0;owned\x07\x1b[2J\x1b[31mred",
    "a forged log line": "x\n[2026-01-01T00:00:00] INFO - Task succeeded\r\nALL GOOD",
    "bidirectional controls": "\u202egnp.exe\u2066 a\u2069\u200f",
    "line separators": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "an invisible text": "\u200b\u200c\u2060\ufeff\U000e0041",
    "a lone surrogate": "a\ud800b",
    "NUL": "a\0b",
    "a group of the log page": "::group::Post Execute\n::endgroup::",
    "many words": "word " * 40_000,
    "a long word": "w" * 200_000,
    "percent signs": "%s %(asctime)s %n %d {0} {x!r}",
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>",
}


def assert_harmless(text: str) -> None:
    odd = {ascii(c) for c in text if unicodedata.category(c)[0] == "C" or (c.isspace() and c != " ")}
    assert not odd
    assert len(text) <= LONGEST_MESSAGE


def where(text: str) -> dict[str, Any]:
    """Return the answers that hold the text, by where."""
    header = cleaned(text)[:200].encode("latin-1", "replace").decode("latin-1")
    return {
        "a detail": refused(422, text),
        "a list of problems": refused(422, [{"loc": ["body", text], "msg": text, "input": text}] * 3),
        "an error object": answer(500, json={"error": {text[:500]: text}}),
        "no JSON": answer(502, text.encode("utf-8", "surrogatepass")),
        "a failure": failure(text),
        "a status": answer(200, json={"id": "job-1", "status": text}),
        "an id": answer(200, json={"id": text, "status": "PENDING"}),
        "a content type": answer(200, "x", headers={"Content-Type": header}),
        "a redirect": answer(302, headers={"Location": f"https://h.example/{header}"}),
    }


@by_both
@pytest.mark.parametrize("place", where(""))
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_becomes_one_short_line(
    send: Callable[[Call[Any]], Any], text: str, place: str, connection: Callable[..., None]
) -> None:
    with ScriptedServer({STATUS: [where(text)[place]]}, allow_unused=True) as api:
        connection(api.url)
        try:
            job = send(LOOK)
        except ImagePipelineError as error:
            assert_harmless(str(error))
            assert_harmless(getattr(error, "detail", ""))
        else:
            assert_harmless(f"{job.error} {job.status_word} {job.handle.job_id}")


@by_both
@pytest.mark.parametrize("text", ["word " * 2_000_000, "w" * 10_000_000], ids=["words", "one word"])
def test_ten_megabytes_of_text_are_one_short_line(
    send: Callable[[Call[Any]], Any], text: str, connection: Callable[..., None]
) -> None:
    with ScriptedServer({STATUS: [refused(422, text), answer(502, text), failure(text)]}) as api:
        connection(api.url)
        for _ in range(3):
            with pytest.raises(ImagePipelineError) as caught:
                send(LOOK)
            assert_harmless(str(caught.value))


@by_both
@pytest.mark.parametrize(
    "bytes_",
    [
        b"HTTP/1.1 500 \x1b[2J\x1b[31mowned\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 " + b"A" * 8000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-\x1b[2J: a\r\nContent-Length: 0\r\n\r\n",
        b"\x1b[2J no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"A" * 100_000 + b"\r\n\r\n",
    ],
    ids=["a reason with escapes", "a long reason", "a header with escapes", "no HTTP", "a long header"],
)
@pytest.mark.parametrize("call", [SUBMISSION, LOOK], ids=["submit", "look"])
def test_a_hostile_head_is_not_shown_either(
    send: Callable[[Call[Any]], Any], bytes_: bytes, call: Call[Any], connection: Callable[..., None]
) -> None:
    route = SUBMIT if call is SUBMISSION else STATUS
    with ScriptedServer({route: lambda _: raw(bytes_)}) as api:
        connection(api.url)
        with pytest.raises(ImagePipelineError) as caught:
            send(call)
    assert_harmless(str(caught.value))
    assert "owned" not in str(caught.value)


@in_task_modes
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_task_fails_with_one_harmless_line(
    text: str, mode: str, connection: Callable[..., None], canaries: Canaries, canary_key: str
) -> None:
    odd = answer(200, json={"id": "job-1", "status": text[:5000]})
    with vendor_that_says(connection, canary_key, odd, failure(text)):
        run = Run(canaries, mode)
    assert type(run.error) in {JobFailed, SubmissionRefused}, run.said
    assert_harmless(run.said)
    for event in run.events:
        assert_harmless(event["message"])
    for line in canaries.logged:
        assert_harmless(line.rstrip("\n").partition("\n")[0])


TEMPLATES = ["{{ 7*7 }}", "{% for a in ''.__class__.__mro__ %}{{ a }}{% endfor %}", "{{ conn.imagepipeline_default }}"]


@in_task_modes
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_in_remote_text_stays_a_text(
    template: str, mode: str, connection: Callable[..., None], canaries: Canaries, canary_key: str
) -> None:
    odd = answer(200, json={"id": "job-1", "status": template[:40]})
    with vendor_that_says(connection, canary_key, odd, failure(template)):
        run = Run(canaries, mode)
    assert template in run.said
    assert "49" not in run.said.replace(template, "")
    with vendor_that_says(connection, canary_key, submit=[refused(422, template)]):
        run = Run(canaries, mode)
    assert template in run.said


@in_task_modes
@pytest.mark.parametrize(
    "job_id",
    ["../../admin", "..", "job/../1", "job%2f..", "%2e%2e", "a\\..", "a\nb", "x" * 1025, "a\u202eb", " "],
)
def test_an_id_that_would_lead_elsewhere_is_never_asked_for(
    job_id: str, mode: str, connection: Callable[..., None], canaries: Canaries, canary_key: str
) -> None:
    with vendor_that_says(connection, canary_key, submit=[pending(job_id)]) as api:
        run = Run(canaries, mode)
    assert type(run.error) is SubmissionUncertain
    assert_harmless(run.said)
    assert [request.target for request in api.requests] == ["/sdxl/image2image/v1"]


@in_task_modes
@pytest.mark.real_input("D5")
@pytest.mark.parametrize(
    "job_id",
    ["job/1", "job?x=1", "job#1", "job%2e%2e", "a\\b", "{{ 7*7 }}", "a b", "é", "_V1StGXR8", "abc=", "x" * 1024],
)
def test_any_other_id_is_one_quoted_part_of_the_path(
    job_id: str, mode: str, connection: Callable[..., None], canary_key: str, canaries: Canaries
) -> None:
    path = f"/sdxl/image2image/v1/status/{quote(job_id, safe='')}"
    script = {SUBMIT: [pending(job_id)], "GET ~/.*": [forever(failure("out of memory"))]}
    with ScriptedServer(script) as api:
        connection(api.url, canary_key)
        Run(canaries, mode)
    assert {request.target for request in api.requests[1:]} == {path}


@in_task_modes
@pytest.mark.parametrize("job_id", ["../../admin", "a/../b", "a%2f..", {"job_id": ".."}, {"api": "../x"}])
def test_an_id_of_the_user_that_would_lead_elsewhere_is_never_asked_for(
    job_id: Any, mode: str, connection: Callable[..., None], canaries: Canaries, canary_key: str
) -> None:
    with ScriptedServer() as api:
        connection(api.url, canary_key)
        run = Run(canaries, mode, job_id=job_id)
    assert run.error is not None
    assert api.connections == 0


@in_task_modes
def test_the_prompt_is_in_no_record_event_message_or_log(
    mode: str, connection: Callable[..., None], canaries: Canaries, canary_key: str, canary_prompt: str
) -> None:
    ends = [
        vendor_that_says(connection, canary_key, failure("out of memory")),
        vendor_that_says(connection, canary_key, pending("another-job")),
        vendor_that_says(connection, canary_key, submit=[answer(500)]),
        vendor_that_says(
            connection, canary_key, submit=[refused(422, [{"loc": ["prompt"], "msg": "bad", "input": canary_prompt}])]
        ),
    ]
    long_prompt = f"{canary_prompt} " * 20  # advice is given on its length
    for vendor in ends:
        with vendor as api:
            run = Run(canaries, mode, prompt=long_prompt, negative_prompt=canary_prompt, width=100)
        assert run.error is not None
        assert canary_prompt.encode() in api.requests[0].body


@in_task_modes
def test_no_credits_is_no_reason_to_ask_again(
    mode: str, connection: Callable[..., None], canaries: Canaries, canary_key: str
) -> None:
    from airflow.providers.common.compat.sdk import AirflowFailException

    with vendor_that_says(connection, canary_key, submit=[refused(402, "no credits")] * 3) as api:
        run = Run(canaries, mode, on_ambiguous_submit="resubmit", retry_failed_jobs=True)
    assert type(run.error) is OutOfCredits
    assert isinstance(run.error, AirflowFailException)  # Airflow does not retry it
    assert api.count("POST") == 1
