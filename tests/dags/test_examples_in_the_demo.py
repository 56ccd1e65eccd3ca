"""Every example runs as it is in what the demo prepares: with the defaults of its params, and nothing else."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from demo import services
from demo.local_airflow import LocalAirflow
from demo.processes import wait_until
from demo.store import BUCKET, CATALOGUE, SENDER, Store
from tests.dags.conftest import DAGS
from tests.dags.test_example_canary_then_ramp import DAG_ID as CANARY
from tests.dags.test_example_canary_then_ramp import question
from tests.doubles.moto_server import aws_connection
from tests.running import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow.models.dagrun import DagRun

    from tests.doubles.moto_server import Moto
    from tests.vendor import Vendor

EXAMPLES = sorted(DAGS.glob("example_*.py"))
RESULTS = ("edited",)
"""Folders of the bucket that the examples write to."""


@pytest.fixture(scope="module")
def store(moto: Moto) -> Store:
    """Prepare S3, SNS and SES as the demo does."""
    return Store(moto.url)


@pytest.mark.real_input("F9")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_what_an_example_names_is_there(example: Path, store: Store, moto: Moto) -> None:
    code = example.read_text("utf-8")
    addresses = re.findall(r"s3://([^/\s\"']+)/([^\s\"']+)", code)
    keys = [key for key in moto.keys(BUCKET) if not key.startswith(RESULTS)]

    assert addresses
    for bucket, key in addresses:
        assert bucket == BUCKET
        assert key in RESULTS or [found for found in keys if fnmatchcase(found, key)], f"nothing is at {key}"
    assert set(re.findall(r"arn:[^\s\"']+", code)) <= {store.topic_arn}
    assert set(re.findall(r"\"mail_from\": Param\(\"(.*?)\"", code)) <= {SENDER}


@pytest.mark.slow
@pytest.mark.real_input("F9")
@pytest.mark.usefixtures("quick", "bucket", "store")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_to_its_end_without_an_argument(
    example: Path, dag_of: Callable[[str], Any], vendor: Vendor
) -> None:
    vendor.settings.job_seconds = 0.0
    dag = dag_of(example.stem)

    run: DagRun = dag.test(mark_success_pattern="approve")

    ends = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    skipped = {name for name, state in ends.items() if state != "success"}
    assert run.state == "success"
    assert skipped == {name for name in ends if name.endswith("_failure")}


@pytest.mark.live
@pytest.mark.real_input("F9")
@pytest.mark.timeout(420)
@pytest.mark.usefixtures("store")
def test_every_example_runs_in_a_real_airflow_without_an_argument(tmp_path: Path, moto: Moto) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    runs = [example.stem for example in EXAMPLES if example.stem != CANARY]
    with services.emulator(logs, api_key=KEY, job_seconds=2) as emulator:
        connections: dict[str, Any] = {
            "imagepipeline_default": services.imagepipeline_connection(emulator, KEY),
            "aws_default": aws_connection(moto.url),
        }
        config = {("scheduler", "use_job_schedule"): False}
        with LocalAirflow(tmp_path / "home", DAGS, connections=connections, config=config) as airflow:
            started = {dag_id: airflow.trigger(dag_id) for dag_id in [*runs, CANARY]}
            ends = {dag_id: airflow.wait_for_run(dag_id, started[dag_id], 240) for dag_id in runs}
            asked = wait_until(
                lambda: question(airflow, started[CANARY]), seconds=120, what="the question to a person", every=1
            )
    assert ends == dict.fromkeys(runs, "success")
    assert asked["subject"] == f"Edit {len(CATALOGUE) - 10} more photos?"
