"""Scheduler, API server and database that go away and come back."""

from __future__ import annotations

import time

import pytest

from tests.kill.stage import Stage

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600)]


@pytest.mark.fault(83)
def test_a_scheduler_killed_during_the_wait_finds_the_job_finished_when_it_is_back(stage: Stage) -> None:
    run = stage.start_deferred("scheduler killed, task deferred")

    stage.kill("scheduler")
    run.order.is_done = True  # the trigger fires while nobody schedules
    run.order.wait_for_silence(5)
    stage.airflow.start_part("scheduler")

    run.finish()
    assert len(run.order.jobs) == 1


@pytest.mark.fault(83)
def test_a_scheduler_killed_with_its_workers_is_followed_by_a_try_that_takes_up_the_job(stage: Stage) -> None:
    run = stage.start_in_worker("scheduler killed, task in a worker")

    stage.kill("scheduler")
    stage.airflow.start_part("scheduler")
    run.wait_for_try(2)

    run.finish()
    assert len(run.order.jobs) == 1


@pytest.mark.fault(84)
def test_an_api_server_that_stands_still_while_a_task_defers_costs_no_second_order(stage: Stage) -> None:
    order = stage.order("API server stands still at the deferral")
    order.close("before deferring")
    run = stage.start("image_with_points", order)
    order.wait_for_point("before deferring")

    with stage.standstill("api-server"):
        order.open("before deferring")

    run.finish()
    assert len(order.jobs) == 1


@pytest.mark.fault(84)
def test_an_api_server_killed_while_a_task_defers_costs_no_second_order(stage: Stage) -> None:
    order = stage.order("API server killed at the deferral")
    order.close("before deferring")
    run = stage.start("image_with_points", order)
    order.wait_for_point("before deferring")

    stage.kill("api-server")
    order.open("before deferring")
    stage.airflow.start_part("api-server")

    run.finish()
    assert len(order.jobs) == 1


@pytest.mark.fault(86)
def test_a_database_that_is_cut_off_during_the_wait_costs_no_second_order(stage: Stage) -> None:
    assert stage.postgres is not None
    run = stage.start_deferred("database cut off")

    with stage.supervised():
        stage.postgres.stop_at_once()
        time.sleep(5)
        stage.postgres.start()
        run.order.wait_for_looks(5)
        run.finish()

    assert len(run.order.jobs) == 1
