"""The Images tab shows what the operators leave behind: each of them has run in a real Airflow, on real storage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from airflow_imagepipeline.plugins.words import OUTCOME_WORDS
from tests.ui.contrast import FAINT_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

    from tests.ui.conftest import Visit
    from tests.ui.real_runs import Batch, RealRuns

    Open = Callable[..., Visit]

LOADED = "image => image.complete && image.naturalWidth > 0"
BATCHES = [("catalogue", -1), ("all_or_nothing", -1), ("shards", 0), ("shards", 1), ("merge", -1)]


def expect_loaded(images: Locator, count: int) -> None:
    """Wait until so many images are there, and each has really come."""
    expect(images).to_have_count(count, timeout=60_000)
    for number in range(count):
        image = images.nth(number)
        image.scroll_into_view_if_needed()
        handle = image.element_handle()
        image.page.wait_for_function(LOADED, arg=handle, timeout=60_000)


def facts(page: Page) -> dict[str, str]:
    """Return what stands beside the picture, by its names."""
    names, values = (page.locator(f".facts {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def chips(page: Page) -> dict[str, int]:
    """Return the filters with their counts."""
    texts = page.locator(".chips a").all_inner_texts()
    found = [re.fullmatch(r"\s*(.+?)\s*([\d,]+)\s*", text) for text in texts]
    return {match[1]: int(match[2].replace(",", "")) for match in found if match}


def counted(batch: Batch) -> dict[str, int]:
    """Return the same from the manifest itself."""
    outcomes = [row.outcome for row in batch.rows]
    by_word = {words[0]: outcomes.count(outcome) for outcome, words in OUTCOME_WORDS.items()}
    return {"All": len(outcomes), **{word: count for word, count in by_word.items() if count}}


def test_the_stage_is_what_it_is_meant_to_be(real_runs: RealRuns) -> None:
    states = real_runs.states()
    assert states.pop("all_or_nothing") == "failed"
    assert set(states.values()) == {"success"}
    catalogue = real_runs.batch("catalogue")
    assert [len(catalogue.of(outcome)) for outcome in ("landed", "failed", "rejected")] == [7, 2, 3]


def test_a_job_of_the_current_operator_shows_before_and_after(look: Open, real_runs: RealRuns) -> None:
    result = real_runs.result("edit")
    page = look(real_runs.page("edit")).page
    expect_loaded(page.locator(".frame img"), 2)
    expect(page.locator("blockquote")).to_have_text("make it a pencil drawing")
    told, checks = facts(page), result["images"][0]["checks"]
    assert told["Seed"] == str(result["seed"])
    assert (told["Job"], told["Cost"]) == (result["job_id"], "$0.04")
    assert told["Sharpness"] == f"{checks['sharpness']:.4g}"
    assert told["Input size"] == "512 \u00d7 512 pixels"


def test_a_job_in_airflows_ui_shows_all_samples_with_their_checks(look: Open, real_runs: RealRuns) -> None:
    page = look(real_runs.tab("restyle")).page
    inside = page.frame_locator("iframe[title=Images]")
    expect_loaded(inside.locator(".frame img"), 2)
    expect_loaded(inside.locator(".strip img"), 2)
    expect(inside.locator("blockquote")).to_have_text("watercolour on rough paper, soft light")
    expect(inside.locator(".facts")).to_contain_text(["Sharpness", "Seed", "Strength"])
    second = look(f"{real_runs.page('restyle')}?image=1").page
    checks = real_runs.result("restyle")["images"][1]["checks"]
    assert facts(second)["Difference"] == f"{checks['difference']:.4g}"


@pytest.mark.parametrize(("task", "map_index"), BATCHES)
def test_a_batch_shows_every_row_of_its_manifest(look: Open, real_runs: RealRuns, task: str, map_index: int) -> None:
    batch = real_runs.batch(task, map_index)
    page = look(real_runs.page(task, map_index)).page
    assert chips(page) == counted(batch)
    expect_loaded(page.locator(".tile img"), len(batch.rows))
    assert page.locator(".tile .file").all_inner_texts() == [row.input.rpartition("/")[2] for row in batch.rows]
    reasons = [row.reason for row in batch.rows if row.reason]
    assert page.locator(".tile .reason").all_inner_texts() == reasons
    assert sum(batch.summary["counts"].values()) == batch.summary["total"] == len(batch.rows)


@pytest.mark.parametrize(("task", "map_index"), BATCHES[:2])
def test_each_filter_shows_the_rows_of_its_outcome(look: Open, real_runs: RealRuns, task: str, map_index: int) -> None:
    batch = real_runs.batch(task, map_index)
    page = look(real_runs.page(task, map_index)).page
    for outcome in {row.outcome for row in batch.rows}:
        page.get_by_role("link", name=re.compile(f"^{OUTCOME_WORDS[outcome][0]} ")).click()
        expect(page.locator(".tile")).to_have_count(len(batch.of(outcome)))
        assert set(page.locator(".tile .badge").all_inner_texts()) == {OUTCOME_WORDS[outcome][0]}
        rows = [f"row-{place}" for place in batch.of(outcome)]
        assert page.locator(".grid li").evaluate_all("rows => rows.map(row => row.id)") == rows


def test_a_rejected_row_shows_both_pictures_and_the_reason(look: Open, real_runs: RealRuns) -> None:
    batch = real_runs.batch("catalogue")
    place = batch.of("rejected")[0]
    page = look(f"{real_runs.page('catalogue')}/rows/{place}").page
    expect_loaded(page.locator(".frame img"), 2)
    expect(page.locator(".notice")).to_have_text("Its height is 300 pixels; at least 320 was asked for.")
    expect(page.locator("blockquote")).to_have_text("watercolour on rough paper, soft light")
    told = facts(page)
    assert (told["Seed"], told["Job"]) == (str(batch.rows[place].seed), batch.rows[place].job_id)
    assert told["Sharpness"] == f"{batch.rows[place].checks['sharpness']:.4g}"


def test_a_failed_row_shows_its_input_what_was_asked_and_why(look: Open, real_runs: RealRuns) -> None:
    batch = real_runs.batch("catalogue")
    place = batch.of("failed")[0]
    page = look(f"{real_runs.page('catalogue')}/rows/{place}").page
    expect_loaded(page.locator(".single img"), 1)
    expect(page.locator(".notice")).to_have_text(batch.rows[place].reason)
    expect(page.locator("blockquote")).to_have_text("watercolour on rough paper, soft light")


def test_a_batch_that_failed_says_so_above_its_grid_in_airflows_ui(look: Open, real_runs: RealRuns) -> None:
    inside = look(real_runs.tab("all_or_nothing")).page.frame_locator("iframe[title=Images]")
    expect(inside.locator(".notice")).to_contain_text("This task has failed", timeout=60_000)
    expect_loaded(inside.locator(".tile img"), 12)


def test_the_contact_sheet_of_a_batch_is_on_its_page(look: Open, real_runs: RealRuns) -> None:
    for task in ("catalogue", "all_or_nothing"):
        page = look(real_runs.page(task)).page
        page.get_by_text("Contact sheet of the run").click()
        expect_loaded(page.locator(".sheet img"), 1)


def test_a_mapped_batch_lists_its_shards_and_each_has_the_tab(look: Open, real_runs: RealRuns) -> None:
    inside = look(real_runs.tab("shards")).page.frame_locator("iframe[title=Images]")
    expect(inside.locator(".card .name")).to_have_text(["shards [0]", "shards [1]"], timeout=60_000)
    one = look(real_runs.tab("shards", 1)).page.frame_locator("iframe[title=Images]")
    expect(one.locator(".tile").first).to_be_visible(timeout=60_000)
    expect(one.locator(".tile")).to_have_count(len(real_runs.batch("shards", 1).rows))
    both = [row.input for number in (0, 1) for row in real_runs.batch("shards", number).rows]
    assert sorted(both) == [row.input for row in real_runs.batch("merge").rows]


def test_the_sheet_is_shown(look: Open, real_runs: RealRuns) -> None:
    inside = look(real_runs.tab("sheet")).page.frame_locator("iframe[title=Images]")
    expect_loaded(inside.locator(".single img"), 1)
    expect(inside.locator(".legend")).to_contain_text("Landed 9")


def test_a_run_lists_all_that_has_images(look: Open, real_runs: RealRuns) -> None:
    inside = look(real_runs.tab()).page.frame_locator("iframe[title=Images]")
    names = ["all_or_nothing", "catalogue", "edit", "merge", "restyle", "shards [0]", "shards [1]", "sheet"]
    expect(inside.locator(".card .name")).to_have_text(names, timeout=60_000)
    expect_loaded(inside.locator(".card img"), 4)
    expect(inside.locator(".card", has_text="Task failed").locator(".name")).to_have_text(["all_or_nothing"])
    counts = inside.locator(".card", has_text="catalogue").locator(".legend")
    expect(counts).to_have_text(re.compile(r"Landed 7\s*Failed 2\s*Rejected 3"))


def test_a_batch_under_way_says_where_it_stands(look: Open, real_runs: RealRuns) -> None:
    inside = look(real_runs.tab("slow", dag_id="under_way")).page.frame_locator("iframe[title=Images]")
    expect(inside.get_by_role("heading")).to_have_text("This batch is under way", timeout=60_000)
    expect(inside.locator(".empty")).to_contain_text("deferred")
    run = look(real_runs.tab(dag_id="under_way")).page.frame_locator("iframe[title=Images]")
    expect(run.locator(".card .badge")).to_have_text("Under way", timeout=60_000)
    if real_runs.keeps_progress:
        expect(inside.locator(".empty b")).to_have_text("0/12 landed \u00b7 12 in flight")
        expect(run.locator(".card .summary")).to_have_text(re.compile(r"0/12 landed\s*12 in flight"))


def test_a_plan_is_told_in_numbers(look: Open, real_runs: RealRuns) -> None:
    page = look(real_runs.page("plan")).page
    expect(page.get_by_role("heading")).to_have_text("Nothing was submitted")
    assert facts(page) == {"New jobs, to be paid for": "12", "Cost, at most": "$0.48"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_whatever_is_written_can_be_read_on_a_phone_too(look: Open, real_runs: RealRuns, scheme: str) -> None:
    pages = [real_runs.page(task) for task in ("all_or_nothing", "plan", "restyle", "")]
    for address in (*pages, *(real_runs.page(task, dag_id="under_way") for task in ("slow", ""))):
        page = look(address, color_scheme=scheme, viewport={"width": 390, "height": 844}).page
        assert page.evaluate(FAINT_TEXT) == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_nothing_outside_of_airflow_is_asked_for(look: Open, real_runs: RealRuns) -> None:
    host = urlsplit(real_runs.airflow.url).netloc
    addresses = [real_runs.page(), real_runs.tab("restyle"), real_runs.page("sheet")]
    addresses += [real_runs.page(*batch) for batch in BATCHES]
    for address in (*addresses, f"{real_runs.page('catalogue')}/rows/3", real_runs.page("slow", dag_id="under_way")):
        visited = look(address)
        visited.page.wait_for_load_state("networkidle")
        outside = [url for url in visited.requests if urlsplit(url).netloc != host]
        assert [url for url in outside if not url.startswith(("data:", "blob:"))] == []
        assert visited.problems == []
