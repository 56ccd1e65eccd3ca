"""Who may work on a ledger: a process that was superseded, a batch that was ended by a human, one that broke off."""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from airflow_imagepipeline.exceptions import BatchFailed
from airflow_imagepipeline.records.object_storage import LeaseLost, Ledger, LedgerBusy
from airflow_imagepipeline.records.plans import PlanDamaged, PlanStore
from airflow_imagepipeline.storage.folder import StorageFailed
from tests.airflow_versions import TaskDeferred
from tests.generations import only_current
from tests.operators.nights import Nights, TaskInstance, counts
from tests.operators.test_batch_money import FULL, ends_badly, nothing_lands
from tests.running import _in_task_runner, fails_with, run_to_end

if TYPE_CHECKING:
    from airflow.sdk import Context

pytestmark = pytest.mark.usefixtures("generation", "quick")


@pytest.mark.slow
@only_current
def test_a_worker_that_goes_on_after_the_next_try_has_begun_submits_nothing_that_this_one_submits(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_imagepipeline.records.object_storage._TRUSTED_FOR", 1.0)
    monkeypatch.setattr("airflow_imagepipeline.batch.lease_keeping.NOTICED_AFTER", 1.2)
    rows, usual = nights.rows(40), {"max_in_flight": 2}
    nights.settings.job_seconds = 0.15
    given: Any = {"ti": TaskInstance("n1"), "params": {}, "run_id": "n1"}
    ends: list[str] = []

    def go_on() -> None:
        try:
            run_to_end(lambda **mode: nights.operator(inputs=rows, **usual, **mode), given, nights.mode)
        except LeaseLost as error:
            ends.append(str(error))

    older = threading.Thread(target=go_on)
    older.start()
    while nights.emulator.stats()["accepted"] < 4:
        time.sleep(0.01)
    with suppress(BatchFailed):
        nights.attempt(TaskInstance("n1", 2), rows, **usual)
    older.join(30)

    assert len(ends) == 1
    assert 40 - 8 <= nights.emulator.stats()["accepted"] <= 40


@only_current
def test_a_batch_that_broke_off_leaves_its_ledger_to_others_at_once(nights: Nights) -> None:
    def full(*_: Any) -> Any:
        raise StorageFailed(FULL)

    with pytest.MonkeyPatch.context() as storage:
        storage.setattr("airflow_imagepipeline.batch.steps._PATIENCE", 0.0)
        storage.setattr(Ledger, "append_lines", full)
        with pytest.raises(StorageFailed, match=FULL):
            nights.run("n1", nights.rows(2))

    assert counts(nights.run("n2", nights.rows(2))) == {"landed": 2}


@only_current
def test_a_process_that_was_superseded_while_it_planned_leaves_the_newer_plan_alone(nights: Nights) -> None:
    freeze, newer = PlanStore.freeze, TaskInstance("n1", 2)
    rows = nights.rows(3)

    def superseded(store: PlanStore, lines: Any, about: Any) -> int:
        count = freeze(store, lines, about)
        storage.undo()
        assert counts(nights.attempt(newer, rows)) == {"landed": 3}
        return count

    before = nights.folder / "_imagepipeline" / "current.json"
    with pytest.MonkeyPatch.context() as storage:
        storage.setattr(PlanStore, "freeze", superseded)
        with pytest.raises(LeaseLost):
            nights.run("n1", rows)

    name = json.loads(before.read_text())["plan"]
    assert (before.parent / "plans" / name / "plan.json").exists()
    assert nights.emulator.stats()["accepted"] == 3


def deferred(nights: Nights, run_id: str, rows: Any, **arguments: Any) -> None:
    """Let a night submit its rows, and give up its worker."""
    nights.settings.job_seconds = 0.6
    given = cast("Context", {"ti": TaskInstance(run_id), "params": {}, "run_id": run_id})
    night = nights.operator(inputs=rows, deferrable=True, poll_interval=0.2, **arguments)
    with pytest.raises(TaskDeferred):
        _in_task_runner(night, lambda task: task.execute(given))


@only_current
@pytest.mark.parametrize(
    ("states", "is_free"),
    [
        ({"edit": "failed"}, True),
        ({"edit": "success"}, True),
        ({"edit": "removed"}, True),
        pytest.param({}, True, marks=pytest.mark.fault(122), id="the run was deleted"),
        ({"edit": "deferred"}, False),
        ({"edit": "queued"}, False),
        ({"edit": "up_for_retry"}, False),
        ({"edit": None}, False),
        ({"edit_0": "success", "edit_1": "success"}, True),
        ({"edit_0": "success", "edit_1": "running"}, False),
        pytest.param(None, False, marks=pytest.mark.fault(122), id="Airflow does not answer"),
        pytest.param("odd", False, marks=pytest.mark.fault(122), id="Airflow answers something else"),
    ],
    ids=str,
)
def test_a_batch_that_is_over_while_it_was_deferred_leaves_its_ledger_to_the_next_night(
    nights: Nights, states: Any, monkeypatch: pytest.MonkeyPatch, *, is_free: bool
) -> None:
    rows = nights.rows(2)
    deferred(nights, "n1", rows)

    def told(_: TaskInstance, **wanted: Any) -> Any:
        assert wanted == {"dag_id": "photos", "task_ids": ["edit"], "run_ids": ["n1"], "map_index": -1}
        if states is None:
            msg = "Broken pipe"
            raise OSError(msg)
        return {"n1": states} if states else {}

    monkeypatch.setattr(TaskInstance, "get_task_states", told)
    ti = TaskInstance("n2")
    if not is_free:
        with fails_with(LedgerBusy, "is in use by task edit of DAG photos, run n1"):
            nights.attempt(ti, rows)
        return
    assert counts(nights.attempt(ti, rows)) == {"landed": 2}
    assert nights.emulator.stats()["accepted"] == 2


DELETABLE = [
    ["lease"],
    ["runs"],
    ["plans", "current.json"],
    ["current.json"],
    ["plans"],
    ["segments"],
    ["lease", "runs", "plans", "current.json", "segments"],
]


def delete(nights: Nights, names: list[str]) -> None:
    for name in names:
        found = nights.folder / "_imagepipeline" / name
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)


