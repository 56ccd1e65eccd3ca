"""The plan of a run: every row with what is to be done with it, decided once on what the ledger knows, then frozen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.batch.file_names import FileNames
from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.planned_row import QUERY_DIGITS
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.policy.batch import Treatment, spent_before, spent_by, treatment_of
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.scratch import Scratch
    from airflow_imagepipeline.contract.planned_row import PlannedRow

_SHOWN: Final = 10
_FEW: Final = 10
"""One link in so many that comes with another query is a photo that was replaced, say; more are signed anew."""


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
    :param counts: what of a link names its image, see :func:`link_identity`.
    """

    plan: str
    run: str
    is_cleared: bool
    destination: str
    overwrite: bool
    price: float
    counts: str | Sequence[str] | None = None


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
        self.renamed = 0
        """Rows that will be made anew and called otherwise than version 0.1.0 called them."""
        self.example = ""

    def count(self, row: PlannedRow, *, is_renamed: bool = False) -> None:
        """Take in a row."""
        self.treatments[Treatment(row.treatment)] += 1
        if row.invalid and len(self.invalid) < _SHOWN:
            shown = cleaned(row.input, 120)
            is_told = not shown or shown in row.invalid
            self.invalid.append(f"row {row.index}: {row.invalid}{'' if is_told else f' ({shown})'}")
        if is_renamed:
            self.renamed += 1
            self.example = self.example or f"{cleaned(row.old_stem, 80)!r} becomes {cleaned(row.stem, 80)!r}"

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
    names, new = FileNames(scratch, decision.destination, overwrite=decision.overwrite), 0
    for place, row in enumerate(rows):
        decided = _decided(_under_known_key(row, scratch, decision), place, scratch, decision, names)
        is_submitted = decided.treatment == Treatment.SUBMIT.value
        # A link with another query may have been refused for its name, too.
        is_new = is_submitted or (bool(decided.invalid) and not row.invalid)
        new += is_new
        if row.query and not row.invalid:
            scratch.note_query("new" if is_new else "other", decided.key, row.query)
        report.count(decided, is_renamed=is_submitted and names.is_renamed(row))
        yield replace(decided, old_key="", old_stem="")
    if decision.counts is None:
        _refuse_resigned(scratch, new)


def _under_known_key(row: PlannedRow, scratch: Scratch, decision: Decision) -> PlannedRow:
    """Return a row under the key by which the ledger knows its work; under its own where it does not."""
    if row.invalid:
        return row
    # For a row whose own key stands for a link of another query since version 0.1.0.
    apart = row.key[::-1]
    for key in filter(None, (row.key, apart, row.old_key)):
        found = scratch.newest(key)
        is_same = found is not None and (not found.get("owner") or found.get("query", {}) == row.query)
        if is_same and scratch.claim(key, row.key):
            return replace(row, key=key)
    if decision.counts is not None:
        wanted = row.query or {"": row.key[:QUERY_DIGITS]}
        for key, query in scratch.known_queries(wanted[""]):
            if wanted.items() <= query.items() and scratch.claim(key, row.key):
                return replace(row, key=key)
    return replace(row, key=row.key if scratch.claim(row.key, row.key) and scratch.newest(row.key) is None else apart)


def _refuse_resigned(scratch: Scratch, new: int) -> None:
    """Stop before links that are signed in a way that is not known are paid for again."""
    count = 0
    names: set[str] = set()
    changed: set[str] = set()
    for query, known in scratch.resigned():
        count += 1
        names |= (query.keys() | known.keys()) - {""}
        changed |= {name for name in names if query.get(name) != known.get(name)}
    if 2 * count <= new or _FEW * count < scratch.rows_with_queries():
        return
    kept = f"{sorted(names - changed)}" if names - changed else "a list of those that tell images apart"
    msg = (
        f"link_identity: {count} of {new} new rows are links that the ledger knows, but for their queries "
        f"({', '.join(cleaned(name, 40) for name in sorted(changed)[:_SHOWN])}): they may be signed anew, and "
        "each would be paid for again. Set link_identity='path' where no parameter tells one image from another, "
        f"{kept} where these do, or 'link' where every query is another image"
    )
    raise InvalidParameters(msg)


def _decided(row: PlannedRow, place: int, scratch: Scratch, decision: Decision, names: FileNames) -> PlannedRow:
    if row.invalid:
        return replace(row, treatment=Treatment.INVALID.value)
    found = scratch.newest(row.key)
    earlier = None if found is None else LedgerEntry.from_payload(found)
    treatment = _treatment(row, earlier, names, decision)
    if said := names.refusal(row, treatment, earlier):
        return replace(row, treatment=Treatment.INVALID.value, invalid=said)
    if scratch.first_place(row.key, place) != place:
        return replace(row, treatment=Treatment.SAME.value)
    names.use(row, place, treatment, earlier)
    known = found or {}
    if earlier is not None and treatment in {Treatment.SUBMIT, Treatment.TAKE_UP}:
        replaces = row.stem if names.is_taken(row.stem) and names.is_own(row) else ""
        known = _known_before(earlier, decision) if treatment is Treatment.SUBMIT else known
        known = {**known, "replaces": replaces}
    return replace(row, treatment=treatment.value, earlier=known)


def _treatment(row: PlannedRow, earlier: LedgerEntry | None, names: FileNames, decision: Decision) -> Treatment:
    treatment = treatment_of(
        earlier,
        plan=decision.plan,
        run=decision.run,
        is_cleared=decision.is_cleared,
        has_seed="seed" in row.arguments,
    )
    if treatment is not Treatment.REUSE or earlier is None or earlier.plan == decision.plan:
        # What an earlier try of the same decision has landed is done, whatever has become of its files since.
        return treatment
    return Treatment.REUSE if names.are_there(earlier) else Treatment.SUBMIT


def _known_before(earlier: LedgerEntry, decision: Decision) -> dict[str, Any]:
    # Attempts are counted by run: those of another run are its own.
    attempts, _ = spent_by(decision.run, earlier, decision.price)
    known = {"attempts": attempts, "spent": spent_before(earlier, decision.price)}
    return {name: value for name, value in known.items() if value}


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
