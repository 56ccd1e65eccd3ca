"""No request is paid for twice unless a human, or the user's own option, said so: in both modes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.compat import longest_retention
from airflow_imagepipeline.exceptions import (
    JobFailed,
    JobFailedForNow,
    JobTimedOut,
    RecordUnavailable,
    SubmissionUncertain,
)
from tests.faults import (
    STATUS,
    SUBMIT,
    ScriptedServer,
    failure,
    forever,
    pending,
    success,
)
from tests.running import (
    PROMPT,
    FakeStore,
    cleared,
    context,
    fails_with,
    image_to_image,
    in_task_modes,
    retried,
    run_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")

LINK = "http://127.0.0.1/a.png"
DONE = forever(success(["https://files.test/a.png"]))


@in_task_modes
def test_an_automatic_retry_takes_up_the_job_of_the_first_try(
    vendor: Vendor, photos: str, tmp_path: Path, mode: str, logs: Callable[[], str]
) -> None:
    (tmp_path / "edited").mkdir()
    make = image_to_image(f"{photos}/a.png", wait_for_completion=False)
    waiting = image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}/edited")
    first = context(FakeStore())

    submitted = run_to_end(make, first, mode)
    landed = run_to_end(waiting, retried(first), mode)
    reported_again = run_to_end(waiting, retried(retried(first)), mode)

    assert landed["job_id"] == submitted["job_id"]
    assert landed == reported_again
    assert vendor.count("submits") == 1
    assert "was submitted by an earlier try; it is taken up again" in logs()


@in_task_modes
def test_a_lost_report_of_success_returns_the_same_job(vendor: Vendor, photos: str, mode: str) -> None:
    make = image_to_image(f"{photos}/a.png")
    store = FakeStore()
    first = context(store)

    reports = [run_to_end(make, first, mode), run_to_end(make, retried(first), mode)]

    assert reports[0]["job_id"] == reports[1]["job_id"]
    assert store.record()["phase"] == "handed_over"
    assert vendor.count("submits") == 1


@in_task_modes
def test_a_humans_clear_submits_anew(vendor: Vendor, photos: str, mode: str) -> None:
    make = image_to_image(f"{photos}/a.png")
    first = context(FakeStore())

    before, after = run_to_end(make, first, mode), run_to_end(make, cleared(first), mode)

    assert before["job_id"] != after["job_id"]
    assert vendor.count("submits") == 2


@in_task_modes
def test_a_failed_job_is_paid_again_only_after_a_clear(connection: Callable[..., None], mode: str) -> None:
    first = context(FakeStore())
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}) as server:
        server.route(f"{STATUS}/job-1", [failure("out of memory")])
        server.route(f"{STATUS}/job-2", [DONE])
        connection(server.url)
        with fails_with(JobFailed, "out of memory"):
            run_to_end(image_to_image(LINK), first, mode)
        with fails_with(SubmissionUncertain, "job job-1: failed", "clear the task"):
            run_to_end(image_to_image(LINK), retried(first), mode)
        assert server.count("POST") == 1
        assert run_to_end(image_to_image(LINK), cleared(first), mode)["job_id"] == "job-2"


@in_task_modes
def test_a_failed_job_is_paid_again_by_a_retry_where_the_user_said_so(
    connection: Callable[..., None], mode: str
) -> None:
    first = context(FakeStore())
    make = image_to_image(LINK, retry_failed_jobs=True)
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}) as server:
        server.route(f"{STATUS}/job-1", [failure("out of memory")])
        server.route(f"{STATUS}/job-2", [DONE])
        connection(server.url)
        with fails_with(JobFailedForNow, "out of memory"):
            run_to_end(make, first, mode)
        assert run_to_end(make, retried(first), mode)["job_id"] == "job-2"


@in_task_modes
@pytest.mark.parametrize(
    ("change", "names"),
    [({"prompt": "another prompt"}, "prompt"), ({"guidance_scale": 2, "width": 800}, "guidance_scale, width")],
    ids=["prompt", "two fields"],
)
def test_a_request_that_changes_between_automatic_retries_is_named_and_not_paid(
    connection: Callable[..., None], change: dict[str, Any], names: str, mode: str
) -> None:
    first = context(FakeStore())
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}) as server:
        connection(server.url)
        run_to_end(image_to_image(LINK, wait_for_completion=False), first, mode)
        changed = image_to_image(LINK, wait_for_completion=False, **change)
        with fails_with(SubmissionUncertain, f"({names} changed)", "job job-1", "Clear the task"):
            run_to_end(changed, retried(first), mode)
        assert server.count("POST") == 1
        assert run_to_end(changed, cleared(first), mode)["job_id"] == "job-2"


@in_task_modes
def test_a_mapped_index_that_stands_for_another_item_submits(connection: Callable[..., None], mode: str) -> None:
    first = context(FakeStore(), map_index=3)
    make = image_to_image(LINK, wait_for_completion=False)
    other = image_to_image("http://127.0.0.1/b.png", wait_for_completion=False)
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}) as server:
        connection(server.url)
        ids = [run_to_end(one, given, mode)["job_id"] for one, given in [(make, first), (other, retried(first))]]
        ids.append(run_to_end(make, retried(retried(first)), mode)["job_id"])
    assert ids == ["job-1", "job-2", "job-1"]


@in_task_modes
def test_another_signature_of_the_same_object_is_the_same_request(connection: Callable[..., None], mode: str) -> None:
    first = context(FakeStore())
    with ScriptedServer({SUBMIT: [pending("job-1")]}) as server:
        connection(server.url)
        links = [f"{LINK}?X-Amz-Signature={number}&X-Amz-Expires=60" for number in (1, 2)]
        ids = [
            run_to_end(image_to_image(link, wait_for_completion=False), given, mode)["job_id"]
            for link, given in zip(links, [first, retried(first)], strict=True)
        ]
    assert ids == ["job-1", "job-1"]


@in_task_modes
def test_a_job_on_another_host_is_neither_looked_for_nor_paid_again(connection: Callable[..., None], mode: str) -> None:
    first = context(FakeStore())
    make = image_to_image(LINK, timeout=0.1)
    script = {SUBMIT: [pending("job-1")], STATUS: [forever(pending())]}
    with ScriptedServer(script) as server, ScriptedServer() as other:
        connection(server.url)
        with fails_with(JobTimedOut):
            run_to_end(make, first, mode)
        connection(other.url)
        with fails_with(RecordUnavailable, server.url, other.url, "Restore the connection"):
            run_to_end(make, retried(first), mode)
        assert other.requests == ()


@in_task_modes
def test_the_record_says_what_is_needed_and_no_more(connection: Callable[..., None], mode: str) -> None:
    store = FakeStore()
    with ScriptedServer({SUBMIT: [pending("job-1")]}) as server:
        connection(server.url)
        extra = {"mask_prompt": "fog"}
        make = image_to_image(f"{LINK}?Signature=secret", extra_parameters=extra, wait_for_completion=False)
        run_to_end(make, context(store), mode)

    record = store.record()
    assert record.keys() == {
        *("v", "phase", "fingerprint", "fields", "origin", "api", "seed"),
        *("submitted_at", "try_number", "max_tries", "token", "job_id", "deadline"),
    }
    assert all(re.fullmatch("[0-9a-f]{8}", digest) for digest in record["fields"].values())
    # The store itself refuses key, links and prompt (see FakeStore); nor is the other prompt there.
    assert not any(word in str(store.rows) for word in (PROMPT, "fog", "secret"))
    assert all(retention is longest_retention() for retention in store.retentions)


@in_task_modes
def test_a_prompt_that_looks_like_a_broken_link_is_a_prompt(connection: Callable[..., None], mode: str) -> None:
    with ScriptedServer({SUBMIT: [pending("job-1")]}) as server:
        connection(server.url)
        make = image_to_image(LINK, prompt="http://[ a door", wait_for_completion=False)
        assert run_to_end(make, context(FakeStore()), mode)["job_id"] == "job-1"
