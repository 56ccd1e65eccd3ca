"""One DAG to its end in a real Airflow, with the task waiting in the worker and in the triggerer."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

import pytest

from demo.local_airflow import LocalAirflow
from tests.running import KEY, assert_discreet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.vendor import Vendor

pytestmark = [pytest.mark.live, pytest.mark.smoke, pytest.mark.timeout(240)]

DAG: Final = textwrap.dedent(
    """
    from airflow.sdk import dag, task

    from airflow_imagepipeline.operators.imagepipeline import ImageToImageOperator


    @dag(schedule=None)
    def {name}():
        edit = ImageToImageOperator(
            task_id="edit",
            init_image="{{{{ dag_run.conf.photo }}}}",
            prompt="a cup",
            destination="{{{{ dag_run.conf.folder }}}}",
            poll_interval=0.5,
            deferrable={deferrable},
        )

        @task
        def after(result):
            return result["images"][0]["uri"]

        after(edit.output)


    {name}()
    """
)


@pytest.fixture(scope="module")
def airflow(_vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    """Start a real Airflow that has a DAG for each mode."""
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    for mode in ("worker", "triggerer"):
        (dags / f"{mode}.py").write_text(DAG.format(name=mode, deferrable=mode == "triggerer"))
    connection = {"conn_type": "imagepipeline", "host": _vendor.url, "password": KEY}
    with LocalAirflow(home / "home", dags, connections={"imagepipeline_default": connection}) as running:
        yield running


@pytest.mark.parametrize("mode", ["worker", "triggerer"])
def test_a_dag_lands_its_image_and_pays_once(
    airflow: LocalAirflow, vendor: Vendor, photos: str, tmp_path: Path, mode: str
) -> None:
    vendor.settings.job_seconds = 1.0  # long enough to be waited for
    states: list[tuple[str, str | None]] = []
    run_id = airflow.trigger(mode, {"photo": f"{photos}/a.png", "folder": tmp_path.as_uri()})
    state = airflow.wait_for_run(mode, run_id, 120, lambda change: states.append((change.task_id, change.state)))
    log = airflow.task_log(mode, run_id, "edit")

    assert state == "success", log
    (landed,) = tmp_path.glob("*.png")
    assert airflow.xcom(mode, run_id, "after") == landed.as_uri()
    assert (vendor.count("submits"), vendor.count("accepted")) == (1, 1)
    assert (("edit", "deferred") in states) is (mode == "triggerer")
    assert_discreet(log)
