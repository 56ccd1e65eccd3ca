"""Rows 1-23: what may go wrong while a job is submitted, and how often the server then saw the request."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.exceptions import (
    JobFailed,
    OutOfCredits,
    SubmissionNotSent,
    SubmissionRefused,
    SubmissionUncertain,
)
from tests.faults import (
    STATUS,
    SUBMIT,
    Accept,
    Instruction,
    ScriptedServer,
    close_after_request,
    endless,
    failure,
    gzip_bomb,
    keepalive_then_close,
    pending,
    redirect,
    refused,
    reset_after_request,
    silent,
    success,
    unanswered_port,
)
from tests.faults.certificates import self_signed
from tests.generations import spoken
from tests.reliability.conftest import Connect, Impatient
from tests.reliability.task import LINK, Task
from tests.reliability.words import answer, cut_after, drip, raw
from tests.running import KEY, in_turn

pytestmark = pytest.mark.usefixtures("generation")

DONE = success([LINK])
TWO_LOOKS = [DONE, DONE]
"""In the triggerer's mode the worker looks once more, for fresh links."""


def looks(task: Task) -> list[Instruction]:
    return TWO_LOOKS if task.deferrable else [DONE]


# -- nothing was sent ------------------------------------------------------------------------------------------------


@pytest.mark.fault(1)
def test_a_host_that_does_not_resolve_is_tried_again_and_nothing_is_recorded(task: Task, connect: Connect) -> None:
    connect("https://nobody.invalid")
    said = task.fails(SubmissionNotSent)
    assert "was not sent" in said
    assert "Nothing was submitted" in said
    assert len(task.clock.sleeps) == 3
    assert task.store is not None
    assert task.store.phases == []
    with ScriptedServer({SUBMIT: [pending()], STATUS: looks(task)}) as server:
        connect(server.origin)
        assert task.run()["job_id"] == "job-1"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(2)
def test_a_refused_connection_is_tried_again_until_the_server_is_there(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: looks(task)}, listening=False) as server:
        connect(server.origin)
        task.clock.on_sleep = lambda count: server.listen() if count == 1 else None
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(2)
def test_a_refused_connection_is_left_to_a_retry_of_the_task(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [pending()], STATUS: looks(task)}, listening=False) as server:
        connect(server.origin)
        task.fails(SubmissionNotSent)
        server.listen()
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 1


@pytest.mark.slow
@pytest.mark.fault(3)
def test_a_connection_that_is_never_answered_sends_nothing(task: Task, connect: Connect, impatient: Impatient) -> None:
    impatient(RequestKind.LOOK)
    with unanswered_port() as port:
        connect(f"http://127.0.0.1:{port}")
        assert "no connection to the host" in task.fails(SubmissionNotSent)
    with ScriptedServer({SUBMIT: [pending()], STATUS: looks(task)}) as server:
        connect(server.origin)
        task.run()
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(4)
@in_turn("wrong", ["unknown authority", "another host", "expired"], mode="task")
def test_a_wrong_certificate_fails_at_once_and_sends_nothing(
    task: Task, connect: Connect, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "127.0.0.2" if wrong == "another host" else "127.0.0.1"
    shown = self_signed(tmp_path, address=address, expired=wrong == "expired")
    if wrong != "unknown authority":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(shown.authority))
    with ScriptedServer(tls=shown.context) as server:
        connect(server.origin)
        said = task.fails(SubmissionRefused)
        assert "certificate" in said
        assert "Nothing was submitted" in said
        assert server.count() == 0
        assert server.connections == 1


