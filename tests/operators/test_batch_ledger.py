"""Who may work on a ledger: a process that was superseded, a batch that was ended by a human, one that broke off."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from airflow_imagepipeline.exceptions import BatchFailed
from airflow_imagepipeline.records.object_storage import LeaseLost, Ledger, LedgerBusy
from airflow_imagepipeline.records.plans import PlanStore
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
        storage.setattr("airflow_imagepipeline.records.grouped_writer._ATTEMPTS", 1)
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


@only_current
@pytest.mark.parametrize(
    ("state", "is_free"),
    [("failed", True), ("success", True), ("deferred", False), ("queued", False), ("up_for_retry", False), ("", False)],
)
def test_a_batch_that_a_human_has_ended_while_it_was_deferred_leaves_its_ledger_to_the_next_night(
    nights: Nights, state: str, *, is_free: bool
) -> None:
    nights.settings.job_seconds = 0.6
    rows, given = nights.rows(2), cast("Context", {"ti": TaskInstance("n1"), "params": {}, "run_id": "n1"})
    deferred = nights.operator(inputs=rows, deferrable=True, poll_interval=0.2)
    with pytest.raises(TaskDeferred):
        _in_task_runner(deferred, lambda task: task.execute(given))

    ti = TaskInstance("n2")
    ti.states = {"n1": state} if state else {}
    if not is_free:
        with fails_with(LedgerBusy, "is in use by task edit of DAG photos, run n1"):
            nights.attempt(ti, rows)
        return
    assert counts(nights.attempt(ti, rows)) == {"landed": 2}
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
