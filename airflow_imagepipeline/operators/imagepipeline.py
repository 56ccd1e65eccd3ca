"""Operators for ImagePipeline.io's image-to-image jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_imagepipeline.contract.parameters import ImageToImageParameters
from airflow_imagepipeline.operators.job import ImagePipelineJobOperator


class ImageToImageOperator(ImagePipelineJobOperator):
    """
    Edit an image with the vendor's SDXL image-to-image endpoint (``POST /sdxl/image2image/v1``).

    Fields that are None, empty or the text ``None`` are not sent, but a seed is drawn and sent when none is given.
    A job is paid for when it is submitted.

    :param init_image: https link that the vendor can open, or ``s3://bucket/key`` of your own: it is signed at submit
        time with ``aws_conn_id``, for an hour at most. (templated)
    :param prompt: what to make of it; about 75 tokens count. (templated)
    :param model_id: a model of the vendor's models page. (templated)
    :param negative_prompt: what to keep out. (templated)
    :param num_inference_steps: 1-100; 20-30 is ideal. (templated)
    :param strength: 0 (keep the image) to 1 (ignore it). (templated)
    :param samples: 1-4 images. (templated)
    :param guidance_scale: 1-20; 7.5-12.5 is ideal. (templated)
    :param width: pixels; below 768 results suffer. (templated)
    :param height: pixels; below 768 results suffer. (templated)
    :param seed: makes the image reproducible. (templated)
    :param safety_checker: filter explicit images, which come back black. (templated)
    :param refiner: run the refiner model. (templated)
    :param extra_parameters: fields that the vendor's page does not list, sent as they are. (templated)

    All other arguments are those of :class:`ImagePipelineJobOperator`.
    """

    parameter_fields: tuple[str, ...] = tuple(ImageToImageParameters.model_fields)
    template_fields: Sequence[str] = (*parameter_fields, *ImagePipelineJobOperator.template_fields)
    template_fields_renderers = {"extra_parameters": "json"}  # noqa: RUF012 - as Airflow declares it

    def __init__(
        self,
        *,
        init_image: str,
        prompt: str,
        model_id: str = "sdxl",
        negative_prompt: str | None = None,
        num_inference_steps: int | str | None = None,
        strength: float | str | None = None,
        samples: int | str | None = None,
        guidance_scale: float | str | None = None,
        width: int | str | None = None,
        height: int | str | None = None,
        seed: int | str | None = None,
        safety_checker: bool | str | None = None,
        refiner: bool | str | None = None,
        extra_parameters: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.init_image = init_image
        self.prompt = prompt
        self.model_id = model_id
        self.negative_prompt = negative_prompt
        self.num_inference_steps = num_inference_steps
        self.strength = strength
        self.samples = samples
        self.guidance_scale = guidance_scale
        self.width = width
        self.height = height
        self.seed = seed
        self.safety_checker = safety_checker
        self.refiner = refiner
        self.extra_parameters = extra_parameters

    def parameters(self) -> ImageToImageParameters:
        """Return the checked parameters of the job."""
        return ImageToImageParameters.checked({name: getattr(self, name) for name in self.parameter_fields})
