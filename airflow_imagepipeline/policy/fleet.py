"""Waiting for many jobs at once: which one to poll next, and when enough are done to be worth a worker."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final

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
_POLLS_AT_ONCE: Final = 16
_LONGEST_PAUSE: Final = 0.5


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


class Polling:
    """
    Polls the jobs of a fleet as they fall due, 16 at once at most: one slow answer holds nobody else.

    :param ended: is given the index of a job and the end of its wait.
    :param warn: is given what a poll gave reason to log.
    :param clock: seconds since the epoch.
    :param pause: waits for so many seconds, or until a job was added.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        ended: Callable[[int, JobEvent], None],
        warn: Callable[[str], None],
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fleet = fleet
        self._ended = ended
        self._warn = warn
        self._clock = clock
        self._pause = pause
        self._due: asyncio.Queue[tuple[int, JobHandle]] = asyncio.Queue(1)
        self._begun: dict[int, float] = {}

    @property
    def is_busy(self) -> bool:
        """Tell whether an answer is waited for."""
        return bool(self._begun)

    def next_answer(self, now: float) -> float:
        """Return when the next answer may be there, seconds since the epoch: now, when one was just asked for."""
        # A poll that takes longer is no reason to let the others wait.
        is_near = any(now - begun <= BURST for begun in self._begun.values())
        return now if is_near else self._fleet.next_due

    def parts(
        self, poll: Callable[[JobHandle], Awaitable[Job | ImagePipelineError]]
    ) -> list[Coroutine[Any, Any, None]]:
        """Return what is to run side by side, without an end; cancelling it leaves nothing behind."""
        return [self._call(), *(self._answer(poll) for _ in range(_POLLS_AT_ONCE))]

    async def _call(self) -> None:
        while True:
            while (due := self._fleet.take_due(self._clock())) is None:
                await self._pause(max(0.0, min(_LONGEST_PAUSE, self._fleet.next_due - self._clock())))
            self._begun[due[0]] = self._clock()
            await self._due.put(due)

    async def _answer(self, poll: Callable[[JobHandle], Awaitable[Job | ImagePipelineError]]) -> None:
        while True:
            index, handle = await self._due.get()
            event = self._fleet.after(index, await poll(handle), now=self._clock())
            del self._begun[index]
            if event is not None:
                self._ended(index, event)
            elif remark := self._fleet.remark(index):
                self._warn(remark)


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
