"""The sensor: wait for a job that something else submitted."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    conf,
)
from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_imagepipeline.compat import RowsStayData
from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.errors import ImagePipelineError
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.contract.result import JobResult, finished_without_id
from airflow_imagepipeline.exceptions import wait_sentence
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.policy.job_event import JobEvent, Outcome, event_of
from airflow_imagepipeline.policy.waiting import JobWait, check_seconds

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

_BACKSTOP: Final = 300.0
_LONGEST_DOUBT: Final = 5.0
"""Longest pause, in seconds, between looks of which a few alike would end the wait."""


class ImagePipelineJobSensor(RowsStayData, BaseSensorOperator):
    """
    Wait until a job is done, poking, rescheduling or deferred; the outcome is the same in every mode.

    A failed, lost or unreadable job fails the task for good (``AirflowFailException``), the deadline is an
    ``AirflowSensorTimeout``; with ``soft_fail=True`` both skip it.

    :param job: a job id, or what an operator of this provider returned. (templated)
    :param api: the API that is meant where ``job`` is a mere id: ``sdxl/image2image/v1`` or ``edit/image/v1``. None
        asks both, and takes the one that knows the job.
    :param imagepipeline_conn_id: connection of type ``imagepipeline``. (templated)
    :param deferrable: wait in the triggerer, without a worker; default from ``[operators] default_deferrable``.
    :param poke_interval: seconds between two looks, above 0.
    :param timeout: seconds from the first look in which the job must be done.
    :param return_urls: whether the result holds the vendor's links; they end up in XCom. Those of a job without an id
        (finished in the answer to its submission) are always returned: nothing else leads to it.
    """

    template_fields: Sequence[str] = ("job", "imagepipeline_conn_id")
    ui_color = "#f3e8ff"

    def __init__(
        self,
        *,
        job: str | dict[str, Any] | XComArg,
        api: str | None = None,
        imagepipeline_conn_id: str = ImagePipelineHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float = 5.0,
        timeout: timedelta | float = 3600.0,
        return_urls: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.job = job
        self.api = api
        self.imagepipeline_conn_id = imagepipeline_conn_id
        self.deferrable = deferrable
        self.return_urls = return_urls

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """
        Look at the job; where it is not done, defer if that is the way of waiting.

        The deferrable way also begins here, inside the base class's loop, so that ``soft_fail`` treats both alike.
        """
        try:
            check_seconds(poke_interval=self.poke_interval)
            finished, hook = finished_without_id(self.job), self._hook()
            if not finished:
                hook.access.refuse_key({"job": self.job})
            handle = finished.handle if finished else hook.handle_of(self.job, self.api)
            event = event_of(finished) if finished else self._look(hook, handle)
        except (ImagePipelineError, AirflowNotFoundException, ValueError) as error:
            raise _not_looked_at(error) from error
        if event is not None:
            return PokeReturnValue(is_done=True, xcom_value=self._outcome(event))
        if self.deferrable:
            self._defer(handle)
        return False

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """
        Go on after the triggerer.

        :param event: what the trigger fired, see :class:`JobEvent`.
        """
        ended = JobEvent.from_payload(event)
        if ended.outcome is Outcome.SUCCEEDED and self.return_urls:
            try:
                ended = self._hook().last_look(ended.handle, was_finished=True)
            except (ImagePipelineError, AirflowNotFoundException) as error:
                raise _not_looked_at(error) from error
        return self._outcome(ended)

    def _hook(self) -> ImagePipelineHook:
        return ImagePipelineHook(self.imagepipeline_conn_id)

    def _look(self, hook: ImagePipelineHook, handle: JobHandle) -> JobEvent | None:
        # A few bad answers in a row end a wait, but a rescheduled sensor remembers nothing: it looks again at once.
        wait = JobWait(handle, deadline=float("inf"), poll_interval=self.poke_interval, source=random.Random())
        _ = hook.access
        while (event := wait.after(hook.seen(handle), now=time.time())) is None:
            if wait.remark:
                self.log.warning("%s", wait.remark)
            if not wait.in_doubt:
                return None
            time.sleep(min(wait.pause(now=time.time()), _LONGEST_DOUBT))
        return event

    def _defer(self, handle: JobHandle) -> None:
        from airflow_imagepipeline.triggers.imagepipeline import ImagePipelineJobTrigger

        deadline = time.time() + self.timeout
        trigger = ImagePipelineJobTrigger(handle.to_payload(), self.imagepipeline_conn_id, deadline, self.poke_interval)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout + _BACKSTOP))

    def _outcome(self, event: JobEvent) -> dict[str, Any]:
        if event.outcome is Outcome.TIMED_OUT:
            raise AirflowSensorTimeout(wait_sentence(event))
        if event.outcome is not Outcome.SUCCEEDED:
            is_mere_id = event.outcome is Outcome.LOST and isinstance(self.job, str)
            raise AirflowFailException(wait_sentence(event) + (_WHICH_API if is_mere_id else ""))
        is_wanted = self.return_urls or event.handle.job_id is None
        links = event.job.download_urls if event.job and is_wanted else None
        return JobResult(event.handle, JobStatus.SUCCESS, download_urls=links, cost=event.cost).to_payload()


_WHICH_API: Final = (
    " Only its id is known here: if another endpoint took it, name that one with api=, or give job= the whole result "
    "of the task that submitted it."
)


def _not_looked_at(error: Exception) -> AirflowFailException:
    return AirflowFailException(f"The job cannot be looked at: {error}")
