from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, JobStatus
from airflow_imagepipeline.contract.errors import Busy
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.policy.fleet import BURST, LONGEST_KEPT, Fleet, Polling, is_worth_a_start
from airflow_imagepipeline.policy.looking import LookSchedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_imagepipeline.contract.errors import ImagePipelineError

LATER = 9e9


def fleet() -> Fleet:
    source = random.Random(1)
    return Fleet(LookSchedule(poll_interval=5.0, source=source), poll_interval=5.0, source=source)


def handle(number: int = 0, submitted_at: float | None = 100.0) -> JobHandle:
    return JobHandle(SDXL_IMAGE_TO_IMAGE, f"job-{number}", submitted_at)


def done(number: int = 0) -> Job:
    return Job(handle(number), JobStatus.SUCCESS, download_urls=("https://x.test/a.png",))


def test_nothing_is_due_in_an_empty_fleet() -> None:
    assert (len(fleet()), fleet().next_due, fleet().take_due(1e12)) == (0, float("inf"), None)


def test_jobs_are_looked_at_when_they_are_due_and_once_at_a_time() -> None:
    waits = fleet()
    waits.add(0, handle(0), deadline=LATER, now=100.0)
    waits.add(1, handle(1), deadline=LATER, now=100.0, at_once=True)

    assert waits.take_due(99.0) is None
    assert waits.take_due(100.0) == (1, handle(1))
    assert waits.take_due(100.0) is None
    assert 100.0 < waits.next_due <= 106.0
    assert [place for place, _ in waits.waiting()] == [0, 1]


def test_a_look_that_ends_the_wait_takes_the_job_out() -> None:
    waits = fleet()
    waits.add(0, Job(handle(), JobStatus.PENDING), deadline=LATER, now=100.0)
    event = waits.after(0, done(), now=110.0)
    assert event is not None
    assert event.job == done()
    assert (len(waits), waits.remark(0)) == (0, "")


def test_a_look_that_ends_nothing_is_followed_by_another() -> None:
    waits = fleet()
    waits.add(0, handle(), deadline=LATER, now=100.0, at_once=True)
    waits.take_due(100.0)
    assert waits.after(0, Busy("busy", retry_after=30.0), now=101.0) is None
    assert "busy" in waits.remark(0)
    assert waits.next_due >= 131.0


def test_what_one_job_teaches_holds_for_all() -> None:
    waits = fleet()
    waits.add(0, handle(), deadline=LATER, now=100.0, at_once=True)
    waits.take_due(100.0)
    waits.after(0, Job(handle(), JobStatus.PENDING), now=138.0)
    waits.after(0, done(), now=140.0)
    assert waits.schedule.to_payload()["observed"] == [[38.0, 40.0]]


@pytest.mark.parametrize(
    ("ended", "waiting", "kept", "due_in", "is_worth"),
    [
        pytest.param(0, 0, 0.0, 0.0, True, id="nothing to wait for"),
        pytest.param(0, 4, 0.0, 9.0, False, id="none has ended"),
        pytest.param(4, 0, 0.0, 0.0, True, id="all have ended"),
        pytest.param(1, 3, 0.0, 9.0, True, id="a quarter has, and no other is due soon"),
        pytest.param(1, 4, 0.0, 9.0, False, id="fewer than a quarter have"),
        pytest.param(3, 1, 0.0, 2.0, False, id="the last one is due soon"),
        pytest.param(1, 99, LONGEST_KEPT, 0.1, True, id="one has waited for long enough"),
        pytest.param(1, 99, LONGEST_KEPT - 1, 9.0, False, id="one has waited, though not for long"),
    ],
)
def test_a_worker_is_started_for_enough_ended_jobs(
    ended: int, waiting: int, kept: float, due_in: float, *, is_worth: bool
) -> None:
    now = 1000.0
    assert is_worth_a_start(ended=ended, waiting=waiting, oldest=now - kept, next_due=now + due_in, now=now) is is_worth


def test_when_a_job_is_expected_to_end_is_learned_from_those_before_it() -> None:
    waits = fleet()
    waits.add(0, handle(0), deadline=LATER, now=100.0, at_once=True)
    assert waits.seconds_to_end(100.0) is None
    for number in range(1, 40):
        waits.add(number, handle(number), deadline=LATER, now=100.0, at_once=True)
        waits.after(number, Job(handle(number), JobStatus.PENDING), now=138.0)
        waits.after(number, done(number), now=140.0)
    soon = waits.seconds_to_end(110.0)
    assert soon is not None
    assert 20.0 < soon <= 31.0
    assert (waits.seconds_to_end(139.5) or 0.0) < 1.0
    assert waits.seconds_to_end(9000.0) is None


class Polled:
    """Jobs that are polled beside one another until the block says that it has seen enough; the time stands still."""

    def __init__(self, count: int) -> None:
        self.fleet, self.ended, self.warned = fleet(), list[int](), list[str]()
        for number in range(count):
            self.fleet.add(number, handle(number), deadline=LATER, now=100.0, at_once=True)
        self.now = 100.0
        self.polling = Polling(
            self.fleet,
            ended=lambda place, _: self.ended.append(place),
            warn=self.warned.append,
            clock=lambda: self.now,
            pause=lambda _: asyncio.sleep(0),
        )

    def until(
        self, is_enough: Callable[[], bool], poll: Callable[[JobHandle], Awaitable[Job | ImagePipelineError]]
    ) -> list[bool]:
        """Return of each part whether it was cancelled, when enough was seen."""

        async def run() -> list[bool]:
            tasks = [asyncio.create_task(part) for part in self.polling.parts(poll)]
            for _ in range(5000):
                if is_enough():
                    break
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            return [task.cancelled() for task in tasks]

        return asyncio.run(run())


@pytest.mark.real_input("D11")
def test_a_slow_answer_holds_no_other_job() -> None:
    polled = Polled(100)

    async def poll(job: JobHandle) -> Job:
        if job.job_id == "job-0":
            await asyncio.Event().wait()
        return done()

    assert all(polled.until(lambda: len(polled.ended) == 99, poll))
    assert polled.ended == list(range(1, 100))
    assert polled.polling.is_busy


@pytest.mark.real_input("D11")
def test_as_many_jobs_are_polled_at_once_as_are_bearable() -> None:
    polled, asked, turns = Polled(100), list[JobHandle](), itertools.count()

    async def poll(job: JobHandle) -> Job:
        asked.append(job)
        await asyncio.Event().wait()
        return done()

    polled.until(lambda: next(turns) == 200, poll)
    assert len(asked) == 16


def test_what_a_poll_gives_reason_to_log_is_handed_on() -> None:
    polled = Polled(1)

    async def poll(_: JobHandle) -> Busy:
        return Busy("busy", retry_after=None)

    polled.until(lambda: bool(polled.warned), poll)
    assert "busy" in polled.warned[0]


def test_an_answer_is_expected_at_once_until_it_is_late() -> None:
    polled = Polled(1)

    async def poll(_: JobHandle) -> Job:
        await asyncio.Event().wait()
        return done()

    polled.until(lambda: polled.polling.is_busy, poll)
    expected = [polled.polling.next_answer(100.0 + late) for late in (0.0, BURST, BURST + 0.1)]
    assert expected == [100.0, 100.0 + BURST, float("inf")]
