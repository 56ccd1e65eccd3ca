"""How values are said to a person: sizes, moments, amounts and names, in one way everywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from airflow_imagepipeline.contract.manifest import RowOutcome

_LONGEST_VALUE: Final = 4_000
_DEEPEST: Final = 8
_LARGEST_NUMBER: Final = 2**64
_MINUTE: Final = 60
_HOUR: Final = 3600
_UNIT: Final = 1000
_SMALL: Final = 10
# All of an address but its last part; one of letters alone, as in "and/or", is none.
_ADDRESS: Final = re.compile(r"(?<![^\s'\"(])(?:[a-z][a-z0-9+]*:/|)/[^\s'\"]*/(?=[^\s/])")

OUTCOME_WORDS: Final[Mapping[RowOutcome, tuple[str, str]]] = {
    RowOutcome.LANDED: ("Landed", "The images are in storage, paid for by this run."),
    RowOutcome.REUSED: ("Reused", "The same request was landed before. Nothing was paid."),
    RowOutcome.FAILED: ("Failed", "The vendor failed or refused it, or its images could not be brought home."),
    RowOutcome.FILTERED: ("Filtered", "The vendor's safety filter withheld the image."),
    RowOutcome.REJECTED: ("Rejected", "The image came, and did not pass the checks that were asked for."),
    RowOutcome.INVALID: ("Invalid", "The row cannot be a request. Nothing was submitted."),
    RowOutcome.UNCERTAIN: (
        "Uncertain",
        "The request may have been taken. It is not sent again until the task is cleared.",
    ),
    RowOutcome.OVER_BUDGET: ("Over budget", "The budget was used up before its turn."),
    RowOutcome.NOT_SUBMITTED: ("Not submitted", "The run ended before its turn."),
}
TREATMENT_WORDS: Final[Mapping[str, str]] = {
    "new": "New jobs, to be paid for",
    "reused": "Landed before, and taken as they are",
    "taken_up": "Under way since an earlier try",
    "same": "The same as another row",
    "kept": "Failed before, and not tried again",
    "uncertain": "May have been taken, and not sent again",
    "invalid": "Invalid, and left out",
}
COST: Final = "Cost"
_COST_WORDS: Final = {
    "cost_usd": COST,
    "credits_charged": "Credits charged",
    "credits_amount": "Credits",
    "balance_remaining_usd": "Balance left",
}


def count(value: float) -> str:
    """Return a number with its thousands parted."""
    return f"{value:,}"


def size(value: int) -> str:
    """Return a number of bytes as a person says it."""
    amount = float(value)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < _UNIT or unit == "GB":
            return f"{amount:.1f} {unit}" if unit != "bytes" and amount < _SMALL else f"{amount:,.0f} {unit}"
        amount /= _UNIT
    return ""


def duration(seconds: float) -> str:
    """Return a time span, rounded to what matters."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < _SMALL else f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE):02d} s"
    return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE):02d} min"


def moment(seconds: float) -> str:
    """Return a moment in UTC; nothing when it is none."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return ""


def money(value: float) -> str:
    """Return an amount in dollars; up to four digits where it is less than a dollar."""
    if abs(value) >= 1:
        return f"${value:,.2f}"
    whole, _, digits = f"{value:.4f}".partition(".")
    return f"${whole}.{digits[:2]}{digits[2:].rstrip('0')}"


def costs(cost: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the vendor said of money, as names and amounts."""
    numbers = {name: value for name, value in cost.items() if isinstance(value, bool) or is_number(value)}
    return [
        (word, money(numbers[name]) if name.endswith("usd") else said(numbers[name]))
        for name, word in _COST_WORDS.items()
        if name in numbers
    ]


def is_number(value: Any) -> bool:
    """Tell whether a value is a number that a person can read: JSON holds infinite and endless ones, too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST_NUMBER


def said(value: Any, deepest: int = _DEEPEST) -> str:
    """
    Return any JSON value as words.

    :param deepest: how many values inside of one another are told.
    """
    if isinstance(value, bool) or value is None:
        return "none" if value is None else "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if deepest < 1:
        return "…"
    if isinstance(value, Mapping):
        return ", ".join(f"{named(str(name))}: {said(inner, deepest - 1)}" for name, inner in value.items())[
            :_LONGEST_VALUE
        ]
    if isinstance(value, list):
        return ", ".join(said(inner, deepest - 1) for inner in value)[:_LONGEST_VALUE]
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def named(name: str) -> str:
    """Return the name of a field as words."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def last_part(address: str) -> str:
    """Return the file name of an address."""
    return _parts(address)[-1] or address


def folder_of(address: str) -> str:
    """Return the name of the folder that a file lies in, with a slash at its end; empty at the top of its store."""
    # The first part is the bucket or the host.
    folder = ["", *_parts(address)[1:]][-2]
    return f"{folder}/" if folder else ""


def without_folders(text: str) -> str:
    """Return a sentence with file names in the place of addresses."""
    return _ADDRESS.sub("", text)


def _parts(address: str) -> list[str]:
    # Of the web, what follows the path is no name; elsewhere any character may be part of one.
    plain = address.partition("?")[0] if address.startswith("http") else address
    _, separator, rest = plain.rpartition("://")
    return [*([] if separator else [""]), *rest.rstrip("/").split("/")]
