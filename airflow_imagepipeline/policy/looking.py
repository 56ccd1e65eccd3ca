"""When to poll a job: learned from the jobs before it, with no more polls than a fixed interval would take."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, Self, TypeGuard

from airflow_imagepipeline.contract.text import cleaned

JITTER: Final = 0.1
_WINDOW: Final = 96
_MOST_READ: Final = 128
"""Ended jobs that are learned from; a process of version 0.1 kept a few more."""
_LONGEST: Final = 86_400.0
"""Seconds; what took longer was waited for by a human, and teaches nothing."""
_RELEARNED_EVERY: Final = 16
_CELLS: Final = 48
_ROUNDS: Final = 3
_DOUBT: Final = 0.02
"""Probability that is always left to times of which nothing was learned, so that they are polled now and then."""
_SHORTEST: Final = 1 / 20
"""Part of the interval: the shortest pause, half of which is told apart."""
_WORTH_IT: Final = 0.7
"""Part of the fixed interval's delay above which it stays: of a heavy tail, errors cost more than a plan gains."""
_THRIFT: Final = 0.97
_MISSED: Final = 0.1
_FEWEST: Final = 1.05
_MOST_POLLS: Final = 512
_ESTIMATE_INTERVALS: Final = 10.0
"""Intervals that a job is left alone at most because of the vendor's estimate, which may be wrong."""
_FIRST_CREDIT: Final = 2.0
_MOST_CREDIT: Final = 1024.0
_TAIL_FIRST: Final = 1 / 8
_TAIL_GROWTH: Final = 1 / 4


class LookSchedule:
    """
    Say when to poll a job next, for many jobs of one kind.

    :param poll_interval: seconds; a job takes no more polls than at this fixed interval, and it is the longest pause
        for a job which is past everything learned.
    :param source: where the jitter comes from.
    """

    def __init__(self, *, poll_interval: float, source: random.Random) -> None:
        self.poll_interval = poll_interval
        self._source = source
        self._observed: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        self._unplanned = 0
        self._plan: _Plan | None = None
        # Polls that the fixed interval would have taken by now and this schedule did not. A burst of jobs teaches the
        # quickest first; without this, all others would be polled as if they were late.
        self._credit = _FIRST_CREDIT

    def pause(self, *, age: float, estimated: float | None = None) -> float:
        """
        Return the seconds until the next poll: more than 0, with a little jitter.

        :param age: seconds since the job's submission; it was last seen unfinished, or was never polled.
        :param estimated: the seconds that the vendor says the job takes, if it does.
        """
        pause = self._wanted(max(age, 0.0), estimated)
        if self._credit + pause / self.poll_interval < 1.0:
            pause = max(pause, self.poll_interval * self._jitter())
        self._earn(pause / self.poll_interval - 1.0)
        return pause

    def learn(self, *, pending_at: float, done_at: float) -> None:
        """
        Take in how long a job took.

        :param pending_at: its age in seconds when it was last seen pending; 0 when it never was.
        :param done_at: its age in seconds when it was seen done; what is no such age is ignored.
        """
        if not 0.0 < done_at <= _LONGEST or math.isnan(pending_at):
            return
        pending_at = min(max(pending_at, 0.0), done_at)
        # Five digits: a millisecond in a minute, and a small payload.
        self._observed.append((float(f"{pending_at:.5g}"), float(f"{done_at:.5g}")))
        # The last pause reached beyond the job's end; the fixed interval's does so by half of it.
        self._earn(max(0.5 - (done_at - pending_at) / 2 / self.poll_interval, 0.0))
        self._unplanned += 1
        if self._unplanned * _RELEARNED_EVERY >= len(self._observed):
            self._unplanned = 0
            self._plan = _planned(self._observed, self.poll_interval)

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
            msg = f"not a poll schedule: {cleaned(repr(payload), 80)}"
            raise ValueError(msg)
        schedule = cls(poll_interval=poll_interval, source=source)
        for pending_at, done_at in payload["observed"]:
            schedule.learn(pending_at=pending_at, done_at=done_at)
        schedule._credit = payload["credit"]
        return schedule

    def _wanted(self, age: float, estimated: float | None) -> float:
        fixed = self.poll_interval * self._jitter()
        if self._plan is None:
            return max(min((estimated or 0.0) - age, fixed * _ESTIMATE_INTERVALS), fixed)
        overdue = age - self._plan.end
        if overdue >= -self.poll_interval * _SHORTEST:
            tail = self.poll_interval * _TAIL_FIRST + self._plan.width + _TAIL_GROWTH * max(overdue, 0.0)
            return min(fixed, tail * self._jitter())
        poll, gap = self._plan.next_poll(age, luck=self._source.random())
        return max(poll + gap * self._source.uniform(-JITTER, JITTER) - age, fixed * _SHORTEST)

    def _earn(self, polls: float) -> None:
        self._credit = min(max(self._credit + polls, 0.0), _MOST_CREDIT)

    def _jitter(self) -> float:
        return self._source.uniform(1 - JITTER, 1 + JITTER)


