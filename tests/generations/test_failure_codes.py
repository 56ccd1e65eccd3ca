"""Every failure code of the vendor's page, met by the submission and by the wait: its class, its words, its price."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_imagepipeline.exceptions import (
    JobFailed,
    JobFailedForNow,
    OutOfCredits,
    SubmissionNotSent,
    SubmissionRefused,
    SubmissionUncertain,
)
from tests.generations import CURRENT, only_current
from tests.running import (
    FakeStore,
    assert_discreet,
    context,
    image_to_image,
    in_task_modes,
    in_turn,
    retried,
    run_to_end,
)

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from tests.generations import Generation
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

Failure = type[AirflowException]

# Code: whether the vendor says that it may pass, and what a task fails with whose job fails for it, without and with
# ``retry_failed_jobs``. The last one is of no list.
JOB_FAILURES: Final[dict[str, tuple[bool | None, Failure, Failure]]] = {
    "RATE_LIMIT_EXCEEDED": (True, JobFailed, JobFailedForNow),
    "CONCURRENT_JOBS_EXCEEDED": (True, JobFailed, JobFailedForNow),
    "MODEL_ERROR": (True, JobFailed, JobFailedForNow),
    "MODEL_UNAVAILABLE": (True, JobFailed, JobFailedForNow),
    "STORAGE_ERROR": (True, JobFailed, JobFailedForNow),
    "TIMEOUT": (True, JobFailed, JobFailedForNow),
    "INTERNAL_ERROR": (True, JobFailed, JobFailedForNow),
    "INSUFFICIENT_CREDITS": (False, OutOfCredits, OutOfCredits),
    "CREDIT_CHARGE_FAILED": (False, JobFailed, JobFailed),
    "INPUT_INVALID": (False, JobFailed, JobFailed),
    "CANCELLED": (None, JobFailed, JobFailedForNow),
    "FROM_THE_FUTURE": (None, JobFailed, JobFailedForNow),
}
# Code: what a task fails with whose submission is refused for it as often as it asks, how often it asks, and the code
# that the newer envelope gives it. A 500 may have been taken, whatever it says: nothing is sent behind it.
SUBMIT_FAILURES: Final[dict[str, tuple[Failure, int, str]]] = {
    "RATE_LIMIT_EXCEEDED": (SubmissionNotSent, 4, ""),
    "CONCURRENT_JOBS_EXCEEDED": (SubmissionNotSent, 4, ""),
    "MODEL_ERROR": (SubmissionUncertain, 1, ""),
    "MODEL_UNAVAILABLE": (SubmissionNotSent, 4, ""),
    "STORAGE_ERROR": (SubmissionNotSent, 4, ""),
    "TIMEOUT": (SubmissionNotSent, 4, ""),
    "INTERNAL_ERROR": (SubmissionUncertain, 1, ""),
    "INSUFFICIENT_CREDITS": (OutOfCredits, 1, "INSUFFICIENT_BALANCE"),
    "CREDIT_CHARGE_FAILED": (SubmissionUncertain, 1, ""),
    "INPUT_INVALID": (SubmissionRefused, 1, "INPUT_INVALID"),
    "CANCELLED": (SubmissionUncertain, 1, ""),
}
BUSY: Final = [code for code, (kind, *_) in SUBMIT_FAILURES.items() if kind is SubmissionNotSent]
FINAL: Final = {JobFailed, OutOfCredits, SubmissionRefused, SubmissionUncertain}


def failure_of(make: Callable[..., BaseOperator], given: Any, mode: str) -> Any:
    """Return what a task fails with."""
    with pytest.raises(AirflowException) as caught:
        run_to_end(make, given, mode)
    assert_discreet("".join(traceback.format_exception(caught.value)))
    return caught.value


@in_turn("code,retry_failed_jobs", [(code, retrying) for retrying in (False, True) for code in JOB_FAILURES])
def test_a_job_that_fails_for_a_code(
    vendor: Vendor, photos: str, *, code: str, retry_failed_jobs: bool, mode: str, generation: Generation
) -> None:
    vendor.settings.credits, vendor.settings.fail_next = 10, [code]
    retryable, usual, with_option = JOB_FAILURES[code]
    if generation is not CURRENT:  # it gives a sentence and no code, so nothing is known to be in vain
        retryable, usual, with_option = None, JobFailed, JobFailedForNow
    make = image_to_image(f"{photos}/a.png", retry_failed_jobs=retry_failed_jobs)
    first = context(FakeStore())

    failure = failure_of(make, first, mode)

    assert (failure.reason_code, failure.retryable) == (code if generation is CURRENT else "", retryable)
    assert type(failure) is (with_option if retry_failed_jobs else usual)
    assert isinstance(failure, AirflowFailException) is (type(failure) in FINAL)
    assert (f"failed ({code}): " in str(failure)) is (generation is CURRENT)
    assert vendor.count("accepted") == 1
    assert vendor.settings.credits == (10 if generation.refunds else 9)
    if isinstance(failure, AirflowFailException):
        if not retry_failed_jobs:
            # Should the report of that failure be lost, the next try says so and submits nothing.
            assert type(failure_of(make, retried(first), mode)) is SubmissionUncertain
            assert vendor.count("submits") == 1
    else:
        assert run_to_end(make, retried(first), mode)["status"] == "SUCCESS"
        assert vendor.count("accepted") == 2
        assert vendor.settings.credits == (9 if generation.refunds else 8)


@in_turn("code,envelope", [(code, envelope) for envelope in ("message", "detail") for code in SUBMIT_FAILURES])
def test_a_submission_that_is_refused_for_a_code(
    vendor: Vendor,
    photos: str,
    *,
    code: str,
    envelope: Any,
    mode: str,
    generation: Generation,
) -> None:
    kind, submits, reason_code = SUBMIT_FAILURES[code]
    vendor.settings.error_envelope = envelope
    vendor.settings.credits, vendor.settings.refuse_next = 10, [code] * submits
    make = image_to_image(f"{photos}/a.png")
    first = context(FakeStore())

    failure = failure_of(make, first, mode)

    assert type(failure) is kind
    assert isinstance(failure, AirflowFailException) is (kind in FINAL)
    if isinstance(failure, SubmissionRefused):
        is_told = generation is CURRENT and envelope == "message"
        assert failure.reason_code == (reason_code if is_told else "")
    assert (vendor.count("submits"), vendor.count("accepted"), vendor.settings.credits) == (submits, 0, 10)
    if kind is SubmissionUncertain:
        assert type(failure_of(make, retried(first), mode)) is SubmissionUncertain
        assert vendor.count("submits") == submits
    else:
        # Nothing was taken, so the next try submits, and pays once.
        assert run_to_end(make, retried(first), mode)["status"] == "SUCCESS"
        assert (vendor.count("accepted"), vendor.settings.credits) == (1, 9)


@in_turn("code", BUSY)
def test_a_submission_that_is_refused_for_a_moment_is_taken_in_the_same_try(
    vendor: Vendor, photos: str, code: str, mode: str
) -> None:
    vendor.settings.credits, vendor.settings.refuse_next = 10, [code] * 3
    assert run_to_end(image_to_image(f"{photos}/a.png"), context(FakeStore()), mode)["status"] == "SUCCESS"
    assert (vendor.count("submits"), vendor.count("accepted"), vendor.settings.credits) == (4, 1, 9)


@only_current
@in_task_modes
def test_a_failed_job_that_is_in_vain_is_not_paid_again_whatever_the_option_says(
    vendor: Vendor, photos: str, mode: str
) -> None:
    # The vendor's own word counts, not the table: here it calls a prompt's refusal lasting.
    make = image_to_image(f"{photos}/a.png", prompt="explicit", retry_failed_jobs=True)
    failure = failure_of(make, context(FakeStore()), mode)
    assert (type(failure), failure.reason_code, failure.retryable) == (JobFailed, "INPUT_INVALID", False)
    assert "refused by the content policy" in str(failure)
    assert vendor.count("accepted") == 1
