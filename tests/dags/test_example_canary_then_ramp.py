"""The canary is paid for, looked at, and let through by a check and a person; else nothing else is paid for."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from demo.airflow_api import ApiError
from demo.local_airflow import LocalAirflow
from demo.processes import wait_until
from tests.doubles.moto_server import aws_connection
from tests.images.corpus import photo
from tests.running import KEY, PROMPT, assert_discreet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG

    from tests.doubles.moto_server import Moto
    from tests.vendor import Vendor

pytestmark = pytest.mark.slow

DAG_ID = "example_canary_then_ramp"
PHOTOS = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg", "motorcycle_left.png")
CANARY = 2


@pytest.fixture(autouse=True)
def _usual(vendor: Vendor) -> Iterator[None]:
    vendor.settings.job_seconds = 0.0
    yield
    vendor.settings.canned, vendor.settings.fail_rate, vendor.settings.model = False, 0.0, "v1"


def put(moto: Moto, bucket: str, name: str) -> None:
    target = io.BytesIO()
    photo(name).resize((240, 160)).save(target, "JPEG")
    moto.s3.put_object(Bucket=bucket, Key=f"catalog/{name.partition('.')[0]}.jpg", Body=target.getvalue())


@pytest.fixture
def catalogue(moto: Moto, bucket: str) -> dict[str, str]:
    """Fill a bucket with photos; the params of a run that edits them."""
    for name in PHOTOS:
        put(moto, bucket, name)
    return {"catalogue": f"s3://{bucket}/catalog/*.jpg", "prompt": PROMPT, "destination": f"s3://{bucket}/edited"}


class Runs:
    """Runs of the example with a canary of two photos."""

    def __init__(self, dag: DAG, params: dict[str, str]) -> None:
        self._dag = dag
        self._params = params
        self.canary = cast("Any", dag.get_task("canary"))
        self.canary.max_jobs = CANARY

    def approved(self) -> DagRun:
        """Run it to its end as if somebody approved it."""
        run: DagRun = self._dag.test(run_conf=self._params, mark_success_pattern="approve")
        return run


@pytest.fixture
def runs(dag_of: Callable[[str], DAG], catalogue: dict[str, str], capfd: pytest.CaptureFixture[str]) -> Iterator[Runs]:
    yield Runs(dag_of(DAG_ID), catalogue)
    assert_discreet("".join(capfd.readouterr()))


def states(run: DagRun) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def counted(run: DagRun, task_id: str) -> dict[str, int]:
    (instance,) = (ti for ti in run.get_task_instances() if ti.task_id == task_id)
    summary = instance.xcom_pull(task_ids=task_id)
    return {outcome: count for outcome, count in summary["counts"].items() if count}


@pytest.mark.usefixtures("quick")
def test_the_ramp_pays_only_for_what_the_canary_has_left(runs: Runs, vendor: Vendor) -> None:
    first = runs.approved()

    assert (first.state, set(states(first).values())) == ("success", {"success"})
    assert counted(first, "canary") == {"landed": 2, "over_budget": 3}
    assert counted(first, "ramp") == {"landed": 3, "reused": 2}
    assert vendor.count("accepted") == len(PHOTOS)

    # With nothing new, nobody is asked.
    again = runs.approved()
    assert again.state == "success"
    assert {name for name, state in states(again).items() if state == "skipped"} == {"sheet", "approve", "ramp"}
    assert vendor.count("accepted") == len(PHOTOS)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", ["it gives one picture for all", "its jobs fail"])
def test_a_model_that_has_changed_for_the_worse_costs_the_canary(
    runs: Runs, vendor: Vendor, moto: Moto, bucket: str, fault: str
) -> None:
    if fault == "its jobs fail":
        vendor.settings.fail_rate = 1.0
    else:
        vendor.settings.canned = True

    run = runs.approved()

    assert (run.state, states(run)["canary"], states(run)["ramp"]) == ("failed", "failed", "upstream_failed")
    assert vendor.count("accepted") == CANARY
    assert not [key for key in moto.keys(bucket) if re.fullmatch(r"edited/[^/]+\.webp", key)]


@pytest.mark.usefixtures("quick")
def test_what_went_well_before_does_not_speak_for_a_worse_model(
    runs: Runs, vendor: Vendor, moto: Moto, bucket: str
) -> None:
    runs.approved()
    for name in ("camera.png", "clock_motion.png"):
        put(moto, bucket, name)
    vendor.settings.canned = True
    runs.canary.max_jobs = 1

    run = runs.approved()

    # Five of six rows are good, but the only new one is not.
    assert counted(run, "canary") == {"reused": 5, "rejected": 1, "over_budget": 1}
    found = states(run)
    assert (found["canary"], found["new_ones_are_good"], found["ramp"]) == ("success", "failed", "upstream_failed")
    assert (run.state, vendor.count("accepted")) == ("failed", len(PHOTOS) + 1)


@pytest.fixture(scope="module")
def airflow(_vendor: Vendor, moto: Moto, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    """Start a real Airflow that has the example, with a canary of two photos and looks that suit jobs of no time."""
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    example = (Path(__file__).parents[2] / "dags" / f"{DAG_ID}.py").read_text()
    for before, after in (
        ("CANARY = 10", f"CANARY = {CANARY}"),
        ('"accept": {},', '"accept": {}, "poll_interval": 0.2,'),
    ):
        assert before in example
        example = example.replace(before, after)
    (dags / f"{DAG_ID}.py").write_text(example)
    connections: dict[str, Any] = {
        "imagepipeline_default": {"conn_type": "imagepipeline", "host": _vendor.url, "password": KEY},
        "aws_default": aws_connection(moto.url),
    }
    config = {("scheduler", "job_heartbeat_sec"): 1}
    with LocalAirflow(home / "home", dags, connections=connections, config=config) as running:
        yield running


@pytest.mark.live
@pytest.mark.timeout(300)
@pytest.mark.parametrize("answer", ["Approve", "Reject"])
def test_a_person_decides_in_airflow(
    airflow: LocalAirflow, vendor: Vendor, catalogue: dict[str, str], *, answer: str
) -> None:
    if answer == "Reject":
        # The vendor's model has changed: every picture has another look, which a person sees and no check does.
        vendor.settings.model = "v2"
    run_id = airflow.trigger(DAG_ID, catalogue)
    asked = wait_until(lambda: question(airflow, run_id), seconds=120, what="the question", every=1)
    paid = vendor.count("accepted")
    # A person takes longer, too: Airflow 3.3 takes the end of the process that asked for the end of the task when
    # the answer is there before the scheduler has heard of it, which it has after a whole turn of its loop.
    for _ in range(2):
        before = heartbeat(airflow)
        wait_until(lambda: heartbeat(airflow) != before or None, seconds=60, what="the scheduler", every=0.3)  # noqa: B023
    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    airflow.patch(path, {"chosen_options": [answer], "params_input": {}})
    state = airflow.wait_for_run(DAG_ID, run_id, 120)
    ramp = {ti["task_id"]: ti["state"] for ti in airflow.task_instances(DAG_ID, run_id)}["ramp"]

    assert paid == CANARY
    assert asked["subject"] == "Edit 3 more photos?"
    assert "2 of 2 new images are good: s3://" in asked["body"]
    assert "/edited/_sheets/canary-" in asked["body"]
    assert "about $0.12" in asked["body"]
    approved = answer == "Approve"
    assert (state, ramp) == ("success", "success" if approved else "skipped")
    assert vendor.count("accepted") == (len(PHOTOS) if approved else CANARY)


def heartbeat(airflow: LocalAirflow) -> str:
    """Return when the scheduler was last alive."""
    return str(airflow.get("/monitor/health")["scheduler"]["latest_scheduler_heartbeat"])


def question(airflow: LocalAirflow, run_id: str) -> dict[str, Any] | None:
    """Return what a person is asked, when it is asked."""
    airflow.check_parts()
    try:
        found: dict[str, Any] = airflow.get(f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails")
    except ApiError as error:
        if error.status != httpx.codes.NOT_FOUND:
            raise
        state = airflow.get(f"/dags/{DAG_ID}/dagRuns/{run_id}")["state"]
        assert state in {"queued", "running"}, state
        return None
    return found
