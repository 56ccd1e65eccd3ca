"""When to look at a job: learned from the jobs before it, with no more looks than a fixed beat would take."""

from __future__ import annotations

import math
import random
from collections import deque
from typing import Any, Final, Self, TypeGuard

from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.policy.job_times import JobTimes, estimated_times
from airflow_imagepipeline.policy.look_plan import JITTER, MOVED, LookPlan, least_delay, planned

_WINDOW: Final = 128
_LONGEST: Final = 86_400.0
"""Seconds; what took longer was waited for by a human, and teaches nothing."""
_RESOLUTION: Final = 1 / 40
_SHORTEST: Final = 1 / 20
"""Parts of the beat: what is told apart at all, and the shortest gap between two looks."""
_ESTIMATE_BEATS: Final = 10.0
"""Beats that a job is left alone at most because of the vendor's estimate, which may be wrong."""
_RELEARNED_EVERY: Final = 16
_WORTH_IT: Final = 0.7
"""Part of the beat's delay above which it stays with the beat: of a heavy tail, errors cost more than a plan gains."""
_FIRST_CREDIT: Final = 2.0
_MOST_CREDIT: Final = 1024.0
_TAIL_FIRST: Final = 1 / 8
_TAIL_GROWTH: Final = 0.25


class LookSchedule:
    """
    Say when to look next at a job, for many jobs of one kind.

    :param poll_interval: seconds; a job takes no more looks than looking at this fixed beat would, and it is the
        longest gap between two looks at a job which is past everything learned.
    :param source: where the jitter comes from.
    """

    def __init__(self, *, poll_interval: float, source: random.Random) -> None:
        self.poll_interval = poll_interval
        self._source = source
        self._observed: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        self._times: JobTimes | None = None
        self._plan: LookPlan | None = None
        self._unplanned = 0
        # Looks that the beat would have taken by now and this schedule did not. A burst of jobs teaches the quickest
        # first; without this, all others would be looked at as if they were late.
        self._credit = _FIRST_CREDIT

    def pause(self, *, age: float, estimated: float | None = None) -> float:
        """
        Return the seconds until the next look: more than 0, with a little jitter.

        :param age: seconds since the job's submission; it was last seen unfinished, or was never looked at.
        :param estimated: the seconds that the vendor says the job takes, if it does.
        """
        seconds = self._wanted(max(age, 0.0), estimated)
        if self._credit + seconds / self.poll_interval < 1.0:
            seconds = max(seconds, self.poll_interval * self._jitter())
        self._earn(seconds / self.poll_interval - 1.0)
        return seconds

    def learn(self, *, pending_at: float, done_at: float) -> None:
        """
        Take in how long a job took.

        :param pending_at: its age in seconds when it was last seen pending; 0 when it never was.
        :param done_at: its age in seconds when it was seen done; what is no such age is ignored.
        """
        if 0.0 < done_at <= _LONGEST and not math.isnan(pending_at):
            pending_at = min(max(pending_at, 0.0), done_at)
            self._observed.append((_rounded(pending_at), _rounded(done_at)))
            self._unplanned += 1
            # The last pause reached beyond the job's end; the beat's last one does so by half a beat.
            self._earn(max(0.5 - (done_at - self._ended(pending_at, done_at)) / self.poll_interval, 0.0))

    def usual_ages(self) -> tuple[float, float] | None:
        """
        Return the ages between which jobs usually end: one in ten was seen done before the first, none after the last.

        :return: seconds since the submission; None while nothing is learned.
        """
        ages = sorted(done_at for _, done_at in self._observed)
        return (ages[len(ages) // 10], ages[-1]) if ages else None

    def to_payload(self) -> dict[str, Any]:
        """Return what was learned as JSON values: at most 4 kB."""
        observed = [list(interval) for interval in self._observed]
        return {"v": 1, "observed": observed, "credit": round(self._credit, 1)}

    @classmethod
    def from_payload(cls, payload: object, *, poll_interval: float, source: random.Random) -> Self:
        """
        Read what was learned in another process.

        :raises ValueError: when it is none.
        """
        if not _is_payload(payload):
            msg = f"not a look schedule: {cleaned(repr(payload), 80)}"
            raise ValueError(msg)
        schedule = cls(poll_interval=poll_interval, source=source)
        for pending_at, done_at in payload["observed"]:
            schedule.learn(pending_at=pending_at, done_at=done_at)
        schedule._credit = payload["credit"]
        return schedule

    def _wanted(self, age: float, estimated: float | None) -> float:
        plan = self._current_plan()
        if plan is None:
            return self._unlearned(age, estimated)
        shortest = self.poll_interval * _SHORTEST
        if age + shortest >= plan.last:
            return self._beyond(max(age - plan.last, 0.0), plan.last - plan.edges[-2])
        at, free = plan.next_look(age, tolerance=shortest, luck=self._source.random())
        return max(at + free * MOVED * self._source.uniform(-1.0, 1.0) - age, shortest * self._jitter())

    def _ended(self, pending_at: float, done_at: float) -> float:
        return self._times.mean_within(pending_at, done_at) if self._times else (pending_at + done_at) / 2

    def _earn(self, looks: float) -> None:
        self._credit = min(max(self._credit + looks, 0.0), _MOST_CREDIT)

    def _current_plan(self) -> LookPlan | None:
        if self._unplanned and (self._plan is None or self._unplanned * _RELEARNED_EVERY >= len(self._observed)):
            self._unplanned = 0
            self._times = estimated_times(self._observed, self.poll_interval * _RESOLUTION)
            is_worth_it = least_delay(self._times) < _WORTH_IT
            self._plan = planned(self._times, self.poll_interval) if is_worth_it else None
        return self._plan

    def _unlearned(self, age: float, estimated: float | None) -> float:
        beat = self.poll_interval * self._jitter()
        return max(min(estimated - age, beat * _ESTIMATE_BEATS), beat) if estimated is not None else beat

    def _beyond(self, overshoot: float, width: float) -> float:
        gap = max(self.poll_interval * _TAIL_FIRST, width) + _TAIL_GROWTH * overshoot
        return min(gap, self.poll_interval) * self._jitter()

    def _jitter(self) -> float:
        return self._source.uniform(1 - JITTER, 1 + JITTER)


def _rounded(age: float) -> float:
    # Five digits: a millisecond in a minute, and a small payload.
    return float(f"{age:.5g}")


def _is_payload(value: object) -> TypeGuard[dict[str, Any]]:
    if not isinstance(value, dict) or value.get("v") != 1 or not _is_number(value.get("credit"), _MOST_CREDIT):
        return False
    observed = value.get("observed")
    return isinstance(observed, list) and len(observed) <= _WINDOW and all(map(_is_interval, observed))


def _is_interval(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2  # noqa: PLR2004 - from and to
        and all(_is_number(age, _LONGEST) for age in value)
        and value[0] <= value[1] > 0
    )


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
