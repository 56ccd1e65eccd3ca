from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

ENTRIES = st.builds(
    LedgerEntry,
    key=st.text(),
    number=st.integers(0),
    index=st.integers(0),
    plan=st.text(),
    run=st.text(),
    phase=st.sampled_from(RowPhase),
    attempts=st.integers(0, 9),
    seed=st.none() | st.integers(0, 5),
    job_id=st.none() | st.text(),
    submitted_at=st.none() | st.floats(0, 9e9),
    cost=st.dictionaries(st.text(), st.floats(0, 9) | st.booleans()),
    reason=st.text(),
    retryable=st.none() | st.booleans(),
    images=st.lists(st.dictionaries(st.text(), st.text()), max_size=2).map(lambda images: images or ()),
    spent=st.dictionaries(st.text(), st.lists(st.floats(0, 9), min_size=2, max_size=2)),
)
ENTRY = LedgerEntry("k", 1, 0, "p", "r", RowPhase.SUBMITTED, job_id="j", submitted_at=5.0)


@given(ENTRIES)
def test_an_entry_survives_json_with_all_that_it_says(entry: LedgerEntry) -> None:
    assert LedgerEntry.from_payload(json.loads(json.dumps(entry.to_payload()))) == entry


def test_what_says_nothing_is_not_written() -> None:
    assert LedgerEntry("k", 1, 0, "p", "r", RowPhase.LANDED).to_payload() == {
        "key": "k",
        "number": 1,
        "index": 0,
        "plan": "p",
        "run": "r",
        "phase": "landed",
    }


def test_a_seed_of_nought_and_a_useless_retry_are_written() -> None:
    written = LedgerEntry("k", 1, 0, "p", "r", RowPhase.FAILED, seed=0, retryable=False).to_payload()
    assert (written["seed"], written["retryable"]) == (0, False)


def test_what_a_later_version_adds_is_ignored() -> None:
    assert LedgerEntry.from_payload({**ENTRY.to_payload(), "color": "red"}) == ENTRY


@pytest.mark.parametrize("payload", [None, [], {}, {"key": "k"}, {**ENTRY.to_payload(), "phase": "asleep"}], ids=str)
def test_a_stranger_is_refused(payload: object) -> None:
    with pytest.raises(ValueError, match="not an entry of a ledger"):
        LedgerEntry.from_payload(payload)


@pytest.mark.parametrize("phase", RowPhase)
def test_work_is_under_way_until_its_end_is_known(phase: RowPhase) -> None:
    entry = LedgerEntry("k", 1, 0, "p", "r", phase)
    assert entry.is_under_way == (phase in {RowPhase.SUBMITTING, RowPhase.SUBMITTED})


def test_the_handle_names_the_job_and_there_is_none_without_one() -> None:
    handle = ENTRY.handle(SDXL_IMAGE_TO_IMAGE)
    assert (handle.job_id, handle.submitted_at, handle.api) == ("j", 5.0, SDXL_IMAGE_TO_IMAGE)
    with pytest.raises(ValueError, match="job"):
        LedgerEntry("k", 1, 0, "p", "r", RowPhase.SUBMITTING).handle(SDXL_IMAGE_TO_IMAGE)
