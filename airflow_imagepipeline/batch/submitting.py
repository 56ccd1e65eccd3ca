"""Send one row's request: only with the right to spend, at the pace that the API asks for, and at most once."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.batch.steps import IDLE, Steps
from airflow_imagepipeline.contract.calls import Call, RequestKind
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
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.policy.batch import Window
    from airflow_imagepipeline.policy.fleet import Fleet

_log: Final = logging.getLogger(__name__)
_SHORTEST_HOLD: Final = 0.5
_FRESH: Final = 30.0
"""Seconds after which a request is made anew: its links live for an hour, and may have to wait at the vendor, too."""
_FOR_ALL: Final = frozenset({401, 402, 403})
_NO_CREDITS: Final = frozenset({"INSUFFICIENT_CREDITS", "INSUFFICIENT_BALANCE"})


class Stale(NotSent):
    """The request was made so long ago that it was not sent: its links and its time are made anew."""


@dataclass(frozen=True)
class Submission:
    """
    A request that is ready to leave.

    :param submitted_at: seconds since the epoch, kept with the job.
    :param made_at: when its links were made, by the monotonic clock.
    """

    call: Call[Job]
    seed: int | None
    submitted_at: float
    made_at: float


class Refusals:
    """How often the request of one row was not taken."""

    def __init__(self) -> None:
        self.all = 0
        self.unsent = 0

    def count(self, error: ImagePipelineError) -> None:
        """Take in a failed attempt."""
        self.all += 1
        self.unsent += isinstance(error, NotSent) and not isinstance(error, Stale)


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

    async def is_open(self) -> bool:
        """Wait until the API takes submissions, as far as is known; False when nothing more is to be submitted."""
        await self._rest(self.window.seconds_closed(time.monotonic()))
        return not self._state.stopped

    async def send(self, made: Submission) -> Job:
        """
        Start a job. **This is what is paid for.** Nothing waits between the proof of the right to spend and this.

        :raises ImagePipelineError: when it was not taken, or when that is not known.
        :raises LeaseLost: when another process has taken over; nothing was sent.
        """
        await self._steps.confirm()
        if self._state.stopped:
            raise NotSent(self._state.stopped)
        if time.monotonic() - made.made_at > _FRESH:
            msg = "The request was not sent, as the ledger took long to record it."
            raise Stale(msg)
        with self._steps.at_stake():
            job = await self._hook.asend(made.call, self._session)
        self.window.accepted()
        return job

    def may_go_on(self, error: ImagePipelineError, refusals: Refusals) -> bool:
        """Take in an attempt that failed; tell whether the request may be sent again."""
        refusals.count(error)
        # "Later" is the API's way of pacing a batch; no connection at all is not.
        is_paced = isinstance(error, Busy | Stale) or refusals.unsent < SUBMIT_ATTEMPTS
        return is_paced and may_send_again(RequestKind.SUBMIT, error) and time.time() < self._deadline

    async def pause(self, error: ImagePipelineError, refusals: Refusals) -> None:
        """Wait as an attempt that was not taken asks for."""
        if isinstance(error, Stale):
            return
        pause = pause_before_resending(refusals.all, error, self._random)
        if isinstance(error, Busy):
            # What the API asked for holds for everybody; the jitter on top of it is this request's own.
            asked = max(_SHORTEST_HOLD, min(error.retry_after or 0.0, LONGEST_RETRY_AFTER))
            self.window.busy(in_flight=len(self._fleet), pause=asked, now=time.monotonic())
            pause = max(0.0, pause - asked)
        else:
            _log.warning("%s Attempt %d; next in at most %.0f s.", error, refusals.all, pause)
        await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        # No longer than anything is submitted.
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
