"""What the tab says of a batch beside its grid: that it is under way, has failed, or was only a plan."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.airflow_versions import HAS_TASK_STATE_STORE
from tests.plugins.conftest import job, keep_progress, row

if TYPE_CHECKING:
    from tests.plugins.conftest import Tab

BEGAN: Final = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
RENDERED: Final[dict[str, Any]] = {
    "inputs": "s3://photos/", "request": {"prompt": "a red cup", "strength": 0.6, "negative_prompt": "{name}"},
    "destination": "s3://results", "file_stem": None, "ledger": None, "aws_conn_id": "aws_default",
}  # fmt: skip

HAS_STORE: Final = pytest.mark.skipif(not HAS_TASK_STATE_STORE, reason="Airflow has a task state store from 3.3 on")


def under_way(tab: Tab, state: str = "deferred", **more: Any) -> str:
    """Write a batch that has not ended."""
    return tab.task(state=state, **{"rendered": RENDERED, "started_at": BEGAN, **more})


@pytest.mark.parametrize("state", ["running", "deferred", "queued", "up_for_retry"])
def test_a_batch_that_has_not_ended_says_so(tab: Tab, state: str) -> None:
    page = tab.get(f"task/{under_way(tab, state)}").text
    assert "This batch is under way" in page
    assert f"<code>{state}</code>" in page
    assert "Its log says where it stands" in page


def test_only_a_batch_that_has_begun_is_under_way(tab: Tab) -> None:
    for path in (
        under_way(tab, started_at=None),
        under_way(tab, rendered={"init_image": "s3://photos/a.png"}),
        under_way(tab, "failed"),
    ):
        assert "under way" not in tab.get(f"task/{path}").text


@HAS_STORE
def test_a_batch_says_where_it_stands(tab: Tab) -> None:
    path = under_way(tab)
    keep_progress(
        path, json.dumps({"v": 1, "line": "3/12 landed \u00b7 9 in flight <b>"}), BEGAN + timedelta(minutes=5)
    )
    page = tab.get(f"task/{path}").text
    assert "3/12 landed \u00b7 9 in flight &lt;b&gt;" in page
    assert "As of 2026-11-22 10:05:00 UTC" in page


@HAS_STORE
@pytest.mark.parametrize(
    ("value", "minutes"),
    [
        pytest.param(json.dumps({"line": "3/12 landed"}), -1, id="told by an earlier try"),
        pytest.param(json.dumps({"line": ["3/12 landed"]}), 1, id="not a text"),
        pytest.param(json.dumps({"line": ""}), 1, id="an empty text"),
        pytest.param(json.dumps(["3/12 landed"]), 1, id="not a mapping"),
        pytest.param("3/12 landed", 1, id="not even JSON"),
        pytest.param(json.dumps({"line": "3/12 landed", "more": "x" * 5_000}), 1, id="too large to be ours"),
    ],
)
def test_what_cannot_be_its_own_word_is_not_shown(tab: Tab, value: str, minutes: int) -> None:
    path = under_way(tab)
    keep_progress(path, value, BEGAN + timedelta(minutes=minutes))
    page = tab.get(f"task/{path}").text
    assert "This batch is under way" in page
    assert "3/12" not in page


def run_of(path: str) -> str:
    """Return the address of the run that a task instance is of."""
    return f"run/{'/'.join(path.split('/')[:2])}"


@HAS_STORE
def test_a_run_lists_a_batch_that_is_under_way_with_its_progress(tab: Tab) -> None:
    path = under_way(tab)
    keep_progress(path, json.dumps({"line": "3/12 landed <b>"}), BEGAN + timedelta(minutes=5))
    page = tab.get(run_of(path)).text
    for text in ("3/12 landed &lt;b&gt;", "Under way</span>", "2026-11-22 10:05:00 UTC", f"task/{path}", "1 under way"):
        assert text in page


def test_a_run_lists_what_is_under_way_before_what_has_ended(tab: Tab) -> None:
    path = under_way(tab, task_id="slow")
    dag_id = path.split("/", maxsplit=1)[0]
    tab.task(tab.batch([row(0)]), dag_id=dag_id, task_id="done")
    for number, (state, began, rendered) in enumerate(
        (("failed", BEGAN, RENDERED), ("running", None, RENDERED), ("running", BEGAN, {"init_image": "s3://a/b.png"}))
    ):
        tab.task(state=state, started_at=began, rendered=rendered, dag_id=dag_id, task_id=f"other_{number}")
    page = tab.get(run_of(path)).text
    assert page.count('class="card"') == 2
    assert page.index("slow</span>") < page.index("done</span>")
    assert "Its log says where it stands" in page
    assert "2 task instances, 1 under way" in page


def test_a_batch_that_is_tried_again_is_listed_once(tab: Tab) -> None:
    path = tab.task(tab.batch([row(0)]), state="up_for_retry", rendered=RENDERED, started_at=BEGAN)
    page = tab.get(run_of(path)).text
    assert page.count('class="card"') == 1
    assert "Under way" not in page


def test_a_mapped_batch_lists_its_instances_that_are_under_way(tab: Tab) -> None:
    path = under_way(tab, map_index=0)
    dag_id = path.split("/", maxsplit=1)[0]
    under_way(tab, dag_id=dag_id, map_index=1)
    under_way(tab, dag_id=dag_id, task_id="other")
    page = tab.get(f"task/{path[:-1]}%7BMAP_INDEX%7D").text
    assert page.count("Under way</span>") == 2
    assert "other" not in page


def test_a_failed_batch_shows_its_grid_and_says_that_it_failed(tab: Tab) -> None:
    path = tab.task(tab.batch([row(0, "landed", tab.image()), row(1, "failed")]), state="failed")
    page = tab.get(f"task/{path}").text
    assert "This task has failed" in page
    assert page.count('class="tile"') == 2
    run = tab.get(f"run/{'/'.join(path.split('/')[:2])}").text
    assert "Task failed" in run
    assert "Task failed" not in tab.get(f"run/{'/'.join(tab.task(job(tab.image())).split('/')[:2])}").text


def test_what_is_left_of_an_earlier_try_is_not_shown_as_the_end(tab: Tab) -> None:
    page = tab.get(f"task/{tab.task(tab.batch([row(0)]), state='up_for_retry')}").text
    assert "<code>up_for_retry</code>" in page
    assert page.count('class="tile"') == 1
    assert "has not ended" not in tab.get(f"task/{tab.task(tab.batch([row(0)]))}").text


def test_a_plan_is_told_in_numbers(tab: Tab) -> None:
    counts = {"reused": 3, "taken_up": 0, "same": 0, "kept": 0, "uncertain": 0, "invalid": 1, "new": 8}
    told = {"v": 1, "plan_only": True, "total": 12, **counts, "invalid_rows": ["row 4: <b>"], "cost": 0.32}
    page = tab.get(f"task/{tab.task({**told, 'seconds': 90.0})}").text
    for text in (
        "Nothing was submitted",
        "12 rows",
        "New jobs, to be paid for",
        "$0.32",
        "1 min 30 s",
        "row 4: &lt;b&gt;",
    ):
        assert text in page
    assert "Under way since" not in page
    assert "has no images of ImagePipeline" in tab.get(f"task/{tab.task({'plan_only': True})}").text


def test_a_row_without_a_result_shows_what_was_asked_of_all(tab: Tab) -> None:
    path = tab.task(tab.batch([row(0, "failed", reason="It broke.")]), rendered=RENDERED)
    page = tab.get(f"task/{path}/rows/0").text
    assert "a red cup" in page
    assert "{name}" not in page


def test_a_reason_that_only_repeats_the_outcome_is_left_out(tab: Tab) -> None:
    path = tab.task(tab.batch([row(0, "failed", reason_code="FAILED"), row(1, "failed", reason_code="TOO_LATE")]))
    first, second = (tab.get(f"task/{path}/rows/{place}").text for place in (0, 1))
    assert ("<code>FAILED</code>" in first, "<code>TOO_LATE</code>" in second) == (False, True)


def test_the_size_of_the_input_is_said_once(tab: Tab) -> None:
    checks = {"format": "PNG", "width": 400, "height": 300, "sharpness": 0.8, "input_width": 800, "input_height": 600}
    page = tab.get(f"task/{tab.task(job(tab.image(checks=checks)))}").text
    assert "800 \u00d7 600 pixels" in page
    assert page.count("400 \u00d7 300 pixels") == 1
    assert "<dt>Width</dt>" not in page


def test_a_card_of_a_run_has_the_cost_and_not_the_balance(tab: Tab) -> None:
    path = tab.task(job(tab.image(), cost={"cost_usd": 0.04, "balance_remaining_usd": 799.96}))
    page = tab.get(f"run/{'/'.join(path.split('/')[:2])}").text
    assert ("$0.04" in page, "799.96" in page) == (True, False)
    assert "799.96" in tab.get(f"task/{path}").text


@pytest.mark.real_input("F5")
def test_a_tile_says_the_folder_of_its_input_and_a_reason_that_fits(tab: Tab) -> None:
    address = "s3://photos/shop/2026/sku1/front.jpg"
    path = tab.task(tab.batch([row(0, "invalid", input=address, reason=f"{address} is empty.")]))
    page = tab.get(f"task/{path}").text
    assert '<span class="folder">sku1/</span><span class="file">front.jpg</span>' in page
    assert f'title="{address} is empty.">Is empty.</span>' in page
    assert "<h2>sku1/front.jpg</h2>" in tab.get(f"task/{path}/rows/0").text


@pytest.mark.real_input("F2")
@pytest.mark.parametrize(("submitted", "cost", "said"), [(0, None, "$0.00"), (0, 0.0, "$0.00"), (2, None, "not known")])
def test_a_batch_that_paid_nothing_has_cost_nothing(tab: Tab, submitted: int, cost: float | None, said: str) -> None:
    page = tab.get(f"task/{tab.task({**tab.batch([row(0)]), 'submitted': submitted, 'cost': cost})}").text
    assert f"<dt>Cost</dt><dd>{said}</dd>" in page


@pytest.mark.real_input("F6")
def test_a_batch_of_one_image_is_counted_as_a_person_does(tab: Tab) -> None:
    path = tab.task(tab.batch([row(0)]))
    page = tab.get(run_of(path)).text
    assert "<b>1</b> image<" in page.replace("\n", "")
    assert "1 task instance<" in page
