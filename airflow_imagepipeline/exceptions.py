"""
What a task fails with, and which failure of the API becomes which.

Airflow's ``retries`` apply to those that are no :class:`AirflowFailException`: a retry finds the same job again or has
submitted nothing. The others are for a human.
"""

from __future__ import annotations

from typing import Final

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.contract.errors import ImagePipelineError, Refused
from airflow_imagepipeline.contract.job import Job
from airflow_imagepipeline.policy.job_event import JobEvent, Outcome
from airflow_imagepipeline.policy.resending import Verdict, verdict

_NO_CREDITS: Final = 402
_NO_CREDITS_CODES: Final = frozenset({"INSUFFICIENT_CREDITS", "INSUFFICIENT_BALANCE"})


class SubmissionRefused(AirflowFailException):
    """
    The request was refused, by this provider or by the API, and will be refused again. Nothing was submitted.

    ``reason_code`` holds the vendor's code for it; empty when it gave none.
    """

    reason_code: str = ""


class OutOfCredits(SubmissionRefused):
    """
    The account has no credits left: the request was refused, or the job failed for it.

    ``reason_code`` and ``retryable`` are those of :class:`JobFailed`.
    """

    retryable: bool | None = None


class SubmissionUncertain(AirflowFailException):
    """The request may or may not have been accepted; to avoid paying twice it is not sent again."""


class SubmissionNotSent(AirflowException):
    """The API could not be reached, or was too busy for too long. Nothing was submitted; a retry submits."""


class RecordUnavailable(AirflowException):
    """The record of this task's submissions cannot be used now; nothing was submitted, a retry may find it well."""


class JobFailed(AirflowFailException):
    """
    The vendor reports that the job failed.

    ``reason_code`` holds the vendor's code (empty when there is none), ``retryable`` whether the vendor says that the
    same request may succeed (None when that is not known).
    """

    reason_code: str = ""
    retryable: bool | None = None


class JobFailedForNow(AirflowException):
    """As :class:`JobFailed`, where ``retry_failed_jobs=True`` lets a retry submit, and pay, again."""

    reason_code: str = ""
    retryable: bool | None = None


class JobLost(AirflowFailException):
    """The API does not know the job, or will not speak of it."""


class JobTimedOut(AirflowException):
    """The job was not done before the deadline; it may still finish and be billed."""


class JobUnreachable(AirflowException):
    """No usable answer about the job came; it may still be running."""


class LandingFailed(AirflowException):
    """The job is done, but its images could not be brought home whole; a retry fetches them again."""


class ResultRejected(AirflowFailException):
    """The job is done and paid for, and none of its images passed the checks; they were put aside."""


class TooFewImages(AirflowException):
    """The job is done and paid for with fewer images than asked for; a retry looks at it again, and pays nothing."""


class BatchFailed(AirflowFailException):
    """A batch ended with fewer good rows than were asked for, and a retry would change nothing without paying again."""


class BatchIncomplete(AirflowException):
    """A batch ended with fewer good rows than were asked for; a retry goes on with those that can still be landed."""


def submission_failure(error: ImagePipelineError, kind: RequestKind = RequestKind.SUBMIT) -> AirflowException:
    """
    Return what a task fails with when its submission failed.

    :param kind: which request failed: the submission itself, or one that came before it.
    """
    decided = verdict(kind, error)
    if decided is Verdict.REFUSE:
        no_credits = isinstance(error, Refused) and (error.status == _NO_CREDITS or error.code in _NO_CREDITS_CODES)
        failure = (OutOfCredits if no_credits else SubmissionRefused)(
            f"{str(error).rstrip('.')}. Nothing was submitted."
        )
        failure.reason_code = error.code if isinstance(error, Refused) else ""
        return failure
    if decided is Verdict.UNCERTAIN:
        return SubmissionUncertain(str(error))
    return SubmissionNotSent(f"{error} Nothing was submitted; a retry of the task submits.")


_WAIT_FAILURES: Final[dict[Outcome, type[AirflowException]]] = {
    Outcome.TIMED_OUT: JobTimedOut,
    Outcome.LOST: JobLost,
    Outcome.REFUSED: JobLost,
    Outcome.UNREACHABLE: JobUnreachable,
}


def wait_failure(event: JobEvent, *, retryable: bool = False) -> AirflowException:
    """
    Return what a task fails with when its wait ended without a result.

    :param retryable: whether a failed job may be tried, and paid, again. Not where the vendor says that it is useless.
    """
    if event.outcome is not Outcome.FAILED:
        return _WAIT_FAILURES[event.outcome](wait_sentence(event))
    may_retry = retryable and event.retryable is not False
    is_broke = event.reason_code in _NO_CREDITS_CODES
    failure = (OutOfCredits if is_broke else JobFailedForNow if may_retry else JobFailed)(wait_sentence(event))
    failure.reason_code, failure.retryable = event.reason_code, event.retryable
    return failure


def too_few_images(job: Job, asked_for: int | None) -> TooFewImages | None:
    """
    Return what a task fails with that insists on as many images as it asked for; None when they came.

    :param asked_for: None when that is not known.
    """
    came = len(job.download_urls)
    if asked_for is None or came >= asked_for:
        return None
    return TooFewImages(
        f"Job {job.handle.job_id} ({job.handle.api.name}) is done and paid for, but gave {came} of the {asked_for} "
        "images that were asked for. A retry finds the same job; clear the task to submit another."
    )


def wait_sentence(event: JobEvent) -> str:
    """Return the sentence that says how a wait ended."""
    job = f"Job {event.handle.job_id} ({event.handle.api.name})"
    code = f" ({event.reason_code})" if event.reason_code else ""
    return f"{job} {event.outcome.value.replace('_', ' ')}{code}: {event.message}"
