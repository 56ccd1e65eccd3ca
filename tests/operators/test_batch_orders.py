"""Orders of events that a batch must survive: what is paid is counted at the vendor, whatever is away and whenever."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_imagepipeline.batch.engine import Batch
from airflow_imagepipeline.batch.landing import Landings
from airflow_imagepipeline.batch.run import BatchRun
from airflow_imagepipeline.batch.steps import Steps
from airflow_imagepipeline.batch.submissions import Submissions
from airflow_imagepipeline.batch.submitting import Sender
from airflow_imagepipeline.exceptions import BatchFailed, BatchIncomplete, RecordUnavailable
from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
from airflow_imagepipeline.policy.fleet import Polling
from airflow_imagepipeline.records.object_storage import LeaseLost, Ledger, Owner
from airflow_imagepipeline.records.plans import PlanStore
from airflow_imagepipeline.storage.folder import StorageFailed, open_folder
from airflow_imagepipeline.storage.s3 import S3Signer
from tests.airflow_versions import HAS_TASK_STATE_STORE
from tests.doubles.pictures import picture
from tests.generations import only_current
from tests.operators.nights import Nights, TaskInstance, assert_complete, counts
from tests.running import fails_with, in_task_modes

if TYPE_CHECKING:
    from tests.doubles.moto_server import Moto

SPARE: Final = "imagepipeline:unrecorded"
WRITER: Final = "airflow_imagepipeline.records.grouped_writer"
STEPS: Final = "airflow_imagepipeline.batch.steps"
TRUSTED: Final = "airflow_imagepipeline.records.object_storage._TRUSTED_FOR"
pytestmark = [pytest.mark.usefixtures("generation", "quick"), only_current]

needs_store = pytest.mark.skipif(not HAS_TASK_STATE_STORE, reason="Airflow 3.3 has the task's state")


class Disk:
    """The disk of a ledger, which is full, or broken, from the first job on: no segment is created."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        self.refusals = 0
        self.left = 0
        """How many more creations of a segment fail."""
        self._code = code
        self._link, self._asend = os.link, ImagePipelineHook.asend
        self.posts = 0
        self.posts_while_away = 0
        monkeypatch.setattr(os, "link", self._created)
        disk = self

        async def asend(hook: ImagePipelineHook, call: Any, session: Any) -> Any:
            if call.request.method == "POST":
                disk.posts_while_away += disk.refusals > 0 and disk.left > 0
                disk.posts += 1
            return await disk._asend(hook, call, session)

        monkeypatch.setattr(ImagePipelineHook, "asend", asend)

    def _created(self, source: Any, target: Any) -> None:
        if self.posts and self.left and "/segments/" in str(target):
            self.refusals += 1
            self.left -= 1
            raise OSError(self._code, os.strerror(self._code))
        self._link(source, target)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Disk:
    monkeypatch.setattr(f"{WRITER}._FIRST_PAUSE", 0.002)
    monkeypatch.setattr(f"{WRITER}._LONGEST_PAUSE", 0.01)
    return Disk(monkeypatch, getattr(request, "param", errno.ENOSPC))


