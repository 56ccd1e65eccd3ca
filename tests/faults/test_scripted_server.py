"""The books of the scripted server: what it keeps, what it complains of, and that it is gone afterwards."""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.faults import (
    STATUS,
    SUBMIT,
    Accept,
    Outcome,
    ScriptedServer,
    answer,
    failure,
    forever,
    pending,
    refused,
    success,
)

if TYPE_CHECKING:
    from tests.faults import Instruction, Request

JOBS = "/sdxl/image2image/v1"


def post(server: ScriptedServer, path: str = JOBS) -> requests.Response:
    return requests.post(server.url + path, json={"prompt": "a cat"}, timeout=10)


def get(server: ScriptedServer, path: str) -> requests.Response:
    return requests.get(server.url + path, timeout=10)


def tell(server: ScriptedServer, data: bytes) -> bytes:
    """Send bytes that need not be HTTP, and return what comes back until the server ends the connection."""
    with socket.create_connection((server.host, server.port), timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        try:
            return client.recv(65536)
        except ConnectionResetError:  # the server left bytes unread
            return b""


def test_a_job_reads_like_a_story() -> None:
    story = {
        SUBMIT: [refused(429, "slow down", headers={"Retry-After": "1"}), pending("job-1")],
        STATUS: [pending("job-1"), success(["https://s.example/a.png"])],
    }
    with ScriptedServer(story) as server:
        busy, taken = post(server), post(server)
        waiting, done = get(server, f"{JOBS}/status/job-1"), get(server, f"{JOBS}/status/job-1")
    assert (busy.status_code, busy.json(), busy.headers["Retry-After"]) == (429, {"detail": "slow down"}, "1")
    assert (taken.status_code, taken.json()) == (202, {"id": "job-1", "status": "PENDING"})
    assert (waiting.status_code, waiting.json()) == (200, {"id": "job-1", "status": "PENDING"})
    assert done.json() == {"download_urls": ["https://s.example/a.png"], "status": "SUCCESS"}
    assert (server.count("POST"), server.count("GET"), server.count(), server.hits(STATUS)) == (2, 2, 4, 2)


def test_a_failed_job_is_told_with_200() -> None:
    with ScriptedServer({STATUS: [failure("no face found")]}) as server:
        told = get(server, f"{JOBS}/status/job-1")
    assert (told.status_code, told.json()) == (200, {"error": "no face found", "status": "FAILURE"})


def test_the_usual_status_and_a_missing_id_may_be_told_otherwise() -> None:
    story = {SUBMIT: [pending("job-1", status=201), success([], "job-1")]}
    with ScriptedServer(story) as server:
        assert post(server).status_code == 201
        assert post(server).json() == {"download_urls": [], "status": "SUCCESS", "id": "job-1"}


def test_it_keeps_what_it_received() -> None:
    before = time.monotonic()
    with ScriptedServer({"POST /a": [answer(), answer()]}) as server, requests.Session() as session:
        session.post(server.url + "/a/b%2Fc?x=1&y=%20", data=b"\x00\xff", headers={"API-Key": "k"}, timeout=10)
        session.post(server.url + "/a", data=iter([b"one", b"two"]), timeout=10)
    first, second = server.requests
    assert (first.method, first.path, first.query, first.body) == ("POST", "/a/b%2Fc", "x=1&y=%20", b"\x00\xff")
    assert first.header("api-key") == "k"
    assert [name for name, _ in first.headers].index("API-Key") < [name for name, _ in first.headers].index(
        "Content-Length"
    )
    assert second.body == b"onetwo"
    assert (first.fresh, second.fresh) == (True, False)
    assert first.connection == second.connection == server.connections == 1
    assert before <= first.arrived <= second.arrived


def test_connection_close_is_honoured_and_a_new_connection_is_fresh() -> None:
    with ScriptedServer({"GET /a": [answer(200, "x"), answer(200, "y")]}) as server, requests.Session() as session:
        closed = session.get(server.url + "/a", headers={"Connection": "close"}, timeout=10)
        session.get(server.url + "/a", timeout=10)
    assert closed.headers["Connection"] == "close"
    assert [request.fresh for request in server.requests] == [True, True]
    assert [request.connection for request in server.requests] == [1, 2]


def test_an_overrun_is_answered_599_and_fails_the_verification() -> None:
    answers: list[requests.Response] = []
    with (
        pytest.raises(AssertionError, match=r"POST /jobs .*has no instruction left"),
        ScriptedServer({"POST /jobs": [answer()]}) as server,
    ):
        answers.extend(post(server, "/jobs") for _ in range(2))
    assert [one.status_code for one in answers] == [200, 599]
    assert "no instruction left" in answers[1].text
    assert server.hits("POST /jobs") == 2


def test_an_unknown_route_is_answered_599_and_fails_the_verification() -> None:
    with pytest.raises(AssertionError, match="no such route"), ScriptedServer() as server:
        assert get(server, "/nowhere").status_code == 599


def test_leftovers_fail_the_verification_by_name() -> None:
    script = {"POST /jobs": [answer(503), pending("job-1")], "GET /x": [forever(answer())]}
    expected = (
        r"left over on POST /jobs: pending\('job-1'\)\n- left over on GET /x: forever answer\(200\)\n- .*: reset$"
    )
    plan = [Accept.SERVE, Accept.RESET]
    with pytest.raises(AssertionError, match=expected), ScriptedServer(script, at_connect=plan) as server:
        post(server, "/jobs")


def test_leftovers_may_be_allowed() -> None:
    with ScriptedServer({"POST /jobs": [answer()]}, at_connect=[Accept.RESET], allow_unused=True) as server:
        pass
    assert server.report().left_over == {"POST /jobs": ("answer(200)",), "at_connect": ("reset",)}


def test_the_error_of_the_test_is_not_hidden_by_the_verification() -> None:
    with pytest.raises(ZeroDivisionError), ScriptedServer({"POST /jobs": [answer()]}):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01 hello\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"x" * 70_000,
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["TLS", "HTTP/2", "no end", "negative length", "huge length", "no chunk size"],
)
def test_bytes_that_are_no_request_fail_the_verification(nonsense: bytes) -> None:
    with pytest.raises(AssertionError, match="connection 1 is no HTTP"), ScriptedServer() as server:
        tell(server, nonsense)


