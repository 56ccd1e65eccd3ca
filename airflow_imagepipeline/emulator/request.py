"""Read a request body and refuse it the way the vendor's framework (FastAPI) does.

The content type is not looked at: the vendor's own Python sample posts JSON text without one.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

ModelT = TypeVar("ModelT", bound=BaseModel)


class InvalidFieldsError(ValueError):
    """Carries everything that is wrong with a body.

    :param detail: one ``{"loc", "msg", "type"}`` for each fault.
    """

    def __init__(self, detail: list[dict[str, Any]]) -> None:
        """Keep the faults."""
        super().__init__(f"{len(detail)} invalid field(s)")
        self.detail = detail


def fault(kind: str, message: str, *loc: str | int) -> dict[str, Any]:
    """Describe one fault of a body.

    :param kind: its machine-readable type.
    :param message: what a person reads.
    :param loc: where in the body it is.
    :return: an entry of FastAPI's list.
    """
    return {"loc": ["body", *loc], "msg": message, "type": kind}


def read_object(raw: bytes) -> dict[str, Any]:
    """Decode a request body that must be one JSON object.

    :param raw: the body as received.
    :return: its members.
    :raises InvalidFieldsError: when the body is empty, is no JSON, or is JSON but no object.
    """
    if not raw.strip():
        raise InvalidFieldsError([fault("missing", "Field required")])
    try:
        payload = json.loads(raw)
    except json.JSONDecodeError as exc:
        raise InvalidFieldsError([fault("json_invalid", "JSON decode error", exc.pos)]) from exc
    except (ValueError, RecursionError) as exc:  # bytes that are no text, numbers or nesting beyond Python's limits
        raise InvalidFieldsError([fault("json_invalid", "JSON decode error", 0)]) from exc
    if not isinstance(payload, dict):
        raise InvalidFieldsError([fault("dict_type", "Input should be a valid dictionary")])
    return payload


def validate(model: type[ModelT], payload: dict[str, Any]) -> ModelT:
    """Check a body's members against a generation's model.

    :param model: the pydantic model of the body.
    :param payload: the members as received.
    :return: the filled model.
    :raises InvalidFieldsError: when a field is missing or outside of its range; it names all such fields.
    """
    try:
        return model.model_validate(payload)
    except ValidationError as exc:
        faults = exc.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidFieldsError([fault(f["type"], f["msg"], *f["loc"]) for f in faults]) from exc