@pytest.mark.fault(5)
@pytest.mark.parametrize("proxy_says", [502, 407, None])
def test_a_proxy_that_does_not_let_through_sends_nothing(
    task: Task, connect: Connect, proxy_says: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = {"CONNECT ~.*": [answer(proxy_says)] * (4 if proxy_says == 502 else 1)} if proxy_says else {}
    with ScriptedServer() as origin, ScriptedServer(script, listening=proxy_says is not None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        connect(f"https://127.0.0.1:{origin.port}")
        task.fails(SubmissionRefused if proxy_says == 407 else SubmissionNotSent)
        assert origin.connections == 0
    assert task.store is not None
    assert task.store.phases == []


# -- it may have been sent -------------------------------------------------------------------------------------------

BODY = b'{"id": "job-1", "status": "PENDING"}'


def _raw(head: bytes) -> Instruction:
    return raw(b"HTTP/1.1 " + head + b"\r\n\r\n" + BODY)


AMBIGUOUS = {
    "reset after the request": (6, reset_after_request()),
    "closed after the request": (6, close_after_request()),
    "an answer that is no HTTP": (6, raw(b"\x00\x01\x02 what is this\r\n\r\n")),
    "an interim answer in the place of the last": (6, _raw(b"103 Early Hints\r\nLink: </a.css>")),
    "another protocol": (6, _raw(b"101 Switching Protocols")),
    "two lengths that differ": (6, _raw(b"202 Accepted\r\nContent-Length: 36\r\nContent-Length: 35")),
    "no answer in time": (8, silent()),
    "an answer that drips": (8, drip(BODY, 0.2)),
    "500": (12, refused(500)),
    "502": (12, refused(502)),
    "503 without Retry-After": (12, refused(503)),
    "504": (12, answer(504, "<html>gateway timeout</html>")),
    "520": (12, answer(520, "<html>web server returns an unknown error</html>")),
    "524": (12, answer(524, "")),
    "html": (19, answer(200, "<html>welcome</html>", headers={"Content-Type": "text/html"})),
    "nothing": (19, answer(202, "")),
    "no content": (19, answer(204)),
    "cut json": (19, answer(202, BODY[:12])),
    "cut body": (19, cut_after(12, BODY)),
    "cut chunk": (19, cut_after(12, BODY, framing="chunked")),
    "broken chunk": (19, raw(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + BODY)),
    "a list": (19, answer(202, json=[1, 2])),
    "a field twice": (19, answer(202, '{"id": "job-1", "id": "job-2", "status": "PENDING"}')),
    "too large": (19, endless(b" " * 65536, 4 * 1024 * 1024)),
    "a bomb": (19, gzip_bomb(64 * 1024 * 1024, "zeros")),
    "no id": (20, answer(202, json={"status": "PENDING"})),
    "id null": (20, answer(202, json={"id": None, "status": "PENDING"})),
    "id empty": (20, answer(202, json={"id": "", "status": "PENDING"})),
    "id an object": (20, answer(202, json={"id": {"a": 1}, "status": "PENDING"})),
    "id true": (20, answer(202, json={"id": True, "status": "PENDING"})),
    "id goes up": (21, answer(202, json={"id": "../../admin", "status": "PENDING"})),
    "id that goes up when it is unquoted": (21, answer(202, json={"id": "a%2f..", "status": "PENDING"})),
    "id with a backslash": (21, answer(202, json={"id": "a\\..", "status": "PENDING"})),
    "id with a line break": (21, answer(202, json={"id": "a\r\nX: y", "status": "PENDING"})),
    "id of 1025 characters": (21, answer(202, json={"id": "a" * 1025, "status": "PENDING"})),
}


@pytest.mark.fault(6, 8, 12, 19, 20, 21)
@in_turn("instruction", [pytest.param(one, id=name) for name, (_, one) in AMBIGUOUS.items()], mode="task")
def test_what_may_have_been_taken_is_sent_once_until_a_human_clears(
    task: Task, connect: Connect, instruction: Instruction, impatient: Impatient
) -> None:
    if instruction.name.startswith(("silent", "drip")):
        impatient(RequestKind.SUBMIT)
    with ScriptedServer({SUBMIT: [instruction, pending("job-2")], STATUS: looks(task)}) as server:
        connect(server.origin)
        said = task.fails(SubmissionUncertain)
        assert "may or may not have been accepted" in said
        assert "dashboard" in said
        assert server.count() == 1  # nothing was looked up either: there is no id to trust
        task.fails(SubmissionUncertain)  # the report of the failure was lost, so Airflow tried again
        assert server.count() == 1
        task.clear()
        assert task.run()["job_id"] == "job-2"
        assert server.hits(SUBMIT) == 2


@pytest.mark.fault(7)
def test_a_reset_before_the_request_is_read_counts_as_after_it(task: Task, connect: Connect) -> None:
    with ScriptedServer(at_connect=[Accept.RESET]) as server:
        connect(server.origin)
        task.fails(SubmissionUncertain)
        task.fails(SubmissionUncertain)
        assert server.connections == 1
        assert server.count() == 0


@pytest.mark.fault(6, 8, 12)
@pytest.mark.parametrize("instruction", [reset_after_request(), silent(), refused(500)], ids=["reset", "silent", "500"])
def test_resubmit_sends_again_at_the_users_own_risk(
    task: Task, connect: Connect, instruction: Instruction, impatient: Impatient
) -> None:
    if instruction.name.startswith(("silent", "drip")):
        impatient(RequestKind.SUBMIT)
    task.arguments["on_ambiguous_submit"] = "resubmit"
    with ScriptedServer({SUBMIT: [instruction, pending()], STATUS: looks(task)}) as server:
        connect(server.origin)
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 2


@pytest.mark.fault(12)
def test_after_a_lost_request_a_refused_one_does_not_claim_that_nothing_was_submitted(
    task: Task, connect: Connect
) -> None:
    task.arguments["on_ambiguous_submit"] = "resubmit"
    with ScriptedServer({SUBMIT: [refused(500), refused(402)]}) as server:
        connect(server.origin)
        said = task.fails(OutOfCredits)
        assert "Nothing was submitted" not in said
        assert "may or may not" in said
        assert server.hits(SUBMIT) == 2


@pytest.mark.fault(19)
def test_an_answer_that_cannot_be_read_is_not_even_resubmitted_by_resubmit(task: Task, connect: Connect) -> None:
    task.arguments["on_ambiguous_submit"] = "resubmit"
    with ScriptedServer({SUBMIT: [answer(202, "<html>thanks</html>")]}) as server:
        connect(server.origin)
        assert "page" in task.fails(SubmissionUncertain)
        task.fails(SubmissionUncertain)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(9)
def test_a_submission_never_uses_a_connection_that_was_used_before(task: Task, connect: Connect) -> None:
    another = Task(task.clock, deferrable=task.deferrable, prompt="another")
    keep = keepalive_then_close
    with ScriptedServer({SUBMIT: [keep(pending("job-1")), keep(pending("job-2"))], STATUS: looks(task) * 2}) as server:
        connect(server.origin)
        assert task.run()["job_id"] == "job-1"
        assert another.run()["job_id"] == "job-2"
        posts = [request for request in server.requests if request.method == "POST"]
        assert len(posts) == 2
        assert all(request.fresh and request.header("Connection") == "close" for request in posts)


# -- it was refused --------------------------------------------------------------------------------------------------


@pytest.mark.fault(10, 11)
@pytest.mark.parametrize(
    ("instruction", "asked"),
    [
        (refused(429), 0),
        (refused(429, headers={"Retry-After": "7"}), 7),
        (refused(503, headers={"Retry-After": "9"}), 9),
    ],
    ids=["429", "429 in 7 s", "503 in 9 s"],
)
def test_busy_is_waited_for_and_then_submitted_once(
    task: Task, connect: Connect, instruction: Instruction, asked: int
) -> None:
    with ScriptedServer({SUBMIT: [instruction] * 3 + [pending()], STATUS: looks(task)}) as server:
        connect(server.origin)
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 4
        assert all(asked <= seconds <= max(asked, 15) for seconds in task.clock.sleeps[:3])


@pytest.mark.fault(10, 11)
@pytest.mark.parametrize("status", [429, 503])
def test_busy_for_too_long_is_left_to_a_retry_of_the_task(task: Task, connect: Connect, status: int) -> None:
    busy = refused(status, headers={"Retry-After": "1"})
    with ScriptedServer({SUBMIT: [busy] * 4 + [pending()], STATUS: looks(task)}) as server:
        connect(server.origin)
        assert "a retry of the task submits" in task.fails(SubmissionNotSent)
        assert task.store is not None
        assert task.store.phases == []
        assert task.run()["status"] == "SUCCESS"
        assert server.hits(SUBMIT) == 5


@pytest.mark.fault(10)
def test_a_pause_longer_than_two_minutes_is_left_to_a_retry_of_the_task(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [refused(429, headers={"Retry-After": "9999999"})]}) as server:
        connect(server.origin)
        task.fails(SubmissionNotSent)
        assert task.clock.passed < 120
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(13, 14, 16, 17)
@in_turn("status", [400, 422, 401, 403, 404, 405, 409, 410, 413, 414, 415, 431, 501], mode="task")
def test_a_refusal_fails_for_good_and_is_not_sent_again(task: Task, connect: Connect, status: int) -> None:
    detail = f"strength out of range, see https://docs.example/?token=CANARY {'x' * 400}"
    with ScriptedServer({SUBMIT: [refused(status, detail), pending()], STATUS: looks(task)}) as server:
        connect(server.origin)
        said = task.fails(SubmissionRefused)
        assert f"answered {status}: strength out of range" in said
        assert "Nothing was submitted" in said
        assert "x" * 300 not in said
        assert task.store is not None
        assert task.store.phases == []
        assert server.hits(SUBMIT) == 1
        task.clear()
        task.run()
        assert server.hits(SUBMIT) == 2


@pytest.mark.fault(14)
def test_a_refused_key_is_named_by_its_connection_and_never_shown(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [answer(401, json={"detail": "bad key"})]}) as server:
        connect(server.origin)
        said = task.fails(SubmissionRefused)
        assert "imagepipeline_default" in said
        assert server.requests[0].header(spoken().key_header) == KEY
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(15)
def test_no_credits_has_a_class_of_its_own(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [refused(402, "buy credits")]}) as server:
        connect(server.origin)
        assert "top it up" in task.fails(OutOfCredits)
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(18)
@in_turn("code", [301, 302, 303, 307, 308], mode="task")
def test_a_redirect_is_not_followed(task: Task, connect: Connect, code: int) -> None:
    with ScriptedServer(host="127.0.0.2") as elsewhere:
        there = f"{elsewhere.origin}/take?token=CANARY"
        with ScriptedServer({SUBMIT: [redirect(code, there)]}) as server:
            connect(server.origin)
            said = task.fails(SubmissionRefused)
            assert elsewhere.origin in said
            assert server.hits(SUBMIT) == 1
        assert elsewhere.connections == 0


