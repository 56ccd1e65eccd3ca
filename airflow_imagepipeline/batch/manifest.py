"""Write the manifest: one row for each input, told by the plan and by what the ledger knows in the end."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_imagepipeline.contract.manifest import GOOD, LEFT_OUT, ManifestRow, RowOutcome
from airflow_imagepipeline.contract.result import LandedImage
from airflow_imagepipeline.policy.batch import Treatment, outcome_of, price_of
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase
from airflow_imagepipeline.storage.folder import StoredFile

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.scratch import Scratch
    from airflow_imagepipeline.contract.planned_row import PlannedRow

_UNCERTAIN: Final = "It may have been paid for: look at the vendor's dashboard; clear the task to submit it again."
_SHOWN: Final = 5
_KEPT: Final = "Not tried again, as a redo would end the same way."


@dataclass(frozen=True)
class Ending:
    """
    How a run ended.

    :param plan: the name of the decision that the run's entries bear.
    :param stopped: why nothing more was submitted; empty when every row had its turn.
    :param was_passed: tells whether the row at a place had its turn.
    """

    plan: str
    stopped: str
    was_passed: Callable[[int], bool]


def manifest_rows(rows: Iterable[PlannedRow], scratch: Scratch, ending: Ending) -> Iterator[ManifestRow]:
    """
    Yield what became of each row.

    :param scratch: holds the newest ledger entry of every key.
    """
    for place, row in enumerate(rows):
        found = scratch.newest(row.key) if row.key else None
        entry = None if found is None else LedgerEntry.from_payload(found)
        is_of_this_run = entry is not None and entry.plan == ending.plan
        if row.invalid:
            yield ManifestRow(row.index, row.input, RowOutcome.INVALID, row.invalid, "INVALID")
        elif entry is not None and is_of_this_run and entry.index == place:
            yield _told(row, entry, outcome_of(entry), attempts=entry.attempts)
        elif entry is not None and (is_of_this_run or _is_told(row, scratch)):
            yield _told_by_another(row, entry, ending)
        else:
            scratch.leave_out(row.key)
            yield _never_begun(row, place, ending)


def _is_told(row: PlannedRow, scratch: Scratch) -> bool:
    # A row that asks for the same as one that was never begun was not begun either, whatever an earlier run has done.
    if row.treatment == Treatment.SAME.value:
        return not scratch.is_left_out(row.key)
    return row.treatment != Treatment.SUBMIT.value


def _told_by_another(row: PlannedRow, entry: LedgerEntry, ending: Ending) -> ManifestRow:
    # By a row before this one, or by an earlier run.
    treatment = Treatment(row.treatment)
    if treatment is Treatment.TAKE_UP or (entry.phase is RowPhase.SUBMITTED and entry.plan != ending.plan):
        return _told(row, entry, RowOutcome.NOT_SUBMITTED, reason=ending.stopped)
    if entry.phase is RowPhase.LANDED:
        return _told(row, entry, RowOutcome.REUSED)
    if treatment is Treatment.UNCERTAIN or entry.phase is RowPhase.LOST:
        return _told(row, entry, RowOutcome.UNCERTAIN, reason=f"{entry.reason} {_UNCERTAIN}".strip())
    reason = f"{entry.reason} {_KEPT}".strip() if treatment is Treatment.KEEP else entry.reason
    return _told(row, entry, outcome_of(entry), reason=reason)


def _never_begun(row: PlannedRow, place: int, ending: Ending) -> ManifestRow:
    if ending.was_passed(place):
        return ManifestRow(row.index, row.input, RowOutcome.OVER_BUDGET, "The budget was used up before its turn.")
    return ManifestRow(row.index, row.input, RowOutcome.NOT_SUBMITTED, ending.stopped or "The run ended before.")


def _told(
    row: PlannedRow, entry: LedgerEntry, outcome: RowOutcome, *, attempts: int = 0, reason: str | None = None
) -> ManifestRow:
    times = {name: getattr(entry, name) for name in ("submitted_at", "finished_at", "landed_at")}
    said = entry.reason if reason is None else reason
    if outcome is RowOutcome.UNCERTAIN and _UNCERTAIN not in said:
        said = f"{said} {_UNCERTAIN}".strip()
    return ManifestRow(
        row.index,
        row.input,
        outcome,
        said,
        entry.reason_code,
        entry.job_id,
        entry.seed,
        attempts,
        tuple(LandedImage(**image) for image in entry.images),
        dict(entry.cost) if attempts else {},
        {name: time for name, time in times.items() if time is not None},
        dict(entry.checks),
    )


class ManifestFile:
    """
    The manifest on this machine, on its way to the folder of the results.

    :param path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[RowOutcome] = Counter()
        self.unpriced = 0
        """Rows of which something was, or may have been, paid, and the vendor does not say how much."""
        self._reasons: Counter[str] = Counter()
        self._example = ""
        self._digest = hashlib.sha256()

    def write(self, rows: Iterable[ManifestRow]) -> StoredFile:
        """Write the rows and return the file to be stored."""
        with self.path.open("wb") as file:
            for row in rows:
                self.counts[row.outcome] += 1
                self.unpriced += row.attempts > 0 and math.isnan(price_of(row.cost, math.nan))
                if row.outcome not in GOOD and row.outcome not in LEFT_OUT:
                    self._reasons[row.reason_code or row.outcome.value] += 1
                    self._example = self._example or row.reason
                line = f"{row.to_line()}\n".encode()
                self._digest.update(line)
                file.write(line)
        return StoredFile(self.path, "application/jsonl", self._digest.hexdigest())

    def why(self) -> str:
        """Return the commonest reasons of the rows that did not go well, and one of them in words."""
        common = ", ".join(f"{count} {code}" for code, count in self._reasons.most_common(_SHOWN))
        return f"{common}; one of them: {self._example}" if self._example else common
