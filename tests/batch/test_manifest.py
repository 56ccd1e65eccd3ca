"""What a row of the manifest says, by the plan and by what the ledger knows in the end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_imagepipeline.batch.manifest import Ending, ManifestFile, manifest_rows
from airflow_imagepipeline.batch.scratch import Scratch
from airflow_imagepipeline.contract.manifest import ManifestRow, RowOutcome
from airflow_imagepipeline.contract.planned_row import PlannedRow
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

NOW, BEFORE = "this plan", "an earlier plan"


def told(
    treatment: str, entry: LedgerEntry | None, *, invalid: str = "", passed: bool = False, stopped: str = ""
) -> ManifestRow:
    """Return what is told of the only row."""
    row = PlannedRow(0, "s3://b/a.png", "" if invalid else "k", invalid=invalid, treatment=treatment)
    with Scratch() as scratch:
        scratch.keep_newest([] if entry is None else [entry.to_payload()])
        (found,) = manifest_rows([row], scratch, Ending(NOW, stopped, lambda _: passed))
    return found


def entry(phase: str, *, plan: str = NOW, index: int = 0, **more: Any) -> LedgerEntry:
    return LedgerEntry("k", 1, index, plan, "r", RowPhase(phase), attempts=1, **more)


@pytest.mark.parametrize(
    ("treatment", "found", "outcome", "words", "attempts"),
    [
        ("submit", entry("landed"), "landed", "", 1),
        ("submit", entry("failed", reason="bad"), "failed", "bad", 1),
        ("submit", entry("submitting"), "uncertain", "clear the task to submit it again", 1),
        ("submit", entry("withdrawn", reason="later"), "not_submitted", "later", 1),
        ("submit", entry("filtered"), "filtered", "", 1),
        ("reuse", entry("landed", plan=BEFORE), "reused", "", 0),
        ("same", entry("landed", index=7), "reused", "", 0),
        ("same", entry("failed", index=7, reason="bad"), "failed", "bad", 0),
        ("keep", entry("failed", plan=BEFORE, reason="bad."), "failed", "bad. Not tried again", 0),
        ("uncertain", entry("submitting", plan=BEFORE), "uncertain", "It may have been paid for", 0),
        ("uncertain", entry("lost", plan=BEFORE, reason="Lost."), "uncertain", "Lost. It may have been", 0),
        ("take up", entry("submitted", plan=BEFORE), "not_submitted", "", 0),
        ("submit", entry("failed", plan=BEFORE, reason="bad"), "not_submitted", "The run ended before", 0),
        ("submit", None, "not_submitted", "The run ended before", 0),
    ],
    ids=lambda value: value.phase.value if isinstance(value, LedgerEntry) else str(value),
)
def test_what_became_of_a_row(
    treatment: str, found: LedgerEntry | None, outcome: str, words: str, attempts: int
) -> None:
    row = told(treatment, found)
    assert (row.outcome, row.attempts) == (outcome, attempts)
    assert words in row.reason


def test_an_invalid_row_says_why() -> None:
    row = told("invalid", None, invalid="no link")
    assert (row.outcome, row.reason, row.reason_code) == (RowOutcome.INVALID, "no link", "INVALID")


@pytest.mark.parametrize(
    ("treatment", "found", "outcome", "same"),
    [
        ("submit", entry("landed", plan=BEFORE), "over_budget", "over_budget"),
        ("submit", entry("failed", plan=BEFORE), "over_budget", "over_budget"),
        ("submit", entry("landed"), "landed", "reused"),
        ("submit", entry("failed"), "failed", "failed"),
        ("reuse", entry("landed", plan=BEFORE), "reused", "reused"),
        ("keep", entry("failed", plan=BEFORE), "failed", "failed"),
        ("uncertain", entry("submitting", plan=BEFORE), "uncertain", "uncertain"),
        ("take up", entry("submitted", plan=BEFORE, job_id="j"), "not_submitted", "not_submitted"),
    ],
    ids=lambda value: value.phase.value if isinstance(value, LedgerEntry) else str(value),
)
def test_a_row_that_asks_for_the_same_as_another_one_shares_its_fate(
    treatment: str, found: LedgerEntry, outcome: str, same: str
) -> None:
    rows = [PlannedRow(i, "s3://b/a.png", "k", treatment=word) for i, word in enumerate((treatment, "same", "same"))]
    with Scratch() as scratch:
        scratch.keep_newest([found.to_payload()])
        told_rows = list(manifest_rows(rows, scratch, Ending(NOW, "", lambda _: True)))
    assert [row.outcome for row in told_rows] == [outcome, same, same]


def test_a_row_that_had_its_turn_and_no_entry_was_left_out_for_the_budget() -> None:
    assert told("submit", None, passed=True, stopped="No credits.").outcome is RowOutcome.OVER_BUDGET


def test_a_row_that_never_had_its_turn_says_why_nothing_more_was_submitted() -> None:
    assert told("submit", None, stopped="No credits.").reason == "No credits."


def test_the_file_counts_what_it_holds_and_says_what_went_wrong_most(tmp_path: Path) -> None:
    manifest = ManifestFile(tmp_path / "manifest")
    rows = [
        ManifestRow(0, "a", RowOutcome.LANDED),
        ManifestRow(1, "b", RowOutcome.FAILED, "The model failed.", "MODEL_ERROR"),
        ManifestRow(2, "c", RowOutcome.FAILED, "Again.", "MODEL_ERROR"),
        ManifestRow(3, "d", RowOutcome.UNCERTAIN),
        ManifestRow(4, "e", RowOutcome.INVALID, "no link", "INVALID"),
    ]
    file = manifest.write(rows)
    assert manifest.counts == Counter(row.outcome for row in rows)
    assert manifest.why() == "2 MODEL_ERROR, 1 uncertain; one of them: The model failed."
    assert [ManifestRow.from_payload(json.loads(line)) for line in file.path.read_text().splitlines()] == rows
