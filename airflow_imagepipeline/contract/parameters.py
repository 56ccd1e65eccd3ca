"""
The parameters of one image-to-image job: checked before any request, and named by a fingerprint.

Values may come from Airflow templates, so numbers and booleans are also read from text. What was not set is not sent.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, Api
from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.links import input_image
from airflow_imagepipeline.contract.text import cleaned, without_signature

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ADVISED_PIXELS: Final = 768
ADVISED_TOKENS: Final = 75
_TOKENS_PER_WORD: Final = 4 / 3


def _number(value: object) -> object:
    # True is an int to Python, and pydantic would take it for 1.
    if isinstance(value, bool):
        msg = "a boolean is not a number"
        raise ValueError(msg)  # noqa: TRY004 - pydantic reports ValueError, not TypeError
    return value


Number = BeforeValidator(_number)


class ImageToImageParameters(BaseModel):
    """
    Every field of the vendor's page for SDXL image-to-image (``POST /sdxl/image2image/v1``).

    Optional fields that are None, empty or the text ``None`` (an unset template) are not sent; 0 and False are values.

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

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    api: ClassVar[Api] = SDXL_IMAGE_TO_IMAGE
    link_fields: ClassVar[tuple[str, ...]] = ("init_image",)

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
    seed: Annotated[int, Number] | None = Field(default=None, description="a whole number")
    safety_checker: bool | None = Field(default=None, description="a boolean")
    refiner: bool | None = Field(default=None, description="a boolean")
    extra_parameters: dict[str, Any] = Field(default_factory=dict, repr=False)

    @classmethod
    def checked(cls, arguments: Mapping[str, Any]) -> Self:
        """
        Return the parameters that a user's arguments stand for.

        :param arguments: field names to values, perhaps rendered from templates.
        :raises InvalidParameters: naming each wrong field, its value and the range.
        """
        given = {name: value for name, value in arguments.items() if not is_unset(value)}
        missing = [name for name in ("init_image", "prompt") if name not in given]
        if missing:
            msg = f"{' and '.join(missing)} must be given"
            raise InvalidParameters(msg)
        try:
            return cls.model_validate(given)
        except ValidationError as exc:
            problems = (
                _problem(cls.model_fields, str(error["loc"][0]), error["msg"], given)
                for error in exc.errors(include_input=False)
            )
            raise InvalidParameters("; ".join(dict.fromkeys(problems))) from None

    @field_validator("init_image")
    @classmethod
    def _link(cls, value: str) -> str:
        return input_image("init_image", value)

    @field_validator("extra_parameters")
    @classmethod
    def _only_unlisted(cls, value: dict[str, Any]) -> dict[str, Any]:
        listed = sorted(value.keys() & cls.model_fields.keys())
        if listed:
            msg = f"{', '.join(listed)} must be given as an argument of its own"
            raise ValueError(msg)
        try:
            # A copy as JSON reads it back: numbers as keys become text, and later changes of the user's stay out.
            copy: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            msg = "must hold JSON values only"
            raise ValueError(msg) from None
        return copy

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

    def with_seed(self, source: random.Random) -> Self:
        """Return the parameters with a seed: the user's own, or one drawn from ``source`` (0 to 2**31 - 1)."""
        return self if self.seed is not None else self.model_copy(update={"seed": source.randrange(2**31)})

    def inputs(self) -> tuple[str, ...]:
        """Return the addresses of the input images."""
        return tuple(getattr(self, name) for name in self.link_fields)

    def to_payload(self, links: Mapping[str, str]) -> dict[str, Any]:
        """
        Return the request's JSON body.

        :param links: input address to the link that is sent in its place.
        """
        payload = self.model_dump(exclude_none=True, exclude={"extra_parameters"})
        replaced = {name: links.get(payload[name], payload[name]) for name in self.link_fields}
        return {**payload, **replaced, **self.extra_parameters}

    def fingerprint(self) -> str:
        """
        Return the SHA-256 (hex) of what the user asked for.

        Two requests for the same picture are equal: signatures in links do not count, nor does the host of the API.
        Take it before :meth:`with_seed`: a drawn seed is not the user's wish.
        """
        return _digest({"api": self.api.name, **self._wish()})

    def field_digests(self) -> dict[str, str]:
        """Return a short digest of each field, so that what changed between two requests can be named, not shown."""
        return {name: _digest(value)[:8] for name, value in self._wish().items()}

    def _wish(self) -> dict[str, Any]:
        payload = self.to_payload({})
        # Only what may hold a link: a prompt that begins with one means every character of it.
        links = {name: _without_signatures(payload[name]) for name in (*self.link_fields, *self.extra_parameters)}
        return payload | links


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def is_unset(value: object) -> bool:
    """Tell whether an argument was not set: None, empty, or the text that a template makes of None."""
    return value is None or (isinstance(value, str) and value.strip() in {"", "None"}) or value == {}


def _without_signatures(value: Any) -> Any:
    if isinstance(value, str):
        return without_signature(value)
    if isinstance(value, Mapping):
        return {name: _without_signatures(item) for name, item in value.items()}
    return [_without_signatures(item) for item in value] if isinstance(value, list) else value


def _problem(fields: Mapping[str, FieldInfo], field: str, said: str, given: Mapping[str, Any]) -> str:
    said = said.removeprefix("Value error, ")
    expected = fields[field].description if field in fields else None
    if expected is not None:
        return f"{field}: {cleaned(repr(given[field]), 80)} is not {expected}"
    # A link's own sentence shows what may be shown of it: the value may hold a signature.
    return said if said.startswith(f"{field}: ") else f"{field}: {said[:1].lower()}{said[1:]}"
