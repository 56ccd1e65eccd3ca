"""
What the parameters of every job have in common: checked before any request, and named by a fingerprint.

Values may come from Airflow templates, so numbers and booleans are also read from text. What was not set is not sent.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from airflow_imagepipeline.contract.api import Api
from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.text import cleaned, without_signature

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def _number(value: object) -> object:
    # True is an int to Python, and pydantic would take it for 1.
    if isinstance(value, bool):
        msg = "a boolean is not a number"
        raise ValueError(msg)  # noqa: TRY004 - pydantic reports ValueError, not TypeError
    return value


Number = BeforeValidator(_number)


class JobParameters(BaseModel):
    """
    The parameters of one job, whatever the endpoint.

    Optional fields that are None, empty or the text ``None`` (an unset template) are not sent; 0 and False are values.
    A subclass adds its endpoint's fields; the ``description`` of a field completes the sentence "... is not ...".

    :param seed: makes the image reproducible; drawn by the operator when not set.
    :param extra_parameters: fields that the vendor's page does not list, sent as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    api: ClassVar[Api]
    link_fields: ClassVar[tuple[str, ...]]
    """Fields that name input images, each one address or a list of them."""
    required: ClassVar[tuple[str, ...]]

    seed: Annotated[int, Number] | None = Field(default=None, description="a whole number")
    extra_parameters: dict[str, Any] = Field(default_factory=dict, repr=False)

    @classmethod
    def checked(cls, arguments: Mapping[str, Any]) -> Self:
        """
        Return the parameters that a user's arguments stand for.

        :param arguments: field names to values, perhaps rendered from templates.
        :raises InvalidParameters: naming each wrong field, its value and the range.
        """
        given = {name: value for name, value in arguments.items() if not is_unset(value)}
        missing = [name for name in cls.required if name not in given]
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
        return []

    def with_seed(self, source: random.Random) -> Self:
        """Return the parameters with a seed: the user's own, or one drawn from ``source`` (0 to 2**31 - 1)."""
        return self if self.seed is not None else self.model_copy(update={"seed": source.randrange(2**31)})

    def inputs(self) -> tuple[str, ...]:
        """Return the addresses of the input images."""
        values = (getattr(self, name) for name in self.link_fields)
        return tuple(address for value in values for address in _as_list(value))

    def to_payload(self, links: Mapping[str, str]) -> dict[str, Any]:
        """
        Return the request's JSON body.

        :param links: input address to the link that is sent in its place.
        """
        payload = self.model_dump(exclude_none=True, exclude={"extra_parameters"})
        replaced = {name: _replaced(payload[name], links) for name in self.link_fields if name in payload}
        return {**payload, **replaced, **self.extra_parameters}

    def fingerprint(self, identity: Callable[[str], str] = without_signature) -> str:
        """
        Return the SHA-256 (hex) of what the user asked for.

        Two requests for the same picture are equal: signatures in links do not count, nor does the host of the API.
        Take it before :meth:`with_seed`: a drawn seed is not the user's wish.

        :param identity: returns what of a link counts.
        """
        return _digest({"api": self.api.name, **self._wish(identity)})

    def field_digests(self) -> dict[str, str]:
        """Return a short digest of each field, so that what changed between two requests can be named, not shown."""
        return {name: _digest(value)[:8] for name, value in self._wish(without_signature).items()}

    def _wish(self, identity: Callable[[str], str]) -> dict[str, Any]:
        payload = self.to_payload({})
        # Only what may hold a link: a prompt that begins with one means every character of it.
        links = {
            name: _identified(payload[name], identity)
            for name in {*self.link_fields, *self.extra_parameters} & payload.keys()
        }
        return payload | links


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def is_unset(value: object) -> bool:
    """Tell whether an argument was not set: None, empty, or the text that a template makes of None."""
    return value is None or (isinstance(value, str) and value.strip() in {"", "None"}) or value in ({}, [])


def _as_list(value: str | list[str] | None) -> list[str]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _replaced(value: str | list[str], links: Mapping[str, str]) -> str | list[str]:
    if isinstance(value, list):
        return [links.get(address, address) for address in value]
    return links.get(value, value)


def _identified(value: Any, identity: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return identity(value)
    if isinstance(value, Mapping):
        return {name: _identified(item, identity) for name, item in value.items()}
    return [_identified(item, identity) for item in value] if isinstance(value, list) else value


def _problem(fields: Mapping[str, FieldInfo], field: str, said: str, given: Mapping[str, Any]) -> str:
    said = said.removeprefix("Value error, ")
    expected = fields[field].description if field in fields else None
    if expected is not None:
        return f"{field}: {cleaned(repr(given[field]), 80)} is not {expected}"
    # A link's own sentence shows what may be shown of it: the value may hold a signature.
    return said if said.startswith(f"{field}: ") else f"{field}: {said[:1].lower()}{said[1:]}"
