"""
Read an HTTP answer: one decoder for both HTTP libraries, and the meaning of each status code.

What a server says of its own answer (length, encoding, type) decides less than what came: an answer that was paid for
is read wherever it can be read in one way. Text from outside becomes ours here, so here the key is cut out of it.

Nothing here sends or waits. What an error means for money is decided in ``policy``.
"""

from __future__ import annotations

import html
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn

from airflow_imagepipeline.contract.errors import (
    Blocked,
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
LARGEST_DATA: Final = 32 * 1024 * 1024
"""As :data:`LARGEST_ANSWER`, for an answer that holds an image itself, as a ``data:`` link."""

_DEEPEST: Final = 64
"""Levels of nesting that are kept; showing deeper ones would exhaust the stack."""
_LONGEST_NUMBER: Final = 300
_BEFORE_NAME: Final = re.compile(r"[{,]\s*")
_BEHIND_NAME: Final = re.compile(r"\s*:\s*")
_PADDING: Final = " \t\r\n\0\ufeff"
_PAGE: Final = re.compile(r"\s*<(?:!doctype html|html|head|body|title)\b", re.IGNORECASE)
_TITLE: Final = re.compile(r"<title[^<>]{0,200}>([^<]{1,400})", re.IGNORECASE)
_NOT_TAKEN: Final = frozenset({408, 421, 425})
_NOT_IMPLEMENTED: Final = 501
_TOO_MANY: Final = 429
_TOO_MANY_CODES: Final = frozenset({"RATE_LIMIT_EXCEEDED", "CONCURRENT_JOBS_EXCEEDED"})
_UNAVAILABLE: Final = 503

_BLOCKED: Final = (
    "A CDN, a firewall or a proxy stands in front of the API and did not let the request through, or the connection's "
    "host is not the API's."
)
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
    :param body: bytes as received; more than :func:`most_bytes` of them are not read.
    :param received_at: seconds since the epoch.
    :param hide: cuts the key out of a text that was decoded.
    :param failure: what ended the connection before the server had said that this is all; None when nothing did.
    """

    source: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    received_at: float
    hide: Callable[[str], str] = field(default=str, repr=False, compare=False)
    failure: ImagePipelineError | None = None

    @property
    def is_success(self) -> bool:
        """Tell whether the status is one of 200-299."""
        return 200 <= self.status <= 299  # noqa: PLR2004 - the range is the definition


def most_bytes(body: bytes | bytearray) -> int:
    """Return how many bytes of an answer are read that begins so."""
    return LARGEST_DATA if b"data:" in body[:LARGEST_ANSWER] else LARGEST_ANSWER


def json_object(response: ApiResponse) -> dict[str, Any]:
    """
    Return the answer's JSON object, without the key.

    The content decides, not its label: gateways label JSON as text, and encode what nobody asked them to. Of a field
    that stands twice with two values, the value is the list of both, which is none that can be meant.

    :raises Malformed: when the body is no JSON object, or has more than :func:`most_bytes`.
    """
    text, limit = _text(response)
    if limit:
        _malformed(response, f"more than {limit} bytes")
    try:
        value = _JSON.decode(text.strip(_PADDING))
    except (ValueError, RecursionError) as exc:
        _malformed(response, f"no readable JSON ({type(exc).__name__})")
    if not isinstance(value, dict):
        _malformed(response, f"a JSON {type(value).__name__} where an object belongs")
    own: dict[str, Any] = _own(value, response.hide)
    return own


def whole_members(response: ApiResponse) -> dict[str, Any]:
    """
    Return those fields of an answer's object that came whole, where :func:`json_object` refuses the answer.

    It may have been cut, or be followed by something else; nothing is guessed: a value counts when what ends it came.

    :return: empty when there is no object, or when more than one may be meant.
    """
    text = _text(response)[0].lstrip(_PADDING)
    members: list[tuple[str, Any]] = []
    at = 0
    with suppress(ValueError, RecursionError):
        for name, value, end in _members(text):
            members.append((name, value))
            at = end
    is_ambiguous = text[at : at + 1] == "}" and "{" in text[at:]
    found: dict[str, Any] = {} if is_ambiguous else _own(_merged(members), response.hide)
    return found


def _members(text: str) -> Iterator[tuple[str, Any, int]]:
    """Yield name and value of each member of an object whose end came, and where it ends."""
    start = _BEFORE_NAME.match(text) if text.startswith("{") else None
    while start:
        name, at = _JSON.raw_decode(text, start.end())
        colon = _BEHIND_NAME.match(text, at)
        value, at = _JSON.raw_decode(text, colon.end() if colon else len(text))
        while text[at : at + 1].isspace():
            at += 1
        if isinstance(name, str) and text[at : at + 1] in {",", "}"}:
            yield name, value, at
        start = _BEFORE_NAME.match(text, at)


def _text(response: ApiResponse) -> tuple[str, int]:
    """Return the body as text, and how many bytes are too many for it, or 0. What is no text is a lone surrogate."""
    body = _unpacked(response.body, response.headers.get("content-encoding", ""))
    most = most_bytes(body)
    encoding = json.detect_encoding(body[:4])
    # Only UTF-8 can hold what is none; in the others everything is a character, or an error.
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    return body[:most].decode(encoding, errors), most if len(body) > most else 0


def _unpacked(body: bytes, encoding: str) -> bytes:
    # By what it is: servers say "aws-chunked" or "utf-8" of plain JSON, and compress what nobody asked them to.
    is_zlib = body[:1] == b"x" and int.from_bytes(body[:2], "big") % 31 == 0
    if not is_zlib and body[:2] != b"\x1f\x8b" and "deflate" not in encoding.lower():
        return body
    # 47: zlib or gzip, found by its header; -15: without a header. The second argument is what keeps a bomb small.
    for window in (47, -15):
        engine = zlib.decompressobj(window)
        with suppress(zlib.error):
            unpacked = engine.decompress(body, LARGEST_ANSWER + 1)
            more = most_bytes(unpacked) - LARGEST_ANSWER
            # What was cut short is read as far as it came.
            return unpacked + (engine.decompress(engine.unconsumed_tail, more + 1) if more else b"")
    return body


def _own(value: Any, hide: Callable[[str], str], levels: int = _DEEPEST) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict | list) and not levels:
        return "…"
    if isinstance(value, dict):
        return {hide(name): _own(item, hide, levels - 1) for name, item in value.items()}
    return [_own(item, hide, levels - 1) for item in value] if isinstance(value, list) else value


def _merged(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        value[name] = item if name not in value or value[name] == item else [value[name], item]
    return value


def _whole_number(digits: str) -> int | float:
    # Python refuses to read a very long one; nothing that is needed is one.
    return int(digits) if len(digits) <= _LONGEST_NUMBER else math.nan


_JSON: Final = json.JSONDecoder(object_pairs_hook=_merged, parse_int=_whole_number, strict=False)


def page_in(response: ApiResponse) -> str:
    """Return the sentence part that names the page which answered instead of the API; empty when none did."""
    text = _text(response)[0]
    kind = response.headers.get("content-type", "")
    if not _PAGE.match(text) and not ("html" in kind.lower() and text.lstrip()[:1] == "<"):
        return ""
    title = _TITLE.search(text)
    named = f", title {cleaned(html.unescape(response.hide(title[1])), 80)!r}" if title else ""
    return f"a page answered, not the API ({cleaned(kind or 'HTML', 60)}{named})"


def _malformed(response: ApiResponse, what: str) -> NoReturn:
    encoding = cleaned(response.headers.get("content-encoding", ""), 40)
    kind = cleaned(response.headers.get("content-type", "none"), 60) + (f", encoded as {encoding}" if encoding else "")
    shown = page_in(response) or f"content type {kind}: {cleaned(response.hide(_text(response)[0]), 120)!r}"
    msg = f"{response.source} answered {response.status} with {what}; {shown}"
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
        is_page = status != _NOT_IMPLEMENTED and page_in(response) != ""
        advice = _BLOCKED if is_page else _ADVICE.get(status, "The API will not take this request.")
        return (Blocked if is_page else Refused)(f"{said} {advice}", status=status, detail=detail, code=code)
    return Uncertain(said)


def remote_message(response: ApiResponse) -> str:
    """Return the API's own words: ``error``, then ``message``, then ``detail``, then the raw text; cleaned."""
    try:
        value = json_object(response)
    except Malformed:
        return page_in(response) or cleaned(response.hide(_text(response)[0]))
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
