# ruff: noqa: INP001 - Airflow loads the file by its path
"""The DAGs of the kill suite: one image or five, awaited in the triggerer or in a worker.

What picture, and where to, stands in the run's configuration. `point` tells the vendor of the suite where a task is
inside its own code; the answer comes when the suite wants it to, so that a process can be killed at that very place.
"""

from __future__ import annotations

import json
import urllib.request
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from airflow.sdk import dag

from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.operators.imagepipeline import ImageToImageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_imagepipeline.contract.calls import Call
    from airflow_imagepipeline.contract.job import Job
    from airflow_imagepipeline.contract.parameters import ImageToImageParameters

T = TypeVar("T")

LONGEST_STAY = 180.0

DEFAULTS: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=1)}
PICTURE: dict[str, Any] = {
    "imagepipeline_conn_id": "vendor",
    "init_image": "https://images.example.com/cup.png",
    "poll_interval": 1,
    "timeout": 900,
    "destination": "{{ dag_run.conf.destination }}",
}
PROMPT = "{{ dag_run.conf.prompt }}"


def point(hook: ImagePipelineHook, place: str, prompt: str) -> None:
    """Stay here as long as the suite wants."""
    address = f"{hook.access.origin}/points/{quote(place)}/{quote(prompt)}"
    with urllib.request.urlopen(address, timeout=LONGEST_STAY):  # noqa: S310 - the suite's own server
        pass


class PointedHook(ImagePipelineHook):
    """A hook with a point before a submission is recorded, and one on either side of the request that is paid for."""

    def submit_job(self, parameters: ImageToImageParameters, links: Any = None) -> Job:  # type: ignore[override]
        """Submit, after a point."""
        point(self, "before the record", parameters.prompt)
        return super().submit_job(parameters, links)

    def send(self, call: Call[T]) -> T:
        """Send, between two points if it is a submission."""
        if call.request.kind is not RequestKind.SUBMIT:
            return super().send(call)
        prompt = json.loads(call.request.body or b"")["prompt"]
        point(self, "before the request", prompt)
        answer = super().send(call)
        point(self, "after the answer", prompt)
        return answer


class PointedOperator(ImageToImageOperator):
    """The operator with that hook, a point before it defers, and one when all is done but not reported."""

    @cached_property
    def hook(self) -> ImagePipelineHook:
        """The hook on this operator's connection."""
        return PointedHook(self.imagepipeline_conn_id)

    def defer(self, **arguments: Any) -> None:  # type: ignore[override]
        """Defer, after a point."""
        point(self.hook, "before deferring", self.prompt)
        super().defer(**arguments)

    def execute_complete(self, context: Context, event: Any) -> dict[str, Any]:
        """Land, before a point."""
        result = super().execute_complete(context, event)
        point(self.hook, "after landing", self.prompt)
        return result


@dag(schedule=None, default_args=DEFAULTS)
def image_deferred() -> None:
    """Wait in the triggerer."""
    ImageToImageOperator(task_id="image", prompt=PROMPT, deferrable=True, **PICTURE)


@dag(schedule=None, default_args=DEFAULTS)
def image_in_worker() -> None:
    """Wait in the worker."""
    ImageToImageOperator(task_id="image", prompt=PROMPT, deferrable=False, **PICTURE)


@dag(schedule=None, default_args=DEFAULTS)
def image_with_points() -> None:
    """Wait in the triggerer, with points to be killed at."""
    PointedOperator(task_id="image", prompt=PROMPT, deferrable=True, **PICTURE)


@dag(schedule=None, default_args=DEFAULTS, dagrun_timeout=timedelta(seconds=40))
def image_in_a_short_run() -> None:
    """Wait in the triggerer for longer than the run may take."""
    ImageToImageOperator(task_id="image", prompt=PROMPT, deferrable=True, **PICTURE)


@dag(schedule=None, default_args=DEFAULTS)
def five_images() -> None:
    """Wait in workers, three at a time."""
    ImageToImageOperator.partial(task_id="image", deferrable=False, max_active_tis_per_dagrun=3, **PICTURE).expand(
        prompt=[f"five images: {number}" for number in range(5)]
    )


image_deferred()
image_in_worker()
image_with_points()
image_in_a_short_run()
five_images()