@only_current
@pytest.mark.fault(101)
@pytest.mark.parametrize("names", DELETABLE, ids=" ".join)
def test_what_may_be_deleted_between_nights_is_not_missed(nights: Nights, names: list[str]) -> None:
    rows = nights.rows(3)
    assert counts(nights.run("n1", rows[:1])) == {"landed": 1}
    assert counts(nights.run("n2", rows[:1])) == {"reused": 1}
    for run_id, expected, paid in (("n3", {"reused": 1, "landed": 2}, 2), ("n4", {"reused": 3}, 0)):
        delete(nights, names)
        assert counts(nights.run(run_id, rows, max_jobs=2)) == expected
        assert nights.paid == paid
    assert counts(nights.retry(rows, max_jobs=2)) == {"reused": 3}
    assert nights.emulator.stats()["accepted"] == 3


@only_current
@pytest.mark.fault(101)
@pytest.mark.parametrize(
    "names", [["lease"], ["plans", "current.json"], ["lease", "plans", "current.json"]], ids=" ".join
)
def test_what_may_be_deleted_while_a_failed_night_waits_for_its_retry_is_not_missed(
    nights: Nights, names: list[str]
) -> None:
    rows = nights.rows(3)
    with nothing_lands(), ends_badly("3 failed"):
        nights.run("n1", rows)
    delete(nights, names)
    assert counts(nights.retry(rows)) == {"landed": 3}
    assert nights.emulator.stats()["accepted"] == 3


@only_current
@pytest.mark.fault(114)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"v": NaN}',
        b'{"v": 1, "plan": 5, "mark": 5, "about": {}, "count": 1}',
        b'{"v": 1, "plan": "../../x", "mark": "00000001-00000000", "about": {"mark": "x"}, "count": "1"}',
    ],
    ids=lambda content: repr(content[:30]),
)
@pytest.mark.parametrize("name", ["current.json", "plan.json", "checkpoint.json"])
def test_a_plan_that_is_damaged_is_made_anew_from_the_ledger(nights: Nights, name: str, content: bytes) -> None:
    rows = nights.rows(2)
    deferred(nights, "n1", rows)
    (found,) = (nights.folder / "_imagepipeline").rglob(name)
    found.write_bytes(content)
    assert counts(nights.attempt(TaskInstance("n1", 2), rows)) == {"landed": 2}
    assert nights.emulator.stats()["accepted"] == 2


@only_current
@pytest.mark.fault(114)
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda rows: rows[:-1],
        lambda rows: rows + rows,
        lambda rows: rows.replace(b"{", b"[", 1),
        lambda rows: rows.replace(b'"key":', b'"name":'),
        lambda rows: rows.replace(b'"treatment":"submit"', b'"treatment":5'),
        None,
    ],
    ids=["empty", "without an end", "doubled", "no JSON", "another field", "another type", "missing"],
)
def test_rows_of_a_plan_that_are_damaged_are_named_and_planned_anew_by_the_next_try(
    nights: Nights, damage: Any
) -> None:
    rows = nights.rows(2)
    deferred(nights, "n1", rows)
    (found,) = (nights.folder / "_imagepipeline").rglob("rows-000000.jsonl")
    if damage is None:
        found.unlink()
    else:
        found.write_bytes(damage(found.read_bytes()))
    with pytest.raises(PlanDamaged, match=r"rows-000000\.jsonl is damaged .* a retry, or a clear of the task, plans"):
        nights.attempt(TaskInstance("n1", 2), rows)
    assert counts(nights.retry(rows)) == {"landed": 2}
    assert nights.emulator.stats()["accepted"] == 2


@only_current
def test_a_batch_that_runs_keeps_its_ledger_whatever_airflow_says_of_it(nights: Nights) -> None:
    with nothing_lands(), pytest.MonkeyPatch.context() as storage:
        storage.setattr(Ledger, "release", lambda _: None)
        with ends_badly("1 failed"):
            nights.run("n1", nights.rows(1))
    ti = TaskInstance("n2")
    ti.states = {"n1": "failed"}
    with fails_with(LedgerBusy, "is in use"):
        nights.attempt(ti, nights.rows(1))
