"""Which request may be sent again after which failure: the whole table, and the pauses between."""

from __future__ import annotations

import inspect
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract import errors
from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.contract.errors import Busy, ImagePipelineError, NotSent, Uncertain
from airflow_imagepipeline.policy.resending import (
    SUBMIT_ATTEMPTS,
    SUBMIT_SECONDS,
    Verdict,
    may_send_again,
    pause_before_resending,
    verdict,
)

ERRORS = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]

# Error class: what may follow a submission, a look, an upload. The last ones belong to results, not to requests
# of the API: were one raised there, it would be the dearest case.
DECISIONS = {
    "ImagePipelineError": (Verdict.UNCERTAIN, Verdict.UNCERTAIN, Verdict.UNCERTAIN),
    "InvalidParameters": (Verdict.REFUSE, Verdict.REFUSE, Verdict.REFUSE),
    "Misconfigured": (Verdict.REFUSE, Verdict.LOOK_AGAIN, Verdict.REFUSE),
    "NotSent": (Verdict.SEND_AGAIN, Verdict.LOOK_AGAIN, Verdict.SEND_AGAIN),
    "Refused": (Verdict.REFUSE, Verdict.REFUSE, Verdict.REFUSE),
    "Blocked": (Verdict.REFUSE, Verdict.LOOK_AGAIN, Verdict.REFUSE),
    "Busy": (Verdict.WAIT, Verdict.WAIT, Verdict.WAIT),
    "Uncertain": (Verdict.UNCERTAIN, Verdict.LOOK_AGAIN, Verdict.SEND_AGAIN),
    "Malformed": (Verdict.UNCERTAIN, Verdict.LOOK_AGAIN, Verdict.SEND_AGAIN),
    "WrongAnswer": (Verdict.UNCERTAIN, Verdict.LOOK_AGAIN, Verdict.SEND_AGAIN),
    "DownloadFailed": (Verdict.UNCERTAIN, Verdict.UNCERTAIN, Verdict.UNCERTAIN),
    "LinkExpired": (Verdict.UNCERTAIN, Verdict.UNCERTAIN, Verdict.UNCERTAIN),
    "NotTheResult": (Verdict.UNCERTAIN, Verdict.UNCERTAIN, Verdict.UNCERTAIN),
    "ResultRefused": (Verdict.UNCERTAIN, Verdict.UNCERTAIN, Verdict.UNCERTAIN),
    "LinkRefused": (Verdict.UNCERTAIN, Verdict.UNCERTAIN, Verdict.UNCERTAIN),
}


def raised(cls: type[ImagePipelineError]) -> ImagePipelineError:
    arguments: dict[str, Any] = {"status": 400} if issubclass(cls, errors.Refused) else {}
    return cls("it failed", **arguments)


def test_every_error_of_the_contract_has_a_decision() -> None:
    assert sorted(DECISIONS) == sorted(cls.__name__ for cls in ERRORS)


@pytest.mark.parametrize("kind", RequestKind)
@pytest.mark.parametrize("cls", ERRORS)
def test_what_may_follow(kind: RequestKind, cls: type[ImagePipelineError]) -> None:
    expected = dict(
        zip((RequestKind.SUBMIT, RequestKind.LOOK, RequestKind.UPLOAD), DECISIONS[cls.__name__], strict=True)
    )
    assert verdict(kind, raised(cls)) is expected[kind]


@pytest.mark.parametrize("cls", ERRORS)
def test_a_submission_is_sent_again_only_where_nothing_was_accepted(cls: type[ImagePipelineError]) -> None:
    assert may_send_again(RequestKind.SUBMIT, raised(cls)) is (cls in {NotSent, Busy})


@pytest.mark.parametrize("kind", RequestKind)
@pytest.mark.parametrize("error", [TimeoutError(), ValueError(), KeyboardInterrupt(), RuntimeError()], ids=repr)
def test_an_unknown_error_is_the_dearest_case(kind: RequestKind, error: BaseException) -> None:
    assert verdict(kind, error) is Verdict.UNCERTAIN
    assert not may_send_again(kind, error)


def test_a_new_kind_of_a_known_error_is_decided_as_that() -> None:
    class StillNotSent(NotSent):
        pass

    assert verdict(RequestKind.SUBMIT, StillNotSent()) is Verdict.SEND_AGAIN


def test_a_submission_has_four_attempts_within_two_minutes() -> None:
    assert (SUBMIT_ATTEMPTS, SUBMIT_SECONDS) == (4, 120.0)


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class Shortest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return min(a, b)


@pytest.mark.parametrize(("failures", "longest"), [(1, 2.0), (2, 4.0), (3, 8.0), (4, 15.0), (50, 15.0)])
def test_a_pause_is_anything_up_to_twice_the_last(failures: int, longest: float) -> None:
    assert pause_before_resending(failures, NotSent("no"), Longest()) == longest
    assert pause_before_resending(failures, NotSent("no"), Shortest()) == 0.0


@pytest.mark.parametrize(
    ("error", "shortest", "longest"),
    [
        pytest.param(None, 0.0, 2.0, id="nothing known of the failure"),
        pytest.param(Uncertain("no"), 0.0, 2.0, id="no pause asked for"),
        pytest.param(Busy("no"), 0.0, 2.0, id="busy without a pause"),
        pytest.param(Busy("no", retry_after=0.0), 0.0, 2.0, id="a pause of nothing"),
        pytest.param(Busy("no", retry_after=1.0), 1.0, 2.0, id="a pause within the own one"),
        pytest.param(Busy("no", retry_after=9.0), 9.0, 9.0, id="a longer pause"),
        pytest.param(Busy("no", retry_after=300.0), 300.0, 300.0, id="five minutes"),
        pytest.param(Busy("no", retry_after=1e12), 300.0, 300.0, id="more than five minutes are not obeyed"),
    ],
)
def test_the_api_may_ask_for_a_longer_pause(error: BaseException | None, shortest: float, longest: float) -> None:
    assert pause_before_resending(1, error, Shortest()) == shortest
    assert pause_before_resending(1, error, Longest()) == longest


@given(failures=st.integers(1, 200), asked=st.none() | st.floats(0, 1e15), source=st.integers())
def test_a_pause_is_bounded(failures: int, asked: float | None, source: int) -> None:
    pause = pause_before_resending(failures, Busy("no", retry_after=asked), random.Random(source))
    assert min(asked or 0.0, 300.0) <= pause <= max(15.0, min(asked or 0.0, 300.0))
