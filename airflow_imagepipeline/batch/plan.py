"""The plan of a run: every row with what is to be done with it, decided once on what the ledger knows, then frozen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.policy.batch import Treatment, spent_before, spent_by, treatment_of
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.scratch import Scratch
    from airflow_imagepipeline.contract.planned_row import PlannedRow

_SHOWN: Final = 5
_SAMPLES: Final = 4
"""Images that a job makes at most."""


@dataclass(frozen=True)
class Decision:
    """
    What the treatment of a plan's rows depends on besides the ledger.

    :param plan: the name of the plan: one name for one human decision.
    :param run: names the DAG run's task.
    :param is_cleared: whether a human cleared the task, and so decided anew.
    :param destination: address of the folder for results.
    :param overwrite: whether files of other work may be replaced.
    :param price: what a job is taken to cost until the vendor says.
    """

    plan: str
    run: str
    is_cleared: bool
    destination: str
    overwrite: bool
    price: float


@dataclass(frozen=True)
class History:
    """
    What a ledger says before a plan is made.

    :param jobs: that this run was, or may have been, charged for already.
    :param cost: their price.
    :param job_seconds: how long a job took on average; None when that is not known.
    """

    jobs: int
    cost: float
    job_seconds: float | None


class PlanReport:
    """What a plan holds: how many rows of each treatment, and why the first invalid ones are."""

    def __init__(self) -> None:
        self.treatments: Counter[Treatment] = Counter()
        self.invalid: list[str] = []

    def count(self, row: PlannedRow) -> None:
        """Take in a row."""
        self.treatments[Treatment(row.treatment)] += 1
        if row.invalid and len(self.invalid) < _SHOWN:
            self.invalid.append(f"row {row.index}: {row.invalid}")

    def to_payload(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "treatments": {treatment.value: count for treatment, count in self.treatments.items()},
            "invalid": self.invalid,
        }

    @property
    def total(self) -> int:
        """Number of rows."""
        return self.treatments.total()


def decided_rows(
    rows: Iterable[PlannedRow], scratch: Scratch, decision: Decision, report: PlanReport
) -> Iterator[PlannedRow]:
    """
    Yield the rows with their treatments.

    :param scratch: holds the ledger's newest entries, and the files in the destination.
    :param report: is told of every row.
    """
    for place, row in enumerate(rows):
        decided = _decided(row, place, scratch, decision)
        report.count(decided)
        yield decided


def _decided(row: PlannedRow, place: int, scratch: Scratch, decision: Decision) -> PlannedRow:
    if row.invalid:
        return replace(row, treatment=Treatment.INVALID.value)
    found = scratch.newest(row.key)
    earlier = None if found is None else LedgerEntry.from_payload(found)
    treatment = treatment_of(
        earlier,
        plan=decision.plan,
        run=decision.run,
        is_cleared=decision.is_cleared,
        has_seed="seed" in row.arguments,
    )
    if treatment is Treatment.REUSE and earlier is not None and not _is_there(earlier, scratch, decision):
        treatment = Treatment.SUBMIT
    is_ours = earlier is not None and _has_written(earlier, row.stem, scratch, decision)
    if treatment is Treatment.SUBMIT and not (decision.overwrite or is_ours) and _is_taken(row.stem, scratch):
        said = f"{row.stem} exists in {decision.destination} from other work: give another file_stem, or overwrite=True"
        return replace(row, treatment=Treatment.INVALID.value, invalid=said)
    if scratch.first_place(row.key, place) != place:
        return replace(row, treatment=Treatment.SAME.value)
    known = found or {}
    if treatment is Treatment.SUBMIT and earlier is not None:
        known = _known_before(earlier, decision, replaces=is_ours and _is_taken(row.stem, scratch))
    return replace(row, treatment=treatment.value, earlier=known)


def _known_before(earlier: LedgerEntry, decision: Decision, *, replaces: bool) -> dict[str, Any]:
    # Attempts are counted by run: those of another run are its own.
    attempts, _ = spent_by(decision.run, earlier, decision.price)
    known = {"attempts": attempts, "spent": spent_before(earlier, decision.price), "replaces": replaces}
    return {name: value for name, value in known.items() if value}


def _has_written(earlier: LedgerEntry, stem: str | None, scratch: Scratch, decision: Decision) -> bool:
    uris = [str(image.get("uri", "")) for image in earlier.images]
    here = [uri for uri in uris if stem is not None and uri.startswith(f"{decision.destination}/{stem}-")]
    return bool(here) and all(scratch.wrote_last(uri, earlier.key) for uri in here)


def _is_there(earlier: LedgerEntry, scratch: Scratch, decision: Decision) -> bool:
    # What an earlier try of the same decision has landed is done, whatever has become of its files since. What lies in
    # another folder was not listed, and is believed to be there.
    if earlier.plan == decision.plan:
        return True
    start = f"{decision.destination}/"
    uris = [str(image.get("uri", "")) for image in earlier.images]
    here = [uri.removeprefix(start) for uri in uris if uri.startswith(start)]
    return all(map(scratch.has_file, here)) and all(scratch.wrote_last(uri, earlier.key) for uri in uris)


def _is_taken(stem: str | None, scratch: Scratch) -> bool:
    return stem is not None and any(scratch.has_file_like(f"{stem}-{sample:02d}.") for sample in range(_SAMPLES))


def read_history(entries: Iterable[Mapping[str, Any]], run: str, price: float | None) -> History:
    """Return what the newest ledger entries say of this run's spending, and of how long jobs take."""
    jobs, cost, landed, seconds = 0, 0.0, 0, 0.0
    for payload in entries:
        entry = LedgerEntry.from_payload(payload)
        paid, price_paid = spent_by(run, entry, price or 0.0)
        jobs, cost = jobs + paid, cost + price_paid
        if entry.phase is RowPhase.LANDED and entry.submitted_at is not None and entry.finished_at is not None:
            landed, seconds = landed + 1, seconds + entry.finished_at - entry.submitted_at
    return History(jobs, cost, seconds / landed if landed else None)
