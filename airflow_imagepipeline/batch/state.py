"""
Where a batch stands: what a worker that takes it over must know, changed by ledger entries and nothing else.

The same function takes in an entry that is about to be written and one that is read back, so that a state that was
rebuilt from a checkpoint and the entries after it is the state that was lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Self

from airflow_imagepipeline.contract.manifest import RowOutcome
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.policy.batch import Budget, outcome_of
from airflow_imagepipeline.policy.ledger_entry import NOT_CHARGED, LedgerEntry, RowPhase, is_count, is_number

_MOST_IDS: Final = 20_000
_NUMBERS: Final = ("number", "cursor", "bytes", "jobs")
_UNANSWERED: Final = "An earlier try ended before the answer to its submission was recorded."


class BatchState:
    """
    What has happened to the rows of a plan. A row is named by its place in the plan, from 0.

    :param budget: counts what is spent.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.number = 0
        """Of the newest entry."""
        self.cursor = 0
        """The first place that was never begun."""
        self.begun: set[int] = set()
        """Places whose turn has come, and of which no entry says anything yet."""
        self.open: dict[int, LedgerEntry] = {}
        """Newest entry of the rows that were submitted, or may have been, and have not come to an end."""
        self.ids: dict[str, int] = {}
        """The newest ids of jobs that this process knows of, and the places of their rows."""
        self.counts: Counter[RowOutcome] = Counter()
        """Rows of this plan that have come to an end, by outcome."""
        self.bytes = 0
        """Of what was landed."""
        self.stopped = ""
        """Why nothing more is submitted in this try, triggerer included; empty while it is."""

    def take(self, entry: LedgerEntry) -> None:
        """Take in an entry: one that is about to be written, or one that is read back in the order of writing."""
        self.number = max(self.number, entry.number)
        self.begun.discard(entry.index)
        earlier = self.open.pop(entry.index, None)
        was_sent = earlier is not None and earlier.phase is RowPhase.SUBMITTING
        if entry.phase is RowPhase.SUBMITTING and not was_sent and entry.attempts:
            self.budget.count()
        if was_sent and entry.phase in NOT_CHARGED:
            self.budget.give_back()
        if entry.phase is RowPhase.AGAIN:
            self.begun.add(entry.index)
            self._pay(entry)
        if entry.phase is RowPhase.WITHDRAWN:
            self.begun.add(entry.index)
        if entry.phase is RowPhase.SUBMITTED and entry.job_id is not None:
            self._know(entry.job_id, entry.index)
        # A withdrawn redo must not forget the job that was paid before it.
        is_kept = entry.phase is RowPhase.AGAIN or (entry.phase is RowPhase.WITHDRAWN and entry.attempts > 0)
        if entry.is_under_way or is_kept:
            self.open[entry.index] = entry
        elif entry.phase is not RowPhase.WITHDRAWN:
            self._end(entry)

    def _know(self, job_id: str, place: int) -> None:
        self.ids[job_id] = place
        if len(self.ids) > _MOST_IDS:
            del self.ids[next(iter(self.ids))]

    def _end(self, entry: LedgerEntry) -> None:
        self.counts[outcome_of(entry)] += 1
        self.bytes += sum(int(image.get("bytes", 0)) for image in entry.images)
        self._pay(entry)

    def _pay(self, entry: LedgerEntry) -> None:
        if entry.attempts and entry.cost:
            self.budget.settle(entry.cost)

    def next_entry(self, entry: LedgerEntry, phase: RowPhase, **changes: Any) -> LedgerEntry:
        """Take in, and return to be written, what follows an entry."""
        following = replace(entry, number=self.number + 1, phase=phase, **changes)
        self.take(following)
        return following

    def was_passed(self, place: int) -> bool:
        """Tell whether a row had its turn; one that had it and has no entry was left out, for the budget say."""
        return place < self.cursor and place not in self.begun

    def to_checkpoint(self) -> dict[str, Any]:
        """Return the state as JSON values; its size depends on the jobs in flight, not on the plan."""
        return {
            "v": 1,
            "number": self.number,
            "cursor": self.cursor,
            "begun": sorted(self.begun),
            "open": [entry.to_payload() for entry in self.open.values()],
            "counts": {outcome.value: count for outcome, count in self.counts.items()},
            "bytes": self.bytes,
            "stopped": self.stopped,
            "jobs": self.budget.jobs,
            "cost": self.budget.cost,
        }

    @classmethod
    def resumed(
        cls, checkpoint: Mapping[str, Any] | None, later: Iterable[tuple[str, Mapping[str, Any]]], budget: Budget
    ) -> Self:
        """
        Return the state that a checkpoint and the ledger's entries since then describe.

        :param checkpoint: None means that the plan has just been made.
        :param later: marks and entries from the checkpoint's mark on, in order; those that it has taken in already are
            skipped. Only its own process's are told apart by their numbers: another one counts from the same number.
        :raises ValueError: when one of them is none.
        """
        state = cls(budget)
        if checkpoint is not None:
            state._read(checkpoint)
        known, epoch = state.number, _epoch_of(checkpoint["mark"]) if checkpoint else ""
        for mark, payload in later:
            entry = LedgerEntry.from_payload(payload)
            if _epoch_of(mark) != epoch or entry.number > known:
                # Rows without an entry, the reused ones say, are only looked at again.
                state.begun.update(range(state.cursor, entry.index + 1))
                state.cursor = max(state.cursor, entry.index + 1)
                state.take(entry)
        state._close_unanswered()
        return state

    def _close_unanswered(self) -> None:
        for place, entry in self.open.items():
            if entry.phase is RowPhase.SUBMITTING and not entry.reason:
                self.open[place] = replace(entry, reason=_UNANSWERED)

    def _read(self, checkpoint: Mapping[str, Any]) -> None:
        counts, begun, stopped = checkpoint.get("counts"), checkpoint.get("begun"), checkpoint.get("stopped")
        cost, entries = checkpoint.get("cost"), checkpoint.get("open")
        numbers = [checkpoint.get(name, -1) for name in _NUMBERS]
        if (
            checkpoint.get("v") != 1
            or not (isinstance(counts, dict) and isinstance(begun, list) and isinstance(stopped, str))
            or not isinstance(entries, list)
            or not all(map(is_count, [*numbers, *begun, *counts.values()]))
            or not is_number(cost)
        ):
            msg = f"not a checkpoint of a batch: {cleaned(repr(checkpoint), 80)}"
            raise ValueError(msg)
        self.number, self.cursor, self.bytes, jobs = numbers
        self.budget.resume(jobs, cost)
        self.begun, self.stopped = set(begun), stopped
        self.open = {entry.index: entry for entry in map(LedgerEntry.from_payload, entries)}
        self.ids = {entry.job_id: place for place, entry in self.open.items() if entry.job_id is not None}
        self.counts.update({RowOutcome(outcome): count for outcome, count in counts.items()})


def _epoch_of(mark: str) -> str:
    return mark.partition("-")[0]