@pytest.mark.fault(18)
@pytest.mark.parametrize("location", [b"http://[::1", b"http://\xff\xfe/", b"foo:bar", b""])
def test_a_redirect_to_what_is_no_address_is_a_redirect(task: Task, connect: Connect, location: bytes) -> None:
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"
    with ScriptedServer({SUBMIT: [raw(head)]}) as server:
        connect(server.origin)
        task.fails(SubmissionRefused)
        assert server.hits(SUBMIT) == 1


@pytest.mark.slow
@pytest.mark.fault(18)
def test_the_body_of_a_redirect_is_read_no_further_than_any_other(task: Task, connect: Connect) -> None:
    body = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nConnection: close\r\n\r\n" + b"x" * 32 * 1024 * 1024
    with ScriptedServer({SUBMIT: [raw(body)]}) as server:
        connect(server.origin)
        task.fails(SubmissionRefused)
        server.settle()
        assert server.report().played[0].outcome.value == "client left"


# -- it was taken ----------------------------------------------------------------------------------------------------


@pytest.mark.fault(20)
def test_an_id_that_is_a_number_is_taken_for_its_digits(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [answer(202, json={"id": 4711, "status": "PENDING"})], STATUS: looks(task)}) as server:
        connect(server.origin)
        assert task.run()["job_id"] == "4711"
        assert server.requests[-1].path.endswith("/status/4711")
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(22)
def test_a_job_done_at_once_needs_no_wait(task: Task, connect: Connect) -> None:
    with ScriptedServer({SUBMIT: [success([LINK], "job-1")], STATUS: looks(task)}, allow_unused=True) as server:
        connect(server.origin)
        assert task.run()["download_urls"] == [LINK]
        assert server.hits(SUBMIT) == 1


