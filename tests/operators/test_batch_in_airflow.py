"""Whose ledger it is, asked of a real Airflow: the next night takes it when a person has ended the deferred batch."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import pytest

from demo.local_airflow import LocalAirflow
from demo.processes import wait_until
from tests.kill.vendor import Order, Vendor
from tests.operators.nights import TaskInstance
from tests.running import KEY, assert_discreet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

DAG_ID: Final = "photos"
PHOTOS: Final = 4
EDIT, ENDED, KEPT = ("edit", -1), ("shards", 0), ("shards", 1)
"""The batches of a night: a plain task, and the two parts of a mapped one, each with a ledger of its own."""
DAG: Final = textwrap.dedent(
    """
    from airflow.sdk import dag, task

    from airflow_imagepipeline.operators.batch import ImageToImageBatchOperator


    def usual(task_id):
        return {
            "task_id": task_id,
            "inputs": [f"https://photos.test/{i}.png" for i in range(4)],
            "request": {"prompt": task_id},
            "destination": "{{ dag_run.conf.folder }}/" + task_id,
            "deferrable": True,
            "defer_after": 0.0,
            "poll_interval": 0.5,
            "retries": 0,
        }


    @dag(schedule=None)
    def photos():
        @task
        def told(ti, dag_run):
            def ask(run_id, task_id, map_index):
                return ti.get_task_states(dag_id="photos", run_ids=[run_id], task_ids=[task_id], map_index=map_index)

            earlier = dag_run.conf["earlier"]
            return {
                "edit": ask(earlier, "edit", -1),
                "unknown": ask("unknown", "edit", -1),
                "mapped": [ask(earlier, "shards", 0), ask(earlier, "shards", 1)],
            }

        told()
        ImageToImageBatchOperator(**usual("edit"))
        ImageToImageBatchOperator.partial(**usual("shards")).expand(shard=[[0, 2], [1, 2]])


    photos()
    """
)


class Night:
    """A run of the DAG, and what has become of its batches."""

    def __init__(self, airflow: LocalAirflow, folder: Path, earlier: str = "") -> None:
        self._airflow = airflow
        self.run_id = airflow.trigger(DAG_ID, {"folder": folder.as_uri(), "earlier": earlier})

    def wait_for(self, states: Mapping[tuple[str, int], str]) -> None:
        """Wait until batches are in the states that are given; every other end is an error at once."""

        def look() -> bool | None:
            found = self.states()
            for batch, state in states.items():
                if found.get(batch) in {"success", "failed"}:
                    assert found[batch] == state, self.log(batch)
            return True if {batch: found.get(batch) for batch in states} == states else None

        self._airflow.check_parts()
        wait_until(look, seconds=90, what=f"{self.run_id} to be {states}", every=0.3)

    def states(self) -> dict[tuple[str, int], str | None]:
        tasks = self._airflow.task_instances(DAG_ID, self.run_id)
        return {(task["task_id"], task["map_index"]): task["state"] for task in tasks}

    def mark(self, batch: tuple[str, int], state: str) -> None:
        """Say what became of a batch, as a person does."""
        mapped = f"/{batch[1]}" if batch[1] >= 0 else ""
        path = f"/dags/{DAG_ID}/dagRuns/{self.run_id}/taskInstances/{batch[0]}{mapped}"
        self._airflow.patch(path, {"new_state": state})

    def delete(self) -> None:
        """Delete the DAG run, as a person does: Airflow refuses that while it runs."""
        path = f"/dags/{DAG_ID}/dagRuns/{self.run_id}"
        self._airflow.patch(path, {"state": "failed"})
        self._airflow.delete(path)

    def told(self) -> Any:
        """Return what Airflow has told a task of this night about the earlier one."""
        self.wait_for({("told", -1): "success"})
        return self._airflow.xcom(DAG_ID, self.run_id, "told")

    def log(self, batch: tuple[str, int]) -> str:
        text = self._airflow.task_log(DAG_ID, self.run_id, batch[0], map_index=batch[1])
        assert_discreet(text)
        return text

    def counts(self, batch: tuple[str, int]) -> dict[str, int]:
        summary = self._airflow.xcom(DAG_ID, self.run_id, batch[0], map_index=batch[1])
        return {outcome: count for outcome, count in summary["counts"].items() if count}


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as vendor:
        yield vendor


@pytest.fixture
def airflow(vendor: Vendor, tmp_path: Path) -> Iterator[LocalAirflow]:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "photos.py").write_text(DAG)
    connection = {"conn_type": "imagepipeline", "host": vendor.server.url, "password": KEY}
    with LocalAirflow(tmp_path / "home", dags, connections={"imagepipeline_default": connection}) as running:
        yield running


def double_of(states: dict[str, str], run_id: str) -> Any:
    """Return what the task instance of the other tests tells of a batch in such states, run id to state."""
    ti = TaskInstance("later")
    ti.states = states
    return ti.get_task_states(dag_id=DAG_ID, run_ids=[run_id], task_ids=["edit"], map_index=-1)


@pytest.mark.fault(122)
def test_a_batch_that_a_person_has_ended_while_it_was_deferred_leaves_ledger_and_jobs_to_the_next_night(
    airflow: LocalAirflow, vendor: Vendor, tmp_path: Path
) -> None:
    orders = [vendor.expect(prompt) for prompt in ("edit", "shards")]
    first = Night(airflow, tmp_path)
    first.wait_for(dict.fromkeys((EDIT, ENDED, KEPT), "deferred"))
    assert [len(order.jobs) for order in orders] == [PHOTOS, PHOTOS]
    first.mark(EDIT, "failed")
    first.mark(ENDED, "success")

    later = Night(airflow, tmp_path, first.run_id)
    later.wait_for({KEPT: "failed"})
    refused = "LedgerBusy: The ledger .*/shard-1-of-2 is in use by task shards .1. of DAG photos, run "
    assert re.search(refused + re.escape(first.run_id), later.log(KEPT))
    assert later.told() == {
        "edit": double_of({first.run_id: "failed"}, first.run_id),
        "unknown": double_of({first.run_id: "failed"}, "unknown"),
        "mapped": [{first.run_id: {"shards_0": "success"}}, {first.run_id: {"shards_1": "deferred"}}],
    }

    for order in orders:
        order.is_done = True
    later.wait_for({EDIT: "success", ENDED: "success"})
    first.wait_for({KEPT: "success"})
    assert [len(order.jobs) for order in orders] == [PHOTOS, PHOTOS]
    assert later.counts(EDIT) == {"landed": PHOTOS}
    assert later.counts(ENDED)["landed"] + first.counts(KEPT)["landed"] == PHOTOS
    the_ledgers_of_a_deleted_run_are_free(airflow, orders, tmp_path / "deleted")


def the_ledgers_of_a_deleted_run_are_free(airflow: LocalAirflow, orders: Sequence[Order], folder: Path) -> None:
    for order in orders:
        order.is_done = False
    deleted = Night(airflow, folder)
    deleted.wait_for(dict.fromkeys((EDIT, ENDED, KEPT), "deferred"))
    deleted.delete()
    for order in orders:
        order.is_done = True
    next_night = Night(airflow, folder, deleted.run_id)
    next_night.wait_for(dict.fromkeys((EDIT, ENDED, KEPT), "success"))
    assert next_night.told() == {"edit": double_of({}, deleted.run_id), "unknown": {}, "mapped": [{}, {}]}
    assert next_night.counts(EDIT) == {"landed": PHOTOS}
    assert [len(order.jobs) for order in orders] == [2 * PHOTOS, 2 * PHOTOS]
