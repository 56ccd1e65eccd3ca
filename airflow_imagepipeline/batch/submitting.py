"""Send one row's request: recorded before it leaves and after it is answered, and at most once."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.batch.steps import IDLE, Steps
from airflow_imagepipeline.contract.calls import RequestKind, submit_job
from airflow_imagepipeline.contract.errors import Busy, ImagePipelineError, Misconfigured, NotSent, Refused
from airflow_imagepipeline.policy.resending import (
    LONGEST_RETRY_AFTER,
    SUBMIT_ATTEMPTS,
    Verdict,
    may_send_again,
    pause_before_resending,
    verdict,
)

if TYPE_CHECKING:
    import aiohttp

    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.job_parameters import JobParameters
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.batch import Window
    from airflow_imagepipeline.policy.fleet import Fleet

_log: Final = logging.getLogger(__name__)
_SHORTEST_HOLD: Final = 0.5
_FOR_ALL: Final = frozenset({401, 402, 403})
_NO_CREDITS: Final = frozenset({"INSUFFICIENT_CREDITS", "INSUFFICIENT_BALANCE"})


class Sender:
    """
    Sends submissions through the window that all of them share.

    :param window: is told of every acceptance and every "too many".
    :param steps: know whether nothing more is to be submitted.
    :param fleet: the jobs that the API has taken and not finished, as far as is known.
    :param deadline: seconds since the epoch; a request that the API puts off is not sent again after it.
    """

    def __init__(
        self,
        hook: ImagePipelineHook,
        session: aiohttp.ClientSession,
        window: Window,
        *,
        steps: Steps,
        fleet: Fleet,
        deadline: float,
    ) -> None:
        self.window = window
        self._hook = hook
        self._session = session
        self._steps = steps
        self._state = steps.state
        self._fleet = fleet
        self._deadline = deadline
        self._random = random.Random()

    async def send(self, parameters: JobParameters, links: Mapping[str, str]) -> Job:
        """
        Start a job. **This is what is paid for.** Sent again only while nothing can have been accepted.

        :raises ImagePipelineError: when it was not taken, or when that is not known.
        """
        failures = unsent = 0
        while True:
            await self._rest(self.window.seconds_closed(time.monotonic()))
            if self._state.stopped:
                raise NotSent(self._state.stopped)
            call = submit_job(parameters, links, submitted_at=time.time())
            try:
                job = await self._hook.asend(call, self._session)
            except (Busy, NotSent) as error:
                failures, unsent = failures + 1, unsent + isinstance(error, NotSent)
                if not self._may_go_on(error, unsent):
                    raise
                await self._pause(error, failures)
                if self._state.stopped:
                    raise
            else:
                self.window.accepted()
                return job

    def _may_go_on(self, error: ImagePipelineError, unsent: int) -> bool:
        # "Later" is the API's way of pacing a batch; no connection at all is not.
        is_paced = isinstance(error, Busy) or unsent < SUBMIT_ATTEMPTS
        return is_paced and may_send_again(RequestKind.SUBMIT, error) and time.time() < self._deadline

    async def _pause(self, error: ImagePipelineError, failures: int) -> None:
        pause = pause_before_resending(failures, error, self._random)
        if isinstance(error, Busy):
            # What the API asked for holds for everybody; the jitter on top of it is this request's own.
            asked = max(_SHORTEST_HOLD, min(error.retry_after or 0.0, LONGEST_RETRY_AFTER))
            self.window.busy(in_flight=len(self._fleet), pause=asked, now=time.monotonic())
            pause = max(0.0, pause - asked)
        else:
            _log.warning("%s Attempt %d; next in at most %.0f s.", error, failures, pause)
        await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        # No longer than anything is submitted: who is cut off in a pause cannot say that nothing was accepted.
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._state.stopped:
            await self._steps.change(min(left, IDLE))


def is_for_all(error: ImagePipelineError) -> bool:
    """Tell whether what failed one submission will fail all others, too: key, credits, connection."""
    if isinstance(error, Refused):
        return error.status in _FOR_ALL or error.code in _NO_CREDITS
    return isinstance(error, Misconfigured | NotSent | Busy)


def may_have_been_taken(error: ImagePipelineError) -> bool:
    """Tell whether a failed submission may have been accepted."""
    return verdict(RequestKind.SUBMIT, error) is Verdict.UNCERTAIN
