"""Operators for ImagePipeline.io's image-to-image jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_imagepipeline.contract.parameters import EditImageParameters, ImageToImageParameters
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

    parameters_class = ImageToImageParameters
    template_fields: Sequence[str] = (*ImageToImageParameters.model_fields, *ImagePipelineJobOperator.template_fields)
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


class EditImageOperator(ImagePipelineJobOperator):
    """
    Edit an image with the vendor's current endpoint (``POST /edit/image/v1``): one image a job.

    Fields that are None, empty or the text ``None`` are not sent, but a seed is drawn and sent when none is given.

    :param input_image: the image to edit, or a list of images: an https link that the vendor can open,
        ``s3://bucket/key`` of your own (signed at submit time, for an hour at most), or, with ``upload_inputs``, an
        absolute path or an address of Airflow's object storage. (templated)
    :param prompt: an instruction ("make the background white"), not a description. (templated)
    :param samples: 1 or None: map the task over seeds for more. (templated)
    :param mode: ``anime``, say. (templated)
    :param width: pixels, 1-2048; the input's size when None. (templated)
    :param height: pixels, 1-2048; the input's size when None. (templated)
    :param num_inference_steps: 1-100; the vendor's default is 8. (templated)
    :param guidance_scale: 0-20; the vendor's default is 1.5. (templated)
    :param refine_strength: 0-1. (templated)
    :param faster_inference: False takes 20 steps. (templated)
    :param cfg_norm_strength: 0-1. (templated)
    :param product_saturation: 0-2. (templated)
    :param palette: colours, as hexadecimal RGB. (templated)
    :param seed: makes the image reproducible. (templated)
    :param output_format: ``webp`` (the vendor's default), ``jpeg`` or ``png``. (templated)
    :param profile_id: an identity profile of the account. (templated)
    :param extra_parameters: fields that are not listed here, sent as they are. (templated)
    :param upload_inputs: give the vendor copies of ``s3://`` objects and files (20 MB each at most) instead of signed
        links. The links of such copies are called permanent: who knows one can open the image.

    All other arguments are those of :class:`ImagePipelineJobOperator`.
    """

    parameters_class = EditImageParameters
    template_fields: Sequence[str] = (*EditImageParameters.model_fields, *ImagePipelineJobOperator.template_fields)
    template_fields_renderers = {"extra_parameters": "json"}  # noqa: RUF012 - as Airflow declares it

    def __init__(
        self,
        *,
        input_image: str | list[str],
        prompt: str,
        samples: int | str | None = None,
        mode: str | None = None,
        width: int | str | None = None,
        height: int | str | None = None,
        num_inference_steps: int | str | None = None,
        guidance_scale: float | str | None = None,
        refine_strength: float | str | None = None,
        faster_inference: bool | str | None = None,
        cfg_norm_strength: float | str | None = None,
        product_saturation: float | str | None = None,
        palette: list[str] | None = None,
        seed: int | str | None = None,
        output_format: str | None = None,
        profile_id: str | None = None,
        extra_parameters: dict[str, Any] | None = None,
        upload_inputs: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_image = input_image
        self.prompt = prompt
        self.samples = samples
        self.mode = mode
        self.width = width
        self.height = height
        self.num_inference_steps = num_inference_steps
        self.guidance_scale = guidance_scale
        self.refine_strength = refine_strength
        self.faster_inference = faster_inference
        self.cfg_norm_strength = cfg_norm_strength
        self.product_saturation = product_saturation
        self.palette = palette
        self.seed = seed
        self.output_format = output_format
        self.profile_id = profile_id
        self.extra_parameters = extra_parameters
        self.upload_inputs = upload_inputs
