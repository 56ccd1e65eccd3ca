"""Fewer images than asked for: told once, and a failure that costs nothing more where the user insists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.exceptions import TooFewImages
from tests.faults import STATUS, SUBMIT, ScriptedServer, answer, forever, pending, success
from tests.generations import only_current, only_old
from tests.running import FakeStore, cleared, context, fails_with, image_to_image, in_task_modes, retried, run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

LINK = "http://127.0.0.1/a.png"
SAID = "gave 1 of the 2 images that were asked for"


@pytest.fixture
def one_of_two(connection: Callable[..., None], photo: bytes) -> Iterator[ScriptedServer]:
    """Run a vendor that makes one image a job, whatever it is asked for."""
    with ScriptedServer({SUBMIT: [pending(f"job-{number}") for number in range(3)]}, allow_unused=True) as server:
        server.route("GET /result.png", [forever(answer(200, photo))])
        server.route(STATUS, [forever(success([f"{server.url}/result.png"]))])
        connection(server.url)
        yield server


@only_old
@in_task_modes
@pytest.mark.parametrize("samples", [2, "2", "{{ params.count }}"], ids=["number", "text", "template"])
def test_fewer_images_than_asked_for_are_told_once(
    one_of_two: ScriptedServer, samples: object, mode: str, logs: Callable[[], str]
) -> None:
    result = run_to_end(image_to_image(LINK, samples=samples), context(FakeStore(), count=2), mode)

    assert len(result["download_urls"]) == 1
    assert logs().count(SAID) == 1
    assert one_of_two.count("POST") == 1


@only_old
@in_task_modes
@pytest.mark.parametrize("lands", [True, False], ids=["landed", "links"])
def test_who_insists_on_the_count_gets_a_failure_and_pays_once(
    one_of_two: ScriptedServer, tmp_path: Path, mode: str, *, lands: bool
) -> None:
    first = context(FakeStore())
    arguments = {"destination": f"file://{tmp_path}"} if lands else {}
    strict = image_to_image(LINK, samples=2, strict_count=True, **arguments)

    for given in (first, retried(first)):
        with fails_with(TooFewImages, "Job job-0", "done and paid for", SAID, "clear the task"):
            run_to_end(strict, given, mode)

    assert [path.name for path in tmp_path.glob("*.png")] == ["job-0-00.png"] * lands
    assert one_of_two.count("POST") == 1
    # A human's clear is a wish for another job; what came is taken where the user does not insist any more.
    lenient = run_to_end(image_to_image(LINK, samples=2, **arguments), retried(retried(first)), mode)
    assert lenient["job_id"] == "job-0"
    with fails_with(TooFewImages, "Job job-1"):
        run_to_end(strict, cleared(first), mode)


@only_old
@in_task_modes
@pytest.mark.parametrize("samples", [1, None], ids=["as many", "not said"])
def test_as_many_as_asked_for_are_enough(
    one_of_two: ScriptedServer, samples: int | None, mode: str, logs: Callable[[], str]
) -> None:
    result = run_to_end(image_to_image(LINK, samples=samples, strict_count=True), context(FakeStore()), mode)

    assert result["status"] == "SUCCESS"
    assert "asked for" not in logs()
    assert one_of_two.count("POST") == 1


@only_current
@in_task_modes
def test_the_current_generation_makes_one_and_that_is_enough(one_of_two: ScriptedServer, mode: str) -> None:
    result = run_to_end(image_to_image(LINK, samples=1, strict_count=True), context(FakeStore()), mode)

    assert len(result["download_urls"]) == 1
    assert one_of_two.count("POST") == 1
