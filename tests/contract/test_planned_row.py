from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.planned_row import PlannedRow

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.builds(PlannedRow, index=st.integers(0), input=TEXT, key=TEXT, stem=st.none() | TEXT, tags=st.lists(TEXT)))
def test_a_row_survives_its_line(row: PlannedRow) -> None:
    line = row.to_line()
    assert "\n" not in line
    assert PlannedRow.from_line(line) == row


def test_links_and_prompts_are_not_shown_with_it() -> None:
    row = PlannedRow(0, "s3://b/a.png", "k", {"prompt": "a secret place"}, earlier={"job_id": "j"})
    assert "secret" not in repr(row)


@pytest.mark.parametrize("line", ["", "null", "[]", "{}", '{"index": 1}', '{"index":0,"input":"","key":"","x":1}'])
def test_a_line_of_something_else_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a row of a plan"):
        PlannedRow.from_line(line)