def test_a_failing_hook_fails_the_verification() -> None:
    def hook(_: Request) -> None:
        raise ProcessLookupError

    with (
        pytest.raises(AssertionError, match="ProcessLookupError"),
        ScriptedServer({"GET /": [answer().with_before(hook)]}) as server,
        pytest.raises(requests.ConnectionError),
    ):
        get(server, "/")
    assert [played.outcome for played in server.report().played] == [Outcome.FAILED]


def test_a_request_that_breaks_off_is_no_request() -> None:
    with ScriptedServer() as server:
        assert tell(server, b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc") == b""
    assert server.count() == 0


def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    with ScriptedServer({"PUT /": [answer()]}) as server:
        head = b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        assert tell(server, head + b"x").startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert server.requests[0].body == b"x"


def test_the_last_instruction_may_repeat() -> None:
    with ScriptedServer() as server:
        server.route("GET /", [answer(503), answer(200)], repeat_last=True)
        assert [get(server, "/").status_code for _ in range(4)] == [503, 200, 200, 200]


def test_a_function_may_answer_instead_of_a_list() -> None:
    jobs: list[str] = []

    def submit(request: Request) -> Instruction:
        jobs.append(request.json()["prompt"])
        return pending(f"job-{len(jobs)}")

    with ScriptedServer({SUBMIT: submit}) as server:
        assert [post(server).json()["id"] for _ in range(2)] == ["job-1", "job-2"]
    assert jobs == ["a cat", "a cat"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/a", 201), ("/a/b", 202), ("/a/b/c", 202), ("/a/7", 203), ("/ab", 599), ("/a?b=/a/b", 201)],
)
def test_the_most_specific_route_answers(path: str, status: int) -> None:
    routes = {"* /a": [answer(201)], "GET /a/b": [answer(202)], "GET ~/a/[0-9]+": [answer(203)]}
    server = ScriptedServer(routes, allow_unused=True)
    server.__enter__()
    try:
        assert get(server, path).status_code == status
    finally:
        server.stop()


@pytest.mark.parametrize(("label", "script"), [("/a", []), ("GET /a", [forever(answer()), answer()])])
def test_a_route_that_cannot_be_meant_is_refused(label: str, script: list[Instruction]) -> None:
    with pytest.raises(ValueError, match=re.escape(label)):
        ScriptedServer({label: script})


def test_a_route_cannot_be_told_twice_and_unknown_hits_are_no_zero() -> None:
    with ScriptedServer({"GET /": []}) as server:
        with pytest.raises(ValueError, match="told twice"):
            server.route("GET /", [])
        with pytest.raises(KeyError):
            server.hits("GET /typo")


def test_waiting_for_requests_that_do_not_come_fails() -> None:
    with ScriptedServer({"POST /": []}) as server, pytest.raises(AssertionError, match="0 instead of 1"):
        server.wait_for("POST /", timeout=0.05)
