"""The current generation: ``POST /edit/image/v1`` with the header ``X-API-Key``.

Fields, ranges and answers are those of the API's page; every documented member of a status is there, null while it is
not known. Where the page is silent, the emulator's own choice is:

- ``input_image`` may be left out, as documented, but then there is nothing to edit and the job fails; of a list (at
  most 8 links) the first image is edited, and the others shine through it a little;
- a missing ``width`` or ``height`` is the first image's own, each for itself, and a larger image is brought down to
  2048 pixels first;
- the file's picture is a filter's, so ``num_inference_steps``, ``guidance_scale``, ``faster_inference``,
  ``refine_strength``, ``cfg_norm_strength`` and ``product_saturation`` move it, without meaning what they mean to a
  model;
- explicit words fail the job with ``INPUT_INVALID``; a job of the code ``CANCELLED`` ends as ``cancelled``;
- a job is ``queued`` for a tenth of its time and ``pending`` until a quarter of it is over (see ``wording``).

``profile_id``, ``callback_url``, ``server_id`` and ``mask_segment`` are accepted and ignored, the status says so in
``warnings`` (``server_id`` alone is ignored silently). No webhook is ever sent.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .order import EditOrder
from .request import read_object, validate
from .wording import current_endpoint

_PATH = "/edit/image/v1"
_MOST_PIXELS = 2048
_TECHNIQUES = {"anime": "poster"}
_IGNORED = {
    "profile_id": "profile_id is ignored: the emulator keeps no profiles",
    "callback_url": "callback_url is ignored: the emulator sends no webhooks",
    "mask_segment": "mask_segment is ignored: the emulator edits the whole image",
}

_Pixels = Annotated[int, Field(ge=1, le=_MOST_PIXELS)]
_Part = Annotated[float, Field(ge=0, le=1)]
_Hex = Annotated[str, Field(pattern=r"^#?[0-9A-Fa-f]{6}$")]


class _Body(BaseModel):
    """The request body: scalars may come as strings, unknown members are ignored, null means not sent."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prompt: str
    input_image: str | Annotated[list[str], Field(max_length=8)] | None = None
    negative_prompt: str | None = None
    mode: Literal["anime"] | None = None
    width: _Pixels | None = None
    height: _Pixels | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=100)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=20)] | None = None
    refine_strength: _Part | None = None
    faster_inference: bool | None = None
    cfg_norm_strength: _Part | None = None
    product_saturation: Annotated[float, Field(ge=0, le=2)] | None = None
    mask_segment: str | None = None
    mask_feather_px: Annotated[int, Field(ge=0, le=64)] | None = None
    palette: list[_Hex] | None = None
    seed: int | None = None
    output_format: Literal["webp", "jpeg", "png"] | None = None
    profile_id: str | None = None
    callback_url: str | None = None


def read_order(raw: bytes) -> EditOrder:
    """Turn a request body into an order.

    :param raw: the body as received.
    :return: the order; its seed is drawn at random when the body has none, or -1.
    :raises InvalidFieldsError: when the body is not acceptable.
    """
    body = validate(_Body, read_object(raw))
    images = [body.input_image] if isinstance(body.input_image, str) else body.input_image or []
    return EditOrder(
        model_id="edit",
        init_image=images[0] if images else None,
        further_images=tuple(images[1:]),
        prompt=body.prompt,
        negative_prompt=body.negative_prompt or "",
        seed=secrets.randbelow(2**32) if body.seed is None or body.seed == -1 else body.seed,
        strength=0.85,
        width=body.width,
        height=body.height,
        longest_side=_MOST_PIXELS,
        keeps_shape=False,
        technique=_TECHNIQUES.get(body.mode or ""),
        palette=tuple(colour.lstrip("#").lower() for colour in body.palette or ()),
        output_format=body.output_format or "webp",
        is_signed=True,
        refuses_explicit=True,
        warnings=tuple(warning for name, warning in _IGNORED.items() if getattr(body, name) is not None),
        **_quality(body),
    )


def _quality(body: _Body) -> dict[str, Any]:
    """Bring the knobs of a distilled model, where few steps and little guidance do much, to those of a filter."""
    is_fast = body.faster_inference is not False
    steps = body.num_inference_steps or (8 if is_fast else 20)
    guidance = 1.5 if body.guidance_scale is None else body.guidance_scale
    return {
        "num_inference_steps": round(20 + 0.8 * steps),
        "guidance_scale": 1 + 19 * (guidance / 20) ** 0.5,
        "refiner": not is_fast,
        "refine_strength": body.refine_strength or 0.0,
        "calm": body.cfg_norm_strength or 0.0,
        "input_saturation": 0.85 if body.product_saturation is None else body.product_saturation,
    }


EDIT_IMAGE = current_endpoint(_PATH, read_order)
