"""The test of a connection asks for the account: the answer holds the key in clear, and no word of it gets out."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_imagepipeline.contract import calls
from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from tests.faults import STATUS, ScriptedServer, answer, cut_after, redirect, refused, reset_after_request
from tests.running import KEY, assert_discreet

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults import Instruction
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick")

ACCOUNT: Final = "GET /v1/user/me"
MARKS: Final = ("canary-mail@emulator.invalid", "canary-plan", "another-key-of-the-account")
ME: Final[dict[str, Any]] = {
    "user_id": "canary-user",
    "email": MARKS[0],
    "plan": MARKS[1],
    "tokens_remaining": 7,
    "api_key": KEY,
    "keys": [KEY, MARKS[2]],
}
REFUSED_BY_OLD: Final = refused(401, "no such key")

# What the account endpoint answers, what the old generation answers behind it, and whether the test is passed.
ANSWERS: Final[dict[str, tuple[Instruction, Instruction | None, bool]]] = {
    "an account": (answer(json=ME), None, True),
    "an account, created": (answer(201, json=ME), None, True),
    "no JSON at all": (answer(200, f"welcome {KEY} {MARKS[0]}"), None, True),
    "nothing": (answer(204), None, True),
    "refused, with the account": (answer(401, json={"detail": ME}), REFUSED_BY_OLD, False),
    "refused, in a sentence": (refused(403, f"{KEY} of {MARKS[0]} has {MARKS[1]}"), REFUSED_BY_OLD, False),
    "refused, known to the old": (answer(401, json=ME), refused(404, "Job not found"), True),
    "not there": (answer(404, f"<html>{KEY}</html>"), refused(404, "Job not found"), True),
    "busy": (answer(429, json=ME), None, False),
    "broken": (answer(500, json=ME), None, False),
    "elsewhere": (redirect(302, "https://login.example.com/?token=canary-token-of-a-link"), None, False),
    "reset": (reset_after_request(), None, False),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_nothing_of_the_account_is_shown(connection: Callable[..., None], case: str, logs: Callable[[], str]) -> None:
    account, old, is_fine = ANSWERS[case]
    with ScriptedServer({ACCOUNT: [account], STATUS: [old] if old else []}) as server:
        connection(server.url)
        found, said = ImagePipelineHook().test_connection()

    assert found is is_fine, said
    for text in (said, logs()):
        assert_discreet(text)
        assert not any(mark in text for mark in MARKS)
    assert server.count("POST") == 0


@pytest.mark.parametrize("case", [case for case, (*_, is_fine) in ANSWERS.items() if not is_fine])
def test_nothing_of_the_account_is_in_an_exception(connection: Callable[..., None], case: str) -> None:
    with ScriptedServer({ACCOUNT: [ANSWERS[case][0]]}) as server:
        connection(server.url)
        with pytest.raises(ImagePipelineError) as caught:
            ImagePipelineHook().send(calls.get_account())
    error: BaseException | None = caught.value
    while error is not None:
        shown = f"{error} {error!r} {vars(error)} {''.join(traceback.format_exception(error))}"
        assert_discreet(shown)
        assert not any(mark in shown for mark in MARKS)
        error = error.__cause__ or error.__context__


def test_the_key_goes_where_each_generation_wants_it(connection: Callable[..., None]) -> None:
    with ScriptedServer({ACCOUNT: [refused(401)], STATUS: [refused(404)]}) as server:
        connection(server.url)
        ImagePipelineHook().test_connection()
    headers = [(request.header("X-API-Key"), request.header("API-Key")) for request in server.requests]
    assert headers == [(KEY, None), (None, KEY)]
    assert all(request.body == b"" for request in server.requests)


def test_a_cut_account_is_no_account(connection: Callable[..., None], logs: Callable[[], str]) -> None:
    with ScriptedServer({ACCOUNT: [cut_after(40, json.dumps(ME).encode())]}) as server:
        connection(server.url)
        found, said = ImagePipelineHook().test_connection()
    assert not found
    assert_discreet(said + logs())


@pytest.mark.parametrize("envelope", ["message", "detail"])
def test_the_emulators_account_is_asked_for_and_nothing_is_paid(
    vendor: Vendor, connection: Callable[..., None], envelope: Any, logs: Callable[[], str]
) -> None:
    vendor.settings.error_envelope = envelope
    found, said = ImagePipelineHook().test_connection()
    assert (found, said) == (True, f"{vendor.url} accepts the key, as its account endpoint says.")
    connection(vendor.url, "another-key-altogether")
    found, said = ImagePipelineHook().test_connection()
    assert not found
    assert "answered 401: Invalid API key. The API key was refused" in said
    assert "The account endpoint answered 401." in said
    assert [vendor.count(name) for name in ("submits", "accepted", "uploads")] == [0, 0, 0]
    assert_discreet(said + logs())
