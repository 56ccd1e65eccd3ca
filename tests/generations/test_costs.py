"""What a job has cost, where the vendor tells it: in every result, whichever way it came."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_imagepipeline.contract.result import finished_without_id
from airflow_imagepipeline.policy.job_event import JobEvent
from airflow_imagepipeline.sensors.imagepipeline import ImagePipelineJobSensor
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator
from tests.faults import STATUS, SUBMIT, ScriptedServer, answer, forever, pending
from tests.running import (
    POLL,
    FakeStore,
    context,
    edit_image,
    in_sensor_modes,
    in_task_modes,
    retried,
    run_to_end,
    through_triggerer,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs")

COST: Final = {"cost_usd": 0.04, "credits_charged": True, "credits_amount": 1, "balance_remaining_usd": 0.36}
LINK: Final = "http://127.0.0.1/a.png"
RESULT: Final = "https://files.test/result"

with_and_without_links = pytest.mark.parametrize("return_urls", [True, False], ids=["links", "no links"])


@pytest.fixture(autouse=True)
def _ten_credits(vendor: Vendor) -> None:
    vendor.settings.credits = 10


@pytest.fixture
def submitted(photos: str) -> dict[str, Any]:
    """Return what an operator returned that did not wait; nothing is known of money yet."""
    make = edit_image(f"{photos}/a.png", wait_for_completion=False)
    result: dict[str, Any] = run_to_end(make, context(FakeStore()), "worker")
    assert "cost" not in result
    return result


@in_task_modes
@with_and_without_links
def test_the_operator_tells_what_the_job_cost(photos: str, mode: str, *, return_urls: bool) -> None:
    make = edit_image(f"{photos}/a.png", return_urls=return_urls)
    assert run_to_end(make, context(FakeStore()), mode)["cost"] == COST


@in_task_modes
def test_a_landed_job_tells_it_too_and_so_does_a_retry(photos: str, tmp_path: Path, mode: str) -> None:
    make = edit_image(f"{photos}/a.png", destination=f"file://{tmp_path}")
    first = context(FakeStore())
    assert [run_to_end(make, given, mode)["cost"] for given in (first, retried(first))] == [COST, COST]


@in_sensor_modes
@with_and_without_links
@pytest.mark.parametrize("named", ["by result", "by id"])
def test_the_sensor_tells_it_in_every_mode(
    submitted: dict[str, Any], *, named: str, mode: str, return_urls: bool
) -> None:
    make = functools.partial(
        ImagePipelineJobSensor,
        task_id="wait",
        job=submitted if named == "by result" else submitted["job_id"],
        api="edit/image/v1",
        poke_interval=POLL,
        timeout=30.0,
        return_urls=return_urls,
    )
    result = run_to_end(make, context(), mode)
    assert (result["cost"], "download_urls" in result) == (COST, return_urls)


def test_the_transfer_tells_it(submitted: dict[str, Any], tmp_path: Path) -> None:
    make = functools.partial(
        ImagePipelineToObjectStorageOperator, task_id="store", job=submitted, destination=f"file://{tmp_path}"
    )
    assert run_to_end(make, context(), "plain")["cost"] == COST


@in_sensor_modes
def test_a_result_without_an_id_keeps_its_cost(connection: Callable[..., None], mode: str) -> None:
    done = {"status": "completed", "result_url": RESULT, **COST}
    with ScriptedServer({SUBMIT: [answer(json=done)]}) as server:
        connection(server.url)
        paid = run_to_end(edit_image(LINK), context(FakeStore()), "worker")
        make = functools.partial(ImagePipelineJobSensor, task_id="wait", job=paid, poke_interval=POLL, timeout=30.0)
        waited = run_to_end(make, context(), mode)
    assert (paid["job_id"], paid["cost"], waited) == (None, COST, paid)


def test_a_result_without_an_id_keeps_its_cost_when_it_is_landed(
    connection: Callable[..., None], photos: str, tmp_path: Path
) -> None:
    done = {"status": "completed", "result_url": f"{photos}/result.png", **COST}
    with ScriptedServer({SUBMIT: [answer(json=done)]}) as server:
        connection(server.url)
        paid = run_to_end(edit_image(LINK), context(FakeStore()), "worker")
        make = functools.partial(
            ImagePipelineToObjectStorageOperator, task_id="store", job=paid, destination=f"file://{tmp_path}"
        )
        landed = run_to_end(make, context(), "plain")
    assert (landed["cost"], len(landed["images"])) == (COST, 1)


@in_task_modes
@pytest.mark.parametrize(
    ("told", "cost"),
    [
        pytest.param('"cost_usd": 0.0, "credits_charged": false', {"cost_usd": 0.0, "credits_charged": False}, id="0"),
        pytest.param('"cost_usd": "0.04", "credits_amount": null', None, id="text and null"),
        pytest.param('"cost_usd": 1e400, "credits_amount": 2', {"credits_amount": 2}, id="no number of JSON"),
        pytest.param('"price": 3, "charged_at": "today"', None, id="fields of no list"),
    ],
)
def test_only_what_is_known_and_can_be_stored_is_told(
    connection: Callable[..., None], *, told: str, cost: dict[str, Any] | None, mode: str
) -> None:
    body = f'{{"job_id": "job-1", "status": "completed", "result_url": "{RESULT}", {told}}}'
    with ScriptedServer({SUBMIT: [pending()], STATUS: [forever(answer(body=body))]}) as server:
        connection(server.url)
        assert run_to_end(edit_image(LINK), context(FakeStore()), mode).get("cost") == cost


def test_the_triggers_event_holds_it_and_no_link(submitted: dict[str, Any]) -> None:
    path = "airflow_imagepipeline.triggers.imagepipeline.ImagePipelineJobTrigger"
    event = through_triggerer((path, {"job": submitted, "deadline": 4e9, "poll_interval": POLL}))
    assert (event["outcome"], event["cost"]) == ("succeeded", COST)


@pytest.mark.parametrize(
    "cost",
    [None, [], "0.04", {"cost_usd": "0.04"}, {"cost_usd": float("inf")}, {"cost_usd": None}, {"price": 1}],
    ids=repr,
)
def test_what_is_no_cost_does_not_spoil_an_event_or_a_result(cost: Any) -> None:
    handle = {"v": 1, "api": "edit/image/v1", "job_id": "job-1"}
    event = JobEvent.from_payload({"v": 1, "job": handle, "outcome": "succeeded", "cost": cost})
    job = finished_without_id({**handle, "job_id": None, "download_urls": [RESULT], "cost": cost})
    assert (event.cost, job and job.cost) == ({}, {})