class _Plan:
    """
    Where to spend polls on jobs whose times are known: densely where a pending job is likely to end.

    A poll of a job saves half a gap if the job ends in it, and costs a request if it is pending: the least mean delay
    for a number of polls has them as dense as the root of the hazard rate.

    :param start: age in seconds of which the first cell begins; no job ended before it.
    :param width: of each cell, seconds.
    :param masses: of each cell, the probability that a job ends in it; what they lack of 1 lies beyond.
    :param polls: that a job may take on average.
    """

    def __init__(self, start: float, width: float, masses: Sequence[float], polls: Iterable[float]) -> None:
        self.width = width
        self.end = start + width * len(masses)
        self._start = start
        self._pending = [1.0, *(1.0 - done for done in accumulate(masses))]
        alive = [(before + after) / 2 for before, after in pairwise(self._pending)]
        self._density = [0.0, *accumulate(math.sqrt(mass / left) for mass, left in zip(masses, alive, strict=True))]
        least = sum(math.sqrt(mass * left) for mass, left in zip(masses, alive, strict=True)) ** 2 * width
        self.part_of_delay = least / (start + width * sum(alive))
        """What part of a fixed interval's mean delay no plan of as many polls can fall below."""
        used = list(polls)
        self._spend(max(_THRIFT * sum(used) / len(used) - _MISSED, _FEWEST))

    def next_poll(self, age: float, *, luck: float) -> tuple[float, float]:
        """
        Return the age of the next poll, and the seconds since the one before it.

        :param age: seconds, below :attr:`end`.
        :param luck: 0 to 1, evenly drawn: the number of polls that is allowed lies between two whole ones.
        """
        count = self._count + (luck < self._share)
        done = _between(self._density, max(age - self._start, 0.0) / self.width) / self._density[-1]
        number = min(math.floor(done * count + 0.5) + 1, count)
        at = self._age_of(number / count)
        return at, at - self._age_of((number - 1) / count)

    def _spend(self, budget: float) -> None:
        self._count, low, high = 1, 1.0, self._cost(2)
        while high <= budget and self._count < _MOST_POLLS:
            self._count += 1
            low, high = high, self._cost(self._count + 1)
        self._share = min(max((budget - low) / (high - low), 0.0), 1.0) if high > low else 0.0

    def _cost(self, count: int) -> float:
        ages = (self._age_of(number / count) for number in range(1, count))
        return 1.0 + sum(_between(self._pending, (age - self._start) / self.width) for age in ages)

    def _age_of(self, part: float) -> float:
        wanted = part * self._density[-1]
        cell = max(bisect_left(self._density, wanted) - 1, 0)
        inside = (wanted - self._density[cell]) / (self._density[cell + 1] - self._density[cell])
        return self._start + self.width * (cell + min(inside, 1.0))


def _planned(observed: Sequence[tuple[float, float]], poll_interval: float) -> _Plan | None:
    # A job's true time lies between two polls. Its share goes where the other jobs of the window say that times are
    # (self-consistency, Turnbull 1976): many wide intervals together tell a constant time.
    start, end = min(low for low, _ in observed), max(high for _, high in observed)
    shortest = poll_interval * _SHORTEST / 2
    count = max(min(int((end - start) / shortest), _CELLS), 1)
    width = max(end - start, shortest) / count
    spans = [(round((low - start) / width), round((high - start) / width)) for low, high in observed]
    spans = [(min(low, count - 1), max(high, min(low, count - 1) + 1)) for low, high in spans]
    masses = [1.0 / count] * count
    for _ in range(_ROUNDS):
        below, change = [0.0, *accumulate(masses)], [0.0] * (count + 1)
        for low, high in spans:
            share = 1.0 / len(spans) / max(below[high] - below[low], 1e-12)
            change[low] += share
            change[high] -= share
        masses = [mass * max(gain, 0.0) for mass, gain in zip(masses, accumulate(change), strict=False)]
    doubt = max(_DOUBT, 1.0 / (len(spans) + 2))
    masses = [(1.0 - doubt) * mass + doubt / 2 / count for mass in masses]
    fixed = (max((low + high) / 2 / poll_interval + 0.5, 1.0) for low, high in observed)
    plan = _Plan(start, width, masses, fixed)
    return plan if plan.part_of_delay < _WORTH_IT else None


def _between(values: Sequence[float], place: float) -> float:
    at = min(int(place), len(values) - 2)
    return values[at] + (values[at + 1] - values[at]) * min(place - at, 1.0)


def _is_payload(value: object) -> TypeGuard[dict[str, Any]]:
    if not isinstance(value, dict) or value.get("v") != 1 or not _is_number(value.get("credit"), _MOST_CREDIT):
        return False
    observed = value.get("observed")
    return isinstance(observed, list) and len(observed) <= _MOST_READ and all(map(_is_interval, observed))


def _is_interval(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2  # noqa: PLR2004 - from and to
        and all(_is_number(age, _LONGEST) for age in value)
        and value[0] <= value[1] > 0
    )


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
