"""The trigger: looks at one job from the triggerer. It downloads nothing, writes nothing and never submits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.policy.job_event import JobEvent, Outcome, uncancelled
from airflow_imagepipeline.policy.waiting import JobWait, steady_clock


class ImagePipelineJobTrigger(BaseTrigger):
    """
    Fire one :class:`JobEvent` when the wait for a job is over.

    :param job: the job's handle, as its payload.
    :param imagepipeline_conn_id: connection of type ``imagepipeline``; read anew by every triggerer that runs this.
    :param deadline: seconds since the epoch.
    :param poll_interval: seconds; the job takes no more looks than at this fixed beat.
    """

    def __init__(
        self,
        job: dict[str, Any],
        imagepipeline_conn_id: str = ImagePipelineHook.default_conn_name,
        deadline: float = 0.0,
        poll_interval: float = 5.0,
        **_: Any,
    ) -> None:
        # Unknown arguments are those of another version: a stored trigger survives an upgrade.
        super().__init__()  # type: ignore[no-untyped-call]
        self.job = job
        self.imagepipeline_conn_id = imagepipeline_conn_id
        self.deadline = deadline
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: ids and numbers, stored by Airflow in clear."""
        return (
            "airflow_imagepipeline.triggers.imagepipeline.ImagePipelineJobTrigger",
            {
                "v": 1,
                "job": self.job,
                "imagepipeline_conn_id": self.imagepipeline_conn_id,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield the one event."""
        handle = JobHandle.from_payload(self.job)
        try:
            event = await self._end_of_wait(handle)
        except ImagePipelineError as error:
            event = JobEvent(handle, Outcome.UNREACHABLE, str(error))
        except Exception as error:  # noqa: BLE001 - a trigger that raises loses what it knows
            event = JobEvent(handle, Outcome.UNREACHABLE, f"The triggerer could not look ({type(error).__name__}).")
        yield TriggerEvent(event.to_payload())

    async def on_kill(self) -> None:
        """Log only (Airflow 3.3+): the API has no way to cancel a job, and this also comes when a trigger moves."""
        self.log.warning("%s", uncancelled(JobHandle.from_payload(self.job).job_id))

    async def _end_of_wait(self, handle: JobHandle) -> JobEvent:
        hook = ImagePipelineHook(self.imagepipeline_conn_id)
        await hook.aaccess()
        wait = JobWait(handle, deadline=self.deadline, poll_interval=self.poll_interval, source=random.Random())
        clock = steady_clock(time.time, time.monotonic)
        async with hook.asession() as session:
            while (event := wait.after(await hook.aseen(handle, session), now=clock())) is None:
                if wait.remark:
                    self.log.warning("%s", wait.remark)
                await asyncio.sleep(wait.pause(now=clock()))
        return event
