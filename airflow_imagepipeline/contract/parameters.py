"""The parameters of each endpoint, as the vendor's pages list them."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final

from pydantic import Field, field_validator

from airflow_imagepipeline.contract.api import EDIT_IMAGE, SDXL_IMAGE_TO_IMAGE, Api
from airflow_imagepipeline.contract.job_parameters import JobParameters, Number
from airflow_imagepipeline.contract.links import input_image, input_object

ADVISED_PIXELS: Final = 768
ADVISED_TOKENS: Final = 75
_TOKENS_PER_WORD: Final = 4 / 3
_COLOUR: Final = re.compile(r"#?[0-9A-Fa-f]{6}")


class ImageToImageParameters(JobParameters):
    """
    Every field of the vendor's page for SDXL image-to-image (``POST /sdxl/image2image/v1``).

    :param init_image: https link to the image to edit, or ``s3://bucket/key``.
    :param prompt: what to make of it; about 75 tokens count.
    :param model_id: a model of the vendor's models page.
    :param num_inference_steps: 1-100; 20-30 is ideal.
    :param strength: 0 (keep the image) to 1 (ignore it).
    :param samples: 1-4 images per job.
    :param guidance_scale: 1-20; 7.5-12.5 is ideal.
    :param width: pixels, at least 1; below 768 results suffer.
    :param height: pixels, as ``width``.
    :param seed: makes the image reproducible; drawn by the operator when not set.
    :param safety_checker: filter explicit images.
    :param refiner: run the refiner model.
    :param extra_parameters: fields that the page does not list (``scheduler``, ``lora_models``, ...), sent as they are.
    """

    api: ClassVar[Api] = SDXL_IMAGE_TO_IMAGE
    link_fields: ClassVar[tuple[str, ...]] = ("init_image",)
    required: ClassVar[tuple[str, ...]] = ("init_image", "prompt")

    init_image: str = Field(repr=False)
    prompt: str = Field(repr=False, description="a text")
    model_id: str = Field(default="sdxl", description="the name of a model")
    negative_prompt: str | None = Field(default=None, repr=False, description="a text")
    num_inference_steps: Annotated[int, Number] | None = Field(
        default=None, ge=1, le=100, description="a whole number from 1 to 100"
    )
    strength: Annotated[float, Number] | None = Field(default=None, ge=0, le=1, description="a number from 0 to 1")
    samples: Annotated[int, Number] | None = Field(default=None, ge=1, le=4, description="a whole number from 1 to 4")
    guidance_scale: Annotated[float, Number] | None = Field(
        default=None, ge=1, le=20, description="a number from 1 to 20"
    )
    width: Annotated[int, Number] | None = Field(default=None, ge=1, description="a whole number of pixels from 1")
    height: Annotated[int, Number] | None = Field(default=None, ge=1, description="a whole number of pixels from 1")
    safety_checker: bool | None = Field(default=None, description="a boolean")
    refiner: bool | None = Field(default=None, description="a boolean")

    @field_validator("init_image")
    @classmethod
    def _link(cls, value: str) -> str:
        return input_image("init_image", value)

    def advice(self) -> list[str]:
        """Return one sentence for each value that is allowed but advised against."""
        sizes = {"width": self.width, "height": self.height}
        notes = [
            f"{name}: {pixels} pixels; the vendor advises {ADVISED_PIXELS} or more"
            for name, pixels in sizes.items()
            if pixels is not None and pixels < ADVISED_PIXELS
        ]
        prompts = {"prompt": self.prompt, "negative_prompt": self.negative_prompt or ""}
        return notes + [
            f"{name}: about {tokens} tokens (a rough count); the model reads about {ADVISED_TOKENS}"
            for name, text in prompts.items()
            if (tokens := round(len(text.split()) * _TOKENS_PER_WORD)) > ADVISED_TOKENS
        ]


class EditImageParameters(JobParameters):
    """
    The documented fields of the vendor's current page for editing an image (``POST /edit/image/v1``).

    Ranges drift between the vendor's pages, so only what all of them agree on is checked; ``extra_parameters`` takes
    the rest. The endpoint makes one image a job.

    :param input_image: the image to edit, or a list of images: https link, ``s3://bucket/key``, or a file (a path, or
        an address of Airflow's object storage) that is uploaded.
    :param prompt: an instruction, not a description.
    :param samples: 1 or not set; it is not sent.
    :param mode: ``anime``, say.
    :param width: pixels, 1-2048; the input's size when not set.
    :param height: pixels, as ``width``.
    :param num_inference_steps: 1-100; the vendor's default is 8.
    :param guidance_scale: 0-20; the vendor's default is 1.5.
    :param refine_strength: 0-1.
    :param faster_inference: False takes 20 steps.
    :param cfg_norm_strength: 0-1.
    :param product_saturation: 0-2.
    :param palette: colours, as hexadecimal RGB.
    :param seed: -1 counts as not set: one is drawn, so that the picture can be made again.
    :param output_format: ``webp`` (the vendor's default), ``jpeg`` or ``png``.
    :param profile_id: an identity profile of the account.
    """

    api: ClassVar[Api] = EDIT_IMAGE
    link_fields: ClassVar[tuple[str, ...]] = ("input_image",)
    required: ClassVar[tuple[str, ...]] = ("input_image", "prompt")

    input_image: str | list[str] = Field(repr=False)
    prompt: str = Field(repr=False, description="a text")
    samples: Annotated[int, Number] | None = None
    mode: str | None = Field(default=None, description="a text")
    width: Annotated[int, Number] | None = Field(
        default=None, ge=1, le=2048, description="a whole number from 1 to 2048"
    )
    height: Annotated[int, Number] | None = Field(
        default=None, ge=1, le=2048, description="a whole number from 1 to 2048"
    )
    num_inference_steps: Annotated[int, Number] | None = Field(
        default=None, ge=1, le=100, description="a whole number from 1 to 100"
    )
    guidance_scale: Annotated[float, Number] | None = Field(
        default=None, ge=0, le=20, description="a number from 0 to 20"
    )
    refine_strength: Annotated[float, Number] | None = Field(
        default=None, ge=0, le=1, description="a number from 0 to 1"
    )
    faster_inference: bool | None = Field(default=None, description="a boolean")
    cfg_norm_strength: Annotated[float, Number] | None = Field(
        default=None, ge=0, le=1, description="a number from 0 to 1"
    )
    product_saturation: Annotated[float, Number] | None = Field(
        default=None, ge=0, le=2, description="a number from 0 to 2"
    )
    palette: list[str] | None = None
    output_format: str | None = Field(
        default=None, pattern="^(webp|jpeg|png)$", description="one of 'webp', 'jpeg' and 'png'"
    )
    profile_id: str | None = Field(default=None, description="a text")

    @field_validator("input_image")
    @classmethod
    def _addresses(cls, value: str | list[str]) -> str | list[str]:
        if isinstance(value, str):
            return input_object("input_image", value)
        return [input_object("input_image", address) for address in value]

    @field_validator("palette")
    @classmethod
    def _colours(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and not all(map(_COLOUR.fullmatch, value)):
            msg = "must hold colours like '#1e90ff'"
            raise ValueError(msg)
        return value

    @field_validator("samples")
    @classmethod
    def _one_image_a_job(cls, value: int | None) -> None:
        if value not in {None, 1}:
            msg = "samples: this endpoint makes one image a job; map the task over seeds for more"
            raise ValueError(msg)

    @field_validator("seed")
    @classmethod
    def _drawn(cls, value: int | None) -> int | None:
        return None if value == -1 else value
