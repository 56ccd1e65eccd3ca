from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_imagepipeline.policy.batch_event import BatchEvent

EVENT = {"v": 1, "plan": "n1", "cursor": 3, "deadline": 7.5, "ended": [1, 2], "schedule": None, "message": ""}


def test_an_event_survives_json() -> None:
    event = BatchEvent("n1", 3, 7.5, [1, 2], {"v": 1}, "said")
    assert BatchEvent.from_payload(json.loads(json.dumps(event.to_payload()))) == event


def test_what_has_a_default_may_be_missing() -> None:
    short = {name: value for name, value in EVENT.items() if name not in {"schedule", "message"}}
    assert BatchEvent.from_payload(short) == BatchEvent("n1", 3, 7.5, [1, 2])


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "done",
        {},
        {**EVENT, "v": 2},
        {**EVENT, "ended": None},
        {**EVENT, "ended": ["1"]},
        {**EVENT, "ended": [True]},
        {**EVENT, "deadline": None},
        {**EVENT, "plan": 1},
        {**EVENT, "schedule": "x"},
        {name: value for name, value in EVENT.items() if name != "deadline"},
        {"v": 1, "job": {"job_id": "x"}, "outcome": "succeeded", "message": ""},
    ],
    ids=str,
)
def test_a_foreign_event_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match="not the event of a batch"):
        BatchEvent.from_payload(payload)
