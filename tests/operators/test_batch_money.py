"""What a batch must never pay for twice, nor forget that it has paid for: rare turns of events, one by one."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from airflow_imagepipeline.batch.landing import Lander
from airflow_imagepipeline.exceptions import BatchFailed, BatchIncomplete
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.records.plans import PlanStore
from airflow_imagepipeline.storage.folder import StorageFailed
from tests.doubles.pictures import picture, saved
from tests.generations import only_current, only_old
from tests.operators.nights import Nights, TaskInstance, counts
from tests.running import PROMPT, fails_with

FULL: Final = "S3 answers 503."
pytestmark = pytest.mark.usefixtures("generation", "quick")

CANNED: Final = "airflow_imagepipeline.emulator.worker.canned_files"
WRONG_WIDTH: Final = 41
"""Of the picture number 1."""


def refused(_result: Path, _original: Path | None) -> str:
    return "It is refused."


def wrong_width(result: Path, _original: Path | None) -> str | None:
    with Image.open(result) as image:
        return "It is too wide." if image.width == WRONG_WIDTH else None


def check(function: Callable[..., Any], redos: int = 1) -> dict[str, Any]:
    """Return the arguments that let this function judge each image, and rejected rows be made again."""
    name = f"{__name__}.{function.__name__}"
    return {"accept": {"checks": [name]}, "redo_rejected": redos}


@contextmanager
def nothing_lands() -> Iterator[None]:
    """Break the storage of images: jobs are paid for, done, and left for a later try to bring home."""

    def broken(*_: Any) -> Any:
        raise MemoryError

    with pytest.MonkeyPatch.context() as storage:
        storage.setattr(Lander, "land", broken)
        yield


def ends_badly(*words: str) -> AbstractContextManager[Any]:
    """Check that a task fails because of its rows, whether or not a retry may help."""
    return pytest.raises((BatchFailed, BatchIncomplete), match=".*".join(map(re.escape, words)) or None)


class Restarted(TaskInstance):
    """A task instance whose arguments see how often a worker has started the task: ``{{ ti.start }}``."""

    starts = 0

    @property
    def start(self) -> int:
        self.starts += 1
        return self.starts


@only_current
@pytest.mark.parametrize("mode", ["triggerer"])
@pytest.mark.parametrize("argument", ["destination", "ledger", "request", "file_stem"])
def test_arguments_that_render_differently_after_a_deferral_end_the_task_and_are_not_paid_for(
    nights: Nights, mode: str, argument: str
) -> None:
    assert mode == "triggerer"
    nights.settings.job_seconds = 0.6
    rows = nights.rows(3)

    def given(start: str) -> dict[str, Any]:
        values = {
            "destination": f"file://{nights.folder}/{start}",
            "ledger": f"file://{nights.folder}/ledger-{start}",
            "request": {"prompt": f"{PROMPT} {start}", "output_format": "png"},
            "file_stem": f"{start}-{{sku}}",
        }
        return {argument: values[argument]}

    with fails_with(BatchFailed, "nothing more was submitted", "clear the task"):
        nights.attempt(Restarted("n1"), rows, timeout=15.0, **given("{{ ti.start }}"))
    assert nights.starts == 2
    assert nights.paid == 3
    first = nights.ti
    # Nobody holds the ledger: another run need not wait for the lease to end.
    assert nights.run("n2", rows, plan_only=True, **given("2"))["total"] == 3

    nights.ti = first
    # Once the arguments are mended, what was paid for is brought home.
    assert counts(nights.clear(rows, **given("1"))) == {"landed": 3}
    assert nights.paid == 0


@only_current
@pytest.mark.parametrize("retries", [0, 9], ids=["fewer", "more"])
def test_a_change_of_the_tasks_retries_makes_no_retry_a_clear_and_no_clear_a_retry(
    nights: Nights, retries: int
) -> None:
    rows = nights.rows(2)
    nights.settings.fail_next = ["MODEL_ERROR"] * 2
    with fails_with(BatchFailed, "2 failed"):
        nights.run("n1", rows)

    with fails_with(BatchFailed, "2 failed"):
        nights.retry(rows, retries=retries)
    assert nights.paid == 0

    assert counts(nights.clear(rows, retries=retries)) == {"landed": 2}
    assert nights.paid == 2


@only_current
def test_a_job_that_another_run_brings_home_stays_on_the_account_of_the_run_that_paid(nights: Nights) -> None:
    rows = nights.rows(6)
    with nothing_lands(), ends_badly("3 failed"):
        nights.run("n1", rows, max_jobs=3)
    first, paid = nights.ti, nights.paid
    assert counts(nights.run("n2", rows, max_jobs=0)) == {"landed": 3, "over_budget": 3}
    assert (paid, nights.paid) == (3, 0)

    nights.ti = first
    summary = nights.retry(rows, max_jobs=3)

    assert (counts(summary), nights.paid) == ({"reused": 3, "over_budget": 3}, 0)
    assert summary["submitted"] == 3


@only_current
def test_a_redo_that_was_not_taken_leaves_the_first_job_on_the_account(nights: Nights) -> None:
    rows, usual = nights.rows(2), {"max_jobs": 3, **check(refused)}
    nights.settings.credits = 2
    with ends_badly():
        nights.run("n1", rows, **usual)
    assert (nights.paid, nights.emulator.stats()["refused_by_status"]["402"] > 0) == (2, True)

    nights.settings.credits = None
    with ends_badly("rejected"):
        nights.retry(rows, **usual)
    assert (nights.paid, nights.summary["submitted"]) == (1, 3)

    summary = nights.clear(rows, **usual)
    assert (nights.paid, summary["submitted"]) == (0, 3)
    assert counts(summary) == {"over_budget": 2}


@only_current
def test_a_redo_whose_input_is_gone_leaves_the_first_job_on_the_account(nights: Nights, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture())
    rows = [{"input_image": str(photo), "sku": "s0", "word": "old"}]

    def gone(_: object) -> tuple[bytes, ...]:
        photo.unlink()
        return (picture(1),)

    with pytest.MonkeyPatch.context() as vendor, ends_badly("1 failed"):
        vendor.setattr(CANNED, gone)
        nights.run("n1", rows, upload_inputs=True, **check(refused))
    assert (nights.paid, nights.summary["submitted"]) == (1, 1)
    assert [row["attempts"] for row in nights.manifest()] == [1]

    photo.write_bytes(picture())
    assert counts(nights.clear(rows, upload_inputs=True, max_jobs=1)) == {"over_budget": 1}
    assert nights.paid == 0


@only_old
def test_a_redo_of_several_images_replaces_those_of_the_first_attempt(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count()
    monkeypatch.setattr(CANNED, lambda order: tuple(picture(next(numbers)) for _ in range(order.samples)))
    usual: dict[str, Any] = {"request": {"prompt": PROMPT, "samples": 2}, **check(wrong_width)}

    summary = nights.run("n1", nights.rows(1), **usual)

    assert (counts(summary), nights.paid) == ({"landed": 1}, 2)
    assert nights.images() == ["s0-00.png", "s0-01.png"]
    assert [(nights.folder / name).read_bytes() for name in nights.images()] == [picture(2), picture(3)]


@only_old
def test_fewer_images_than_asked_for_are_told(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, logs: Callable[[], str]
) -> None:
    monkeypatch.setattr(CANNED, lambda _: (picture(1),))

    summary = nights.run("n1", nights.rows(5), request={"prompt": PROMPT, "samples": 2})

    assert (counts(summary), nights.paid) == ({"landed": 5}, 5)
    # Not each of ten thousand is told.
    told = re.findall(r"WARNING Row \d: job \S+ gave 1 of the 2 images that were asked for\.", logs())
    assert len(told) == 3


@only_old
@pytest.mark.parametrize(
    ("name", "is_taken"),
    [("s0-00.jpg", True), ("s0-01.png", True), ("s0-blue-00.png", False), ("s0-1.png", False), ("s00-00.png", False)],
)
def test_a_file_of_somebody_else_in_any_place_of_a_row_is_seen_before_it_is_paid_for(
    nights: Nights, name: str, *, is_taken: bool
) -> None:
    nights.folder.mkdir()
    (nights.folder / name).write_bytes(b"mine")
    if is_taken:
        with fails_with(BatchFailed, "s0 exists in", "from other work"):
            nights.run("n1", nights.rows(1))
    else:
        assert counts(nights.run("n1", nights.rows(1))) == {"landed": 1}
    assert nights.paid == (not is_taken)
    assert (nights.folder / name).read_bytes() == b"mine"


@only_old
def test_a_blank_image_is_replaced_although_two_clears_passed_before_the_new_one_came(nights: Nights) -> None:
    rows, black = nights.rows(1), saved(Image.new("RGB", (40, 30)), "PNG")
    with pytest.MonkeyPatch.context() as vendor, fails_with(BatchFailed, "1 filtered"):
        vendor.setattr(CANNED, lambda _: (black,))
        nights.run("n1", rows)
    with nothing_lands(), ends_badly("1 failed"):
        nights.clear(rows)
    assert nights.paid == 1

    assert counts(nights.clear(rows)) == {"landed": 1}
    assert nights.paid == 0
    assert (nights.folder / "s0-00.png").read_bytes() != black


def sent_ids(monkeypatch: pytest.MonkeyPatch, *, seconds: float = 0.0) -> list[str]:
    """Return the list that the ids of all jobs are put into, whose answers take some seconds more."""
    ids, asend = [], ImagePipelineHook.asend

    async def answered(hook: ImagePipelineHook, call: Any, session: Any) -> Any:
        answer = await asend(hook, call, session)
        if call.request.method == "POST":
            ids.append(answer.handle.job_id)
            await asyncio.sleep(seconds)
        return answer

    monkeypatch.setattr(ImagePipelineHook, "asend", answered)
    return ids


@only_current
def test_a_batch_that_breaks_off_waits_for_the_answers_under_way_and_keeps_their_ids(nights: Nights) -> None:
    rows, lines = nights.rows(5), PlanStore.lines

    def cut(store: PlanStore, start: int = 0) -> Iterator[str]:
        yield from itertools.islice(lines(store, start), 2)
        until = time.monotonic() + 20
        while nights.paid < 2 and time.monotonic() < until:
            time.sleep(0.005)
        raise StorageFailed(FULL)

    with pytest.MonkeyPatch.context() as storage:
        storage.setattr("airflow_imagepipeline.batch.run._ROWS_AT_ONCE", 2)
        storage.setattr(PlanStore, "lines", cut)
        ids = sent_ids(storage, seconds=0.3)
        with pytest.raises(StorageFailed, match=FULL):
            nights.run("n1", rows)
    assert len(ids) == nights.paid == 2

    assert counts(nights.retry(rows)) == {"landed": 5}
    assert nights.paid == 3


@only_old
@pytest.mark.parametrize(
    ("timeout", "execution_timeout", "allowed"),
    [
        (60.0, None, 60.0),
        (60.0, 3600, 60.0),
        (12 * 3600.0, 3600, 3420.0),
        (12 * 3600.0, 36_000, 34_200.0),
        (12 * 3600.0, 600, 480.0),
    ],
)
def test_a_batch_ends_by_itself_before_airflows_alarm_would_cut_off_its_submissions(
    nights: Nights, timeout: float, execution_timeout: int | None, allowed: float
) -> None:
    assert seconds_allowed(nights, timeout, execution_timeout) == allowed


@only_old
@pytest.mark.parametrize("execution_timeout", [1, 100, 120, 121])
def test_a_short_execution_timeout_leaves_a_batch_some_time(nights: Nights, execution_timeout: int) -> None:
    assert 0 < seconds_allowed(nights, 3600.0, execution_timeout) <= execution_timeout


def seconds_allowed(nights: Nights, timeout: float, execution_timeout: int | None) -> float:
    from airflow_imagepipeline.operators import batch_arguments

    limit = None if execution_timeout is None else timedelta(seconds=execution_timeout)
    return batch_arguments.seconds_allowed(nights.operator(inputs=[], timeout=timeout, execution_timeout=limit))


@only_current
def test_a_job_that_is_taken_up_and_rejected_is_made_again_once(nights: Nights) -> None:
    rows = nights.rows(2)
    with nothing_lands(), ends_badly("2 failed"):
        nights.run("n1", rows)

    with fails_with(BatchFailed, "2 rejected"):
        nights.clear(rows, timeout=10.0, **check(refused))

    assert (nights.paid, nights.summary["submitted"]) == (2, 4)
    assert [row["attempts"] for row in nights.manifest()] == [2, 2]


class _Nameless(BaseHTTPRequestHandler):
    """A vendor whose answers to POST are done at once and name no job, with links that lead nowhere."""

    posts: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.posts.append(self.path)
        self._answer(200, {"status": "SUCCESS", "download_urls": [f"http://{self.headers['Host']}/gone.png"]})

    def do_GET(self) -> None:
        self._answer(404, {})

    def _answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


@pytest.fixture
def nameless(connection: Callable[..., None], nights: Nights) -> Iterator[list[str]]:
    """Lead the connection to that vendor; the list of what was posted to it."""
    posts: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Nameless", (_Nameless,), {"posts": posts}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    connection(f"http://127.0.0.1:{server.server_port}")
    assert nights.paid == 0
    yield posts
    server.shutdown()
    server.server_close()
    thread.join(10)


@only_old
def test_a_job_without_an_id_whose_image_cannot_be_fetched_is_lost_and_left_to_a_human(
    nights: Nights, nameless: list[str]
) -> None:
    rows, paid = nights.rows(2), []
    for again in (None, nights.retry, nights.clear):
        with ends_badly():
            again(rows) if again else nights.run("n1", rows)
        paid.append(len(nameless))
        assert all(row["reason"] for row in nights.manifest())
    with ends_badly("2 uncertain"):
        nights.run("n2", rows)
    assert [*paid, len(nameless)] == [2, 2, 4, 4]


@only_old
def test_a_ledger_with_a_job_that_has_no_id_is_read_all_the_same(nights: Nights) -> None:
    rows = nights.rows(2)
    with nothing_lands(), ends_badly("2 failed"):
        nights.run("n1", rows)
    for file in (nights.folder / "_imagepipeline").rglob("*.json*"):
        file.write_text(re.sub(r'"job_id": ?"[^"]*", ?', "", file.read_text()))

    for again in (nights.retry, nights.retry):
        with ends_badly():
            again(rows)
        assert nights.paid == 0
    assert counts(nights.clear(rows)) == {"landed": 2}
    assert nights.paid == 2


@only_current
def test_a_row_that_equals_one_over_budget_is_over_budget_too(nights: Nights) -> None:
    rows = nights.rows(1) * 2
    nights.run("n1", rows)
    (nights.folder / "s0-00.png").unlink()
    assert counts(nights.run("n2", rows, max_jobs=0)) == {"over_budget": 2}


@only_current
def test_what_a_run_has_landed_is_not_paid_again_by_its_retry_wherever_the_files_have_gone(nights: Nights) -> None:
    rows = nights.rows(3)
    nights.settings.fail_next = ["MODEL_ERROR"]
    with fails_with(BatchFailed, "2 landed, 1 failed"):
        nights.run("n1", rows)
    first = nights.ti
    for name in nights.images():
        (nights.folder / name).unlink()
    assert counts(nights.run("n2", nights.rows(1, s0="new"), file_stem="other")) == {"landed": 1}

    nights.ti = first
    with fails_with(BatchFailed, "1 failed"):
        nights.retry(rows)
    assert nights.paid == 0


@only_current
def test_what_failed_for_a_run_and_for_another_one_after_it_is_not_paid_again_by_its_retry(nights: Nights) -> None:
    rows = nights.rows(2)
    for night in ("n1", "n2"):
        nights.settings.fail_next = ["MODEL_ERROR"] * 2
        with fails_with(BatchFailed, "2 failed"):
            nights.run(night, rows)
        assert nights.paid == 2

    nights.ti = TaskInstance("n1")
    with fails_with(BatchFailed, "2 failed"):
        nights.retry(rows)
    assert nights.paid == 0
    assert counts(nights.clear(rows)) == {"landed": 2}


@only_current
def test_jobs_that_are_there_are_brought_home_also_when_nothing_more_is_submitted(nights: Nights) -> None:
    rows = nights.rows(4)
    with nothing_lands(), ends_badly("2 failed"):
        nights.run("n1", rows[2:])
    nights.settings.credits = 0
    with fails_with(BatchIncomplete, "2 landed, 2 not_submitted", "redits"):
        nights.run("n2", rows, submit_concurrency=1)
    assert nights.paid == 0


@only_current
@pytest.mark.parametrize("changed", ["request", "reuse"])
def test_a_retry_that_asks_for_something_else_waits_for_a_human(nights: Nights, changed: str) -> None:
    rows = nights.rows(4)
    changes: dict[str, Any] = {"request": {"prompt": f"{PROMPT} 2"}, "reuse": "never"}
    other = {changed: changes[changed]}
    nights.settings.fail_next = ["MODEL_ERROR"]
    with ends_badly("3 landed, 1 failed"):
        nights.run("n1", rows, file_stem=None)

    for _ in range(2):
        with fails_with(BatchFailed, "tried first", "nothing more was submitted", "clear the task"):
            nights.retry(rows, file_stem=None, **other)
        assert nights.paid == 0

    assert counts(nights.clear(rows, file_stem=None, **other)) == {"landed": 4}
    assert nights.paid == 4


@only_current
def test_a_clear_after_the_tasks_retries_were_lowered_is_a_clear(nights: Nights) -> None:
    rows, black = nights.rows(1), saved(Image.new("RGB", (40, 30)), "PNG")
    with pytest.MonkeyPatch.context() as vendor, fails_with(BatchFailed, "1 filtered"):
        vendor.setattr(CANNED, lambda _: (black,))
        nights.attempt(TaskInstance("n1", 1, max_tries=9), rows, retries=9)

    # Airflow adds the retries of now to the tries that have been.
    assert counts(nights.attempt(TaskInstance("n1", 2, max_tries=1), rows, retries=0)) == {"landed": 1}
    assert nights.paid == 1


@only_current
def test_a_batch_that_breaks_off_withdraws_what_the_api_has_put_off(nights: Nights) -> None:
    rows, lines = nights.rows(5), PlanStore.lines
    nights.settings.refuse_next, nights.settings.retry_after = ["RATE_LIMIT_EXCEEDED"], 60

    def cut(store: PlanStore, start: int = 0) -> Iterator[str]:
        yield from itertools.islice(lines(store, start), 2)
        until = time.monotonic() + 20
        while nights.settings.refuse_next and time.monotonic() < until:
            time.sleep(0.005)
        raise StorageFailed(FULL)

    with pytest.MonkeyPatch.context() as storage:
        storage.setattr("airflow_imagepipeline.batch.run._ROWS_AT_ONCE", 2)
        storage.setattr("airflow_imagepipeline.batch.engine._LONGEST_ANSWER", 5.0)
        storage.setattr(PlanStore, "lines", cut)
        with pytest.raises(StorageFailed, match=FULL):
            nights.run("n1", rows)
    paid = nights.paid

    assert counts(nights.retry(rows)) == {"landed": 5}
    assert paid + nights.paid == 5
