from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_imagepipeline.contract.manifest import GOOD, LEFT_OUT, BatchSummary, ManifestRow, RowOutcome
from airflow_imagepipeline.contract.result import LandedImage

IMAGE = LandedImage("s3://b/a-00.png", "ab" * 32, 7, "PNG", 4, 3, blank=False)
ROW = ManifestRow(
    3,
    "s3://b/in.png",
    RowOutcome.LANDED,
    job_id="j",
    seed=0,
    attempts=1,
    images=(IMAGE,),
    cost={"cost_usd": 0.04},
    timings={"landed_at": 5.0},
)


def test_a_row_survives_its_line_and_repeats_its_first_image() -> None:
    written = json.loads(ROW.to_line())
    assert (written["uri"], written["sha256"], written["outcome"]) == (IMAGE.uri, IMAGE.sha256, "landed")
    assert ManifestRow.from_payload(written) == ROW


def test_a_row_without_images_has_no_address() -> None:
    written = ManifestRow(0, "", RowOutcome.FAILED, "why", "CODE").to_payload()
    assert (written["uri"], written["sha256"], written["images"]) == (None, None, [])
    assert ManifestRow.from_payload(written).reason_code == "CODE"


@pytest.mark.parametrize(
    "payload", [None, [], {}, {**ROW.to_payload(), "outcome": "fine"}, {"outcome": "landed", "images": [{}]}], ids=str
)
def test_a_stranger_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match="not a row of a manifest"):
        ManifestRow.from_payload(payload)


def test_no_outcome_is_both_good_and_left_out() -> None:
    assert not GOOD & LEFT_OUT


@pytest.mark.parametrize("sheet", [None, "s3://b/sheet.jpg"])
def test_a_summary_names_all_outcomes_and_a_sheet_where_there_is_one(sheet: str | None) -> None:
    payload = BatchSummary("m", "l", 2, {"landed": 2}, 2, None, 9, 1.5, sheet).to_payload()
    assert set(payload["counts"]) == {outcome.value for outcome in RowOutcome}
    assert sum(payload["counts"].values()) == payload["total"] == 2
    assert payload.get("contact_sheet") == sheet
    assert ("contact_sheet" in payload) == (sheet is not None)
    assert payload["v"] == 1
