"""The trigger of a batch: polls all jobs in flight over one session. It downloads nothing and never submits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_imagepipeline.contract.api import api_named
from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.contract.text import cleaned, counted
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.policy.batch_event import BatchEvent
from airflow_imagepipeline.policy.fleet import Fleet, Polling, is_worth_a_start
from airflow_imagepipeline.policy.job_event import JobEvent
from airflow_imagepipeline.policy.looking import LookSchedule
from airflow_imagepipeline.policy.waiting import steady_clock

_LONGEST_PAUSE: Final = 1.0


class ImagePipelineBatchTrigger(BaseTrigger):
    """
    Fire once, when enough jobs are done to be worth a worker, or time is up.

    :param api: name of the endpoint that took the jobs.
    :param jobs: place in the plan, id, and time of submission (seconds since the epoch) of each job in flight.
    :param plan: name of the plan; only carried along, as is ``cursor``.
    :param deadline: of the whole batch, seconds since the epoch.
    :param job_timeout: seconds from its submission in which a job must be done.
    :param schedule: what is known of how long jobs take, see :class:`LookSchedule`.
    """

    def __init__(  # noqa: PLR0917 - rows of an older version may hold them by their places
        self,
        api: str,
        jobs: Sequence[Sequence[Any]],
        imagepipeline_conn_id: str = ImagePipelineHook.default_conn_name,
        plan: str = "",
        cursor: int = 0,
        deadline: float = 0.0,
        job_timeout: float = 3600.0,
        poll_interval: float = 5.0,
        schedule: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        # Unknown arguments are those of another version: a stored trigger survives an upgrade.
        super().__init__()  # type: ignore[no-untyped-call]
        self.api = api
        self.jobs = jobs
        self.imagepipeline_conn_id = imagepipeline_conn_id
        self.plan = plan
        self.cursor = cursor
        self.deadline = deadline
        self.job_timeout = job_timeout
        self.poll_interval = poll_interval
        self.schedule = schedule

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: ids and numbers, stored by Airflow in clear."""
        return (
            "airflow_imagepipeline.triggers.batch.ImagePipelineBatchTrigger",
            {
                "v": 1,
                "api": self.api,
                "jobs": [list(job) for job in self.jobs],
                "imagepipeline_conn_id": self.imagepipeline_conn_id,
                "plan": self.plan,
                "cursor": self.cursor,
                "deadline": self.deadline,
                "job_timeout": self.job_timeout,
                "poll_interval": self.poll_interval,
                "schedule": self.schedule,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield the one event."""
        try:
            event = await self._wait()
        except ImagePipelineError as error:
            event = self._could_not_look(cleaned(error))
        except Exception as error:  # noqa: BLE001 - a trigger that raises loses what it knows
            first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            event = self._could_not_look(f"The triggerer could not poll the jobs ({type(first).__name__}).")
        yield TriggerEvent(event.to_payload())

    async def on_kill(self) -> None:
        """Log only (Airflow 3.3+): the API has no way to cancel jobs, and this also comes when a trigger moves."""
        self.log.warning(
            "The API cannot cancel jobs: %s in flight may still finish and be billed.", counted(len(self.jobs), "job")
        )

    def _could_not_look(self, message: str) -> BatchEvent:
        return BatchEvent(self.plan, self.cursor, self.deadline, [], self.schedule, message)

    async def _wait(self) -> BatchEvent:
        hook = ImagePipelineHook(self.imagepipeline_conn_id)
        await hook.aaccess()
        clock = steady_clock(time.time, time.monotonic)
        fleet = self._fleet(clock())
        ends, oldest, news = list[int](), 0.0, asyncio.Event()

        def take(place: int, _: JobEvent) -> None:
            ends.append(place)
            news.set()

        polling = Polling(fleet, ended=take, warn=lambda remark: self.log.warning("%s", remark), clock=clock)
        async with hook.asession() as session, asyncio.TaskGroup() as group:
            parts = [group.create_task(part) for part in polling.parts(lambda handle: hook.aseen(handle, session))]
            while not is_worth_a_start(
                ended=len(ends), waiting=len(fleet), oldest=oldest, next_due=polling.next_answer(clock()), now=clock()
            ):
                news.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LONGEST_PAUSE):
                        await news.wait()
                oldest = oldest or (clock() if ends else 0.0)
            for part in parts:
                part.cancel()
        return BatchEvent(self.plan, self.cursor, self.deadline, ends, fleet.schedule.to_payload())

    def _fleet(self, now: float) -> Fleet:
        interval, source = self.poll_interval, random.Random()
        schedule = (
            LookSchedule.from_payload(self.schedule, poll_interval=interval, source=source)
            if self.schedule
            else LookSchedule(poll_interval=interval, source=source)
        )
        fleet, api = Fleet(schedule, poll_interval=interval, source=source), api_named(self.api)
        for place, job_id, submitted_at in self.jobs:
            deadline = min(self.deadline, (submitted_at or now) + self.job_timeout)
            fleet.add(int(place), JobHandle(api, job_id, submitted_at), deadline=deadline, now=now)
        return fleet
