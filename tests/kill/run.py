"""One DAG run of the suite, its order with the vendor, and what must have become of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from demo.airflow_api import ApiError
from demo.processes import wait_until

if TYPE_CHECKING:
    from demo.local_airflow import LocalAirflow
    from tests.kill.vendor import Order, Vendor

TASK = "image"
UNCERTAIN = "SubmissionUncertain"
_PATIENCE = 240.0


@dataclass(frozen=True)
class Run:
    """A DAG run that orders one picture, or the part of a run that orders one of several.

    :param map_index: of the task instance; -1 where the task is not mapped.
    """

    airflow: LocalAirflow
    vendor: Vendor
    dag_id: str
    run_id: str
    order: Order
    destination: Path
    map_index: int = -1

    @property
    def task(self) -> dict[str, Any]:
        """The task instance, as Airflow's API describes it now."""
        tasks = self.airflow.task_instances(self.dag_id, self.run_id)
        return next(task for task in tasks if task["map_index"] == self.map_index)

    def wait_for_task(self, state: str, *, try_number: int = 1, seconds: float = _PATIENCE) -> dict[str, Any]:
        """Wait until the task is in a state, in this try or a later one, and return it."""

        def look() -> dict[str, Any] | None:
            try:
                task = self.task
            except (httpx.TransportError, ApiError, StopIteration):  # parts of Airflow are down on purpose
                return None
            return task if task["state"] == state and task["try_number"] >= try_number else None

        return wait_until(look, seconds=seconds, what=f"{self.order.prompt!r}: try {try_number} to be {state}")

    def wait_for_try(self, number: int) -> None:
        """Wait until this try of the task has begun, or a later one."""

        def look() -> bool | None:
            try:
                return True if self.task["try_number"] >= number else None
            except (httpx.TransportError, ApiError):
                return None

        wait_until(look, seconds=_PATIENCE, what=f"{self.order.prompt!r}: try {number}")

    def wait_for_log(self, text: str) -> None:
        """Wait until the task has logged a text."""
        what = f"{self.order.prompt!r} to log {text!r}"
        wait_until(lambda: text in self.logs() or None, seconds=_PATIENCE, what=what)

    def wait_for_end(self, seconds: float = _PATIENCE) -> str:
        """Wait until the run has ended, and return its state."""
        return self.airflow.wait_for_run(self.dag_id, self.run_id, seconds, parts_may_die=True)

    def finish(self) -> None:
        """Let the vendor finish the job; the run must then succeed and the picture be home, whole."""
        self.order.is_done = True
        state = self.wait_for_end()
        assert state == "success", self.logs()
        self.assert_landed()

    def end_paid_once(self) -> None:
        """Let the vendor finish the job; whether or not the task could hold on to it, one must have been accepted."""
        self.order.is_done = True
        if self.wait_for_end() == "success":
            self.assert_landed()
        else:
            self.assert_uncertain()
        assert len(self.order.jobs) == 1

    def assert_landed(self) -> None:
        """Compare the landed file of the newest job with what the vendor painted."""
        job_id = self.order.jobs[-1]
        file = self.destination / f"{job_id}-00.png"
        assert file.read_bytes() == self.vendor.picture(job_id)

    def assert_uncertain(self) -> None:
        """Check that the run fails for good with the sentence that asks for a human, and that nothing came home."""
        self.order.is_done = True  # a job that must not be there would end, and the run with it
        state = self.wait_for_end()
        assert state == "failed", self.logs()
        task = self.task
        assert task["try_number"] <= task["max_tries"], "stopped by the last try, not by the operator"
        assert UNCERTAIN in self.logs()
        assert not list(self.destination.glob("*.png"))

    def clear(self) -> None:
        """Clear the task as a person does."""
        self.airflow.clear(self.dag_id, self.run_id, [TASK])

    def logs(self) -> str:
        """Return the logs of all tries; of a try that was lost there may be none."""
        texts = []
        for number in range(1, self.task["try_number"] + 1):
            try:
                text = self.airflow.task_log(
                    self.dag_id, self.run_id, TASK, try_number=number, map_index=self.map_index
                )
            except ApiError as error:
                text = str(error)
            texts.append(f"--- try {number}\n{text}")
        return "\n".join(texts)
