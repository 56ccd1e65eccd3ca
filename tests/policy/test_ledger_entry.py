from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.batch.scratch import Scratch
from airflow_imagepipeline.batch.state import BatchState
from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE
from airflow_imagepipeline.policy.batch import Budget, price_of, spent_by
from airflow_imagepipeline.policy.ledger_entry import LedgerEntry, RowPhase

ENTRIES = st.builds(
    LedgerEntry,
    key=st.text(),
    number=st.integers(0, 10**9),
    index=st.integers(0, 10**9),
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
    images=st.lists(
        st.fixed_dictionaries({"uri": st.text()}, optional={"bytes": st.integers(0, 9), "format": st.text()}),
        max_size=2,
    ).map(lambda images: images or ()),
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ODD: list[Any] = [None, True, -1, 1 << 63, 10**5000, 1e308, math.nan, math.inf, "", "\ud800", [], {}, [[]], [None]]


@pytest.mark.fault(114)
@given(st.sampled_from([one.name for one in fields(LedgerEntry)]), JSON | st.sampled_from(ODD))
def test_a_field_of_any_type_is_refused_or_can_be_worked_with(name: str, value: Any) -> None:
    payload = {**ENTRY.to_payload(), name: value}
    try:
        entry = LedgerEntry.from_payload(payload)
    except ValueError as exc:
        assert str(exc).startswith("not an entry of a ledger")  # noqa: PT017 - both ends are right
        return
    written = json.dumps(entry.to_payload(), allow_nan=name in {"checks", "images"})
    assert LedgerEntry.from_payload(json.loads(written)) is not None
    with Scratch() as scratch:
        scratch.keep_newest([entry.to_payload()])
    state = BatchState(Budget(max_jobs=None, max_cost=None, price=1.0))
    state.take(entry)
    assert type(state.bytes) is int
    assert math.isfinite(price_of(entry.cost, 1.0))
    jobs, cost = spent_by("r", entry, 1.0)
    assert math.isfinite(jobs + cost)


@pytest.mark.fault(114)
@pytest.mark.parametrize("name", [one.name for one in fields(LedgerEntry)])
def test_a_field_of_another_type_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"not an entry of a ledger \(its {name}\)"):
        LedgerEntry.from_payload({**ENTRY.to_payload(), name: object()})


@pytest.mark.parametrize("phase", RowPhase)
@pytest.mark.parametrize("changed", [{}, {"seed": 8}, {"submitted_at": 9.0}, None], ids=str)
def test_an_entry_answers_the_request_that_is_open_and_no_other(
    phase: RowPhase, changed: dict[str, Any] | None
) -> None:
    answer = replace(ENTRY, phase=RowPhase.SUBMITTED, job_id="j", seed=7, submitted_at=5.0)
    newest = None if changed is None else {**answer.to_payload(), "phase": phase.value, **changed}
    assert answer.answers(newest) is (phase is RowPhase.SUBMITTING and changed == {})


@pytest.mark.parametrize("phase", RowPhase)
def test_work_is_under_way_until_its_end_is_known(phase: RowPhase) -> None:
    entry = LedgerEntry("k", 1, 0, "p", "r", phase)
    assert entry.is_under_way == (phase in {RowPhase.SUBMITTING, RowPhase.SUBMITTED})


def test_the_handle_names_the_job_and_there_is_none_without_one() -> None:
    handle = ENTRY.handle(SDXL_IMAGE_TO_IMAGE)
    assert (handle.job_id, handle.submitted_at, handle.api) == ("j", 5.0, SDXL_IMAGE_TO_IMAGE)
    with pytest.raises(ValueError, match="job"):
        LedgerEntry("k", 1, 0, "p", "r", RowPhase.SUBMITTING).handle(SDXL_IMAGE_TO_IMAGE)
