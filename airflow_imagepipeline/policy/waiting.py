"""
Is the wait for a job over, and when to look next? The same answers for the worker's loop and the triggerer's.

A wait is local to one process: its counts begin anew when a trigger moves or a task is retried, and its absolute
deadline bounds them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Final

from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.errors import (
    Blocked,
    Busy,
    ImagePipelineError,
    InvalidParameters,
    Malformed,
    Misconfigured,
    Refused,
    WrongAnswer,
)
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.policy.job_event import JobEvent, Outcome, ended
from airflow_imagepipeline.policy.look_plan import JITTER
from airflow_imagepipeline.policy.looking import LookSchedule
from airflow_imagepipeline.policy.resending import LONGEST_RETRY_AFTER

NOT_FOUND_GRACE: Final = 60.0
"""Seconds after a submission in which the API may not know the job yet."""
_MOST_IN_A_ROW: Final = {
    "account": 2,
    "no reason": 2,
    "not found": 3,
    "refused": 3,
    "another job": 3,
    "no links": 3,
    "certificate": 5,
    "malformed": 10,
}
_SHORTEST_ROW: Final = {"not found": 3.0, "refused": 3.0, "another job": 3.0}
"""Seconds between the first and the last of those that give a job up for good: one bad moment gives up none."""
_LONGEST_BACKOFF: Final = 60.0
_BACKOFF_BASE: Final = 5.0
_MOST_DOUBLINGS: Final = 10
_REMARK_EVERY: Final = 10
_ACCOUNT_REFUSED: Final = frozenset({401, 402, 403})
"""What a human can mend without touching the job: the key, the credits, the plan."""
_NOT_FOUND: Final = 404
_ENDED: Final = frozenset({Outcome.SUCCEEDED, Outcome.FAILED})


def steady_clock(wall: Callable[[], float], monotonic: Callable[[], float]) -> Callable[[], float]:
    """
    Return a clock in seconds since the epoch that a jump of the machine's clock does not move.

    The wall clock is read once: it only connects this process to a deadline that another one stored.
    """
    offset = wall() - monotonic()
    return lambda: monotonic() + offset


def check_seconds(**named: object) -> None:
    """
    Look at arguments that are lengths of time.

    :raises InvalidParameters: naming the one that is no number of seconds above 0.
    """
    for name, seconds in named.items():
        if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            msg = f"{name}: {seconds!r} is not a number of seconds above 0"
            raise InvalidParameters(msg)


class JobWait:
    """
    One process's wait for one job.

    :param deadline: seconds since the epoch.
    :param poll_interval: seconds above 0; while all is well, the job takes about as many looks as at this fixed beat.
    :param source: where the jitter comes from.
    :param schedule: says when to look, and learns from the end of this wait, for the jobs of many waits; None gives
        the wait one of its own.
    :raises InvalidParameters: when the interval is none.
    """

    def __init__(
        self,
        handle: JobHandle,
        *,
        deadline: float,
        poll_interval: float,
        source: random.Random,
        schedule: LookSchedule | None = None,
    ) -> None:
        check_seconds(poll_interval=poll_interval)
        self.handle = handle
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.remark = ""
        """What the last look gave reason to log; empty when nothing."""
        self.in_doubt = False
        """Whether the last look needs others close behind it, since a few alike would end the wait."""
        self._source = source
        self._schedule = schedule or LookSchedule(poll_interval=poll_interval, source=source)
        self._estimated: float | None = None
        self._pending_at = 0.0
        self._ended_at: float | None = None
        self._in_a_row: dict[str, int] = {}
        self._row_began = 0.0
        self._bad = 0
        self._retry_after = 0.0
        self._unknown_words: set[str] = set()

    def after(self, seen: Job | ImagePipelineError, *, now: float) -> JobEvent | None:
        """
        Take in one look and return the end of the wait, or None when it goes on.

        A look that is already past the deadline still counts: a finished job is never given up unseen.

        :param now: seconds since the epoch.
        """
        self.remark = ""
        self.in_doubt = False
        self._retry_after = 0.0
        event = self._after_job(seen, now) if isinstance(seen, Job) else self._after_error(seen, now)
        if event is None and now >= self.deadline:
            last = seen.status_word or seen.status.value if isinstance(seen, Job) else str(seen)
            message = f"The deadline passed. The job may still finish and be billed. Last seen: {last}"
            return self._end(Outcome.TIMED_OUT, message)
        return event

    def pause(self, *, now: float) -> float:
        """Return the seconds until the next look: jittered, backing off after bad looks, never past the deadline."""
        if self._bad:
            longest = min(_LONGEST_BACKOFF, _BACKOFF_BASE * 2.0 ** min(self._bad, _MOST_DOUBLINGS))
            own = self._source.uniform(self.poll_interval, max(self.poll_interval, longest))
        elif self._in_a_row or self.handle.submitted_at is None:
            own = self.poll_interval * self._source.uniform(1 - JITTER, 1 + JITTER)
        else:
            own = self._schedule.pause(age=now - self.handle.submitted_at, estimated=self._estimated)
        return min(max(own, min(self._retry_after, LONGEST_RETRY_AFTER)), max(self.deadline - now, 0.0))

    def _after_job(self, job: Job, now: float) -> JobEvent | None:
        self._bad = 0
        submitted_at = self.handle.submitted_at
        age = 0.0 if submitted_at is None else now - submitted_at
        if job.status.is_terminal:
            # An ended job may need further looks, for its links or its reason; its time was over at the first.
            self._ended_at = age if self._ended_at is None else self._ended_at
        else:
            self._pending_at, self._ended_at = age, None
            self._estimated = job.estimated_seconds or self._estimated
        event = self._judged(job, now)
        if event is not None and event.outcome in _ENDED and self._ended_at is not None:
            self._schedule.learn(pending_at=self._pending_at, done_at=self._ended_at)
        return event

    def _judged(self, job: Job, now: float) -> JobEvent | None:
        if job.status is JobStatus.SUCCESS:
            if job.download_urls:
                return self._end(Outcome.SUCCEEDED, job=job)
            return self._count("no links", Outcome.UNREACHABLE, "The API reports SUCCESS without links.", now)
        if job.status is JobStatus.FAILURE:
            if job.error:
                return self._end(Outcome.FAILED, job.error, job)
            return self._count("no reason", Outcome.FAILED, "No reason given.", now, job)
        self._in_a_row.clear()
        self._retry_after = job.retry_after
        if job.status_word and job.status_word not in self._unknown_words:
            self._unknown_words.add(job.status_word)
            self.remark = f"Unknown status {job.status_word!r} is taken for still running."
        return None

    def _after_error(self, error: ImagePipelineError, now: float) -> JobEvent | None:
        self._bad += 1
        if self._bad % _REMARK_EVERY == 1:
            self.remark = f"{error} (look {self._bad} in a row without a status; the wait goes on)"
        if isinstance(error, Busy):
            self._retry_after = error.retry_after or 0.0
        if isinstance(error, InvalidParameters):
            # The request itself cannot be sent: its id holds the key, say.
            return self._end(Outcome.REFUSED, str(error))
        if isinstance(error, WrongAnswer):
            return self._count("another job", Outcome.REFUSED, str(error), now)
        if isinstance(error, Malformed | Blocked):
            return self._count("malformed", Outcome.UNREACHABLE, str(error), now)
        if isinstance(error, Misconfigured):
            return self._count("certificate", Outcome.UNREACHABLE, str(error), now)
        if isinstance(error, Refused):
            return self._after_refusal(error, now)
        # Nothing was learned of the job, so rows of a kind are not broken off either.
        return None

    def _after_refusal(self, error: Refused, now: float) -> JobEvent | None:
        if error.status in _ACCOUNT_REFUSED:
            return self._count("account", Outcome.UNREACHABLE, str(error), now)
        if error.status != _NOT_FOUND:
            return self._count("refused", Outcome.REFUSED, str(error), now)
        submitted_at = self.handle.submitted_at
        if submitted_at is not None and now - submitted_at < NOT_FOUND_GRACE:
            return None
        return self._count("not found", Outcome.LOST, str(error), now)

    def _count(self, kind: str, outcome: Outcome, message: str, now: float, job: Job | None = None) -> JobEvent | None:
        count = self._in_a_row.get(kind, 0) + 1
        self._in_a_row = {kind: count}
        self._row_began = now if count == 1 else self._row_began
        self.in_doubt = True
        is_long = now - self._row_began >= _SHORTEST_ROW.get(kind, 0.0)
        return self._end(outcome, message, job) if count >= _MOST_IN_A_ROW[kind] and is_long else None

    def _end(self, outcome: Outcome, message: str = "", job: Job | None = None) -> JobEvent:
        return ended(self.handle, outcome, message, job)
