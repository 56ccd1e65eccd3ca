"""
Where to spend looks: the policy with the least mean delay among those that take no more looks than a fixed beat.

Each look has a price in seconds of delay. For a price the best policy is found backwards, from the last age of which
something is known; the price is then set so that the expected number of looks is the beat's.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from airflow_imagepipeline.policy.job_times import Cell, JobTimes

JITTER: Final = 0.1
MOVED: Final = 0.1
"""Part of the stretch before a planned look by which it may be moved: no two jobs are looked at alike."""
_HALVINGS: Final = 12
_CHEAPEST: Final = 1e-4
_DEAREST: Final = 1e2
_THRIFT: Final = 0.98
_MISSED: Final = 0.1
"""Looks that a job takes more than planned: jobs of a window differ from those after it, and looks come early."""
_FEWEST: Final = 1.05
"""Looks that a job may take at least: with exactly one, no time could ever be learned."""
_MOST_PARTS: Final = 4096.0
_MOST_DRAWN: Final = 32


class Step(NamedTuple):
    """
    What follows a look that saw a job pending.

    :param to: the edge at which to look next.
    :param parts: into how many even gaps the way there is cut; more than one only within one cell.
    """

    to: int
    parts: int


@dataclass(frozen=True)
class LookPlan:
    """
    Two policies, one a little under the beat's number of looks and one above, and how often to take the second.

    :param edges: ages in seconds at which cells of the learned distribution begin; the last one ends it.
    """

    edges: Sequence[float]
    sparing: Sequence[Step]
    generous: Sequence[Step]
    share: float

    @property
    def last(self) -> float:
        """The age in seconds beyond which nothing was learned."""
        return self.edges[-1]

    def next_look(self, age: float, *, tolerance: float, luck: float) -> tuple[float, float]:
        """
        Return the age of the next look, and the seconds by which it may be moved without harm.

        :param age: seconds, below :attr:`last`.
        :param tolerance: seconds by which a look that was planned for an edge may have come too early.
        :param luck: 0 to 1, evenly drawn.
        """
        at = min(bisect_right(self.edges, age), len(self.edges) - 1) - 1
        early = self.edges[at + 1] - age
        if at + 2 < len(self.edges) and early <= max(tolerance, MOVED * (self.edges[at + 1] - self.edges[at])):
            at += 1
        step = (self.generous if luck < self.share else self.sparing)[at]
        end = self.edges[step.to]
        if step.parts == 1:
            return end, end - self.edges[step.to - 1]
        gap = (end - self.edges[at]) / step.parts
        age = max(age, self.edges[at])
        return (age + gap if age + 1.5 * gap < end else end), gap


def planned(times: JobTimes, beat: float) -> LookPlan:
    """
    Return the plan for a learned distribution.

    :param times: learned from the jobs before.
    :param beat: seconds between two looks of the fixed beat whose number of looks may be used.
    """
    cells, seen = times.expected, _Survival(times.seen)
    budget = sum(cell.mass * looks_of_beat((cell.start + cell.end) / 2 / beat) for cell in times.seen)
    budget = max(_THRIFT * budget - _MISSED, _FEWEST)
    edges = [0.0, *(cell.end for cell in cells)]
    low, high = beat * _CHEAPEST, beat * _DEAREST
    generous, sparing = _policy(cells, low), _policy(cells, high)
    most, fewest = seen.looks(edges, generous), seen.looks(edges, sparing)
    for _ in range(_HALVINGS):
        price = math.sqrt(low * high)
        steps = _policy(cells, price)
        looks = seen.looks(edges, steps)
        if looks > budget:
            low, generous, most = price, steps, looks
        else:
            high, sparing, fewest = price, steps, looks
    share = min(max((budget - fewest) / (most - fewest), 0.0), 1.0) if most > fewest else 0.0
    return LookPlan(edges, sparing, generous, share)


class _Survival:
    """The part of the window's jobs that is still pending at an age."""

    def __init__(self, seen: Sequence[Cell]) -> None:
        self._seen = seen
        self._starts = [cell.start for cell in seen]
        self._left = [1.0, *(1.0 - done for done in accumulate(cell.mass for cell in seen))]

    def at(self, age: float) -> float:
        """Return the part, 0 to 1."""
        index = bisect_right(self._starts, age) - 1
        cell = self._seen[index]
        inside = min((age - cell.start) / (cell.end - cell.start), 1.0)
        return self._left[index] - cell.mass * inside

    def looks(self, edges: Sequence[float], steps: Sequence[Step]) -> float:
        """Return how many looks a job of the window would have taken by a policy."""
        index, looks = 0, 0.0
        while index < len(steps):
            to, parts = steps[index]
            gap = (edges[to] - edges[index]) / parts
            # Of very many even gaps some stand for all: a plan is made between two looks, in an event loop.
            drawn = min(parts, _MOST_DRAWN)
            ages = (edges[index] + gap * ((number + 0.5) * parts / drawn - 0.5) for number in range(drawn))
            looks += sum(map(self.at, ages)) * parts / drawn
            index = to
        return looks


def least_delay(times: JobTimes) -> float:
    """Return the part of a beat's mean delay that no plan of as many looks can fall below, by what was learned."""
    left, spent, lived = 1.0, 0.0, 0.0
    for cell in times.expected:
        pending = (left - cell.mass / 2) * (cell.end - cell.start)
        spent += math.sqrt(cell.mass * pending)
        lived += pending
        left -= cell.mass
    return spent**2 / lived


def looks_of_beat(beats: float) -> float:
    """
    Return how many looks a jittered beat takes, on average, until a job's end is seen.

    :param beats: the job's time in units of the beat.
    """
    whole = round(beats)
    blur = min(JITTER * math.sqrt(max(whole, 1)), 0.5)
    return max(whole + min(max((beats - whole + blur) / (2 * blur), 0.0), 1.0), 1.0)


def _policy(cells: Sequence[Cell], price: float) -> list[Step]:
    count = len(cells)
    edges = [0.0, *(cell.end for cell in cells)]
    below = [0.0, *accumulate(cell.mass for cell in cells)]
    moment = [0.0, *accumulate(cell.mass * (cell.start + cell.end) / 2 for cell in cells)]
    steps = [Step(count, 1)] * count
    costs = [0.0] * (count + 1)
    for at in reversed(range(count)):
        left, done, past = 1.0 - below[at], below[at], moment[at]
        cost, to = min(
            (edges[k] * (below[k] - done) - moment[k] + past + costs[k], k) for k in range(at + 1, count + 1)
        )
        cell = cells[at]
        parts = _best_parts(cell, left, price)
        taken = parts * left - cell.mass * (parts - 1) / 2
        even = cell.mass * (cell.end - cell.start) / (2 * parts) + price * taken + costs[at + 1]
        is_even = parts > 1 and even < cost + price * left
        steps[at] = Step(at + 1, parts) if is_even else Step(to, 1)
        costs[at] = even if is_even else cost + price * left
    return steps


def _best_parts(cell: Cell, left: float, price: float) -> int:
    """Return the number of even gaps in a cell where a further look costs as much as it saves."""
    saved = cell.mass * (cell.end - cell.start) / (2 * price * (left - cell.mass / 2))
    return max(round(min(math.sqrt(saved), _MOST_PARTS)), 1)
