"""The two ways in which a call reaches the API: from a worker and from the triggerer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE
from airflow_imagepipeline.contract.calls import Call, get_job, submit_job
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.contract.parameters import ImageToImageParameters
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook

if TYPE_CHECKING:
    from collections.abc import Callable

PARAMETERS: Final = ImageToImageParameters(init_image="https://img.example/a.png", prompt="a house")
SUBMISSION: Final[Call[Job]] = submit_job(PARAMETERS)
LOOK: Final[Call[Job]] = get_job(JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"))


def with_requests(call: Call[Any]) -> Any:
    """Send a call as a worker does."""
    return ImagePipelineHook().send(call)


def with_aiohttp(call: Call[Any]) -> Any:
    """Send a call as the triggerer does."""

    async def sent() -> Any:
        hook = ImagePipelineHook()
        async with hook.asession() as session:
            return await hook.asend(call, session)

    return asyncio.run(sent())


SENDERS: Final[dict[str, Callable[[Call[Any]], Any]]] = {"requests": with_requests, "aiohttp": with_aiohttp}
CALLS: Final[dict[str, Call[Job]]] = {"submit": SUBMISSION, "look": LOOK}

by_both = pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
of_both_calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
