"""The rule about money as a table: every phase of a record against every kind of new try."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE
from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.policy.submission import (
    Action,
    Phase,
    SubmissionRecord,
    Wish,
    changed_fields,
    decide,
    decide_without_records,
    uncertain_sentence,
    why_not,
)
from tests.contract.answered import any_text, json_values

API = "https://api.imagepipeline.io"
RECORD = SubmissionRecord(
    phase=Phase.SUBMITTED,
    fingerprint="a" * 64,
    origin=API,
    api="sdxl/image2image/v1",
    seed=7,
    submitted_at=1_800_000_000.0,
    try_number=1,
    max_tries=3,
    token="t",
    job_id="job-1",
    deadline=1_800_003_600.0,
    fields={"prompt": "11111111", "seed": "22222222"},
)
WISH = Wish(fingerprint="a" * 64, origin=API, max_tries=3, fields={"prompt": "11111111", "seed": "22222222"})

AGAIN = WISH
RESUBMIT = replace(WISH, resubmit=True)
PAYS_AGAIN = replace(WISH, retry_failed_jobs=True)
CLEARED = replace(WISH, max_tries=4)
MOVED = replace(WISH, origin="https://other.example")
MOVED_CLEARED = replace(MOVED, max_tries=4)

# What is recorded: what an automatic retry does, one that may resubmit, one that may pay for failed jobs again, a
# human's clear, a try on another host, and a human's clear on another host.
TRIES = (AGAIN, RESUBMIT, PAYS_AGAIN, CLEARED, MOVED, MOVED_CLEARED)
A = Action
DECISIONS: dict[Phase, tuple[Action, ...]] = {
    Phase.SUBMITTING: (A.ASK, A.SUBMIT_AGAIN, A.ASK, A.ASK, A.OTHER_HOST, A.OTHER_HOST),
    Phase.SUBMITTED: (A.TAKE_UP, A.TAKE_UP, A.TAKE_UP, A.TAKE_UP, A.OTHER_HOST, A.OTHER_HOST),
    Phase.HANDED_OVER: (A.TAKE_UP, A.TAKE_UP, A.TAKE_UP, A.SUBMIT, A.TAKE_UP, A.SUBMIT),
    Phase.STORED: (A.TAKE_UP, A.TAKE_UP, A.TAKE_UP, A.SUBMIT, A.TAKE_UP, A.SUBMIT),
    Phase.FAILED: (A.FAIL_AGAIN, A.FAIL_AGAIN, A.SUBMIT, A.SUBMIT, A.FAIL_AGAIN, A.SUBMIT),
    Phase.LOST: (A.FAIL_AGAIN, A.FAIL_AGAIN, A.FAIL_AGAIN, A.SUBMIT, A.FAIL_AGAIN, A.SUBMIT),
    Phase.AMBIGUOUS: (A.FAIL_AGAIN, A.FAIL_AGAIN, A.FAIL_AGAIN, A.SUBMIT, A.OTHER_HOST, A.OTHER_HOST),
}
SENDS = {Action.SUBMIT, Action.SUBMIT_AGAIN}

records = st.builds(
    replace,
    st.just(RECORD),
    phase=st.sampled_from(Phase),
    origin=st.sampled_from([API, "https://other.example"]),
    max_tries=st.integers(0, 5),
    job_id=st.none() | st.just("job-1"),
)
wishes = st.builds(
    replace,
    st.just(WISH),
    max_tries=st.integers(0, 5),
    is_mapped=st.booleans(),
    resubmit=st.booleans(),
    retry_failed_jobs=st.booleans(),
)


def test_every_phase_has_its_row() -> None:
    assert set(DECISIONS) == set(Phase)


@pytest.mark.parametrize("is_mapped", [False, True], ids=["one task", "a mapped task"])
@pytest.mark.parametrize("phase", Phase)
def test_what_a_new_try_does(phase: Phase, *, is_mapped: bool) -> None:
    record = replace(RECORD, phase=phase)
    done = tuple(decide(record, record, replace(wish, is_mapped=is_mapped)) for wish in TRIES)
    assert done == DECISIONS[phase]


@pytest.mark.parametrize("phase", Phase)
def test_another_request_within_the_same_human_decision_is_not_sent(phase: Phase) -> None:
    latest = replace(RECORD, phase=phase, fingerprint="b" * 64)
    assert decide(None, latest, AGAIN) is Action.CHANGED
    assert decide(None, latest, RESUBMIT) is Action.CHANGED
    assert decide(None, latest, CLEARED) is Action.SUBMIT
    assert decide(None, latest, replace(AGAIN, is_mapped=True)) is Action.SUBMIT
    assert decide(None, latest, PAYS_AGAIN) is (Action.SUBMIT if phase is Phase.FAILED else Action.CHANGED)


def test_the_first_try_of_all_submits() -> None:
    assert decide(None, None, WISH) is Action.SUBMIT


@pytest.mark.parametrize("phase", [Phase.HANDED_OVER, Phase.STORED, Phase.FAILED, Phase.LOST, Phase.AMBIGUOUS])
def test_one_clear_pays_for_one_request_though_it_changes_back(phase: Phase) -> None:
    before = replace(RECORD, phase=phase)
    since = replace(RECORD, fingerprint="b" * 64, max_tries=CLEARED.max_tries)
    assert decide(before, before, CLEARED) is Action.SUBMIT
    assert decide(before, since, CLEARED) is Action.CHANGED


@pytest.mark.parametrize("phase", [Phase.HANDED_OVER, Phase.STORED])
def test_a_finished_job_without_an_id_cannot_be_taken_up(phase: Phase) -> None:
    record = replace(RECORD, phase=phase, job_id=None)
    assert decide(record, record, AGAIN) is Action.FAIL_AGAIN
    assert decide(record, record, CLEARED) is Action.SUBMIT


@given(record=records, wish=wishes)
def test_no_retry_sends_what_may_have_been_taken_unless_told_to(record: SubmissionRecord, wish: Wish) -> None:
    action = decide(record, record, wish)
    if action in SENDS:
        cleared = record.max_tries != wish.max_tries and record.phase not in {Phase.SUBMITTING, Phase.SUBMITTED}
        told = wish.resubmit and record.phase is Phase.SUBMITTING
        pays = wish.retry_failed_jobs and record.phase is Phase.FAILED
        assert cleared or told or pays
    assert (action is Action.SUBMIT_AGAIN) <= wish.resubmit


@pytest.mark.parametrize(
    ("try_number", "max_tries", "retries", "action"),
    [
        pytest.param(1, 3, 3, Action.SUBMIT, id="the first try"),
        pytest.param(2, 3, 3, Action.ASK, id="an automatic retry"),
        pytest.param(4, 3, 3, Action.ASK, id="the last automatic retry"),
        pytest.param(3, 5, 3, Action.SUBMIT, id="the first try after a clear"),
        pytest.param(4, 5, 3, Action.ASK, id="a retry after a clear"),
        pytest.param(1, 0, 0, Action.SUBMIT, id="a task without retries"),
        pytest.param(2, 1, 0, Action.SUBMIT, id="a task without retries, cleared"),
    ],
)
def test_without_records_only_the_first_try_of_a_human_decision_submits(
    try_number: int, max_tries: int, retries: int, action: Action
) -> None:
    wish = replace(WISH, max_tries=max_tries)
    assert decide_without_records(try_number, wish, retries) is action
    told = Action.SUBMIT_AGAIN if action is Action.ASK else action
    assert decide_without_records(try_number, replace(wish, resubmit=True), retries) is told


# The record.


@given(records)
def test_a_record_survives_json(record: SubmissionRecord) -> None:
    assert SubmissionRecord.from_payload(json.loads(json.dumps(record.to_payload()))) == record


def test_a_record_of_a_later_version_with_more_fields_is_read() -> None:
    assert SubmissionRecord.from_payload({**RECORD.to_payload(), "colour": "blue"}) == RECORD


def test_a_record_without_optional_fields_is_read() -> None:
    payload = RECORD.to_payload()
    for name in ("job_id", "deadline", "fields"):
        del payload[name]
    assert SubmissionRecord.from_payload(payload) == replace(RECORD, job_id=None, deadline=None, fields={})


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(None, id="none"),
        pytest.param("submitted", id="a text"),
        pytest.param({}, id="an empty object"),
        pytest.param({**RECORD.to_payload(), "v": 2}, id="another version"),
        pytest.param({**RECORD.to_payload(), "phase": "done"}, id="an unknown phase"),
        pytest.param({**RECORD.to_payload(), "phase": None}, id="a phase of none"),
        pytest.param({"v": 1, "phase": "submitted"}, id="hardly a field"),
    ],
)
def test_a_stranger_is_no_record(stranger: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        SubmissionRecord.from_payload(stranger)


@given(json_values | st.dictionaries(st.sampled_from([*RECORD.to_payload()]) | any_text, json_values))
def test_junk_is_a_record_or_a_value_error(payload: Any) -> None:
    try:
        record = SubmissionRecord.from_payload(payload)
    except ValueError:
        return
    assert payload["v"] == 1
    assert record.phase in Phase


def test_a_record_leads_to_its_job() -> None:
    assert RECORD.handle == JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1", 1_800_000_000.0, 7)
    with pytest.raises(ValueError, match="names no job"):
        _ = replace(RECORD, job_id=None).handle


# What a human is told.


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"prompt": "11111111", "seed": "22222222"}, []),
        ({"prompt": "33333333", "seed": "22222222"}, ["prompt"]),
        ({"prompt": "11111111"}, ["seed"]),
        ({"prompt": "11111111", "seed": "22222222", "width": "4"}, ["width"]),
        ({}, ["prompt", "seed"]),
    ],
)
def test_names_what_changed(fields: dict[str, str], changed: list[str]) -> None:
    assert changed_fields(RECORD, replace(WISH, fields=fields)) == changed


@pytest.mark.parametrize(
    ("action", "record", "said"),
    [
        pytest.param(Action.ASK, RECORD, "at about 2027-01-15 08:00:00 UTC", id="ask: when to look for a job"),
        pytest.param(Action.ASK, None, "may or may not have been accepted", id="ask: without a record"),
        pytest.param(Action.OTHER_HOST, RECORD, "job job-1 to https://api.imagepipeline.io", id="another host"),
        pytest.param(Action.OTHER_HOST, replace(RECORD, job_id=None), "submitted a job to", id="a job without an id"),
        pytest.param(Action.CHANGED, RECORD, "another picture (prompt changed)", id="changed"),
        pytest.param(
            Action.CHANGED,
            replace(RECORD, fields={**WISH.fields, "prompt": "3"}),
            "(the request changed)",
            id="changed, who knows how",
        ),
        pytest.param(Action.FAIL_AGAIN, RECORD, "job job-1: submitted", id="fail again"),
    ],
)
def test_a_human_is_told_why_nothing_was_submitted(action: Action, record: SubmissionRecord | None, said: str) -> None:
    sentence = why_not(action, record, replace(WISH, fields={**WISH.fields, "prompt": "3"}))
    assert said in sentence
    assert "clear" in sentence.lower() or "a new run" in sentence


def test_uncertainty_names_its_reason() -> None:
    assert "(the connection was cut)" in uncertain_sentence("the connection was cut", RECORD)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        pytest.param("https://api.example", "https://api.example:443", True, id="the usual port, told"),
        pytest.param("http://127.0.0.1:80", "http://127.0.0.1", True, id="the usual port of plain http"),
        pytest.param("https://api.example", "https://api.example:8443", False, id="another port"),
        pytest.param("https://127.0.0.1", "http://127.0.0.1", False, id="another scheme"),
        pytest.param("https://api.example", "https://other.example", False, id="another host"),
    ],
)
def test_a_job_is_looked_for_at_its_own_place_however_that_is_spelled(one: str, other: str, *, is_same: bool) -> None:
    record = replace(RECORD, phase=Phase.SUBMITTED, origin=one)
    action = decide(record, record, replace(WISH, origin=other))
    assert action is (Action.TAKE_UP if is_same else Action.OTHER_HOST)


LATER = replace(WISH, try_number=2)


@pytest.mark.parametrize(
    ("wish", "has_claim", "action"),
    [
        pytest.param(WISH, False, Action.SUBMIT, id="the first try"),
        pytest.param(LATER, True, Action.SUBMIT, id="a retry, and the first try began"),
        pytest.param(LATER, False, Action.NO_RECORD, id="a retry, and nothing is left"),
        pytest.param(replace(LATER, resubmit=True), False, Action.SUBMIT_AGAIN, id="the same, with resubmit"),
        pytest.param(replace(LATER, may_have_expired=False), False, Action.SUBMIT, id="nothing can have expired"),
        pytest.param(replace(LATER, is_mapped=True), False, Action.NO_RECORD, id="a mapped task, and nothing is left"),
        pytest.param(replace(LATER, first_try=2), False, Action.SUBMIT, id="the first try after a clear"),
    ],
)
def test_absence_is_no_proof_that_nothing_was_sent(wish: Wish, action: Action, *, has_claim: bool) -> None:
    assert decide(None, None, wish, has_claim=has_claim) is action


def test_a_retry_without_any_trace_names_what_can_be_done() -> None:
    sentence = why_not(Action.NO_RECORD, None, LATER)
    assert all(words in sentence for words in ("no trace", "set job_id", "clear this task"))


@pytest.mark.parametrize(
    "odd",
    [
        {"max_tries": "3"},
        {"deadline": "soon"},
        {"submitted_at": None},
        {"fields": 1},
        {"token": 5},
        {"deadline": 1e300},
    ],
    ids=str,
)
def test_a_record_of_other_types_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a submission record"):
        SubmissionRecord.from_payload({**RECORD.to_payload(), **odd})


def test_a_record_of_version_0_1_is_read() -> None:
    payload = {
        "v": 1, "phase": "submitted", "fingerprint": "a" * 64, "origin": API, "api": "sdxl/image2image/v1", "seed": 7,
        "submitted_at": 1_800_000_000.0, "try_number": 1, "max_tries": 3, "token": "t", "job_id": "job-1",
        "deadline": 1_800_003_600.0, "fields": {"prompt": "11111111", "seed": "22222222"},
    }  # fmt: skip
    assert SubmissionRecord.from_payload(payload) == RECORD
