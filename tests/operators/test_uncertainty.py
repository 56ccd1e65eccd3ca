"""Where it is not known whether a request was taken, or nothing can be recorded, a human decides: in both modes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.exceptions import (
    RecordUnavailable,
    SubmissionNotSent,
    SubmissionRefused,
    SubmissionUncertain,
)
from tests.faults import (
    STATUS,
    SUBMIT,
    ScriptedServer,
    answer,
    close_after_request,
    forever,
    pending,
    reset_after_request,
    silent,
    success,
)
from tests.running import (
    FakeStore,
    cleared,
    context,
    fails_with,
    image_to_image,
    in_task_modes,
    in_turn,
    retried,
    run_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults import Instruction

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

LINK = "http://127.0.0.1/a.png"
DONE = forever(success(["https://files.test/a.png"]))

uncertain_answers = in_turn(
    "uncertain",
    [
        pytest.param(reset_after_request(), id="reset after the request"),
        pytest.param(close_after_request(), id="closed after the request"),
        pytest.param(silent(), id="no answer"),
        pytest.param(answer(500, "oops"), id="500"),
        pytest.param(answer(502), id="502"),
        pytest.param(answer(503), id="503 without Retry-After"),
        pytest.param(answer(504), id="504"),
        pytest.param(answer(202, "<html>taken</html>"), id="taken, as HTML"),
        pytest.param(answer(202, json={"status": "PENDING"}), id="taken, without an id"),
        pytest.param(answer(202, json={"id": "../x", "status": "PENDING"}), id="taken, with an id that is a path"),
    ],
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_imagepipeline.contract.calls import RequestKind

    short = {RequestKind.SUBMIT: 0.8, RequestKind.LOOK: 5.0}
    monkeypatch.setattr("airflow_imagepipeline.hooks.transport.READ_SECONDS", short)


@uncertain_answers
def test_an_uncertain_submission_stops_until_a_human_has_looked(
    connection: Callable[..., None], uncertain: Instruction, mode: str
) -> None:
    store = FakeStore()
    first = context(store)
    make = image_to_image(LINK, wait_for_completion=False)
    with ScriptedServer({SUBMIT: [uncertain, pending("job-2")]}) as server:
        connection(server.url)
        with fails_with(SubmissionUncertain, "may or may not", "set job_id", "clear this task", "UTC"):
            run_to_end(make, first, mode)
        assert store.record()["phase"] == "ambiguous"
        for again in (retried(first), retried(retried(first))):
            with fails_with(SubmissionUncertain, "clear the task"):
                run_to_end(make, again, mode)
        assert server.count("POST") == 1
        assert run_to_end(make, cleared(first), mode)["job_id"] == "job-2"


@in_task_modes
def test_an_uncertain_submission_is_sent_again_where_the_user_said_so(
    connection: Callable[..., None], mode: str, logs: Callable[[], str]
) -> None:
    make = image_to_image(LINK, on_ambiguous_submit="resubmit", wait_for_completion=False)
    with ScriptedServer({SUBMIT: [answer(500), reset_after_request(), pending("job-3")]}) as server:
        connection(server.url)
        assert run_to_end(make, context(FakeStore()), mode)["job_id"] == "job-3"
    assert "on_ambiguous_submit='resubmit'" in logs()


@in_task_modes
def test_an_answer_that_took_the_job_is_never_followed_by_a_second_submission(
    connection: Callable[..., None], mode: str
) -> None:
    make = image_to_image(LINK, on_ambiguous_submit="resubmit", wait_for_completion=False)
    with ScriptedServer({SUBMIT: [answer(202, "<html>taken</html>")]}) as server:
        connection(server.url)
        with fails_with(SubmissionUncertain, "no readable JSON"):
            run_to_end(make, context(FakeStore()), mode)


@in_task_modes
@pytest.mark.parametrize("option", ["fail", "resubmit"])
def test_a_crash_between_intent_and_answer_is_an_uncertain_submission(
    connection: Callable[..., None], option: str, mode: str
) -> None:
    store = FakeStore()
    first = context(store)
    make = image_to_image(LINK, on_ambiguous_submit=option, wait_for_completion=False)
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}, allow_unused=True) as server:
        connection(server.url)
        # What the process would have written after the answer is lost with it.
        store.is_down = lambda operation, _, value: operation == "set" and "job-1" in str(value)
        run_to_end(make, first, mode)
        store.is_down = lambda *_: False
        _forget_the_answer(store)
        if option == "resubmit":
            assert run_to_end(make, retried(first), mode)["job_id"] == "job-2"
        else:
            with fails_with(SubmissionUncertain, "an earlier try ended without an answer"):
                run_to_end(make, retried(first), mode)
            with fails_with(SubmissionUncertain, "clear the task"):
                run_to_end(make, retried(retried(first)), mode)
            assert server.count("POST") == 1
            assert run_to_end(make, cleared(retried(first)), mode)["job_id"] == "job-2"


def _forget_the_answer(store: FakeStore) -> None:
    assert store.record()["phase"] == "submitting"
    assert store.record()["job_id"] is None


@in_task_modes
@pytest.mark.parametrize(
    "is_down",
    [
        pytest.param(lambda operation, *_: operation == "get", id="reading"),
        pytest.param(lambda operation, *_: operation == "set", id="writing the intent"),
        pytest.param(lambda operation, key, _: (operation, key) == ("set", "imagepipeline:latest"), id="naming it"),
    ],
)
def test_without_a_record_nothing_is_sent(
    connection: Callable[..., None], is_down: Callable[[str, str, Any], bool], mode: str
) -> None:
    store = FakeStore()
    store.is_down = is_down
    with ScriptedServer() as server:
        connection(server.url)
        with fails_with(RecordUnavailable, "(StoreDown), so nothing is sent."):
            run_to_end(image_to_image(LINK), context(store), mode)
    assert server.requests == ()


@in_task_modes
def test_a_job_goes_on_when_its_id_cannot_be_recorded(
    connection: Callable[..., None], mode: str, logs: Callable[[], str]
) -> None:
    store = FakeStore()
    first = context(store)
    store.is_down = lambda operation, _, value: operation == "set" and "'phase': 'submitted'" in str(value)
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")], STATUS: [DONE]}) as server:
        connection(server.url)
        result = run_to_end(image_to_image(LINK), first, mode)
        assert (result["job_id"], result["status"]) == ("job-1", "SUCCESS")
        assert "Job job-1 is submitted, but its record cannot be written (StoreDown)." in logs()
        # The end of the task has found its record again, so that retry and clear do what they always do.
        assert (store.record()["phase"], store.record()["job_id"]) == ("handed_over", "job-1")
        assert run_to_end(image_to_image(LINK), retried(first), mode)["job_id"] == "job-1"
        store.is_down = lambda *_: False
        assert run_to_end(image_to_image(LINK), cleared(first), mode)["job_id"] == "job-2"


@in_task_modes
def test_without_a_store_only_the_first_try_submits(
    connection: Callable[..., None], mode: str, logs: Callable[[], str]
) -> None:
    first = context(None)
    make = image_to_image(LINK, wait_for_completion=False)
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}) as server:
        connection(server.url)
        assert run_to_end(make, first, mode)["job_id"] == "job-1"
        with fails_with(SubmissionUncertain, "an earlier try ended without an answer"):
            run_to_end(make, retried(first), mode)
        assert server.count("POST") == 1
        assert run_to_end(make, cleared(retried(first)), mode)["job_id"] == "job-2"
    assert "keeps no submission records" in logs()


@in_task_modes
def test_two_workers_on_the_same_try_submit_once(connection: Callable[..., None], mode: str) -> None:
    class Overtaken(FakeStore):
        """Another worker writes its own intent just after ours."""

        def set(self, key: str, value: Any, **more: Any) -> None:
            super().set(key, {**value, "token": "another"} if isinstance(value, dict) else value, **more)

    with ScriptedServer() as server:
        connection(server.url)
        with fails_with(RecordUnavailable, "Another worker runs the same try"):
            run_to_end(image_to_image(LINK), context(Overtaken()), mode)
    assert server.requests == ()


@in_task_modes
@pytest.mark.parametrize("operation", ["get", "set"])
def test_a_store_that_goes_down_costs_the_result_nothing(
    connection: Callable[..., None], mode: str, operation: str, logs: Callable[[], str]
) -> None:
    store = FakeStore()

    def go_down(_: Any) -> None:
        store.is_down = lambda called, *_: called == operation

    with ScriptedServer({SUBMIT: [pending("job-1")], STATUS: [DONE.with_before(go_down)]}) as server:
        connection(server.url)
        assert run_to_end(image_to_image(LINK), context(store), mode)["status"] == "SUCCESS"
    assert "job-1" in logs()
    assert "(StoreDown)" in logs()


@in_task_modes
def test_a_refusal_whose_record_stays_is_told_and_the_next_try_asks(
    connection: Callable[..., None], mode: str, logs: Callable[[], str]
) -> None:
    store = FakeStore()
    first = context(store)
    store.is_down = lambda operation, *_: operation == "delete"
    with ScriptedServer({SUBMIT: [answer(422)]}) as server:
        connection(server.url)
        with fails_with(SubmissionRefused, "answered 422"):
            run_to_end(image_to_image(LINK), first, mode)
        with fails_with(SubmissionUncertain, "may or may not"):
            run_to_end(image_to_image(LINK), retried(first), mode)
    assert "could not be removed (StoreDown)" in logs()


@in_task_modes
def test_resubmitting_ends_after_four_attempts(connection: Callable[..., None], mode: str) -> None:
    with ScriptedServer({SUBMIT: [answer(500)] * 4}) as server:
        connection(server.url)
        with fails_with(SubmissionUncertain, "answered 500"):
            run_to_end(image_to_image(LINK, on_ambiguous_submit="resubmit"), context(FakeStore()), mode)


@in_task_modes
@pytest.mark.parametrize(
    ("answered", "kind"),
    [(answer(422), SubmissionRefused), (answer(429), SubmissionNotSent)],
    ids=["refused", "busy"],
)
def test_a_refusal_after_a_submission_without_an_answer_does_not_say_that_nothing_was_submitted(
    connection: Callable[..., None], answered: Instruction, kind: type[BaseException], mode: str
) -> None:
    store = FakeStore()
    first = context(store)
    make = image_to_image(LINK, on_ambiguous_submit="resubmit", wait_for_completion=False)
    with ScriptedServer({SUBMIT: [pending("job-1"), *[answered] * 4]}, allow_unused=True) as server:
        connection(server.url)
        store.is_down = lambda operation, _, value: operation == "set" and "job-1" in str(value)
        run_to_end(make, first, mode)
        store.is_down = lambda *_: False
        with fails_with(kind, "may or may not have been accepted", "answered 42"):
            run_to_end(make, retried(first), mode)
        # The first one may still have been taken: where the user does not resubmit any more, a human must look.
        with fails_with(SubmissionUncertain, "set job_id"):
            run_to_end(functools.partial(make, on_ambiguous_submit="fail"), retried(retried(first)), mode)
