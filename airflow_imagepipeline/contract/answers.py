"""
Read an HTTP answer: one strict decoder for both HTTP libraries, and the meaning of each status code.

Nothing here sends or waits. What an error means for money is decided in ``policy``.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn

from airflow_imagepipeline.contract.errors import (
    Busy,
    ImagePipelineError,
    Malformed,
    Misconfigured,
    NotSent,
    Refused,
    Uncertain,
)
from airflow_imagepipeline.contract.text import cleaned

LARGEST_ANSWER: Final = 1024 * 1024
"""Bytes of JSON that are read at most, counted before and after decompression."""

_DEEPEST: Final = 64
"""Levels of nesting beyond which an answer is not believed; showing a deeper one would exhaust the stack."""
_NOT_TAKEN: Final = frozenset({408, 421, 425})
_NOT_IMPLEMENTED: Final = 501
_TOO_MANY: Final = 429
_TOO_MANY_CODES: Final = frozenset({"RATE_LIMIT_EXCEEDED", "CONCURRENT_JOBS_EXCEEDED"})
_UNAVAILABLE: Final = 503

_ADVICE: Final[Mapping[int, str]] = {
    400: "Correct the parameters.",
    401: "The API key was refused: correct the password of the connection.",
    402: "The account has no credits left: top it up, then clear the task.",
    403: "The API key was refused, or the account may not use this endpoint: check the connection and the plan.",
    404: "Nothing is known here: check the connection's host, the job id, and whether the account has this endpoint.",
    405: "Check the host of the connection.",
    410: "The vendor has withdrawn this endpoint for the account.",
    422: "Correct the parameters.",
}


@dataclass(frozen=True)
class ApiResponse:
    """
    An HTTP answer as values.

    :param source: which request of which connection it answers, for sentences.
    :param headers: header fields with lower-case names.
    :param body: bytes as received, at most :data:`LARGEST_ANSWER` and one more.
    :param received_at: seconds since the epoch.
    """

    source: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    received_at: float

    @property
    def is_success(self) -> bool:
        """Tell whether the status is one of 200-299."""
        return 200 <= self.status <= 299  # noqa: PLR2004 - the range is the definition


def json_object(response: ApiResponse) -> dict[str, Any]:
    """
    Return the answer's JSON object.

    The content decides, not its label: the vendor's gateways may label JSON as text.

    :raises Malformed: when the body is no JSON object, holds a field twice or NaN, is over
        :data:`LARGEST_ANSWER`, or is nested more than 64 levels deep.
    """
    try:
        text = _decompressed(response).decode("utf-8-sig")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError, zlib.error) as exc:
        _malformed(response, f"no readable JSON ({type(exc).__name__})")
    if not isinstance(value, dict):
        _malformed(response, f"a JSON {type(value).__name__} where an object belongs")
    if _is_deep(value):
        _malformed(response, f"JSON of more than {_DEEPEST} levels")
    return value


def _is_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)


def _decompressed(response: ApiResponse) -> bytes:
    body = response.body
    if len(body) > LARGEST_ANSWER:
        _malformed(response, f"more than {LARGEST_ANSWER} bytes")
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        _malformed(response, f"content encoding {cleaned(encoding, 40)!r}, which was not asked for")
    # 47: zlib or gzip, found by its header. The second argument is what keeps a bomb small.
    engine = zlib.decompressobj(wbits=47)
    decoded = engine.decompress(body, LARGEST_ANSWER + 1)
    if len(decoded) > LARGEST_ANSWER:
        _malformed(response, f"more than {LARGEST_ANSWER} bytes after decompression")
    if not engine.eof:
        _malformed(response, "a compressed body that was cut short")
    return decoded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        msg = "a field stands twice"
        raise ValueError(msg)
    return value


def _no_constant(word: str) -> NoReturn:
    msg = f"{word} is no JSON"
    raise ValueError(msg)


def _malformed(response: ApiResponse, what: str) -> NoReturn:
    kind = cleaned(response.headers.get("content-type", "none"), 60)
    start = cleaned(response.body.decode("utf-8", "replace"), 120)
    msg = f"{response.source} answered {response.status} with {what}; content type {kind}: {start!r}"
    raise Malformed(msg) from None


def refusal(response: ApiResponse) -> ImagePipelineError:
    """Return the error that an answer outside of 200-299 stands for; the caller raises it."""
    status = response.status
    code, detail = remote_code(response), remote_message(response)
    said = f"{response.source} answered {status}" + (f": {detail}." if detail else ".")
    wait = retry_after(response)
    if status < 200:  # noqa: PLR2004 - an interim answer (103 Early Hints, say) in the place of the one that counts
        return Uncertain(said)
    if status < 400:  # noqa: PLR2004 - everything below that is no success is a redirect
        to = cleaned(response.headers.get("location", "nowhere"), 120)
        return Misconfigured(
            f"{said} It leads to {to}: that was not followed, so that the key stays here. Check the connection's host."
        )
    is_busy = status == _TOO_MANY or (status < 500 and code in _TOO_MANY_CODES)  # noqa: PLR2004 - client errors
    if is_busy or (status == _UNAVAILABLE and wait is not None):
        return Busy(f"{said} The API is busy.", retry_after=wait)
    if status in _NOT_TAKEN:
        return NotSent(f"{said} The request was not taken.")
    if status < 500 or status == _NOT_IMPLEMENTED:  # noqa: PLR2004 - the class of client errors
        return Refused(
            f"{said} {_ADVICE.get(status, 'The API will not take this request.')}",
            status=status,
            detail=detail,
            code=code,
        )
    return Uncertain(said)


def remote_message(response: ApiResponse) -> str:
    """Return the API's own words: ``error``, then ``message``, then ``detail``, then the raw text; cleaned."""
    try:
        value = json_object(response)
    except Malformed:
        return cleaned(response.body.decode("utf-8", "replace"))
    return reason_in(value)


