"""How a wait for a job ended: what the triggerer tells a worker, and what a task's result or failure is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.job import Job, JobHandle, cost_in
from airflow_imagepipeline.contract.text import cleaned


class Outcome(StrEnum):
    """How a wait ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The vendor reports that the job failed."""
    TIMED_OUT = "timed_out"
    """The deadline passed; the job may still finish and be billed."""
    LOST = "lost"
    """The API does not know the job."""
    REFUSED = "refused"
    """The API will not answer for this job, however often it is asked."""
    UNREACHABLE = "unreachable"
    """No usable answer came for long enough; the job may still be running."""


@dataclass(frozen=True)
class JobEvent:
    """
    The end of a wait; crosses from the triggerer to a worker as JSON, without links.

    :param message: what happened, for the reader.
    :param reason_code: the vendor's code for a failure; empty when there is none.
    :param retryable: whether the vendor says that the same request may succeed; None when that is not known.
    :param cost: what the vendor said of money, see :class:`Job`.
    :param job: the answer that ended the wait. It holds links, so it stays in its process.
    """

    handle: JobHandle
    outcome: Outcome
    message: str = ""
    job: Job | None = field(default=None, repr=False, compare=False)
    reason_code: str = ""
    retryable: bool | None = None
    cost: Mapping[str, float | bool] = field(default_factory=dict)

    def to_payload(self) -> dict[str, Any]:
        """Return the event as JSON values; ``cost`` is there only where the vendor told it."""
        payload = {
            "v": 1,
            "job": self.handle.to_payload(),
            "outcome": self.outcome.value,
            "message": self.message,
            "reason_code": self.reason_code,
            "retryable": self.retryable,
        }
        return {**payload, "cost": dict(self.cost)} if self.cost else payload

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """
        Read an event that crossed a process.

        :raises ValueError: when it is none.
        """
        if not isinstance(payload, dict) or payload.get("v") != 1:
            msg = f"not a job event: {cleaned(repr(payload), 80)}"
            raise ValueError(msg)
        try:
            handle, outcome = JobHandle.from_payload(payload["job"]), Outcome(payload["outcome"])
        except (KeyError, ValueError) as exc:
            msg = f"not a job event: {cleaned(repr(payload), 80)}"
            raise ValueError(msg) from exc
        retryable, cost = payload.get("retryable"), payload.get("cost")
        return cls(
            handle,
            outcome,
            str(payload.get("message", "")),
            reason_code=str(payload.get("reason_code", "")),
            retryable=retryable if isinstance(retryable, bool) else None,
            cost=cost_in(cost) if isinstance(cost, dict) else {},
        )


def event_of(job: Job) -> JobEvent:
    """Return the end of the wait that a job is which needs none: finished in the answer to its submission."""
    if job.status is JobStatus.SUCCESS:
        return ended(job.handle, Outcome.SUCCEEDED, "", job)
    return ended(job.handle, Outcome.FAILED, job.error or "No reason given.", job)


def ended(handle: JobHandle, outcome: Outcome, message: str, job: Job | None) -> JobEvent:
    """Return the end of a wait, with what the answer that ended it says."""
    if job is None:
        return JobEvent(handle, outcome, message)
    return JobEvent(handle, outcome, message, job, job.reason_code, job.retryable, job.cost)


def uncancelled(job_id: str | None) -> str:
    """
    Return the sentence for a task that is broken off from outside.

    :param job_id: None while no job is known, which may be the moment in which one is submitted.
    """
    if job_id is None:
        return "No job is known yet. One just submitted cannot be cancelled: it may still finish and be billed."
    return f"The API cannot cancel job {job_id}: it may still finish and be billed."
