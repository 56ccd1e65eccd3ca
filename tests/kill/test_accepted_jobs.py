"""Workers that end after their job was accepted: the next try takes it up again."""

from __future__ import annotations

import pytest

from tests.kill.stage import Stage

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600)]


@pytest.mark.kill(short=True)
@pytest.mark.fault(85)
def test_a_worker_killed_while_it_waits_is_followed_by_one_that_takes_up_the_job(stage: Stage) -> None:
    run = stage.start_in_worker("killed in the wait")

    stage.lose_worker(run)
    run.order.wait_for_looks()

    run.finish()
    assert len(run.order.jobs) == 1


@pytest.mark.fault(92)
def test_a_worker_that_is_evicted_keeps_the_job_for_the_next_try(stage: Stage) -> None:
    run = stage.start_in_worker("evicted")

    _, watcher = stage.worker_of(run)
    watcher.terminate()
    run.wait_for_log("cannot cancel job")
    stage.lose_worker(run)  # Airflow lets a task run on after SIGTERM: the end of the grace period ends it

    run.finish()
    assert len(run.order.jobs) == 1


@pytest.mark.fault(85)
def test_an_api_server_that_stands_still_while_a_worker_waits_costs_no_second_order(stage: Stage) -> None:
    run = stage.start_in_worker("API server stands still in the wait")

    with stage.standstill("api-server"):
        pass

    run.finish()
    assert len(run.order.jobs) == 1


@pytest.mark.fault(85)
def test_five_mapped_images_are_ordered_once_each_though_the_workers_of_three_are_killed(stage: Stage) -> None:
    runs = stage.start_five()
    waiting = stage.looked_at(runs, count=3)

    for run in waiting:
        stage.lose_worker(run)
    for run in runs:
        run.order.is_done = True

    for run in runs:
        run.finish()
    assert [run.task["try_number"] for run in waiting] == [2] * 3
    assert [len(run.order.jobs) for run in runs] == [1] * 5


@pytest.mark.fault(71)
def test_a_worker_killed_after_landing_is_followed_by_one_that_finds_the_image_there(stage: Stage) -> None:
    order = stage.order("killed after landing")
    order.is_done = True
    order.close("after landing")
    run = stage.start("image_with_points", order)
    order.wait_for_point("after landing")
    run.assert_landed()

    stage.lose_worker(run)
    order.open("after landing")

    run.finish()
    assert len(order.jobs) == 1


@pytest.mark.fault(61)
def test_a_retry_after_a_failed_landing_fetches_the_same_job(stage: Stage) -> None:
    run = stage.start_deferred("links that fail at first")
    run.order.links_work = False
    run.order.is_done = True

    run.order.wait_for_downloads()
    run.wait_for_try(2)
    run.order.links_work = True

    run.finish()
    assert len(run.order.jobs) == 1
