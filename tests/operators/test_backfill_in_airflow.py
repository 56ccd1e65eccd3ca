"""A backfill over a batch in a real Airflow: its runs share one ledger, so one at a time may use it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final

import pytest

from demo.local_airflow import LocalAirflow
from demo.processes import wait_until
from tests.kill.vendor import Vendor
from tests.running import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.timeout(500), pytest.mark.real_input("E7")]

DAG_ID: Final = "nightly"
PHOTOS: Final = 3
RUNS: Final = 3
DAG: Final = textwrap.dedent(
    """
    from datetime import datetime, timedelta

    from airflow.sdk import dag

    from airflow_imagepipeline.operators.batch import ImageToImageBatchOperator


    @dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, is_paused_upon_creation=False)
    def nightly():
        ImageToImageBatchOperator(
            task_id="edit",
            inputs=[f"https://photos.test/{i}.png" for i in range(3)],
            request={"prompt": "nightly"},
            destination="FOLDER",
            poll_interval=0.5,
            retries=9,
            retry_delay=timedelta(seconds=2),
        )


    nightly()
    """
)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as vendor:
        yield vendor


@pytest.fixture
def airflow(vendor: Vendor, tmp_path: Path) -> Iterator[LocalAirflow]:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "nightly.py").write_text(DAG.replace("FOLDER", (tmp_path / "edited").as_uri()))
    connection = {"conn_type": "imagepipeline", "host": vendor.server.url, "password": KEY}
    # The command writes beside all parts of Airflow, and SQLite lets one write at a time.
    database = f"sqlite:///{tmp_path}/airflow.db?timeout=60"
    connections = {"imagepipeline_default": connection}
    with LocalAirflow(tmp_path / "home", dags, connections=connections, database_url=database) as running:
        yield running


def backfill(airflow: LocalAirflow, days: tuple[str, str], *more: str) -> None:
    wait_until(lambda: airflow._known(DAG_ID), seconds=60, what="the DAG to be known", every=0.5)
    dates = ["--from-date", days[0], "--to-date", days[1]]
    command = [sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", DAG_ID, *dates, *more]

    def create() -> bool | None:
        ended = subprocess.run(  # noqa: S603 - Airflow's own command
            command, env=airflow.environment, capture_output=True, text=True, timeout=120, check=False
        )
        # A backfill whose runs have ended counts as running until the scheduler looks at it, twice a minute.
        if "AlreadyRunningBackfill" in ended.stderr:
            return None
        assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"
        return True

    wait_until(create, seconds=150, what="the backfill to begin", every=5)


def tries(airflow: LocalAirflow, day: str) -> list[dict[str, Any]]:
    """Return the task instances of the runs of a month's days that begin alike, once all of them have ended well."""

    def look() -> list[dict[str, Any]] | None:
        airflow.check_parts()
        found = airflow.get(f"/dags/{DAG_ID}/dagRuns/~/taskInstances")["task_instances"]
        ours = [task for task in found if str(task["logical_date"]).startswith(day)]
        assert not [task for task in ours if task["state"] == "failed"]
        return ours if len(ours) == RUNS and all(task["state"] == "success" for task in ours) else None

    return wait_until(look, seconds=150, what=f"the backfill of {day} to end", every=0.5)


@pytest.mark.real_input("E7")
def test_the_runs_of_a_backfill_share_the_ledger_one_after_the_other_and_pay_once(
    airflow: LocalAirflow, vendor: Vendor
) -> None:
    order = vendor.expect("nightly")
    backfill(airflow, ("2026-01-01", "2026-01-03"))
    order.wait_for_jobs(PHOTOS)
    # All runs are under way at once: one has the ledger, the others are told what to do.
    busy = "--max-active-runs 1"

    def refused() -> str | None:
        found = airflow.get(f"/dags/{DAG_ID}/dagRuns/~/taskInstances")["task_instances"]
        logs = [
            airflow.task_log(DAG_ID, task["dag_run_id"], "edit") for task in found if task["state"] == "up_for_retry"
        ]
        return next((log for log in logs if busy in log), None)

    log = wait_until(refused, seconds=90, what="a run to find the ledger in use", every=0.5)
    assert "LedgerBusy" in log
    order.is_done = True
    assert max(task["try_number"] for task in tries(airflow, "2026-01-0")) > 1
    assert len(order.jobs) == PHOTOS

    backfill(airflow, ("2026-02-01", "2026-02-03"), "--max-active-runs", "1")
    assert [task["try_number"] for task in tries(airflow, "2026-02-0")] == [1] * RUNS
    assert len(order.jobs) == PHOTOS
