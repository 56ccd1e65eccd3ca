"""When jobs fail in every way at once: what is counted, when the task fails, and what a redo pays for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest

from airflow_imagepipeline.emulator.failures import FAILURES
from airflow_imagepipeline.exceptions import BatchFailed, BatchIncomplete
from airflow_imagepipeline.records.object_storage import LedgerBusy
from tests.generations import CURRENT, OLD, only_current, only_old, spoken
from tests.operators.nights import Nights, TaskInstance, assert_complete, counts
from tests.running import KEY, assert_discreet, fails_with, in_task_modes

pytestmark = pytest.mark.usefixtures("generation", "quick")

KINDS = [kind for kind in FAILURES if kind not in {"RATE_LIMIT_EXCEEDED", "CONCURRENT_JOBS_EXCEEDED"}]
USELESS = {code for code, kind in FAILURES.items() if kind.is_retryable is False}
BROKE = {"INSUFFICIENT_CREDITS", "CREDIT_CHARGE_FAILED"}

in_every_way = pytest.mark.parametrize(
    ("generation", "mode"),
    [(OLD, "worker"), (CURRENT, "worker"), (CURRENT, "triggerer")],
    ids=str,
    indirect=["generation"],
)
"""Each generation, and each mode; they do not know of one another."""


@pytest.mark.slow
@in_every_way
def test_every_kind_of_failure_at_once_is_counted_and_a_clear_redoes_what_it_can_change(nights: Nights) -> None:
    rows = nights.rows(50)
    failing = [kind for kind in KINDS for _ in range(2)]
    nights.settings.fail_next = [code for kind in failing for code in (kind, None)]
    nights.settings.refuse_next = ["INPUT_INVALID"] * 3 + ["RATE_LIMIT_EXCEEDED", "STORAGE_ERROR"] * 2
    nights.settings.retry_after = 0
    bad = len(failing) + 3

    with fails_with(BatchFailed, f"{bad} failed", "Manifest: file://"):
        nights.run("n1", rows)
    first = nights.manifest()
    assert_complete(first, nights.summary)
    assert counts(nights.summary) == {"landed": 50 - bad, "failed": bad}
    assert nights.paid == 47 == nights.summary["submitted"]
    told = Counter(row["reason_code"] for row in first if row["outcome"] == "failed" and row["job_id"])
    assert told == (Counter(failing) if spoken() is CURRENT else {"FAILED": len(failing)})

    with fails_with(BatchFailed, f"{bad} failed"):
        nights.retry(rows)
    assert nights.paid == 0
    assert [row["outcome"] for row in nights.manifest()] == [row["outcome"] for row in first]

    # Only the current generation says which failures are useless to try again.
    kept = sum(code in USELESS - BROKE for code in failing) if spoken() is CURRENT else 0
    summary = nights.clear(rows, min_success_ratio=0.0)
    assert nights.paid == bad - kept
    assert counts(summary) == {"landed": bad - kept, "reused": 50 - bad, **({"failed": kept} if kept else {})}


@pytest.mark.parametrize(("ratio", "succeeds"), [(0.8, True), (0.800001, False), (1, False), (0, True)])
@only_old
def test_the_task_fails_exactly_below_the_ratio(nights: Nights, ratio: float, *, succeeds: bool) -> None:
    nights.settings.fail_next = ["MODEL_ERROR"]
    rows = [*nights.rows(5), {"sku": "no image"}]
    arguments: dict[str, Any] = {"min_success_ratio": ratio, "on_invalid_row": "skip"}
    if succeeds:
        assert counts(nights.run("n1", rows, **arguments)) == {"landed": 4, "failed": 1, "invalid": 1}
    else:
        with fails_with(BatchFailed, "4 landed, 1 failed, 1 invalid", "The model failed"):
            nights.run("n1", rows, **arguments)
        assert counts(nights.summary) == {"landed": 4, "failed": 1, "invalid": 1}


@only_current
@in_task_modes
def test_all_failed_is_a_failed_task_whatever_the_ratio(nights: Nights) -> None:
    nights.settings.fail_next = ["MODEL_ERROR"] * 3
    with fails_with(BatchFailed, "3 failed"):
        nights.run("n1", nights.rows(3), min_success_ratio=0.0)
    assert nights.summary["counts"]["failed"] == 3


@in_every_way
def test_without_credits_nothing_more_is_submitted_and_what_is_in_flight_is_landed(nights: Nights) -> None:
    rows = nights.rows(12)
    nights.settings.credits = 4
    with fails_with(BatchIncomplete, "4 landed, 8 not_submitted", "redits"):
        nights.run("n1", rows)
    assert nights.paid == 4
    assert nights.emulator.stats()["refused_by_status"]["402"] <= 8
    assert_complete(nights.manifest(), nights.summary)

    nights.settings.credits = None
    assert counts(nights.retry(rows)) == {"landed": 12}
    assert nights.paid == 8


@in_every_way
def test_a_key_that_is_refused_stops_the_batch_and_a_retry_goes_on(nights: Nights) -> None:
    rows = nights.rows(4)
    nights.settings.api_key = "another"
    with fails_with(BatchIncomplete, "4 not_submitted", "401"):
        nights.run("n1", rows)
    nights.settings.api_key = KEY
    assert counts(nights.retry(rows)) == {"landed": 4}
    assert nights.paid == 4


@pytest.mark.slow
@in_every_way
def test_too_many_at_once_makes_the_window_smaller_and_every_image_is_paid_once(nights: Nights) -> None:
    nights.settings.concurrent_jobs, nights.settings.retry_after = 3, 0
    nights.settings.job_seconds = 0.2
    summary = nights.run("n1", nights.rows(12), max_in_flight=10)
    assert (counts(summary), nights.paid) == ({"landed": 12}, 12)
    refused = nights.emulator.stats()["refused_by_status"]["429"]
    assert 0 < refused <= 12


@only_old
def test_one_slow_job_holds_no_other(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = threading.Event()
    from airflow_imagepipeline.batch.landing import Lander

    land, landed = Lander.land, []

    def slowly(lander: Lander, row: Any, job: Any) -> Any:
        if row.index == 0:
            slow.wait(60)
        landed.append(row.index)
        if len(landed) == 7:
            slow.set()
        return land(lander, row, job)

    monkeypatch.setattr(Lander, "land", slowly)
    assert counts(nights.run("n1", nights.rows(8), max_in_flight=3)) == {"landed": 8}
    assert landed[-1] == 0


@only_current
def test_an_image_that_breaks_the_landing_holds_no_other_and_is_landed_by_a_retry(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_imagepipeline.batch.landing import Lander

    land = Lander.land

    def broken(lander: Lander, row: Any, job: Any) -> Any:
        if row.index in {1, 3}:
            raise MemoryError(job.download_urls[0])
        return land(lander, row, job)

    with monkeypatch.context() as storage:
        storage.setattr(Lander, "land", broken)
        with fails_with(BatchIncomplete, "3 landed, 2 failed", "MemoryError"):
            nights.run("n1", nights.rows(5))
    assert counts(nights.retry(nights.rows(5))) == {"landed": 5}
    assert nights.paid == 0


@pytest.mark.slow
@only_current
@in_task_modes
def test_an_api_that_goes_away_leaves_what_a_retry_goes_on_with(nights: Nights) -> None:
    rows = nights.rows(24)
    nights.settings.job_seconds = 0.4
    gone = threading.Thread(target=_stop_after, args=(nights, 6))
    gone.start()
    with fails_with(BatchIncomplete, "not_submitted"):
        nights.run("n1", rows, max_in_flight=4, job_timeout=2.0)
    gone.join()
    paid, before = nights.paid, counts(nights.summary)
    assert_complete(nights.manifest(), nights.summary)
    assert before["not_submitted"] >= 8
    uncertain = before.get("uncertain", 0)
    assert uncertain <= 8

    # What it knew is gone with it: those that were in flight are not paid for again.
    nights.emulator.start()
    with fails_with(BatchIncomplete):
        nights.retry(rows, max_in_flight=20, job_timeout=2.0)
    assert paid + nights.paid <= 24
    after = counts(nights.summary)
    assert after["landed"] == 24 - after.get("failed", 0) - after.get("uncertain", 0) >= 8


def _stop_after(nights: Nights, jobs: int) -> None:
    until = time.monotonic() + 60
    while nights.emulator.stats()["accepted"] < jobs and time.monotonic() < until:
        time.sleep(0.01)
    nights.emulator.stop()


@only_old
def test_another_run_is_refused_while_the_ledger_is_held_and_the_same_one_takes_it_over(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_imagepipeline.batch.engine import Batch

    async def dies(_batch: Batch, _ended: object, chores: Any) -> bool:
        for chore in chores:
            chore.close()
        raise KeyboardInterrupt

    with monkeypatch.context() as worker:
        worker.setattr(Batch, "run", dies)
        with pytest.raises(KeyboardInterrupt):
            nights.run("n1", nights.rows(3))
    first = nights.ti
    with fails_with(LedgerBusy, "in use by task edit of DAG photos, run n1", "A retry may find it free"):
        nights.run("n2", nights.rows(3))
    nights.ti = first
    assert counts(nights.retry(nights.rows(3))) == {"landed": 3}
    assert counts(nights.run("n2", nights.rows(3))) == {"reused": 3}


@only_current
def test_a_run_that_another_one_followed_is_planned_anew_and_pays_for_nothing_again(nights: Nights) -> None:
    rows = nights.rows(6)
    nights.settings.fail_next = ["MODEL_ERROR"] * 2
    nights.settings.credits = 3
    with fails_with(BatchIncomplete):
        nights.run("n1", rows)
    first, done = nights.ti, counts(nights.summary)
    nights.settings.credits = None
    assert counts(nights.run("n2", rows)) == {"reused": done["landed"], "landed": 6 - done["landed"]}
    assert nights.paid == 6 - done["landed"]

    nights.ti = first
    assert nights.retry(rows)["counts"]["landed"] + nights.retry(rows)["counts"]["reused"] == 6
    assert nights.paid == 0


@only_current
def test_a_retry_reports_what_the_first_try_landed_as_landed_by_this_run(nights: Nights) -> None:
    nights.settings.fail_next = [None, "MODEL_ERROR"]
    for again in (None, nights.retry):
        with fails_with(BatchFailed):
            again(nights.rows(3)) if again else nights.run("n1", nights.rows(3))
        assert counts(nights.summary) == {"landed": 2, "failed": 1}
        assert nights.summary["submitted"] == 3
        assert [row["attempts"] for row in nights.manifest()] == [1] * 3


@only_old
def test_what_failed_leaves_its_summary_for_those_who_read_it(nights: Nights) -> None:
    nights.settings.fail_next = ["MODEL_ERROR"]
    with fails_with(BatchFailed):
        nights.attempt(TaskInstance("n1"), nights.rows(2))
    assert set(nights.ti.pushed) == {"return_value"}
    assert nights.summary["total"] == 2
    assert_discreet(str(nights.summary), hide_links=True)