@pytest.mark.fault(22)
def test_a_job_done_at_once_without_an_id_is_returned_and_after_a_lost_report_left_to_a_human(
    task: Task, connect: Connect
) -> None:
    with ScriptedServer({SUBMIT: [success([LINK]), success([LINK])]}) as server:
        connect(server.origin)
        result = task.run()
        assert (result["job_id"], result["download_urls"]) == (None, [LINK])
        assert "To avoid paying twice" in task.fails(SubmissionUncertain)
        assert server.count() == 1
        task.clear()
        assert task.run()["status"] == "SUCCESS"
        assert server.count() == 2


@pytest.mark.fault(23)
@pytest.mark.parametrize("job_id", ["job-1", None])
def test_a_job_that_failed_at_once_is_not_paid_for_again(task: Task, connect: Connect, job_id: str | None) -> None:
    body = {"status": "FAILURE", "error": "NSFW"} | ({"id": job_id} if job_id else {})
    with ScriptedServer({SUBMIT: [answer(200, json=body), failure()]}) as server:
        connect(server.origin)
        assert "NSFW" in task.fails(JobFailed)
        task.fails(SubmissionUncertain)  # the report was lost
        assert server.count() == 1
        task.clear()
        task.fails(JobFailed)
        assert server.count() == 2
