"""Waiting for many jobs at once: which one to look at next, and when enough are done to be worth a worker."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from typing import Final

from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.policy.job_event import JobEvent
from airflow_imagepipeline.policy.looking import LookSchedule
from airflow_imagepipeline.policy.waiting import JobWait

LONGEST_KEPT: Final = 60.0
"""Seconds that a finished job is kept waiting for others, at most: its links may expire."""
BURST: Final = 3.0
"""Jobs that are due within these seconds of one another are waited for together."""
_ENOUGH: Final = 4


class Fleet:
    """
    The waits for all jobs in flight, each by its index; they learn from one another when to look.

    :param schedule: what is known of how long jobs take.
    :param poll_interval: seconds, see :class:`LookSchedule`.
    """

    def __init__(self, schedule: LookSchedule, *, poll_interval: float, source: random.Random) -> None:
        self.schedule = schedule
        self._poll_interval = poll_interval
        self._source = source
        self._waits: dict[int, JobWait] = {}
        self._due: list[tuple[float, int]] = []

    def __len__(self) -> int:
        """Return how many jobs are waited for."""
        return len(self._waits)

    def add(self, index: int, job: Job | JobHandle, *, deadline: float, now: float, at_once: bool = False) -> None:
        """
        Wait for a job, too.

        :param job: as the answer to its submission described it, or the handle of one that was submitted before.
        :param deadline: seconds since the epoch.
        :param at_once: look at it as soon as possible: it is known to be done, say.
        """
        handle = job.handle if isinstance(job, Job) else job
        wait = JobWait(
            handle,
            deadline=deadline,
            poll_interval=self._poll_interval,
            source=self._source,
            schedule=self.schedule,
        )
        if isinstance(job, Job):
            wait.after(job, now=now)
        self._waits[index] = wait
        heapq.heappush(self._due, (now if at_once else now + wait.pause(now=now), index))

    @property
    def next_due(self) -> float:
        """When the next look is due, seconds since the epoch; infinite when no job waits for one."""
        return self._due[0][0] if self._due else float("inf")

    def take_due(self, now: float) -> tuple[int, JobHandle] | None:
        """Return one job that is to be looked at now; its next look is set by :meth:`after`."""
        if self.next_due > now:
            return None
        index = heapq.heappop(self._due)[1]
        return index, self._waits[index].handle

    def after(self, index: int, seen: Job | ImagePipelineError, *, now: float) -> JobEvent | None:
        """Take in one look; return the end of the wait, or None when it goes on."""
        wait = self._waits[index]
        event = wait.after(seen, now=now)
        if event is None:
            heapq.heappush(self._due, (now + wait.pause(now=now), index))
        else:
            del self._waits[index]
        return event

    def seconds_to_end(self, now: float) -> float | None:
        """Return the seconds until a job is expected to end; None when of no job in flight anything is known."""
        usual = self.schedule.usual_ages()
        ages = [now - wait.handle.submitted_at for wait in self._waits.values() if wait.handle.submitted_at is not None]
        if usual is None:
            return None
        return min((max(0.0, usual[0] - age) for age in ages if age <= usual[1]), default=None)

    def remark(self, index: int) -> str:
        """Return what the last look gave reason to log; empty when nothing, or when the wait is over."""
        return self._waits[index].remark if index in self._waits else ""

    def waiting(self) -> Iterator[tuple[int, JobHandle]]:
        """Yield the jobs that are waited for."""
        yield from ((index, wait.handle) for index, wait in self._waits.items())


def is_worth_a_start(*, ended: int, waiting: int, oldest: float, next_due: float, now: float) -> bool:
    """
    Tell whether a worker should be started for the jobs that have ended.

    A quarter of them is enough, when no other is due in the next moments: jobs that were submitted together end
    together.

    :param oldest: when the first of them was seen to be done, seconds since the epoch.
    """
    if not ended or not waiting:
        return not waiting
    if now - oldest >= LONGEST_KEPT:
        return True
    return ended * _ENOUGH >= ended + waiting and next_due - now > BURST
