"""
How long jobs take, learned from looks that only ever saw a job before and after its end.

The true time of a job is known to lie between two looks. Its share of the estimate goes to where the other jobs of
the window say that times are (self-consistency, Turnbull 1976), so that a job which nobody looked at for an hour
says next to nothing, and many wide intervals together say much.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

_ROUNDS: Final = 12
_HALF_LIFE: Final = 60.0
"""Jobs after which an observation weighs half: a vendor that becomes faster or slower is followed."""
_LEAST_DOUBT: Final = 0.01
"""Probability that is always left to times of which nothing was learned, so that somebody looks there at times."""
_NOTHING: Final = 1e-4
_CHANGE: Final = 4.5
_SMALL_CELL: Final = 1 / 48
_LARGEST_CELL: Final = 1 / 6
_CONTRAST: Final = 4.0


class Cell(NamedTuple):
    """
    A stretch of ages, and the probability that a job ends in it, evenly spread.

    :param start: age in seconds.
    :param end: age in seconds.
    """

    start: float
    end: float
    mass: float


@dataclass(frozen=True)
class JobTimes:
    """
    The distribution of job times, twice.

    :param seen: as the jobs of the window had it, in fine cells: what they would have cost is told from these.
    :param expected: as it is expected of the next job, in few adjoining cells from age 0 on, with some doubt; what
        their masses lack of 1 lies beyond the last one.
    """

    seen: Sequence[Cell]
    expected: Sequence[Cell]

    def mean_within(self, low: float, high: float) -> float:
        """Return the mean age at which jobs end that end between two ages, in seconds."""
        mass = moment = 0.0
        for cell in self.seen:
            start, end = max(cell.start, low), min(cell.end, high)
            if start < end:
                share = cell.mass * (end - start) / (cell.end - cell.start)
                mass += share
                moment += share * (start + end) / 2
        return moment / mass if mass > _NOTHING else (low + high) / 2


def estimated_times(observed: Sequence[tuple[float, float]], resolution: float) -> JobTimes:
    """
    Return what is to be believed of job times.

    :param observed: intervals that hold a job's end, oldest first: (seen pending at, seen done at), ages in seconds.
    :param resolution: seconds; finer differences between ages are not kept apart.
    """
    bounds = [_snapped(pending_at, done_at, resolution) for pending_at, done_at in observed]
    edges = sorted({0, *(edge for bound in bounds for edge in bound)})
    spans = [(bisect_left(edges, low), bisect_left(edges, high)) for low, high in bounds]
    weights = [0.5 ** (age / _HALF_LIFE) for age in reversed(range(len(spans)))]
    total = sum(weights)
    masses = _consistent(edges, spans, [weight / total for weight in weights])
    while masses[-1] < _NOTHING:
        masses.pop()
    doubt = 1.0 / (total + 2.0)
    floor = max(_LEAST_DOUBT, doubt)
    known = (1.0 - floor - doubt) / sum(masses)
    last = edges[len(masses)]
    cells = _gathered(
        Cell(low * resolution, high * resolution, known * mass + floor * (high - low) / last)
        for (low, high), mass in zip(pairwise(edges), masses, strict=False)
    )
    seen = [
        Cell(low * resolution, high * resolution, mass)
        for (low, high), mass in zip(pairwise(edges), masses, strict=False)
    ]
    return JobTimes(seen, [part for block in _blocks(cells, total) for part in _parts(block)])


def _snapped(pending_at: float, done_at: float, resolution: float) -> tuple[int, int]:
    low = math.floor(pending_at / resolution)
    return low, max(math.ceil(done_at / resolution), low + 1)


def _consistent(edges: list[int], spans: list[tuple[int, int]], weights: list[float]) -> list[float]:
    # Begins even: what no interval tells apart stays even.
    masses = [(high - low) / edges[-1] for low, high in pairwise(edges)]
    for _ in range(_ROUNDS):
        below = [0.0, *accumulate(masses)]
        steps = [0.0] * len(edges)
        for (low, high), weight in zip(spans, weights, strict=True):
            share = weight / max(below[high] - below[low], 1e-12)
            steps[low] += share
            steps[high] -= share
        masses = [mass * max(gain, 0.0) for mass, gain in zip(masses, accumulate(steps), strict=False)]
    return masses


def _blocks(cells: list[Cell], jobs: float) -> list[Cell]:
    # Bayesian blocks (Scargle 2013): a change of density is believed only where enough jobs tell of it.
    best = [0.0]
    starts = []
    for end in range(1, len(cells) + 1):
        mass, options = 0.0, []
        for start in range(end - 1, -1, -1):
            mass += cells[start].mass
            width = cells[end - 1].end - cells[start].start
            options.append((best[start] + jobs * mass * math.log(mass / width) - _CHANGE, start))
        fit, start = max(options)
        best.append(fit)
        starts.append(start)
    blocks: list[Cell] = []
    end = len(cells)
    while end:
        start = starts[end - 1]
        blocks.append(_joined(cells[start:end]))
        end = start
    return blocks[::-1]


def _gathered(cells: Iterable[Cell]) -> list[Cell]:
    # Finding blocks takes the square of their number; an edge between much and nothing is what they are made of.
    gathered: list[Cell] = []
    for cell in cells:
        pair = [*gathered[-1:], cell]
        if len(pair) > 1 and not _differ(*pair) and sum(part.mass for part in pair) < _SMALL_CELL:
            gathered[-1] = _joined(pair)
        else:
            gathered.append(cell)
    return gathered


def _differ(one: Cell, other: Cell) -> bool:
    low, high = sorted(cell.mass / (cell.end - cell.start) for cell in (one, other))
    return high > _CONTRAST * low


def _joined(cells: Sequence[Cell]) -> Cell:
    return Cell(cells[0].start, cells[-1].end, sum(cell.mass for cell in cells))


def _parts(block: Cell) -> Iterator[Cell]:
    count = math.ceil(block.mass / _LARGEST_CELL)
    width = (block.end - block.start) / count
    for part in range(count):
        end = block.end if part == count - 1 else block.start + (part + 1) * width
        yield Cell(block.start + part * width, end, block.mass / count)
