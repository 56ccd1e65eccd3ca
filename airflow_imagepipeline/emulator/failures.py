"""The ways a job can fail or be refused, as data: the codes of the API's page and what goes with each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FailureKind:
    """One ``failure_reason_code``.

    The page names the codes and whether they may be tried again. Which HTTP status a submit that is refused for the
    same reason has is documented for 402, 422 and 429 only; the others are the emulator's choice.

    :param sentence: what a person reads.
    :param is_retryable: None where the page does not say.
    :param refused_with: the HTTP status of a submit that is refused for this reason.
    :param refused_as: the ``error_code`` of such a refusal, or None for the code itself.
    :param asks_to_wait: True when such a refusal carries ``Retry-After``.
    :param by_chance: True when ``fail_rate`` may choose it.
    """

    sentence: str
    is_retryable: bool | None
    refused_with: int = 500
    refused_as: str | None = None
    asks_to_wait: bool = False
    by_chance: bool = False


TOO_MANY_AT_ONCE = "CONCURRENT_JOBS_EXCEEDED"
FAILURES = {
    "RATE_LIMIT_EXCEEDED": FailureKind(
        sentence="Too many requests", is_retryable=True, refused_with=429, asks_to_wait=True
    ),
    TOO_MANY_AT_ONCE: FailureKind(
        sentence="Too many jobs run at once", is_retryable=True, refused_with=429, asks_to_wait=True
    ),
    "MODEL_ERROR": FailureKind(sentence="The model failed", is_retryable=True, by_chance=True),
    "MODEL_UNAVAILABLE": FailureKind(
        sentence="No model is available", is_retryable=True, refused_with=503, asks_to_wait=True, by_chance=True
    ),
    "STORAGE_ERROR": FailureKind(
        sentence="The result was not stored",
        is_retryable=True,
        refused_with=503,
        asks_to_wait=True,
        by_chance=True,
    ),
    "TIMEOUT": FailureKind(
        sentence="The job took too long", is_retryable=True, refused_with=503, asks_to_wait=True, by_chance=True
    ),
    "INTERNAL_ERROR": FailureKind(sentence="Internal error", is_retryable=True, by_chance=True),
    "INSUFFICIENT_CREDITS": FailureKind(
        sentence="No credits left", is_retryable=False, refused_with=402, refused_as="INSUFFICIENT_BALANCE"
    ),
    "CREDIT_CHARGE_FAILED": FailureKind(sentence="The charge failed", is_retryable=False, by_chance=True),
    "INPUT_INVALID": FailureKind(
        sentence="The input cannot be used", is_retryable=False, refused_with=422, by_chance=True
    ),
    "CANCELLED": FailureKind(sentence="The job was cancelled", is_retryable=None),
}
CHANCE_CODES = tuple(code for code, kind in FAILURES.items() if kind.by_chance)


def kind_of(code: str) -> FailureKind:
    """Look a code up.

    :param code: a code, also one of no list.
    :return: its kind; for a foreign code one that promises nothing.
    """
    return FAILURES.get(code) or FailureKind(sentence=f"Failed: {code}", is_retryable=None)


@dataclass(frozen=True)
class Failure:
    """Why a job has no images.

    :param code: the ``failure_reason_code``.
    :param sentence: what a person reads.
    """

    code: str
    sentence: str

    @classmethod
    def of(cls, code: str) -> Failure:
        """Make a failure that has nothing more to say than its code.

        :param code: a code, also one of no list.
        :return: the failure.
        """
        return cls(code, kind_of(code).sentence)
