"""
Given what is recorded and what is asked for: submit, re-attach to a job, or stop for a human? The rule about money.

Per human decision (a new run, or the clear of a finished task) a request is accepted at most once. A record is written
immediately before the request leaves, so that a crash at any moment leaves a trace: ``submitting`` means "may have been
taken", no record means "not sent". Automatic retries leave ``max_tries`` as it is, a human's clear raises it: so the
two are told apart.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Self
from urllib.parse import urlsplit

from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.contract.text import cleaned


class Phase(StrEnum):
    """How far a submission has come."""

    SUBMITTING = "submitting"
    """The request leaves now, or has left; no answer is recorded."""
    SUBMITTED = "submitted"
    """The job has an id."""
    HANDED_OVER = "handed_over"
    """The task has returned the job or its links."""
    STORED = "stored"
    """The images are in storage."""
    FAILED = "failed"
    LOST = "lost"
    AMBIGUOUS = "ambiguous"
    """A human has been told that the request may have been taken."""


_MAY_BE_RUNNING: Final = frozenset({Phase.SUBMITTING, Phase.SUBMITTED, Phase.AMBIGUOUS})
_USUAL_PORTS: Final = {"https": 443, "http": 80}
_ENDED_BADLY: Final = frozenset({Phase.AMBIGUOUS, Phase.FAILED, Phase.LOST})
SHORTEST_RETENTION: Final = 7 * 86_400.0
"""Seconds for which version 0.1 kept a record at least; now it lives as long as its DAG run."""
_LATEST_MOMENT: Final = 1e11
"""Seconds since the epoch; what is later is no moment that this provider has written."""


@dataclass(frozen=True)
class SubmissionRecord:
    """
    What is known of one submission: JSON values, without key, links or prompt.

    :param fingerprint: of what the user asked for, hexadecimal.
    :param fields: parameter name to a short digest of its value, to name what changed.
    :param origin: scheme, host and port that it was sent to.
    :param submitted_at: seconds since the epoch.
    :param deadline: seconds since the epoch; None until the job has an id.
    :param try_number: of the task instance.
    :param max_tries: of the task instance; raised by a human's clear.
    :param token: random; tells two workers apart that run the same try.
    """

    phase: Phase
    fingerprint: str
    origin: str
    api: str
    seed: int | None
    submitted_at: float
    try_number: int
    max_tries: int
    token: str
    job_id: str | None = None
    deadline: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def to_payload(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {"v": 1, **asdict(self), "phase": self.phase.value, "fields": dict(self.fields)}

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """
        Read a stored record.

        :raises ValueError: when it is none.
        """
        if not isinstance(payload, Mapping) or payload.get("v") != 1:
            msg = f"not a submission record: {cleaned(repr(payload), 80)}"
            raise ValueError(msg)
        known = {name: payload[name] for name in cls.__dataclass_fields__ if name in payload}
        try:
            record = cls(**{**known, "phase": Phase(str(payload.get("phase")))})
        except TypeError as exc:
            msg = f"not a submission record: {cleaned(repr(payload), 80)}"
            raise ValueError(msg) from exc
        if not record._is_sound():
            msg = f"not a submission record: {cleaned(repr(payload), 80)}"
            raise ValueError(msg)
        return record

    def _is_sound(self) -> bool:
        texts, counts = (self.fingerprint, self.origin, self.api, self.token), (self.try_number, self.max_tries)
        moments = (self.submitted_at, 0.0 if self.deadline is None else self.deadline)
        return (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(count, int) for count in counts)
            and all(isinstance(moment, int | float) and abs(moment) < _LATEST_MOMENT for moment in moments)
            and isinstance(self.fields, Mapping)
        )

    @property
    def handle(self) -> JobHandle:
        """
        The job's handle.

        :raises ValueError: when the record names no job.
        """
        return JobHandle.from_payload(
            {"api": self.api, "job_id": self.job_id, "seed": self.seed, "submitted_at": self.submitted_at}
        )


@dataclass(frozen=True)
class Wish:
    """
    What this try of the task asks for.

    :param is_mapped: whether the task instance is one of a mapped task, whose index may stand for another item now.
    :param resubmit: ``on_ambiguous_submit="resubmit"``.
    :param retry_failed_jobs: whether an automatic retry may pay again after a failed job.
    :param try_number: of the task instance.
    :param first_try: number of the first try of the same human decision, see :func:`first_try`.
    :param may_have_expired: whether an earlier try of the decision may be so old that its record is gone.
    """

    fingerprint: str
    origin: str
    max_tries: int
    is_mapped: bool = False
    try_number: int = 1
    first_try: int = 1
    may_have_expired: bool = True
    resubmit: bool = False
    retry_failed_jobs: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)


class Action(StrEnum):
    """What to do."""

    SUBMIT = "submit"
    TAKE_UP = "take up"
    """Look at the recorded job and go on from there."""
    SUBMIT_AGAIN = "submit again"
    """As submit, though an earlier request may have been taken: the user chose to risk paying twice."""
    ASK = "ask"
    """It is not known whether the request was taken: a human must look."""
    FAIL_AGAIN = "fail again"
    """The task has failed for good already; its report was lost."""
    OTHER_HOST = "other host"
    """The recorded job lies on another host than the connection leads to now."""
    CHANGED = "changed"
    """The request is another one than the earlier try's, though no human asked for it."""
    NO_RECORD = "no record"
    """Earlier tries have left no trace at all: what they did may have been deleted."""


