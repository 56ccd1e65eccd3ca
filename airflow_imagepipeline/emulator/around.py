"""What customers use around an edit: remove a background, change it, scale an image up.

The fields and ranges are those of the API's pages. Where they are silent, the emulator's own choice is:

- a missing ``input_image`` fails the job, as for an edit;
- ``/background/remove/image/v1`` always gives ``cutout_url``, and ``result_url`` only with ``recolor``;
- a cut-out as ``jpeg`` is on white, since that format knows no transparency;
- ``harmonize_strength`` tints the product with the new background's light, ``use_segmentation=false`` lets the old
  background shine through; ``subject_description``, ``true_cfg_scale``, ``tone_correction`` and ``has_text`` are
  accepted and change nothing;
- ``/upscale/image/v1`` multiplies both sides by ``scale``; a result of more than 50 million pixels fails the job.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .order import EditOrder
from .request import read_object, validate
from .wording import current_endpoint

_Part = Annotated[float, Field(ge=0, le=1)]
_Hex = Annotated[str, Field(pattern=r"^#?[0-9A-Fa-f]{6}$")]
_Shift = Annotated[int, Field(ge=-512, le=512)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    input_image: str | None = None
    output_format: Literal["webp", "jpeg", "png"] | None = None
    seed: int | None = None


class _Removal(_Body):
    recolor: _Hex | None = None
    drop_shadow: bool = False
    shadow_opacity: _Part = 0.35
    shadow_blur: Annotated[int, Field(ge=0, le=256)] = 18
    shadow_dy: _Shift = 12
    shadow_dx: _Shift = 0


class _Change(_Body):
    prompt: str
    use_segmentation: bool = True
    harmonize_strength: _Part = 0.3
    num_inference_steps: Annotated[int, Field(ge=1, le=100)] = 30
    palette: list[_Hex] | None = None


class _Upscale(_Body):
    scale: Annotated[float, Field(ge=1, le=4)] = 4.0


def _order(body: _Body, making: str, **more: Any) -> EditOrder:
    seed = secrets.randbelow(2**32) if body.seed is None or body.seed == -1 else body.seed
    values: dict[str, Any] = {"model_id": making, "prompt": "", "longest_side": 4096, **more}
    return EditOrder(
        init_image=body.input_image, seed=seed, making=making, is_signed=True, refuses_explicit=True, **values
    )


def _read_removal(raw: bytes) -> EditOrder:
    body = validate(_Removal, read_object(raw))
    knobs = body.model_dump(exclude={"input_image", "output_format", "seed"})
    return _order(body, "cut-out", output_format=body.output_format or "png", knobs=knobs)


def _read_change(raw: bytes) -> EditOrder:
    body = validate(_Change, read_object(raw))
    return _order(
        body,
        "background",
        prompt=body.prompt,
        output_format=body.output_format or "webp",
        num_inference_steps=body.num_inference_steps,
        palette=tuple(colour.lstrip("#").lower() for colour in body.palette or ()),
        knobs={"harmonize": body.harmonize_strength, "segment": body.use_segmentation},
    )


def _read_upscale(raw: bytes) -> EditOrder:
    body = validate(_Upscale, read_object(raw))
    return _order(body, "upscale", output_format=body.output_format or "webp", knobs={"scale": body.scale})


def _cut_out_links(order: EditOrder) -> tuple[str, ...]:
    return ("result_url", "cutout_url") if order.knobs["recolor"] else ("cutout_url",)


REMOVE_BACKGROUND = current_endpoint("/background/remove/image/v1", _read_removal, link_names=_cut_out_links)
CHANGE_BACKGROUND = current_endpoint("/background/change/image/v1", _read_change)
UPSCALE_IMAGE = current_endpoint("/upscale/image/v1", _read_upscale)