def away_for_good(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ledger stay away, and a batch with nothing at stake end soon."""
    disk.left = 10**9
    monkeypatch.setattr(f"{STEPS}._SOON", 0.03)
    monkeypatch.setattr(f"{STEPS}._PATIENCE", 0.2)


@pytest.mark.fault(102)
@in_task_modes
@pytest.mark.parametrize("disk", [errno.ENOSPC, errno.EIO], indirect=True, ids=["full", "broken"])
def test_ids_are_recorded_when_the_ledger_is_back_and_nothing_is_submitted_meanwhile(
    nights: Nights, disk: Disk
) -> None:
    disk.left = 25

    summary = nights.run("n1", nights.rows(12), max_in_flight=6)

    assert (counts(summary), nights.paid, disk.left) == ({"landed": 12}, 12, 0)
    assert disk.posts_while_away == 0


@pytest.mark.fault(102)
def test_without_a_second_place_a_known_id_is_written_for_as_long_as_the_process_lives(
    nights: Nights, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.store = None
    away_for_good(disk, monkeypatch)
    disk.left = 120

    assert counts(nights.run("n1", nights.rows(6))) == {"landed": 6}
    assert (nights.paid, disk.left) == (6, 0)


@needs_store
@pytest.mark.fault(102)
@pytest.mark.parametrize("again", ["retry", "clear"])
def test_ids_that_the_ledger_never_took_are_known_to_the_next_try(
    nights: Nights, disk: Disk, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    rows = nights.rows(12)
    away_for_good(disk, monkeypatch)
    with pytest.raises(StorageFailed):
        nights.run("n1", rows)
    paid = nights.paid
    assert (paid, len(nights.store.get(SPARE)["entries"]) if nights.store else 0) == (disk.posts, disk.posts)

    disk.left = 0
    summary = getattr(nights, again)(rows)

    assert (counts(summary)["landed"], paid + nights.paid) == (12, 12)
    assert nights.store is not None
    assert nights.store.get(SPARE) is None


@needs_store
@pytest.mark.fault(102)
def test_ids_of_a_process_that_is_superseded_before_it_could_record_them_are_known_to_a_later_try(
    nights: Nights, disk: Disk, monkeypatch: pytest.MonkeyPatch, logs: Callable[[], str]
) -> None:
    rows = nights.rows(3)
    disk.left = 10**9
    taken = superseding(nights, monkeypatch, Steps, "record")
    monkeypatch.setattr(TRUSTED, 0.01)
    with pytest.raises(LeaseLost):
        nights.run("n1", rows)
    assert taken
    ids = [entry["job_id"] for entry in nights.store.get(SPARE)["entries"]] if nights.store else []
    assert all(f"Job {job_id} of row" in logs() for job_id in ids)
    paid, disk.left = nights.paid, 0

    assert counts(nights.retry(rows)) == {"landed": 3}
    assert paid + nights.paid == 3


@pytest.mark.fault(102)
def test_a_task_that_is_ended_from_outside_logs_the_ids_that_are_not_recorded(
    nights: Nights, disk: Disk, monkeypatch: pytest.MonkeyPatch, logs: Callable[[], str]
) -> None:
    nights.store = None
    disk.left = 60
    tasks: list[Any] = []
    operator, record, ids = nights.operator, Steps.record, []

    def made(**given: Any) -> Any:
        tasks.append(operator(**given))
        return tasks[-1]

    async def recorded(steps: Steps, entry: Any, job_id: str, **known: Any) -> Any:
        asyncio.get_running_loop().call_later(0.02, tasks[-1].on_kill)
        ids.append(job_id)
        return await record(steps, entry, job_id, **known)

    monkeypatch.setattr(nights, "operator", made)

    monkeypatch.setattr(Steps, "record", recorded)
    assert counts(nights.run("n1", nights.rows(2))) == {"landed": 2}
    assert len(ids) == 2
    assert all(f"Job {job_id} is paid for, and is not recorded yet." in logs() for job_id in ids)


@needs_store
@pytest.mark.fault(102)
def test_nothing_is_submitted_where_ids_of_an_earlier_try_cannot_be_read(nights: Nights) -> None:
    assert nights.store is not None
    nights.store.is_down = lambda operation, key, _: (operation, key) == ("get", SPARE)
    with fails_with(RecordUnavailable, SPARE, "nothing was submitted"):
        nights.run("n1", nights.rows(2))
    assert nights.paid == 0

    nights.store.is_down = lambda *_: False
    assert counts(nights.retry(nights.rows(2))) == {"landed": 2}


def superseding(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, cls: type, method: str, *, after: bool = False
) -> list[int]:
    """Let another process take the ledger at the first call of a coroutine; the list tells when that has happened."""
    taken: list[int] = []
    original = getattr(cls, method)

    async def superseded(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs) if after else None
        if not taken:
            taken.append(1)
            home = open_folder(f"file://{nights.folder}/_imagepipeline", None)
            Ledger.take(home, Owner("photos", nights.ti.run_id, "edit", -1), lease_seconds=1)
            # As a process that is stopped, and continued when its proof is out of date.
            time.sleep(0.05)  # noqa: ASYNC251 - the whole process stands still
        return result if after else await original(*args, **kwargs)

    monkeypatch.setattr(cls, method, superseded)
    return taken


@pytest.mark.fault(103)
@pytest.mark.parametrize(("cls", "method"), [(ImagePipelineHook, "aseen"), (Batch, "run")], ids=["image", "manifest"])
def test_a_process_that_was_superseded_writes_no_image_and_no_manifest(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, cls: type, method: str
) -> None:
    rows = nights.rows(2)
    with monkeypatch.context() as process:
        process.setattr(TRUSTED, 0.02)
        superseding(nights, process, cls, method, after=True)
        with pytest.raises(LeaseLost):
            nights.run("n1", rows, submit_concurrency=1)
    assert len(nights.images()) == (2 if cls is Batch else 0)
    assert not list((nights.folder / "_manifests").glob("*"))
    paid = nights.paid

    assert counts(nights.retry(rows)) == {"landed": 2}
    assert paid + nights.paid == 2


@contextmanager
def id_arrives_late(
    nights: Nights, rows: list[dict[str, Any]], *, meanwhile: bool, lands: bool
) -> Iterator[list[BatchFailed]]:
    """
    Let the write of the first id take so long that the next try runs first; the list tells how that ended.

    :param meanwhile: the write arrives when the next try has read the ledger, not after its end.
    :param lands: the superseded process does not notice, and lands the image.
    """
    link, prepare = os.link, BatchRun.prepare
    ends, written = list[BatchFailed](), list[tuple[Any, Any]]()

    def linked(source: Any, target: Any) -> None:
        if written or "/segments/" not in str(target) or b'"job_id"' not in Path(source).read_bytes():
            return link(source, target)
        written.append((source, target))
        with pytest.raises(BatchFailed) as failure:
            nights.retry(rows)
        ends.append(failure.value)
        return None if meanwhile else link(source, target)

    def prepared(run: BatchRun) -> dict[str, Any]:
        about = prepare(run)
        if meanwhile and written and not ends:
            link(*written[0])
        return about

    with pytest.MonkeyPatch.context() as process:
        process.setattr("airflow_imagepipeline.batch.lease_keeping.NOTICED_AFTER", 0.0)
        process.setattr(TRUSTED, 60.0 if lands else 0.0)
        process.setattr(os, "link", linked)
        process.setattr(BatchRun, "prepare", prepared)
        yield ends


@pytest.mark.fault(103, 108)
@in_task_modes
@pytest.mark.parametrize("arrives", ["while the next try runs", "after the next try"])
@pytest.mark.parametrize("known", ["id", "image"])
def test_an_id_that_comes_too_late_into_the_ledger_is_known_when_a_human_clears_the_task(
    nights: Nights, arrives: str, known: str
) -> None:
    # Who defers asks for the lease first.
    rows, lands = nights.rows(1), known == "image" and nights.mode == "worker"
    nights.store = None
    with (
        id_arrives_late(nights, rows, meanwhile=arrives.startswith("while"), lands=lands) as ends,
        pytest.raises((LeaseLost, BatchIncomplete)),
    ):
        nights.run("n1", rows)
    assert (len(ends), nights.emulator.stats()["accepted"], len(nights.images())) == (1, 1, int(lands))

    assert counts(nights.clear(rows)) in [{"landed": 1}, {"reused": 1}]
    assert nights.emulator.stats()["accepted"] == 1


@pytest.mark.fault(103)
@pytest.mark.parametrize("refusal", ["RATE_LIMIT_EXCEEDED", "MODEL_UNAVAILABLE"])
def test_a_process_that_is_superseded_while_it_waits_for_the_api_submits_nothing(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    nights.settings.refuse_next, nights.settings.retry_after = [refusal] * 8, 0
    monkeypatch.setattr(TRUSTED, 0.02)
    assert superseding(nights, monkeypatch, Sender, "pause") == []

    with pytest.raises(LeaseLost):
        nights.run("n1", nights.rows(8))

    assert nights.paid == 0


@pytest.mark.fault(103)
def test_a_process_that_is_stopped_before_it_sends_and_then_continued_submits_nothing(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TRUSTED, 0.02)
    superseding(nights, monkeypatch, Sender, "send")

    with pytest.raises(LeaseLost):
        nights.run("n1", nights.rows(8))

    assert nights.paid == 0


@pytest.mark.fault(103)
@pytest.mark.parametrize("concurrency", [1, 3])
def test_after_a_takeover_no_more_requests_leave_than_were_proven_before_it(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    monkeypatch.setattr(TRUSTED, 0.02)
    superseding(nights, monkeypatch, Steps, "confirm", after=True)

    with pytest.raises(LeaseLost):
        nights.run("n1", nights.rows(12), submit_concurrency=concurrency)

    assert nights.paid <= concurrency


@contextmanager
def vendor_says(end: str, **words: Any) -> Iterator[None]:
    """Let the API say other words of jobs that ended like this."""
    from airflow_imagepipeline.emulator import wording

    usual = getattr(wording, end)
    with pytest.MonkeyPatch.context() as vendor:
        vendor.setattr(wording, end, lambda job: {**usual(job), **words})
        yield


@contextmanager
def reader_fails(at: int, *, rows_at_once: int = 2) -> Iterator[None]:
    lines = PlanStore.lines

    def cut(store: PlanStore, start: int = 0) -> Iterator[str]:
        for place, line in enumerate(lines(store, start), start):
            if place >= at:
                message = "S3 answers 503."
                raise StorageFailed(message)
            yield line

    with pytest.MonkeyPatch.context() as storage:
        storage.setattr("airflow_imagepipeline.batch.run._ROWS_AT_ONCE", rows_at_once)
        storage.setattr(PlanStore, "lines", cut)
        yield


@pytest.mark.fault(104)
@in_task_modes
@pytest.mark.parametrize("known", [0, 4], ids=["before the first row", "behind rows that are done"])
def test_a_storage_error_while_rows_are_read_is_a_retry_and_no_success(nights: Nights, known: int) -> None:
    rows = nights.rows(9)
    if known:
        nights.run("n0", rows[:known])
    with reader_fails(known), pytest.raises(StorageFailed, match="503"):
        nights.run("n1", rows, min_success_ratio=0.0)
    assert nights.paid == 0

    summary = nights.retry(rows)
    assert (counts(summary)["landed"], nights.paid) == (9 - known, 9 - known)


@pytest.mark.fault(104)
@pytest.mark.parametrize(
    ("part", "method"),
    [
        (Submissions, "submit_rows"),
        (Landings, "land_jobs"),
        (Polling, "_answer"),
        (Polling, "_call"),
        (BatchRun, "_keep_house"),
        (Steps, "keep_ids"),
    ],
)
def test_the_error_of_every_part_is_the_end_of_the_turn(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, part: type, method: str
) -> None:
    async def fails(*_: Any) -> None:
        await asyncio.sleep(0)
        message = f"{method} failed"
        raise StorageFailed(message)

    with monkeypatch.context() as broken:
        broken.setattr(part, method, fails)
        # Nothing is to be done, and the end is near.
        with pytest.raises(StorageFailed, match=method):
            nights.run("n1", [])


@pytest.mark.fault(104)
def test_a_manifest_that_is_not_the_plan_is_no_success(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_imagepipeline.batch.manifest import manifest_rows

    rows = nights.rows(5)
    with monkeypatch.context() as storage:
        short = "airflow_imagepipeline.batch.ending.manifest_rows"
        storage.setattr(short, lambda *given: list(manifest_rows(*given))[:-1])
        with fails_with(BatchIncomplete, "has 5 rows", "its manifest has 4 (4 landed)", "retry the task"):
            nights.run("n1", rows)
    assert not list((nights.folder / "_manifests").glob("*"))

    assert counts(nights.retry(rows)) == {"landed": 5}
    assert nights.paid == 0


@pytest.mark.fault(104)
def test_rows_that_never_had_their_turn_are_no_success(nights: Nights) -> None:
    lines, rows = PlanStore.lines, nights.rows(5)

    def cut(store: PlanStore, start: int = 0) -> Iterator[str]:
        # As a listing that is not up to date: the reader ends early, and the manifest is made of all.
        yield from list(lines(store, start))[: 3 if len(cuts) == 0 else None]
        cuts.append(start)

    cuts: list[int] = []
    with pytest.MonkeyPatch.context() as storage:
        storage.setattr(PlanStore, "lines", cut)
        with fails_with(BatchIncomplete, "5 rows, of which 3 had their turn"):
            nights.run("n1", rows, min_success_ratio=0.1)
    assert counts(nights.retry(rows)) == {"landed": 5}


@pytest.mark.fault(105)
@in_task_modes
@pytest.mark.parametrize("price", [-1, -0.04, 1e308, 2e6, True, "0", None], ids=str)
def test_no_odd_cost_lifts_the_budget(nights: Nights, price: Any, logs: Callable[[], str]) -> None:
    with vendor_says("_completed", cost_usd=price):
        summary = nights.run("n1", nights.rows(9), max_cost=0.2, price_per_job=0.04)

    assert (counts(summary), nights.paid) == ({"landed": 5, "over_budget": 4}, 5)
    assert summary["cost"] == pytest.approx(0.2)
    job = nights.manifest(summary)[0]["job_id"]
    assert (f"job {job} has cost is no price" in logs()) == (price is not None)

    nights.clear(nights.rows(9), max_cost=0.2, price_per_job=0.04)
    assert nights.paid == 0


@pytest.mark.fault(105)
@pytest.mark.parametrize("bound", [{"max_jobs": 2}, {"max_cost": 0.08, "price_per_job": 0.04}], ids=["jobs", "cost"])
def test_nothing_is_uploaded_that_the_budget_does_not_cover(
    nights: Nights, tmp_path: Path, bound: dict[str, Any]
) -> None:
    photos = [tmp_path / f"p{number}.png" for number in range(8)]
    for number, photo in enumerate(photos):
        photo.write_bytes(picture(number))
    rows = [{"input_image": str(photo), "sku": photo.stem, "word": "old"} for photo in photos]

    summary = nights.run("n1", rows, upload_inputs=True, **bound)

    assert counts(summary) == {"landed": 2, "over_budget": 6}
    assert (nights.paid, nights.emulator.stats()["uploads"]) == (2, 2)


@pytest.mark.fault(107)
@pytest.mark.parametrize("mode", ["worker"])
def test_inputs_are_signed_for_each_attempt_after_the_wait(
    nights: Nights, bucket: str, moto: Moto, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    assert mode == nights.mode
    moto.s3.put_object(Bucket=bucket, Key="in/p.png", Body=picture(1))
    nights.settings.refuse_next, nights.settings.retry_after = ["RATE_LIMIT_EXCEEDED"] * 3, 0
    link, pause, events = S3Signer.link, Sender.pause, []

    def signed(signer: S3Signer, uri: str, seconds: int) -> str:
        events.append("signed")
        return link(signer, uri, seconds)

    async def paused(sender: Sender, *given: Any) -> None:
        await pause(sender, *given)
        events.append("waited")

    monkeypatch.setattr(S3Signer, "link", signed)
    monkeypatch.setattr(Sender, "pause", paused)
    nights.run("n1", [f"s3://{bucket}/in/p.png"], file_stem=None, request={"prompt": "nice"})
    assert events == ["signed", "waited"] * 3 + ["signed"]
    assert nights.paid == 1


@pytest.mark.fault(107)
def test_a_request_that_grew_old_while_the_ledger_recorded_it_is_made_anew(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Sender.send
    old: list[Any] = []

    async def late(sender: Sender, submission: Any) -> Any:
        if not old:
            old.append(submission)
            submission = replace(submission, made_at=submission.made_at - 3600)
        return await made(sender, submission)

    monkeypatch.setattr(Sender, "send", late)
    assert (counts(nights.run("n1", nights.rows(3))), nights.paid) == ({"landed": 3}, 3)


@pytest.mark.fault(111)
@pytest.mark.parametrize("refusal", ["429", "no connection"])
def test_a_try_that_dies_while_it_waits_to_send_again_is_known_to_have_sent_nothing(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    rows = nights.rows(6)

    async def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as worker:
        worker.setattr(Sender, "pause", dies)
        if refusal == "429":
            nights.settings.refuse_next = ["RATE_LIMIT_EXCEEDED"] * 6
        else:
            nights.emulator.stop()
        with pytest.raises(KeyboardInterrupt):
            run_quietly(nights, rows)
    nights.settings.refuse_next = []
    if refusal != "429":
        nights.emulator.start()

    assert counts(nights.retry(rows)) == {"landed": 6}
    assert nights.emulator.stats()["accepted"] == 6


def run_quietly(nights: Nights, rows: list[dict[str, Any]]) -> None:
    # The vendor may be away, and cannot be asked for its counts.
    nights.ti = TaskInstance("n1")
    given: dict[str, Any] = {"ti": nights.ti, "params": {}, "run_id": "n1"}
    nights.operator(inputs=rows, deferrable=False, submit_concurrency=1).execute(given)


@contextmanager
def one_id_for_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    asend, ids = ImagePipelineHook.asend, []

    async def answered(hook: ImagePipelineHook, call: Any, session: Any) -> Any:
        answer = await asend(hook, call, session)
        if call.request.method == "POST":
            ids.append(answer.handle.job_id)
            return replace(answer, handle=replace(answer.handle, job_id=ids[0]))
        return answer

    with monkeypatch.context() as vendor:
        vendor.setattr(ImagePipelineHook, "asend", answered)
        yield


@pytest.mark.fault(118)
@in_task_modes
@pytest.mark.parametrize("concurrency", [1, 8], ids=["one after the other", "at once"])
def test_a_job_id_that_is_given_to_several_rows_belongs_to_the_first(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    rows, usual = nights.rows(3), {"submit_concurrency": concurrency}
    with one_id_for_all(monkeypatch), ends_badly():
        nights.run("n1", rows, max_in_flight=concurrency, **usual)
    found = nights.manifest()
    assert counts(nights.summary) == {"landed": 1, "uncertain": 2}
    assert_complete(found, nights.summary)
    (landed,) = (row for row in found if row["outcome"] == "landed")
    assert len(nights.images()) == 1
    for row in found:
        if row is not landed:
            assert f"the id of row {landed['index']}'s job, {landed['job_id']}" in row["reason"]
            assert row["job_id"] is None

    with ends_badly():
        nights.retry(rows, **usual)
    assert nights.paid == 0
    assert counts(nights.clear(rows, **usual)) == {"reused": 1, "landed": 2}


def ends_badly() -> AbstractContextManager[Any]:
    return pytest.raises((BatchFailed, BatchIncomplete))


@pytest.mark.real_input("D10")
@in_task_modes
def test_jobs_that_fail_for_what_passes_are_submitted_again_in_the_same_run(nights: Nights) -> None:
    nights.settings.fail_next = [None, "MODEL_UNAVAILABLE", None, "STORAGE_ERROR", "TIMEOUT"]

    summary = nights.run("n1", nights.rows(8), redo_failed=1)

    assert (counts(summary), nights.paid, summary["submitted"]) == ({"landed": 8}, 11, 11)
    assert sorted(row["attempts"] for row in nights.manifest(summary)) == [1] * 5 + [2] * 3


@pytest.mark.real_input("D10")
@pytest.mark.parametrize("code", ["INPUT_INVALID", "CREDIT_CHARGE_FAILED", "CANCELLED", "NEW_CODE"])
def test_what_the_vendor_does_not_call_worth_another_try_is_not_redone(nights: Nights, code: str) -> None:
    nights.settings.fail_next = [code]
    with fails_with(BatchFailed, "1 landed, 1 failed"):
        nights.run("n1", nights.rows(2), redo_failed=3)
    assert nights.paid == 2


@pytest.mark.real_input("D10")
@pytest.mark.parametrize(
    "charge", [{"credits_charged": True}, {"cost_usd": 0.04}, {"cost_usd": -1}, {"cost_usd": "0.04"}], ids=str
)
def test_a_failure_that_may_have_been_charged_is_not_redone(nights: Nights, charge: dict[str, Any]) -> None:
    nights.settings.fail_next = ["MODEL_ERROR"]
    with vendor_says("_failed", **charge), fails_with(BatchFailed, "1 failed"):
        nights.run("n1", nights.rows(1), redo_failed=3)
    assert nights.paid == 1


@pytest.mark.real_input("D10")
@pytest.mark.parametrize(("most", "paid", "outcome"), [(3, 3, "failed"), (4, 4, "landed")])
def test_a_redo_is_inside_the_budget_and_a_row_without_one_stays_failed(
    nights: Nights, most: int, paid: int, outcome: str
) -> None:
    nights.settings.fail_next = ["MODEL_ERROR"]
    summary = nights.run(
        "n1", nights.rows(3), redo_failed=1, max_jobs=most, min_success_ratio=0.1, submit_concurrency=1
    )

    assert (nights.paid, summary["submitted"]) == (paid, paid)
    first = nights.manifest(summary)[0]
    assert (first["outcome"], first["attempts"]) == (outcome, 1 + (outcome == "landed"))
    nights.clear(nights.rows(3), max_jobs=most, min_success_ratio=0.1)
    assert nights.paid == 0


@pytest.mark.real_input("D10")
def test_a_job_that_fails_again_and_again_is_redone_as_often_as_allowed(nights: Nights) -> None:
    nights.settings.fail_next = ["MODEL_ERROR"] * 9
    with fails_with(BatchFailed, "1 failed", "MODEL_ERROR"):
        nights.run("n1", nights.rows(1), redo_failed=2)
    assert (nights.paid, nights.manifest()[0]["attempts"]) == (3, 3)
    with fails_with(BatchFailed, "1 failed"):
        nights.retry(nights.rows(1), redo_failed=2)
    assert nights.paid == 0


@pytest.mark.real_input("D10")
def test_a_redo_that_was_due_when_the_try_died_is_submitted_by_the_next(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.settings.fail_next = ["MODEL_ERROR"]
    rows = nights.rows(3)
    with monkeypatch.context() as worker, reader_fails(3), suppress(StorageFailed):
        worker.setattr("airflow_imagepipeline.batch.engine.REDO_PAUSE", 0.4)
        worker.setattr(Landings, "add", dies_at(3))
        with pytest.raises(KeyboardInterrupt):
            nights.run("n1", rows, redo_failed=1)
    summary = nights.retry(rows, redo_failed=1)
    assert (counts(summary), nights.emulator.stats()["accepted"]) == ({"landed": 3}, 4)


def dies_at(call: int) -> Callable[..., None]:
    add, calls = Landings.add, []

    def added(landings: Landings, *given: Any) -> None:
        calls.append(given)
        if len(calls) == call - 1:
            raise KeyboardInterrupt
        add(landings, *given)

    return added


@pytest.mark.real_input("D10")
def test_a_redo_that_was_free_is_not_counted_in_place_of_one_that_was_paid(nights: Nights) -> None:
    usual: dict[str, Any] = {"accept": {"checks": [f"{__name__}.refused"]}, "redo_rejected": 1, "price_per_job": 0.04}
    nights.settings.fail_next = [None, "INPUT_INVALID"]
    with ends_badly():
        nights.run("n1", nights.rows(1), max_cost=1.0, **usual)
    assert (nights.paid, nights.summary["cost"]) == (2, pytest.approx(0.04))

    nights.settings.fail_next = []
    with ends_badly():
        nights.clear([*nights.rows(3)], max_cost=0.08, **usual)
    assert nights.paid <= 1


def refused(_result: Path, _original: Path | None) -> str:
    return "It is refused."
