"""After which kind of failure may which kind of request be sent again? The one table that guards the money."""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from airflow_imagepipeline.contract.calls import RequestKind
from airflow_imagepipeline.contract.errors import (
    Blocked,
    Busy,
    ImagePipelineError,
    InvalidParameters,
    Malformed,
    Misconfigured,
    NotSent,
    Refused,
    Uncertain,
)

SUBMIT_ATTEMPTS: Final = 4
SUBMIT_SECONDS: Final = 120.0
"""Longest time from the first attempt of a submission to the start of its last, seconds."""
LONGEST_RETRY_AFTER: Final = 300.0
"""Longest ``Retry-After`` that is obeyed, seconds."""

_SUBMIT_BASE: Final = 1.0
_SUBMIT_CAP: Final = 15.0


class Verdict(StrEnum):
    """What may follow a failed request."""

    SEND_AGAIN = "send again"
    """Nothing was accepted: the same request may leave once more."""
    WAIT = "wait"
    """Nothing was accepted, and the API named or implied a pause."""
    LOOK_AGAIN = "look again"
    """The wait goes on; its own bounds end it."""
    REFUSE = "refuse"
    """The same request will fail again."""
    UNCERTAIN = "uncertain"
    """It may have been accepted: sending it again may pay twice."""


_TABLE: Final[Mapping[tuple[RequestKind, type[ImagePipelineError]], Verdict]] = {
    (RequestKind.SUBMIT, InvalidParameters): Verdict.REFUSE,
    (RequestKind.SUBMIT, Misconfigured): Verdict.REFUSE,
    (RequestKind.SUBMIT, NotSent): Verdict.SEND_AGAIN,
    (RequestKind.SUBMIT, Refused): Verdict.REFUSE,
    (RequestKind.SUBMIT, Busy): Verdict.WAIT,
    (RequestKind.SUBMIT, Uncertain): Verdict.UNCERTAIN,
    (RequestKind.SUBMIT, Malformed): Verdict.UNCERTAIN,
    (RequestKind.UPLOAD, InvalidParameters): Verdict.REFUSE,
    (RequestKind.UPLOAD, Misconfigured): Verdict.REFUSE,
    (RequestKind.UPLOAD, NotSent): Verdict.SEND_AGAIN,
    (RequestKind.UPLOAD, Refused): Verdict.REFUSE,
    (RequestKind.UPLOAD, Busy): Verdict.WAIT,
    (RequestKind.UPLOAD, Uncertain): Verdict.SEND_AGAIN,
    (RequestKind.UPLOAD, Malformed): Verdict.SEND_AGAIN,
    (RequestKind.LOOK, InvalidParameters): Verdict.REFUSE,
    (RequestKind.LOOK, Misconfigured): Verdict.LOOK_AGAIN,
    (RequestKind.LOOK, NotSent): Verdict.LOOK_AGAIN,
    (RequestKind.LOOK, Refused): Verdict.REFUSE,
    (RequestKind.LOOK, Blocked): Verdict.LOOK_AGAIN,
    (RequestKind.LOOK, Busy): Verdict.WAIT,
    (RequestKind.LOOK, Uncertain): Verdict.LOOK_AGAIN,
    (RequestKind.LOOK, Malformed): Verdict.LOOK_AGAIN,
}


def verdict(kind: RequestKind, error: BaseException) -> Verdict:
    """Return what may follow; an error that the table does not name is taken for the dearest case."""
    for cls in type(error).__mro__:
        if (kind, cls) in _TABLE:
            return _TABLE[kind, cls]
    return Verdict.UNCERTAIN


def may_send_again(kind: RequestKind, error: BaseException) -> bool:
    """Tell whether the same request may leave once more within the same attempt."""
    return verdict(kind, error) in {Verdict.SEND_AGAIN, Verdict.WAIT}


def pause_before_resending(failures: int, error: BaseException | None, source: random.Random) -> float:
    """
    Return the seconds before a submission is sent again: full jitter, or what the API asked for if that is longer.

    :param failures: how many attempts have failed so far, 1 or more.
    :param source: where the jitter comes from.
    """
    own = source.uniform(0, min(_SUBMIT_CAP, _SUBMIT_BASE * 2.0**failures))
    asked = error.retry_after if isinstance(error, Busy) and error.retry_after is not None else 0.0
    return max(own, min(asked, LONGEST_RETRY_AFTER))
