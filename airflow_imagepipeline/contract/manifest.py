"""The manifest of a batch: one row for each input, as JSON lines; and the summary that the task returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from airflow_imagepipeline.contract.result import LandedImage
from airflow_imagepipeline.contract.text import cleaned

PROGRESS_KEY: Final = "imagepipeline:progress"
"""Under it a batch that runs tells Airflow's task state where it stands: ``line`` for a reader, and the numbers."""


class RowOutcome(StrEnum):
    """What became of one input."""

    LANDED = "landed"
    """Its images are in storage, paid for by this run."""
    REUSED = "reused"
    """The same request was landed before; nothing was paid."""
    FAILED = "failed"
    """The vendor failed it, refused it, or its images could not be brought home."""
    FILTERED = "filtered"
    """The vendor's safety filter withheld the image: it came back of one colour."""
    REJECTED = "rejected"
    """The image came, and did not pass the checks that were asked for."""
    INVALID = "invalid"
    """The row cannot be a request; nothing was submitted."""
    UNCERTAIN = "uncertain"
    """The request may have been taken, and is not sent again until a human clears the task."""
    OVER_BUDGET = "over_budget"
    """The budget was used up before its turn."""
    NOT_SUBMITTED = "not_submitted"
    """The run ended before its turn."""


GOOD: Final = frozenset({RowOutcome.LANDED, RowOutcome.REUSED})
LEFT_OUT: Final = frozenset({RowOutcome.INVALID, RowOutcome.OVER_BUDGET})
"""Rows that were left out on purpose: they count neither for nor against ``min_success_ratio``."""


@dataclass(frozen=True)
class ManifestRow:
    """
    What became of one input.

    :param index: place in the inputs, from 0.
    :param input: address of the (first) input image, without what signs it.
    :param reason: the sentence for a reader; empty when all is well.
    :param reason_code: the vendor's code, or one of ours; empty when there is none.
    :param images: what is in storage: landed now, landed before, or put aside as rejected.
    :param attempts: submissions of this run that were, or may have been, accepted.
    :param cost: what the vendor said of money, by its own names.
    :param timings: ``submitted_at``, ``finished_at`` (seen to be done) and ``landed_at``, seconds since the epoch.
    :param checks: what the checks found, name to number or words; empty where nothing was asked for.
    """

    index: int
    input: str
    outcome: RowOutcome
    reason: str = ""
    reason_code: str = ""
    job_id: str | None = None
    seed: int | None = None
    attempts: int = 0
    images: tuple[LandedImage, ...] = ()
    cost: Mapping[str, float | bool] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    checks: Mapping[str, Any] = field(default_factory=dict)

    def to_payload(self) -> dict[str, Any]:
        """Return the row as JSON values; ``uri`` and ``sha256`` repeat those of its first image."""
        first = self.images[0] if self.images else None
        return {
            **asdict(self),
            "outcome": self.outcome.value,
            "uri": first.uri if first else None,
            "sha256": first.sha256 if first else None,
            "images": [image.to_payload() for image in self.images],
        }

    def to_line(self) -> str:
        """Return the row as one line of JSON, without its end."""
        return json.dumps(self.to_payload(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """
        Read a row.

        :raises ValueError: when it is none.
        """
        row = payload if isinstance(payload, Mapping) else {}
        try:
            known = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
            images = tuple(LandedImage(**image) for image in known.pop("images", ()))
            return cls(**{**known, "outcome": RowOutcome(known["outcome"]), "images": images})
        except (TypeError, KeyError, ValueError) as exc:
            msg = f"not a row of a manifest: {cleaned(repr(payload), 80)}"
            raise ValueError(msg) from exc


@dataclass(frozen=True)
class BatchSummary:
    """
    What a batch task returns.

    :param manifest: address of the manifest.
    :param ledger: address of the folder that keeps what was submitted and landed.
    :param counts: outcome to number of rows; they sum to ``total``.
    :param submitted: jobs that this run was, or may have been, charged for.
    :param cost: their price as far as it is known (what the vendor said, else ``price_per_job``): 0.0 when nothing was
        paid, None when something was and no price is known.
    :param bytes: size of what was landed.
    :param seconds: from the start of the run's first try to its end.
    :param contact_sheet: address of the picture of the run, where one was asked for.
    """

    manifest: str
    ledger: str
    total: int
    counts: Mapping[str, int]
    submitted: int
    cost: float | None
    bytes: int
    seconds: float
    contact_sheet: str | None = None

    def to_payload(self) -> dict[str, Any]:
        """Return the summary as JSON values; all outcomes are there, also those of no row."""
        counts = {outcome.value: int(self.counts.get(outcome, 0)) for outcome in RowOutcome}
        payload = {"v": 1, **asdict(self), "counts": counts}
        return payload if self.contact_sheet else {k: v for k, v in payload.items() if k != "contact_sheet"}
