"""Processes that end while a request is on its way: at most one is accepted, and a human is asked."""

from __future__ import annotations

import pytest

from tests.kill.stage import Stage

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600)]


@pytest.mark.fault(24)
def test_a_worker_killed_before_the_request_leaves_orders_nothing_until_a_human_clears(stage: Stage) -> None:
    order = stage.order("killed before the request")
    order.close("before the request")
    run = stage.start("image_with_points", order)
    order.wait_for_point("before the request")

    stage.lose_worker(run)
    order.open("before the request")

    run.assert_uncertain()
    assert order.jobs == []
    run.clear()
    run.finish()
    assert len(order.jobs) == 1


@pytest.mark.fault(111)
def test_a_worker_killed_before_its_record_is_written_is_followed_by_one_that_orders(stage: Stage) -> None:
    order = stage.order("killed before the record")
    order.close("before the record")
    run = stage.start("image_with_points", order)
    order.wait_for_point("before the record")

    stage.lose_worker(run)
    order.open("before the record")

    run.finish()
    assert len(order.jobs) == 1


@pytest.mark.fault(103)
def test_a_worker_that_comes_back_after_a_wait_orders_nothing(stage: Stage) -> None:
    order = stage.order("given up before the record")
    order.close("before the record")
    run = stage.start("image_with_points", order)
    order.wait_for_point("before the record")

    _, watcher = stage.worker_of(run)
    watcher.suspend()  # no heartbeats: Airflow starts the next try, which comes to the same point
    order.wait_for_point("before the record", times=2)
    order.open("before the record")
    watcher.resume()

    run.finish()
    assert len(order.jobs) == 1


@pytest.mark.kill(short=True)
@pytest.mark.fault(25)
def test_a_worker_killed_while_the_vendor_works_orders_again_only_after_a_clear(stage: Stage) -> None:
    order = stage.order("killed while the vendor works")
    order.may_answer.clear()
    run = stage.start("image_deferred", order)
    order.wait_for_jobs()

    stage.lose_worker(run)
    order.may_answer.set()

    run.assert_uncertain()
    assert len(order.jobs) == 1
    run.clear()
    run.finish()
    assert len(order.jobs) == 2


@pytest.mark.fault(26)
def test_a_task_killed_between_the_answer_and_its_record_never_orders_again(stage: Stage) -> None:
    order = stage.order("killed after the answer")
    order.close("after the answer")
    run = stage.start("image_with_points", order)
    order.wait_for_point("after the answer")

    task, _ = stage.worker_of(run)
    task.kill()  # alone, as for want of memory: Airflow notices at once
    order.open("after the answer")

    run.assert_uncertain()
    assert len(order.jobs) == 1


@pytest.mark.fault(27)
def test_an_api_server_that_stops_while_the_vendor_answers_costs_no_second_order(stage: Stage) -> None:
    order = stage.order("answered while the API server stands still")
    order.may_answer.clear()
    run = stage.start("image_deferred", order)
    order.wait_for_jobs()

    with stage.standstill("api-server"):
        order.may_answer.set()

    run.end_paid_once()


@pytest.mark.fault(29)
def test_a_worker_that_comes_back_after_it_was_given_up_orders_no_more_than_once(stage: Stage) -> None:
    order = stage.order("given up and back")
    order.close("before the request")
    run = stage.start("image_with_points", order)
    order.wait_for_point("before the request")

    _, watcher = stage.worker_of(run)
    watcher.suspend()  # no heartbeats: Airflow starts the next try
    run.assert_uncertain()
    order.open("before the request")  # the task of the first try lives on, and sends its request
    order.wait_for_jobs()
    watcher.resume()

    run.clear()
    run.finish()
    assert len(order.jobs) <= 2  # one for the run, one for the clear
