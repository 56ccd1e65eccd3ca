"""The SDXL generation: ``POST /sdxl/image2image/v1`` with the header ``API-Key``.

Ranges are those of the API's page. The page gives no bounds for width and height; 1 to 2048 pixels is the emulator's
own limit, so that one request cannot take all memory. Defaults are the emulator's own as well.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from .generation import Generation, JobView
from .order import EditOrder
from .request import read_object, validate

_Pixels = Annotated[int, Field(ge=1, le=2048)]


class _Body(BaseModel):
    """The request body: scalars may come as strings, unknown members are ignored, null means not sent."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    model_id: str
    init_image: str
    prompt: str
    negative_prompt: str | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=100)] | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    samples: Annotated[int, Field(ge=1, le=4)] | None = None
    guidance_scale: Annotated[float, Field(ge=1, le=20)] | None = None
    width: _Pixels | None = None
    height: _Pixels | None = None
    seed: int | None = None
    safety_checker: bool | None = None
    refiner: bool | None = None


def read_order(raw: bytes) -> EditOrder:
    """Turn a request body into an order.

    :param raw: the body as received.
    :return: the order; its seed is drawn at random when the body has none.
    :raises InvalidFieldsError: when the body is not acceptable.
    """
    body = validate(_Body, read_object(raw))
    return EditOrder(**{"seed": secrets.randbelow(2**32), **body.model_dump(exclude_none=True)})


def _describe_accepted(job: JobView) -> dict[str, Any]:
    return {"id": job.job_id, "status": "PENDING"}


def _describe(job: JobView) -> dict[str, Any]:
    if job.failure is not None:
        return {"status": "FAILURE", "error": job.failure.sentence}
    if job.links:  # the vendor's own sample of this answer has no id
        return {"download_urls": list(job.links), "status": "SUCCESS"}
    return {"id": job.job_id, "status": "PENDING"}


SDXL_IMAGE_TO_IMAGE = Generation(
    path="/sdxl/image2image/v1",
    key_header="API-Key",
    accepted_status=202,
    image_field="init_image",
    read_order=read_order,
    describe_accepted=_describe_accepted,
    describe=_describe,
)