def decide(
    record: SubmissionRecord | None, latest: SubmissionRecord | None, wish: Wish, *, has_claim: bool = False
) -> Action:
    """
    Return what to do.

    :param record: of this very request, or None.
    :param latest: the newest record of the task instance, whatever was asked for, or None.
    :param has_claim: whether a try has come as far as claiming the right to submit. A claim is written before the
        record and is never younger, so a store that has neither was emptied, or no try has begun.
    """
    if record is None:
        is_blank = latest is None and not has_claim and wish.try_number > wish.first_try and wish.may_have_expired
        blank = Action.SUBMIT_AGAIN if wish.resubmit else Action.NO_RECORD
        return blank if is_blank else _decide_unknown(latest, wish)
    if not is_same_host(record.origin, wish.origin) and record.phase in _MAY_BE_RUNNING:
        return Action.OTHER_HOST
    if record.phase is Phase.SUBMITTING:
        return Action.SUBMIT_AGAIN if wish.resubmit else Action.ASK
    if record.phase is Phase.SUBMITTED:
        return Action.TAKE_UP
    if record.max_tries != wish.max_tries or (record.phase is Phase.FAILED and wish.retry_failed_jobs):
        # A human cleared the finished task, or said beforehand that a failed job may be paid for again. Since then
        # another request may have been submitted for the same decision.
        return _decide_unknown(latest, wish)
    # A job that was finished in its submit answer may have no id: it cannot be looked at again.
    return Action.FAIL_AGAIN if record.phase in _ENDED_BADLY or record.job_id is None else Action.TAKE_UP


def _decide_unknown(latest: SubmissionRecord | None, wish: Wish) -> Action:
    if latest is None or wish.is_mapped or latest.max_tries != wish.max_tries:
        return Action.SUBMIT
    if latest.phase is Phase.FAILED and wish.retry_failed_jobs:
        return Action.SUBMIT
    return Action.CHANGED


def is_same_host(one: str, other: str) -> bool:
    """Tell whether two origins are one place: with the usual port and without it, they are."""
    return one == other or _place(one) == _place(other)


def _place(origin: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(origin)
    return parts.scheme, parts.hostname, parts.port or _USUAL_PORTS.get(parts.scheme)


def decide_without_records(try_number: int, wish: Wish, retries: int) -> Action:
    """
    Return what to do where Airflow has no task state store (before 3.3).

    Only the first try of a human decision submits: what an earlier try did is not known.

    :param retries: the task's ``retries``.
    """
    if try_number <= first_try(wish.max_tries, retries):
        return Action.SUBMIT
    return Action.SUBMIT_AGAIN if wish.resubmit else Action.ASK


def first_try(max_tries: int, retries: int) -> int:
    """
    Return the number of the first try of a human decision.

    Airflow counts that one as ``max_tries - retries + 1`` (``clear_task_instances`` in ``airflow/models``), and the
    first of all as 1, whatever became of ``retries`` since.
    """
    return max(1, max_tries - retries + 1)


def changed_fields(record: SubmissionRecord, wish: Wish) -> list[str]:
    """Return the names of the parameters that differ between a record and a wish."""
    return sorted(
        name for name in record.fields.keys() | wish.fields.keys() if record.fields.get(name) != wish.fields.get(name)
    )


def why_not(action: Action, record: SubmissionRecord | None, wish: Wish) -> str:
    """Return the sentence that tells a human why nothing was submitted, and what can be done now."""
    if action is Action.NO_RECORD:
        return (
            "This is not the task's first try, but Airflow's task state holds no trace of an earlier one: it ended "
            "before it began to work, or its record was deleted, and it may have submitted a job. To avoid paying "
            f"twice, nothing was submitted. {_where_to_look(None)}; if not, clear this task: the next run submits."
        )
    if record is None or action is Action.ASK:
        return uncertain_sentence("an earlier try ended without an answer", record)
    job = f"job {record.job_id}" if record.job_id else "a job"
    if action is Action.OTHER_HOST:
        return (
            f"An earlier try submitted {job} to {record.origin}, but the connection leads to {wish.origin} now, so "
            "nothing was submitted. Restore the connection; only a new run submits to the other host."
        )
    if action is Action.CHANGED:
        names = ", ".join(changed_fields(record, wish)) or "the request"
        return (
            f"An earlier try submitted {job}, but this one asks for another picture ({names} changed), so nothing was "
            "submitted. A template that gives another value at every try is the usual cause. Clear the task to submit."
        )
    return (
        f"An earlier try ended for good ({job}: {record.phase}), and its report was lost. To avoid paying twice, "
        "nothing was submitted: clear the task to submit anew."
    )


def uncertain_sentence(reason: str, record: SubmissionRecord | None) -> str:
    """Return the sentence for a request of which it is not known whether it was accepted."""
    return (
        f"The submit request may or may not have been accepted ({reason}). To avoid paying twice it is not sent again. "
        f"{_where_to_look(record)}; if not, clear this task: the next run submits again."
    )


def in_doubt_sentence(reason: str, record: SubmissionRecord | None) -> str:
    """Return the sentence for a request that was not accepted, after one of which that is not known."""
    return (
        f"{reason} But a request before this one got no answer: it may or may not have been accepted. "
        f"{_where_to_look(record)}."
    )


def _where_to_look(record: SubmissionRecord | None) -> str:
    when = "earlier"
    if record is not None:
        when = time.strftime("at about %Y-%m-%d %H:%M:%S UTC", time.gmtime(record.submitted_at))
    return f"Look at the vendor's dashboard for a job started {when}. If there is one, set job_id to its id"