def remote_code(response: ApiResponse) -> str:
    """Return the API's own code for what it refuses; empty when it gives none."""
    try:
        return code_in(json_object(response))
    except Malformed:
        return ""


def code_in(value: Mapping[str, Any]) -> str:
    """Return the code that an answer's object gives for its reason; empty when it gives none."""
    code = next((value[name] for name in ("failure_reason_code", "error_code") if value.get(name)), "")
    return cleaned(code, 60) if isinstance(code, str) else ""


def reason_in(value: Mapping[str, Any]) -> str:
    """Return the reason that an answer's object gives, cleaned; empty when it gives none."""
    # ``"error": true`` only announces the reason; beside a code, ``error`` is a title and ``message`` the sentence.
    names = ("message", "error", "detail") if value.get("error_code") else ("error", "message", "detail")
    reasons = (value.get(name) for name in names)
    reason = next((reason for reason in reasons if reason and reason is not True), "")
    if isinstance(reason, list):
        return cleaned("; ".join(_validation_note(item) for item in reason[:20]))
    if isinstance(reason, dict):
        reason = next((reason[name] for name in ("message", "msg", "error", "detail") if reason.get(name)), reason)
    return cleaned(reason)


def _validation_note(item: object) -> str:
    # FastAPI's list of {loc, msg, type}. The rejected input it may echo is left out.
    if isinstance(item, dict) and isinstance(item.get("loc"), list) and "msg" in item:
        return f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
    return str(item)


def retry_after(response: ApiResponse) -> float | None:
    """
    Return the seconds that ``Retry-After`` asks for, or None when there is none that can be read.

    Whole and decimal seconds and HTTP dates are read; a date counts from the answer's own ``Date``, so that a wrong
    clock on either side does no harm. Everything else is ignored.
    """
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,15}(\.\d{1,6})?", text, re.ASCII):
        return float(math.ceil(float(text)))
    at = _http_date(text)
    if at is None:
        return None
    sent_at = _http_date(response.headers.get("date", ""))
    return max(0.0, at - (response.received_at if sent_at is None else sent_at))


def _http_date(text: str) -> float | None:
    try:
        at = parsedate_to_datetime(text)
        # HTTP's older date has no zone and means GMT; Python would take it for the machine's own time.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
