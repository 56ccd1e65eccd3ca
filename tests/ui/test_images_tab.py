"""The Images tab as a person uses it: in Airflow's own UI, by mouse, touch and keyboard, light, dark and on a phone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.ui.contrast import FAINT_TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from demo.gallery import Gallery
    from tests.ui.conftest import Visit

    Open = Callable[..., Visit]


PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


def shown_part(page: Page) -> float:
    """Return how much of the picture the input covers, in percent."""
    text = page.locator(".frame").evaluate("frame => frame.style.getPropertyValue('--at')")
    return float(text.removesuffix("%"))


def test_a_task_instance_has_the_tab_in_airflows_ui(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.tab("edit_cover")).page
    inside = page.frame_locator("iframe[title=Images]")
    expect(inside.locator(".compare")).to_be_visible(timeout=60_000)
    expect(inside.get_by_text("A watercolour of the scene")).to_be_visible()
    expect(page.get_by_role("link", name="Images")).to_be_visible()


def test_a_run_has_the_tab_too_and_leads_to_its_tasks(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.tab()).page
    inside = page.frame_locator("iframe[title=Images]")
    inside.get_by_role("link", name=re.compile("edit_catalogue")).click(timeout=60_000)
    expect(inside.locator(".tile").first).to_be_visible(timeout=30_000)


def test_the_tab_follows_the_theme_that_airflow_has_chosen(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.tab("edit_cover"), color_scheme="light").page
    inside = page.frame_locator("iframe[title=Images]")
    root = inside.locator("html")
    expect(root).to_have_attribute("data-theme", "light", timeout=60_000)
    page.evaluate("document.documentElement.className = 'dark'")
    expect(root).to_have_attribute("data-theme", "dark")
    assert root.evaluate("root => getComputedStyle(root).colorScheme") == "dark"


def test_the_slider_is_moved_by_the_mouse(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.page("edit_cover")).page
    box = page.locator(".frame").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 3, steps=5)
    page.mouse.up()
    assert shown_part(page) == pytest.approx(80, abs=2)
    page.mouse.click(box["x"] + box["width"] * 0.1, box["y"] + 20)
    assert shown_part(page) == pytest.approx(10, abs=2)


def test_the_slider_is_moved_by_the_keyboard_and_says_where_it_is(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.page("edit_cover")).page
    slide = page.get_by_role("slider")
    slide.focus()
    for key in ("ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert shown_part(page) == pytest.approx(51)
    page.keyboard.press("Home")
    assert shown_part(page) == 0
    expect(slide).to_have_attribute("aria-valuetext", "0 % before, 100 % after")
    page.keyboard.press("End")
    assert shown_part(page) == 100


def test_the_slider_is_moved_by_touch(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.page("edit_cover"), **PHONE).page
    box = page.locator(".frame").bounding_box()
    assert box
    page.touchscreen.tap(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    assert shown_part(page) == pytest.approx(25, abs=2)


def test_both_pictures_can_stand_side_by_side(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.page("edit_cover")).page
    page.get_by_role("button", name="Side by side").click()
    expect(page.get_by_role("slider")).to_be_hidden()
    before, after = (page.locator(f".side.{name} img").bounding_box() for name in ("before", "after"))
    assert before
    assert after
    assert before["x"] + before["width"] <= after["x"]
    page.get_by_role("button", name="Slider").click()
    expect(page.get_by_role("slider")).to_be_visible()


def test_samples_are_chosen_by_their_thumbnails(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.page("edit_cover")).page
    page.locator(".strip a").nth(2).click()
    expect(page.locator(".after img")).to_have_attribute("src", re.compile("/job/2"))
    expect(page.locator(".strip a").nth(2)).to_have_attribute("aria-current", "true")


def test_a_batch_is_filtered_and_paged(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.page("edit_catalogue")).page
    expect(page.locator(".tile")).to_have_count(48)
    page.get_by_role("link", name=re.compile("^Failed")).click()
    expect(page.locator(".tile .badge").first).to_have_text("Failed")
    assert set(page.locator(".tile .badge").all_inner_texts()) == {"Failed"}
    page.get_by_role("link", name=re.compile("^All")).click()
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".pager input[name=page]")).to_have_value("2")
    page.locator(".pager input[name=page]").fill("5")
    page.keyboard.press("Enter")
    expect(page.locator("#row-239")).to_be_visible()
    expect(page.get_by_role("link", name="Next")).to_have_count(0)


def test_rows_are_walked_through_with_the_arrow_keys(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.page("edit_catalogue") + "?outcome=failed").page
    page.locator(".tile").first.click()
    expect(page.locator(".notice")).to_contain_text("could not be read as an image")
    assert page.url.endswith("rows/6?outcome=failed")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/rows/13?outcome=failed")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**/rows/6?outcome=failed")
    page.get_by_role("link", name="All images").click()
    expect(page.locator(".chips a[aria-current]")).to_contain_text("Failed")


def test_nothing_outside_of_airflow_is_asked_for(visit: Open, gallery: Gallery) -> None:
    host = urlsplit(gallery.airflow.url).netloc
    for address in (
        gallery.page(), gallery.page("edit_cover"), gallery.page("edit_catalogue"), gallery.page("edit_from_web"),
        gallery.tab("edit_cover"),
    ):  # fmt: skip
        visited = visit(address)
        visited.page.wait_for_load_state("networkidle")
        outside = [
            url for url in visited.requests if urlsplit(url).netloc != host and not url.startswith(("data:", "blob:"))
        ]
        assert outside == []
        assert visited.problems == []


def test_an_input_of_the_web_is_an_address_and_not_a_picture(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.page("edit_from_web")).page
    expect(page.get_by_text("https://photos.example/astronaut.jpg")).to_be_visible()
    expect(page.locator("img")).to_have_count(1)


def test_a_picture_that_cannot_be_read_says_why_in_its_place(visit: Open, gallery: Gallery) -> None:
    visited = visit("about:blank")

    def broken(route: Any) -> None:
        route.fulfill(status=404, content_type="text/plain", body="<b>It is gone.</b>")

    visited.page.route("**/imagepipeline/image/**", broken)
    visited.page.goto(gallery.page("edit_from_web"))
    expect(visited.page.locator(".none")).to_have_text("<b>It is gone.</b>")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("task", ["edit_cover", "edit_catalogue", "submit_only", ""])
def test_whatever_is_written_can_be_read(visit: Open, gallery: Gallery, scheme: str, task: str) -> None:
    page = visit(gallery.page(task), color_scheme=scheme).page
    assert page.evaluate(FAINT_TEXT) == []


@pytest.mark.parametrize("task", ["edit_cover", "edit_catalogue", "submit_only", ""])
def test_a_phone_shows_everything_without_scrolling_sideways(visit: Open, gallery: Gallery, task: str) -> None:
    page = visit(gallery.page(task), **PHONE).page
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_whoever_walks_by_keyboard_sees_where_they_are(visit: Open, gallery: Gallery) -> None:
    page = visit(gallery.page("edit_catalogue")).page
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "2px"


def test_who_is_not_logged_in_sees_no_image(browser: Any, gallery: Gallery) -> None:
    context = browser.new_context()
    try:
        page = context.new_page()
        answer = page.goto(gallery.page("edit_cover"))
        assert answer.status == 401
        expect(page.get_by_text("You are not logged in")).to_be_visible()
        expect(page.locator("img")).to_have_count(0)
    finally:
        context.close()
