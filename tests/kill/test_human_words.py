"""What a person does to a task, and what a run's own limit does: only the clear of a finished task orders again."""

from __future__ import annotations

import pytest

from tests.kill.stage import Stage

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600)]


@pytest.mark.fault(78)
def test_a_clear_during_the_wait_takes_up_the_running_job(stage: Stage) -> None:
    run = stage.start_deferred("cleared while deferred")

    run.clear()
    run.wait_for_try(2)
    run.wait_for_task("deferred", try_number=2)

    run.finish()
    assert len(run.order.jobs) == 1


def test_a_clear_of_a_finished_task_orders_once_more(stage: Stage) -> None:
    run = stage.start_deferred("cleared when finished")
    run.finish()

    run.clear()
    run.finish()

    assert len(run.order.jobs) == 2


@pytest.mark.fault(79)
def test_a_task_marked_as_failed_is_not_looked_at_any_more(stage: Stage) -> None:
    run = stage.start_deferred("marked as failed")

    stage.mark_failed(run)
    run.order.wait_for_silence()
    run.order.is_done = True

    assert run.wait_for_end() == "failed"
    assert len(run.order.jobs) == 1
    assert run.order.downloads == 0


@pytest.mark.fault(80)
def test_a_run_that_takes_too_long_ends_with_its_looks(stage: Stage) -> None:
    run = stage.start_deferred("run too long", "image_in_a_short_run")

    assert run.wait_for_end() == "failed"
    run.order.wait_for_silence()

    assert run.task["state"] == "skipped"
    assert len(run.order.jobs) == 1
    assert run.order.downloads == 0
