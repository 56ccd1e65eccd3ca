"""
Which rows of a manifest go on its contact sheet: a fair sample of what went well, the extremes, and what went wrong.

The rows are read once, and no more of them are kept than the sheet could show of each outcome.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_imagepipeline.contract.manifest import GOOD, ManifestRow, RowOutcome

_TROUBLE: Final = (RowOutcome.FAILED, RowOutcome.FILTERED, RowOutcome.REJECTED, RowOutcome.UNCERTAIN)
_NEVER_TRIED: Final = tuple(outcome for outcome in RowOutcome if outcome not in GOOD and outcome not in _TROUBLE)
_PRICES: Final = ("cost_usd", "credits_amount")
_SHARE_OF_TROUBLE: Final = 3
"""One in so many places is for what went wrong, where both that and what went well abound."""
_MARGIN: Final = 1e-9


@dataclass(frozen=True)
class Pick:
    """
    A row that goes on the sheet.

    :param remark: what it is the extreme of (``dearest``, say); empty where it is none.
    """

    row: ManifestRow
    remark: str = ""


@dataclass(frozen=True)
class Choice:
    """
    What a manifest gave.

    :param picks: what went well in the order of the inputs, then what went wrong, outcome by outcome.
    :param counts: all rows of the manifest, by outcome.
    """

    picks: Sequence[Pick]
    counts: Mapping[RowOutcome, int]

    @property
    def total(self) -> int:
        """How many rows the manifest has."""
        return sum(self.counts.values())


def price_of(row: ManifestRow) -> float | None:
    """Return what the vendor took for a row, in its own unit; None when it did not say."""
    return next((float(row.cost[name]) for name in _PRICES if name in row.cost), None)


def seconds_of(row: ManifestRow) -> float | None:
    """Return how long a row took, from its submission until its images were landed or it was seen to be done."""
    start = row.timings.get("submitted_at")
    end = row.timings.get("landed_at", row.timings.get("finished_at"))
    return None if start is None or end is None else end - start


def difference_of(row: ManifestRow) -> float | None:
    """Return how far a result is from its input, where a check of that name measured it."""
    found = row.checks.get("difference")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


class _Sample:
    """A fair sample of the rows of one outcome: each of them is kept with the same chance (algorithm R)."""

    def __init__(self, size: int, chance: random.Random) -> None:
        self._size = size
        self._chance = chance
        self._seen = 0
        self.rows: list[ManifestRow] = []

    def see(self, row: ManifestRow) -> None:
        self._seen += 1
        if len(self.rows) < self._size:
            self.rows.append(row)
        elif (place := self._chance.randrange(self._seen)) < self._size:
            self.rows[place] = row


class _Extreme:
    """The first row that no other exceeds, and whether any other has another value: else it is no extreme."""

    def __init__(self, remark: str, measure: Callable[[ManifestRow], float | None], sign: int = 1) -> None:
        self.remark = remark
        self._measure = measure
        self._sign = sign
        self._most = self._least = 0.0
        self.row: ManifestRow | None = None

    def see(self, row: ManifestRow) -> None:
        value = self._measure(row)
        if value is None:
            return
        signed = value * self._sign
        if self.row is None:
            self.row, self._most, self._least = row, signed, signed
        elif signed > self._most:
            self.row, self._most = row, signed
        self._least = min(self._least, signed)

    @property
    def is_one(self) -> bool:
        return self._most - self._least > _MARGIN


class _Seen:
    """What is kept of the rows while they pass."""

    def __init__(self, n: int, chance: random.Random) -> None:
        self.counts: Counter[RowOutcome] = Counter()
        self.well = _Sample(n, chance)
        self.wrong = {outcome: _Sample(n, chance) for outcome in (*_TROUBLE, *_NEVER_TRIED)}
        self.extremes = (
            _Extreme("dearest", price_of),
            _Extreme("slowest", seconds_of),
            _Extreme("most changed", difference_of),
            _Extreme("least changed", difference_of, -1),
        )

    def see(self, row: ManifestRow) -> None:
        self.counts[row.outcome] += 1
        if row.outcome not in GOOD:
            self.wrong[row.outcome].see(row)
            return
        self.well.see(row)
        for extreme in self.extremes:
            extreme.see(row)

    def good_picks(self) -> list[Pick]:
        """Return the extremes, then the sample of the others."""
        remarks: dict[int, list[str]] = {}
        rows: dict[int, ManifestRow] = {}
        for extreme in self.extremes:
            if extreme.row is not None and extreme.is_one:
                rows[id(extreme.row)] = extreme.row
                remarks.setdefault(id(extreme.row), []).append(extreme.remark)
        special = [Pick(row, ", ".join(remarks[key])) for key, row in rows.items()]
        return special + [Pick(row) for row in self.well.rows if id(row) not in rows]

    def bad_rows(self, share: int) -> tuple[list[ManifestRow], int]:
        """Return what went wrong, most telling first, and how many of these should have a place."""
        trouble = _in_turns([self.wrong[outcome].rows for outcome in _TROUBLE])
        untried = _in_turns([self.wrong[outcome].rows for outcome in _NEVER_TRIED])
        kinds = sum(bool(self.wrong[outcome].rows) for outcome in _NEVER_TRIED)
        first = trouble[:share] + untried[:kinds]
        return first + trouble[share:] + untried[kinds:], len(first)


def chosen(rows: Iterable[ManifestRow], n: int, *, seed: str) -> Choice:
    """
    Choose what the sheet shows.

    Of every way to fail one row at least is there, as far as the places reach; a third of them is for what went wrong,
    and what was never tried is shown once for each reason. The extremes are sought among what went well. Places that
    one side does not need go to the other; where both abound, what went wrong takes no more than half.

    :param n: places on the sheet, from 1.
    :param seed: the same rows and seed give the same choice.
    """
    seen = _Seen(n, random.Random(seed))
    for row in rows:
        seen.see(row)
    good = seen.good_picks()
    bad, wanted = seen.bad_rows(max(n // _SHARE_OF_TROUBLE, min(n, len(_TROUBLE))))
    kept = good[: n - min(wanted, max(n // 2, n - len(good)))]
    wrong = sorted(bad[: n - len(kept)], key=_kind)
    return Choice([*sorted(kept, key=_place), *map(Pick, wrong)], seen.counts)


def _in_turns(samples: Sequence[Sequence[ManifestRow]]) -> list[ManifestRow]:
    """Return the first of every sample, then the second of every sample, and so on."""
    longest = max(map(len, samples))
    return [sample[turn] for turn in range(longest) for sample in samples if turn < len(sample)]


def _place(pick: Pick) -> int:
    return pick.row.index


def _kind(row: ManifestRow) -> tuple[int, int]:
    return (*_TROUBLE, *_NEVER_TRIED).index(row.outcome), row.index
