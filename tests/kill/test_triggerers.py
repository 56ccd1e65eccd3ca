"""Triggerers that end, stop or come back while a task is deferred: the job is looked at again, and nothing else."""

from __future__ import annotations

import signal

import pytest

from tests.kill.stage import Stage

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600)]


@pytest.mark.fault(75)
def test_the_other_triggerer_takes_over_from_one_that_was_killed(stage: Stage) -> None:
    run = stage.start_deferred("triggerer killed")
    watcher = stage.watcher()

    stage.kill(watcher)
    run.order.wait_for_looks()

    assert stage.watcher() != watcher
    run.finish()
    assert len(run.order.jobs) == 1


@pytest.mark.kill(short=True)
@pytest.mark.fault(75)
def test_a_job_outlives_all_triggerers(stage: Stage) -> None:
    run = stage.start_deferred("all triggerers killed")

    for triggerer in stage.triggerers():
        stage.kill(triggerer)
    stage.airflow.start_part("triggerer")
    run.order.wait_for_looks()

    run.finish()
    assert len(run.order.jobs) == 1


@pytest.mark.fault(76, 77)
def test_two_triggerers_that_run_the_same_trigger_only_look(stage: Stage) -> None:
    run = stage.start_deferred("triggerer frozen and back")
    watcher = stage.watcher()

    stage.signal(watcher, signal.SIGSTOP)
    run.order.wait_for_looks()  # by the other one
    stage.signal(watcher, signal.SIGCONT)
    run.order.wait_for_looks(5)

    run.finish()
    assert len(run.order.jobs) == 1


@pytest.mark.fault(75)
def test_a_triggerer_that_is_asked_to_leave_hands_its_job_over(stage: Stage) -> None:
    run = stage.start_deferred("triggerer asked to leave")
    watcher = stage.watcher()

    stage.airflow.processes[watcher].terminate()
    stage.airflow.processes[watcher].wait(60)
    run.order.wait_for_looks()

    assert stage.watcher() != watcher
    run.finish()
    assert len(run.order.jobs) == 1
