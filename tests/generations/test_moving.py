"""From one generation to the other: what is recorded of one is no answer to a request to the other."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_imagepipeline.exceptions import SubmissionUncertain
from airflow_imagepipeline.sensors.imagepipeline import ImagePipelineJobSensor
from tests.faults import SUBMIT, ScriptedServer, pending
from tests.running import (
    POLL,
    FakeStore,
    cleared,
    context,
    edit_image,
    fails_with,
    image_to_image,
    in_sensor_modes,
    in_task_modes,
    retried,
    run_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs")

LINK: Final = "http://127.0.0.1/a.png"


@in_task_modes
def test_a_task_that_moves_between_two_tries_pays_only_once_a_human_has_cleared_it(
    connection: Callable[..., None], mode: str
) -> None:
    first = context(FakeStore())
    old, new = (make(LINK, wait_for_completion=False) for make in (image_to_image, edit_image))
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}) as server:
        connection(server.url)
        assert run_to_end(old, first, mode)["job_id"] == "job-1"
        with fails_with(SubmissionUncertain, "input_image", "job job-1", "Clear the task"):
            run_to_end(new, retried(first), mode)
        assert server.count("POST") == 1
        assert run_to_end(new, cleared(first), mode)["job_id"] == "job-2"


@in_sensor_modes
def test_a_job_of_either_is_waited_for_by_what_its_operator_returned(
    vendor: Vendor, photos: str, mode: str, generation: Any
) -> None:
    # Whatever the sensor would take a mere id for.
    make = image_to_image(f"{photos}/a.png", wait_for_completion=False)
    job = run_to_end(make, context(FakeStore()), "worker")
    for api in ("sdxl/image2image/v1", "edit/image/v1"):
        wait = functools.partial(
            ImagePipelineJobSensor, task_id="wait", job=job, api=api, poke_interval=POLL, timeout=30.0
        )
        result = run_to_end(wait, context(), mode)
        assert (result["api"], result["status"]) == (generation.name, "SUCCESS")
    assert vendor.count("accepted") == 1
