"""
The rules of a batch: what to do with a row, how many jobs may run, how much may be spent, when the run is good enough.

Per human decision (a new run, or the clear of the task) a piece of work is accepted at most once. Automatic retries go
on with the frozen plan, in which every row's treatment stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from airflow_imagepipeline.contract.job import COST_UNUSABLE, amount_of
from airflow_imagepipeline.contract.manifest import GOOD, LEFT_OUT, RowOutcome
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

OUT_OF_CREDITS: Final = frozenset({"INSUFFICIENT_CREDITS", "INSUFFICIENT_BALANCE", "CREDIT_CHARGE_FAILED"})
"""Failures that a redo can change although the vendor calls them useless to retry: the account was filled up."""
_SHRINK: Final = 0.8
_EPSILON: Final = 1e-9
_RUNS_KEPT: Final = 8


class Treatment(StrEnum):
    """What is to be done with a row."""

    SUBMIT = "submit"
    TAKE_UP = "take up"
    """The same work has a job already: its images are awaited and landed, nothing is paid."""
    REUSE = "reuse"
    """The same work is landed already."""
    KEEP = "keep"
    """It ended badly before, and a redo would end the same way."""
    UNCERTAIN = "uncertain"
    """It may have been paid for before: it is not sent again until a human clears the task."""
    SAME = "same"
    """A row before it asks for the same work."""
    INVALID = "invalid"


def treatment_of(earlier: LedgerEntry | None, *, plan: str, run: str, is_cleared: bool, has_seed: bool) -> Treatment:
    """
    Return what to do with a valid row when a plan is made.

    :param earlier: the newest entry of the same work.
    :param plan: the name of the plan that is made: one name for one human decision.
    :param run: names the DAG run's task.
    :param is_cleared: whether a human cleared this task, and so decided anew.
    :param has_seed: whether the user gave a seed, so that a redo would make the same image.
    """
    if earlier is None or earlier.phase is RowPhase.WITHDRAWN:
        return Treatment.SUBMIT
    if earlier.phase is RowPhase.LANDED:
        return Treatment.REUSE
    if earlier.phase is RowPhase.SUBMITTED and earlier.job_id is not None:
        return Treatment.TAKE_UP
    # An earlier try of the same decision has written this, before another task had the ledger.
    is_decided_anew = earlier.plan != plan
    is_redone = is_cleared and is_decided_anew
    if earlier.phase in _UNKNOWN:
        return Treatment.SUBMIT if is_redone else Treatment.UNCERTAIN
    if earlier.last_end in {RowPhase.REFUSED, RowPhase.FAILED}:
        is_useless = earlier.retryable is False and earlier.reason_code not in OUT_OF_CREDITS
        # Another run may have tried since; what this one has paid for is not paid again without a human.
        is_tried = not is_cleared and spent_by(run, earlier, 0.0)[0] > 0
        may_change = is_decided_anew and not is_tried and not (is_useless and earlier.run == run)
    else:
        may_change = is_redone and not has_seed
    return Treatment.SUBMIT if may_change else Treatment.KEEP


_UNKNOWN: Final = frozenset({RowPhase.SUBMITTING, RowPhase.SUBMITTED, RowPhase.LOST})
"""Of a job without an id, or one that the API does not know, nobody can say what became of it."""
_OUTCOMES: Final[Mapping[RowPhase, RowOutcome]] = {
    RowPhase.SUBMITTING: RowOutcome.UNCERTAIN,
    RowPhase.SUBMITTED: RowOutcome.FAILED,
    RowPhase.WITHDRAWN: RowOutcome.NOT_SUBMITTED,
    RowPhase.REFUSED: RowOutcome.FAILED,
    RowPhase.LANDED: RowOutcome.LANDED,
    RowPhase.FILTERED: RowOutcome.FILTERED,
    RowPhase.REJECTED: RowOutcome.REJECTED,
    RowPhase.FAILED: RowOutcome.FAILED,
    RowPhase.LOST: RowOutcome.FAILED,
}


def outcome_of(entry: LedgerEntry) -> RowOutcome:
    """Return what a row counts as whose work was left like this at the end of a run."""
    return _OUTCOMES[entry.last_end]


def is_good_enough(counts: Mapping[RowOutcome, int], min_success_ratio: float) -> bool:
    """
    Tell whether a run succeeded: landed and reused rows over all that were not left out on purpose.

    All failed, or all invalid, is failed, whatever the ratio; nothing to do is a success.
    """
    good = sum(counts.get(outcome, 0) for outcome in GOOD)
    tried = sum(count for outcome, count in counts.items() if outcome not in LEFT_OUT)
    if tried == 0:
        invalid = counts.get(RowOutcome.INVALID, 0)
        return not invalid or invalid < sum(counts.values())
    return good > 0 and good >= min_success_ratio * tried - _EPSILON


class Budget:
    """
    How much one run may still spend. What may have been accepted counts as spent.

    :param max_jobs: None for no bound.
    :param max_cost: in the currency of ``price``; None for no bound.
    :param price: what a job is taken to cost until the vendor says; None when it is not known.
    """

    def __init__(self, *, max_jobs: int | None, max_cost: float | None, price: float | None) -> None:
        self.jobs = 0
        """Submissions that were, or may have been, accepted."""
        self.cost = 0.0
        """Their price as far as it is known."""
        self._max_jobs = max_jobs
        self._max_cost = max_cost
        self._price = price or 0.0

    def resume(self, jobs: Any, cost: Any) -> None:
        """
        Go on from what was counted before, and read back.

        :raises ValueError: when these are no such numbers: nobody would know what may still be spent.
        """
        is_number = isinstance(cost, int | float) and not isinstance(cost, bool)
        if type(jobs) is not int or jobs < 0 or not is_number or not -_EPSILON <= cost < math.inf:
            msg = f"not what a run has spent: {ascii(jobs)[:40]} jobs, {ascii(cost)[:40]}"
            raise ValueError(msg)
        self.jobs, self.cost = jobs, float(cost)

    def has_room(self, others: int = 0) -> bool:
        """
        Tell whether one more submission may be sent.

        :param others: submissions that are being prepared, and not counted yet.
        """
        if self._max_jobs is not None and self.jobs + others >= self._max_jobs:
            return False
        return self._max_cost is None or self.cost + self._price * (1 + others) <= self._max_cost + _EPSILON

    def part_of(self, jobs: int) -> int:
        """Return how many of these jobs may be submitted, at the price that is assumed."""
        if self._max_jobs is not None:
            jobs = max(0, min(jobs, self._max_jobs - self.jobs))
        if self._max_cost is None or not jobs:
            return jobs
        if not self._price:
            return jobs if self.has_room() else 0
        return max(0, min(jobs, int((self._max_cost - self.cost) / self._price + _EPSILON)))

    def count(self) -> None:
        """Count one submission as accepted, before it is sent."""
        self.jobs += 1
        self.cost += self._price

    def give_back(self) -> None:
        """Take back a submission that was certainly not accepted."""
        self.jobs -= 1
        self.cost -= self._price

    def settle(self, cost: Mapping[str, float | bool]) -> None:
        """Put what the vendor says a job has cost in the place of its assumed price."""
        self.cost += price_of(cost, self._price) - self._price


def price_of(cost: Mapping[str, float | bool], assumed: float) -> float:
    """Return what a job has cost: what the vendor says, or the price that is assumed where that can be no price."""
    said = amount_of(cost.get("cost_usd"))
    if said is not None:
        return said
    return 0.0 if cost.get("credits_charged") is False and not _is_odd(cost) else assumed


def is_free(cost: Mapping[str, float | bool]) -> bool:
    """Tell whether nothing in what the vendor says of a job hints at a charge."""
    return cost.get("credits_charged") is not True and not _is_odd(cost) and price_of(cost, 0.0) == 0


def _is_odd(cost: Mapping[str, float | bool]) -> bool:
    # A ledger of 0.1.0 may hold a price that is none.
    return COST_UNUSABLE in cost or ("cost_usd" in cost and amount_of(cost["cost_usd"]) is None)


def spent_by(run: str, entry: LedgerEntry, price: float) -> tuple[int, float]:
    """
    Return the jobs that a run was, or may have been, charged for by a piece of work, and what they have cost.

    :param price: what a job is taken to cost until the vendor says.
    """
    jobs, said = entry.spent.get(run, (0, 0.0))
    cost = price * jobs if (known := amount_of(said)) is None else known
    if entry.run != run:
        return int(jobs), cost
    # What the vendor says of a job that is not landed yet is settled when it is.
    last = {} if entry.is_under_way else entry.cost
    return entry.attempts, cost + (entry.attempts - jobs) * price_of(last, price)


def spent_before(entry: LedgerEntry, price: float) -> dict[str, Sequence[float]]:
    """Return what the last runs have spent on a piece of work, for the entry of the next one."""
    others = [(run, spent) for run, spent in entry.spent.items() if run != entry.run]
    jobs, cost = spent_by(entry.run, entry, price)
    return dict([*others, *([(entry.run, [jobs, cost])] if jobs else [])][-_RUNS_KEPT:])


class Window:
    """
    How many jobs may be in flight: shrinks when the API says "too many", grows back with every accepted job.

    :param most: the user's ``max_in_flight``.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._closed_until = 0.0

    @property
    def limit(self) -> int:
        """How many jobs may be in flight now, at least one."""
        return max(1, int(self._limit))

    def seconds_closed(self, now: float) -> float:
        """Return the seconds in which nothing is to be submitted."""
        return max(0.0, self._closed_until - now)

    def busy(self, *, in_flight: int, pause: float, now: float) -> None:
        """
        Take in a refusal that asks to come back later.

        :param in_flight: jobs that the API has taken and not finished.
        :param pause: seconds to submit nothing.
        """
        # Those that were sent at the same time are refused for the same reason: they count once.
        if now >= self._closed_until:
            self._limit = max(1.0, min(self._limit, float(in_flight or 1)) * _SHRINK)
        self._closed_until = max(self._closed_until, now + pause)

    def accepted(self) -> None:
        """Take in that a job was accepted."""
        self._limit = min(float(self._most), self._limit + 1 / self._limit)
