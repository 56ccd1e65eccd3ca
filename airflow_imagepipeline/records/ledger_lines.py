"""How a ledger is written: JSON, and JSON lines of which the first says what follows and how much of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn, Self

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_imagepipeline.policy.ledger_entry import is_count

LAST_EPOCH: Final = 99_999_999
_MARK: Final = re.compile(r"([0-9]{8})-([0-9]{8})", re.ASCII)
_RESTORE: Final = "restore the object from a backup, or remove it if it does not belong there."


class LedgerDamaged(AirflowFailException):
    """An object of the ledger is not what this provider wrote: what was paid for cannot be told any more."""

    @classmethod
    def at(cls, uri: str, reason: str, remedy: str = _RESTORE) -> Self:
        """Return the error for an object."""
        return cls(
            f"{uri} is damaged or was not written by this provider ({reason}). Nothing more is submitted, as it may be "
            f"paid twice: {remedy}"
        )


def mark_of(epoch: int, number: int) -> str:
    """Return the mark of a segment: text that sorts as segments do."""
    return f"{epoch:08d}-{number:08d}"


def numbers_of(mark: object) -> tuple[int, int]:
    """
    Return epoch and number of a mark.

    :raises ValueError: when it is none.
    """
    match = _MARK.fullmatch(mark) if isinstance(mark, str) else None
    if match is None:
        msg = f"not a mark of a ledger: {ascii(mark)[:80]}"
        raise ValueError(msg)
    return int(match[1]), int(match[2])


def json_object(content: bytes | str) -> dict[str, Any]:
    """
    Read what was stored as a JSON object.

    :raises ValueError: when it is none, or holds a number that is none (NaN, 1e999), or is nested too deeply.
    """
    try:
        value = _DECODER.decode(content if isinstance(content, str) else content.decode())
    except UnicodeDecodeError as exc:
        msg = "no UTF-8"
        raise ValueError(msg) from exc
    except RecursionError as exc:
        msg = "nested too deeply"
        raise ValueError(msg) from exc
    if not isinstance(value, dict):
        msg = "no JSON object"
        raise ValueError(msg)  # noqa: TRY004 - as for every other damage
    return value


def line_of(entry: Mapping[str, Any]) -> bytes:
    """
    Return an entry as a line, with its end.

    :raises ValueError: when it holds what JSON cannot carry, as :exc:`TypeError`.
    """
    return json.dumps(dict(entry), allow_nan=False, separators=(",", ":")).encode() + b"\n"


def heading(kind: str, entries: int, **more: Any) -> bytes:
    """Return the first line of a segment or snapshot."""
    return line_of({"v": 1, "kind": kind, "entries": entries, **more})


def read_heading(line: bytes, kind: str) -> dict[str, Any]:
    """
    Read the first line.

    :raises ValueError: when it is that of something else, or of another version.
    """
    value = _value(line)
    if value.get("v") != 1 or value.get("kind") != kind or not is_count(value.get("entries")):
        msg = f"not a {kind} of version 1"
        raise ValueError(msg)
    return value


def read_entries(lines: Iterable[bytes], expected: int) -> Iterator[dict[str, Any]]:
    """
    Yield the entries behind the first line.

    :param expected: how many there must be.
    :raises ValueError: when one is no entry, or there are more or fewer.
    """
    count = 0
    for line in lines:
        yield _value(line)
        count += 1
    if count != expected:
        msg = f"{count} entries instead of {expected}"
        raise ValueError(msg)


def _value(line: bytes) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        msg = "a line without an end"
        raise ValueError(msg)
    return json_object(line)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    msg = f"no number: {text[:20]}"
    raise ValueError(msg)


_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number)
