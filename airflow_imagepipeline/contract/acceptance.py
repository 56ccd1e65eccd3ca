"""What a result must be to be accepted: the user's own bounds, and which of the default checks are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.job_parameters import Number, is_unset
from airflow_imagepipeline.contract.text import cleaned

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

AS_INPUT: Final = "input"
"""The value of ``aspect`` that means the shape of the input."""

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
_CHECK: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_PIXELS: Final = "a whole number of pixels from 1 to 50000"
_SHARE: Final = "a number from 0 to 1"

_Pixels = Annotated[int, Number, Field(ge=1, le=50_000)]
_Share = Annotated[float, Number, Field(ge=0, le=1)]


class Acceptance(BaseModel):
    """
    What is checked of each result before it counts as one.

    Nothing need be given: a result must be whole, neither black nor of one colour, not much blurrier than its input,
    and neither the input itself nor a picture of something else. How the numbers are taken is said in
    ``images/acceptance.py``.

    :param format: ``PNG``, ``JPEG``, ``WEBP`` or ``GIF`` in any case, or a list of those that will do; None means any.
    :param width: pixels, exactly; None means any, as for the other sizes.
    :param height: as ``width``.
    :param min_width: pixels.
    :param min_height: pixels.
    :param aspect: width through height, 2 % more or less: a number, or ``input`` for the input's own.
    :param blank: take images of one colour, or nearly.
    :param min_sharpness: 0 (no detail at all) to 5; photos have 0.6 to 2. None means a bound that follows the input,
        and 0 none.
    :param identical: take images that are the input, or look just like it.
    :param min_difference: 0 (the input) to 1 (nothing in common); None means a default, and 0 none.
    :param max_difference: as ``min_difference``; 1 means none.
    :param filtered: take black images, as the vendor's safety filter paints them.
    :param checks: dotted names of functions of the user's own, called with the paths of the result and of its input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    format: tuple[str, ...] | None = Field(
        default=None, description=f"one of {', '.join(_FORMATS)}, or a list of some of them"
    )
    width: _Pixels | None = Field(default=None, description=_PIXELS)
    height: _Pixels | None = Field(default=None, description=_PIXELS)
    min_width: _Pixels | None = Field(default=None, description=_PIXELS)
    min_height: _Pixels | None = Field(default=None, description=_PIXELS)
    aspect: float | str | None = Field(
        default=None, description=f"'{AS_INPUT}' or a number from 0.01 to 100 (width through height)"
    )
    blank: bool = Field(default=False, description="a boolean")
    min_sharpness: Annotated[float, Number, Field(ge=0, le=5)] | None = Field(
        default=None, description="a number from 0 to 5"
    )
    identical: bool = Field(default=False, description="a boolean")
    min_difference: _Share | None = Field(default=None, description=_SHARE)
    max_difference: _Share | None = Field(default=None, description=_SHARE)
    filtered: bool = Field(default=False, description="a boolean")
    checks: tuple[str, ...] = Field(
        default=(), description="a dotted name like 'my_package.checks.has_logo', or a list of them"
    )

    @classmethod
    def checked(cls, accept: Mapping[str, Any] | None) -> Self:
        """
        Return the acceptance that a user's argument stands for.

        :param accept: field names to values, perhaps rendered from templates; None and ``{}`` mean the defaults.
        :raises InvalidParameters: naming each wrong field, its value and the range.
        """
        if not isinstance(accept, Mapping | None):
            msg = f"accept: {cleaned(repr(accept), 80)} is not a mapping of fields to values"
            raise InvalidParameters(msg)
        given = {name: value for name, value in (accept or {}).items() if not is_unset(value)}
        unknown = [cleaned(name, 80) for name in given if name not in cls.model_fields]
        if unknown:
            msg = f"accept: {', '.join(unknown)}: the fields are {', '.join(cls.model_fields)}"
            raise InvalidParameters(msg)
        try:
            found = cls.model_validate(given)
        except ValidationError as exc:
            problems = (cls._problem(error, given) for error in exc.errors(include_input=False))
            raise InvalidParameters("; ".join(dict.fromkeys(problems))) from None
        if contradictions := _contradictions(found):
            raise InvalidParameters("; ".join(contradictions))
        return found

    @classmethod
    def _problem(cls, error: ErrorDetails, given: Mapping[str, Any]) -> str:
        name = str(error["loc"][0])
        return f"accept: {name}: {cleaned(repr(given[name]), 80)} is not {cls.model_fields[name].description}"

    @field_validator("format", mode="before")
    @classmethod
    def _known_formats(cls, value: object) -> object:
        names = [str(name).strip().upper() for name in _listed(value)]
        formats = dict.fromkeys("JPEG" if name == "JPG" else name for name in names)
        if not formats.keys() <= set(_FORMATS):
            raise ValueError
        return tuple(formats)

    @field_validator("aspect", mode="before")
    @classmethod
    def _ratio(cls, value: object) -> object:
        if isinstance(value, str) and value.strip().lower() == AS_INPUT:
            return AS_INPUT
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError  # noqa: TRY004 - pydantic reports ValueError, not TypeError
        ratio = float(value)
        if not 0.01 <= ratio <= 100:  # noqa: PLR2004 - the range that the description names
            raise ValueError
        return ratio

    @field_validator("checks", mode="before")
    @classmethod
    def _dotted(cls, value: object) -> object:
        names = [name.strip() if isinstance(name, str) else "" for name in _listed(value)]
        if not all(map(_CHECK.fullmatch, names)):
            raise ValueError
        return tuple(dict.fromkeys(names))

    @property
    def asks_for_input(self) -> bool:
        """Whether the user named a bound that only the input gives a meaning to."""
        return self.aspect == AS_INPUT or bool(self.min_difference) or self.max_difference not in {None, 1}

    @property
    def needs_input(self) -> bool:
        """Whether the input must be read: also for what is checked by default, and for the user's own checks."""
        no_least = self.min_difference == 0 or (self.identical and self.min_difference is None)
        has_all = self.min_sharpness is not None and self.max_difference == 1 and no_least
        return self.asks_for_input or bool(self.checks) or not has_all

    def to_payload(self) -> dict[str, Any]:
        """Return what was asked for as JSON values that :meth:`checked` takes; what was left as it is, is not there."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _listed(value: object) -> list[object]:
    if isinstance(value, list | tuple):
        return list(value)
    return [value]


def _contradictions(acceptance: Acceptance) -> list[str]:
    bounds = {
        "min_width": ("width", acceptance.min_width, acceptance.width),
        "min_height": ("height", acceptance.min_height, acceptance.height),
        "min_difference": ("max_difference", acceptance.min_difference, acceptance.max_difference),
    }
    found = [
        f"accept: {name}: {least} is more than {other} ({most}), so nothing could pass"
        for name, (other, least, most) in bounds.items()
        if least is not None and most is not None and least > most
    ]
    if acceptance.identical and acceptance.min_difference:
        found.append(f"accept: min_difference: {acceptance.min_difference} refuses what identical=True takes")
    return found
