"""
A ledger that version 0.1.0 has written is read and continued. The files are its own.

Night ``n1`` is over and compacted: ``a`` landed, ``b`` failed. Night ``n2`` has deferred: ``c`` is in flight, the turn
of ``d`` has not come.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_imagepipeline.batch.clears import Clears
from airflow_imagepipeline.batch.state import BatchState
from airflow_imagepipeline.policy.batch import Budget
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase
from airflow_imagepipeline.records.object_storage import Ledger, LedgerBusy, LedgerDamaged, Owner
from airflow_imagepipeline.records.plans import PlanStore
from airflow_imagepipeline.storage.folder import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_imagepipeline.storage.folder import Folder

WRITTEN: Final = Path(__file__).with_name("ledger_0_1_0")
N2, N3 = Owner("photos", "n2", "edit", -1), Owner("photos", "n3", "edit", -1)
PLAN: Final = "n2-222222bbbbbb-0-00000003"
DEADLINE: Final = 1_750_043_320.0


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    shutil.copytree(WRITTEN, tmp_path / "ledger")
    return open_folder((tmp_path / "ledger").as_uri(), None)


def taken(folder: Folder, owner: Owner = N2, *, now: float = DEADLINE - 60) -> Ledger:
    return Ledger.take(folder, owner, lease_seconds=60, clock=lambda: now, check=LedgerEntry.from_payload)


def phases(found: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, str]:
    return {entry["key"][0]: entry["phase"] for _, entry in found}


def test_its_lease_is_respected_and_its_entries_are_read(folder: Folder) -> None:
    with pytest.raises(LedgerBusy, match="in use by task edit of DAG photos, run n2"):
        taken(folder, N3)
    ledger = taken(folder)
    assert ledger.mark == "00000004-00000000"
    assert not ledger.is_contested
    assert phases(ledger.entries()) == {"a": "landed", "b": "failed", "c": "submitted"}


def test_it_goes_on_and_is_compacted(folder: Folder) -> None:
    ledger = taken(folder)
    newest = {entry["key"]: entry for _, entry in ledger.entries()}
    landed = LedgerEntry("d" * 32, 3, 3, "n2-222222bbbbbb-0", "2" * 16, RowPhase.SUBMITTING).to_payload()
    ledger.append([landed])
    ledger.compact([*newest.values(), landed], upto=ledger.mark)
    ledger.release()
    assert phases(taken(folder, N3).entries()) == {"a": "landed", "b": "failed", "c": "submitted", "d": "submitting"}
    assert [found.name for found in folder.listing("s")] == ["snapshots/00000004-00000001.jsonl"]
    # This is what version 0.1.0 looks for when somebody goes back to it.
    first = json.loads((folder.content("snapshots/00000004-00000001.jsonl") or b"").partition(b"\n")[0])
    assert first.items() >= {"v": 1, "kind": "snapshot", "entries": 4, "covers": {"3": 2, "4": 1}}.items()


def test_its_plan_is_taken_up_where_it_stands(folder: Folder) -> None:
    store, ledger = PlanStore(folder, PLAN), taken(folder)
    checkpoint = store.checkpoint()
    assert checkpoint is not None
    later = list(ledger.entries(after=checkpoint["mark"]))
    state = BatchState.resumed(checkpoint, later, Budget(max_jobs=None, max_cost=None, price=None))
    assert (state.cursor, state.budget.jobs) == (3, 1)
    assert {place: (entry.phase, entry.job_id) for place, entry in state.open.items()} == {2: ("submitted", "job-c")}
    assert [(row.stem, row.treatment) for row in store.rows(2)] == [("c", "submit"), ("d", "submit")]


@pytest.mark.parametrize(("max_tries", "count"), [(2, 0), (5, 3)])
def test_a_clear_is_told_from_a_retry(max_tries: int, count: int, folder: Folder) -> None:
    assert Clears.of(folder, "2" * 16, max_tries, "digest-of-n2") == Clears(count, is_changed=False)
    assert Clears.of(folder, "2" * 16, 2, "another digest") == Clears(0, is_changed=True)


def segment(mark: str, *entries: LedgerEntry) -> tuple[str, bytes]:
    lines = [{"v": 1, "kind": "segment", "entries": len(entries)}, *(entry.to_payload() for entry in entries)]
    return f"segments/{mark}.jsonl", b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.mark.fault(101)
def test_what_it_paid_for_after_its_leases_were_deleted_is_known(folder: Folder) -> None:
    # It began to count at 1 again, so that this segment looked as if the snapshot stood for it.
    paid = LedgerEntry("e" * 32, 1, 0, "p", "r", RowPhase.SUBMITTED, attempts=1, job_id="job-e")
    folder.write(*segment("00000001-00000001", paid))
    folder.remove(["lease/00000003.json"])
    ledger = taken(folder, N3)
    assert ledger.mark == "00000004-00000000"
    assert phases(ledger.entries()) == {"a": "landed", "b": "failed", "c": "submitted", "e": "submitted"}


@pytest.mark.fault(108)
def test_a_late_segment_of_its_dead_does_not_undo_what_its_snapshot_says(folder: Folder) -> None:
    folder.write(*segment("00000001-00000003", LedgerEntry("a" * 32, 3, 0, "p", "r", RowPhase.SUBMITTING)))
    assert phases(taken(folder).entries())["a"] == "landed"


def test_its_objects_are_validated_as_ours(folder: Folder) -> None:
    name = "segments/00000003-00000002.jsonl"
    folder.write(name, (folder.content(name) or b"").replace(b'"index":2', b'"index":"2"'))
    with pytest.raises(LedgerDamaged, match=f"{name} is damaged .*its index"):
        list(taken(folder).entries())
