"""Word a refusal: FastAPI's ``{"detail": ...}``, or the newer ``{"error", "error_code", "message"}``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from .failures import kind_of
from .request import InvalidFieldsError

_UNPROCESSABLE = 422
# Of these the vendor's page names INSUFFICIENT_BALANCE, NOT_FOUND and INVALID_PARAMETERS; the rest is made up.
_CODES = {
    400: "INVALID_PARAMETERS",
    401: "UNAUTHORIZED",
    402: "INSUFFICIENT_BALANCE",
    404: "NOT_FOUND",
    413: "PAYLOAD_TOO_LARGE",
    422: "INVALID_PARAMETERS",
}


class RefusedError(HTTPException):
    """A submit that is refused for one of the reasons a job can fail for.

    :param code: the reason, a failure code.
    :param retry_after: the ``Retry-After`` header, for the kinds that have one.
    """

    def __init__(self, code: str, retry_after: int | str) -> None:
        """Look the kind's HTTP status up."""
        kind = kind_of(code)
        headers = {"Retry-After": str(retry_after)} if kind.asks_to_wait else None
        super().__init__(kind.refused_with, kind.sentence, headers)
        self.error_code = kind.refused_as or code


def answer_refusal(refusal: HTTPException | InvalidFieldsError, *, newer: bool) -> JSONResponse:
    """Turn a refusal into an answer.

    :param refusal: what was raised.
    :param newer: True for the newer envelope; it has one sentence for all faults of a body, not a list of them.
    :return: the answer, with the refusal's own status and headers.
    """
    if isinstance(refusal, InvalidFieldsError):
        content = _newer(_UNPROCESSABLE, _sentence(refusal.detail)) if newer else {"detail": refusal.detail}
        return JSONResponse(content, _UNPROCESSABLE)
    code = refusal.error_code if isinstance(refusal, RefusedError) else None
    content = _newer(refusal.status_code, refusal.detail, code) if newer else {"detail": refusal.detail}
    return JSONResponse(content, refusal.status_code, refusal.headers)


def _newer(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    code = code or _CODES.get(status, "INTERNAL_ERROR")
    return {"error": HTTPStatus(status).phrase, "error_code": code, "message": message}


def _sentence(detail: list[dict[str, Any]]) -> str:
    return "; ".join(f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: {fault['msg']}" for fault in detail)
