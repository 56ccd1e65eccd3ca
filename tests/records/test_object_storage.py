"""A ledger: one writer at a time, nothing lost, nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.records.counted_folder import CountedFolder
from airflow_imagepipeline.records.ledger_lines import heading, line_of
from airflow_imagepipeline.records.object_storage import (
    NOTICED_AFTER,
    LeaseLost,
    Ledger,
    LedgerBusy,
    LedgerDamaged,
    MarkForgotten,
    Owner,
)
from airflow_imagepipeline.storage.folder import Folder, StorageFailed, open_folder
from tests.records.conftest import ME, SOMEBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.records.conftest import World

ROOT = Path(__file__).parents[2]


def entries(ledger: Ledger, after: str = "") -> list[dict[str, Any]]:
    return [entry for _, entry in ledger.entries(after=after)]


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"n": number} for number in numbers]


def test_entries_are_read_in_the_order_in_which_they_were_written(world: World) -> None:
    ledger = world.take()
    marks = [ledger.append(numbered(1, 2)), ledger.append(numbered(3))]
    assert marks == ["00000001-00000001", "00000001-00000002"] == sorted(marks)
    assert list(ledger.entries()) == [(marks[0], {"n": 1}), (marks[0], {"n": 2}), (marks[1], {"n": 3})]
    assert entries(ledger, after=marks[0]) == numbered(3)
    assert entries(ledger, after=marks[1]) == []


def test_an_entry_comes_back_as_it_was_whatever_it_holds(world: World) -> None:
    odd = {"text": 'line\nend\u2028 "é" \ud800', "deep": {"a": [1, 2.5, None, True]}, "": ""}
    ledger = world.take()
    ledger.append([odd])
    assert entries(world.take()) == [odd]


def test_nothing_is_written_for_no_entries(world: World) -> None:
    ledger = world.take()
    assert ledger.append([]) == ledger.mark == "00000001-00000000"
    assert world.names("segments/") == []


def test_the_same_task_takes_over_at_once_and_reads_what_came_before(world: World) -> None:
    world.take(seconds=3600).append(numbered(1))
    second = world.take()
    second.append(numbered(2))
    third = world.take()
    assert third.append(numbered(3)) == "00000003-00000001"
    assert entries(third) == numbered(1, 2, 3)
    assert entries(third, after=second.mark) == numbered(3)
    assert world.names("lease/") == ["lease/00000003.json"]


def test_another_task_is_refused_while_the_lease_lives_and_told_by_whom(world: World) -> None:
    ledger = world.take(seconds=60)
    world.clock.now += 59
    with pytest.raises(LedgerBusy) as caught:
        world.take(SOMEBODY)
    assert str(caught.value) == (
        f"The ledger {world.folder.uri} is in use by task edit of DAG photos, run manual__1, until "
        "1970-01-12 13:47:40+00:00 or longer if it goes on: nothing was submitted. A retry may find it free. Let one "
        "run at a time use a ledger: set max_active_runs=1 in the DAG, and give `airflow backfill create` "
        "--max-active-runs 1; tasks that are to run at once need a ledger= or shard= each."
    )
    ledger.append(numbered(1))


def test_another_task_takes_over_when_the_lease_has_run_out(world: World) -> None:
    first = world.take(seconds=60)
    first.append(numbered(1))
    world.clock.now += 60
    second = world.take(SOMEBODY)
    assert entries(second) == numbered(1)
    with pytest.raises(LedgerBusy, match=r"task edit \[3\] of DAG photos, run manual__2"):
        world.take(ME)
    with pytest.raises(LeaseLost):
        first.append(numbered(2))


def test_a_renewed_lease_lives_longer(world: World) -> None:
    ledger = world.take(seconds=60)
    world.clock.now += 59
    ledger.renew(60)
    world.clock.now += 59
    with pytest.raises(LedgerBusy):
        world.take(SOMEBODY)
    world.clock.now += 1
    world.take(SOMEBODY)


def test_a_released_ledger_is_free_at_once(world: World) -> None:
    world.take(seconds=3600).release()
    world.take(SOMEBODY)


def test_the_release_of_an_older_process_does_not_end_the_newer_lease(world: World) -> None:
    older, _ = world.take(seconds=3600), world.take(seconds=3600)
    older.release()
    assert world.names("lease/") == ["lease/00000002.json"]
    with pytest.raises(LedgerBusy):
        world.take(SOMEBODY)


@pytest.mark.parametrize("act", ["append", "renew", "compact"])
def test_a_process_that_was_superseded_is_stopped(act: str, world: World) -> None:
    older = world.take()
    mark = older.append(numbered(1))
    newer = world.take()
    before = world.names()
    world.clock.now += 5.1
    acts: dict[str, Callable[[], object]] = {
        "append": lambda: older.append(numbered(2)),
        "renew": lambda: older.renew(60),
        "compact": lambda: older.compact(numbered(9), upto=mark),
    }
    with pytest.raises(LeaseLost, match=r"the newest lease is 2, its own is 1\): this process stops and submits"):
        acts[act]()
    assert world.names() == before
    assert entries(newer) == numbered(1)


def test_a_ledger_is_contested_unless_its_last_process_has_let_go(world: World) -> None:
    first = world.take()
    assert not first.is_contested
    second = world.take()
    assert second.is_contested
    second.renew(60, is_idle=True)
    third = world.take()
    assert not third.is_contested
    third.renew(60, is_idle=True)
    third.renew(60)
    assert world.take().is_contested
    world.clock.now += 60
    last = world.take(SOMEBODY)
    assert last.is_contested
    last.release()
    assert not world.take().is_contested


def test_what_took_long_to_write_is_not_acted_on_by_a_process_that_was_superseded_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, create = world.take(), CountedFolder.create

    def slow(folder: CountedFolder, name: str, content: bytes) -> bool:
        is_ours = create(folder, name, content)
        if name.startswith("segments/"):
            monkeypatch.undo()
            world.take()
            world.clock.now += 5.1
        return is_ours

    monkeypatch.setattr(CountedFolder, "create", slow)
    with pytest.raises(LeaseLost):
        older.append(numbered(1))
    assert entries(world.take()) == numbered(1)


def test_a_segment_after_which_the_leases_cannot_be_listed_is_written_again_and_is_there_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, create, listing = world.take(), CountedFolder.create, CountedFolder.listing

    def slow(folder: CountedFolder, name: str, content: bytes) -> bool:
        world.clock.now += 5.1
        return create(folder, name, content)

    def full(folder: CountedFolder, prefix: str) -> Any:
        if world.names("segments/"):
            msg = "S3 answers 503."
            raise StorageFailed(msg)
        return listing(folder, prefix)

    with monkeypatch.context() as storage:
        storage.setattr(CountedFolder, "create", slow)
        storage.setattr(CountedFolder, "listing", full)
        with pytest.raises(StorageFailed):
            ledger.append(numbered(1))
    assert ledger.append(numbered(1)) == "00000001-00000001"
    assert entries(ledger) == numbered(1)


def test_within_five_seconds_a_superseded_process_still_writes_and_its_successor_reads_that(world: World) -> None:
    older = world.take()
    older.append(numbered(1))
    newer = world.take()
    assert newer.is_contested
    world.clock.now += 4.9
    older.append(numbered(2))
    world.clock.now += NOTICED_AFTER - 4.9
    assert entries(newer) == numbered(1, 2)
    newer.append(numbered(3))
    newer.compact(numbered(1, 2, 3), upto=newer.mark)
    assert entries(world.take()) == numbered(1, 2, 3)


def late(world: World, mark: str, *numbers: int) -> None:
    """Let a segment of a dead process arrive."""
    lines = [line_of(entry) for entry in numbered(*numbers)]
    world.folder.write(f"segments/{mark}.jsonl", heading("segment", len(lines)) + b"".join(lines))


@pytest.mark.fault(108)
@pytest.mark.parametrize(
    "mark", ["00000001-00000002", "00000002-00000001"], ids=["that wrote before", "that never did"]
)
def test_a_segment_of_a_dead_process_that_arrives_after_a_compaction_is_ignored_and_counted(
    mark: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.take().append(numbered(1))
    world.take()
    third = world.take()
    assert entries(third) == numbered(1)
    third.append(numbered(3))
    third.compact(numbered(1, 3), upto=third.mark)
    third.append(numbered(4))
    late(world, mark, 2)
    fourth = world.take()
    for ledger in (third, fourth):
        caplog.clear()
        assert entries(ledger) == numbered(1, 3, 4)
        assert f"1 segments of {world.folder.uri} are ignored" in caplog.text
        assert mark in caplog.text
        assert list(ledger.late_entries()) == numbered(2)
    assert entries(fourth, after="00000003-00000001") == numbered(4)
    fourth.compact(numbered(1, 3, 4), upto=fourth.mark)
    caplog.clear()
    assert entries(world.take()) == numbered(1, 3, 4)
    assert world.names("segments/") == []
    assert "ignored" not in caplog.text


@pytest.mark.fault(108)
@pytest.mark.parametrize("after", ["", "00000001-00000001"])
def test_a_segment_of_a_dead_process_that_arrives_after_its_successor_has_read_changes_nothing_for_that_one(
    after: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.take().append(numbered(1))
    ledger = world.take()
    found = entries(ledger, after=after)
    ledger.append(numbered(3))
    late(world, "00000001-00000002", 2)
    assert list(ledger.late_entries()) == []
    assert entries(ledger, after=after) == [*found, {"n": 3}]
    assert "1 segments of" in caplog.text
    assert list(ledger.late_entries()) == numbered(2)
    ledger.compact(numbered(1, 3), upto=ledger.mark)
    assert world.names("segments/") == []


@pytest.mark.fault(108)
def test_a_late_segment_that_is_damaged_holds_nobody(world: World) -> None:
    ledger = world.take()
    ledger.append(numbered(1))
    newer = world.take()
    assert entries(newer) == numbered(1)
    for number, content in [(2, b"half"), (3, heading("segment", 1) + line_of({"n": 3}))]:
        world.folder.write(f"segments/00000001-{number:08d}.jsonl", content)
    assert entries(newer) == numbered(1)
    assert list(newer.late_entries()) == numbered(3)


@pytest.mark.fault(108)
def test_what_a_process_wrote_itself_before_and_after_its_compaction_is_told_apart(world: World) -> None:
    ledger = world.take()
    marks = [ledger.append(numbered(number)) for number in (1, 2, 3)]
    ledger.compact(numbered(1, 2), upto=marks[1])
    assert entries(world.take()) == numbered(1, 2, 3)


DELETED: list[tuple[str, ...]] = [
    ("lease/",),
    ("segments/",),
    ("snapshots/",),
    ("lease/", "segments/"),
    ("lease/", "snapshots/"),
    ("segments/", "snapshots/"),
    ("lease/", "segments/", "snapshots/"),
]


@pytest.mark.fault(101)
@pytest.mark.parametrize("deleted", DELETED, ids=" ".join)
@pytest.mark.parametrize("is_compacted", [False, True], ids=["segments", "compacted"])
def test_an_epoch_is_never_given_twice_whatever_was_deleted(
    deleted: tuple[str, ...], world: World, *, is_compacted: bool
) -> None:
    for number in (1, 2, 3):
        ledger = world.take()
        entries(ledger)
        ledger.append(numbered(number))
    if is_compacted:
        ledger.compact(numbered(1, 2, 3), upto=ledger.mark)
    world.folder.write("current.json", b'{"v": 1, "plan": "manual__1-abc123-0-00000002"}')
    world.folder.write("plans/manual__1-abc123-0-00000002/plan.json", b"{")
    world.folder.write("plans/manual__1-abc123-0-00000002/checkpoint.json", b'{"v": 1, "mark": "00000003-00000001"}')
    ledger.release()
    for name in deleted:
        world.folder.remove(world.names(name))
    newer = world.take()
    assert newer.mark == "00000004-00000000"
    is_known = ("segments/" if not is_compacted else "snapshots/") not in deleted
    newer.append(numbered(4))
    assert entries(world.take()) == (numbered(1, 2, 3, 4) if is_known else numbered(4))


@pytest.mark.fault(101)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("current.json", b'{"v": 1, "plan": "night-07-00000012"}'),
        ("plans/night-07-00000012/plan.json", b""),
        ("plans/night-07-00000003/checkpoint.json", b'{"mark": "00000012-00000345", "open": ["99999999-00000001"]'),
        ("segments/00000012-00000001.jsonl", b""),
        ("snapshots/00000012-00000001.jsonl", b""),
    ],
)
def test_an_epoch_is_above_each_that_anything_names(name: str, content: bytes, world: World) -> None:
    world.folder.write(name, content)
    ledger = world.take()
    assert ledger.mark == "00000013-00000000"
    assert ledger.is_contested


def test_there_is_no_epoch_after_the_last(world: World) -> None:
    world.folder.write("segments/99999999-00000001.jsonl", b"")
    with pytest.raises(LedgerDamaged, match="name epoch 99999999"):
        world.take()
    assert world.names("lease/") == []


@pytest.mark.fault(101)
def test_of_two_processes_with_one_epoch_since_the_leases_were_deleted_meanwhile_one_stops(world: World) -> None:
    older = world.take()
    world.folder.remove(world.names("lease/"))
    with pytest.raises(LeaseLost, match="its leases were deleted, its own is 1"):
        older.renew(60)
    newer = world.take()
    assert newer.mark == older.mark
    with pytest.raises(LeaseLost, match="the newest lease is 1, its own is 1"):
        older.renew(60)
    with pytest.raises(LeaseLost, match="the newest lease is 1, its own is 1"):
        older.compact([], upto=older.mark)
    older.release()
    newer.renew(60)
    older.append(numbered(1))
    with pytest.raises(LeaseLost, match="exists already"):
        newer.append(numbered(2))


@pytest.mark.fault(115)
def test_a_lease_that_is_listed_and_not_there_is_asked_for_a_few_times_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, content = world.take(), type(world.folder).content
    asked: list[str] = []

    def gone(folder: Folder, name: str) -> bytes | None:
        asked.append(name)
        return None if name.startswith("lease/") else content(folder, name)

    monkeypatch.setattr(type(world.folder), "content", gone)
    for act in (world.take, ledger.release, partial(ledger.renew, 60)):
        asked.clear()
        with pytest.raises(StorageFailed, match=r"lease/00000001\.json is listed, but there is no such object"):
            act()
        assert len(asked) == 5


@pytest.mark.fault(115)
def test_a_lease_that_is_listed_and_not_there_is_not_asked_for_when_time_is_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.take()
    asked: list[str] = []
    monkeypatch.setattr(type(world.folder), "content", lambda *named: asked.append(named[1]))
    monkeypatch.setattr("airflow_imagepipeline.records.lease._PATIENCE", -1.0)
    with pytest.raises(StorageFailed, match="is listed, but there is no such object"):
        world.take()
    assert len(asked) == 2


@pytest.mark.fault(112)
@pytest.mark.parametrize("by", [-86_400.0, -4.5, -1.0, 3.0, 86_400.0])
def test_a_clock_that_is_set_does_not_change_how_long_a_process_believes_that_it_is_the_newest(
    by: float, world: World
) -> None:
    older, _ = world.take(), world.take()
    older.append(numbered(1))
    world.clock.set_by = by
    world.clock.now += 5
    older.append(numbered(2))
    world.clock.now += 0.1
    with pytest.raises(LeaseLost):
        older.append(numbered(3))


@pytest.mark.fault(103)
@pytest.mark.parametrize("pause", [5.1, 20.0, 86_400.0])
def test_the_right_to_spend_is_proven_anew_after_a_pause(pause: float, world: World) -> None:
    older = world.take()
    world.clock.now += pause
    asked = older.requests
    older.confirm()
    assert older.requests > asked
    asked = older.requests
    world.clock.now += 5
    older.confirm()
    assert older.requests == asked
    world.take()
    older.confirm()
    world.clock.now += pause - 5
    with pytest.raises(LeaseLost, match="submits nothing more"):
        older.confirm()


def test_a_proof_is_as_old_as_the_question_that_it_answers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    older, listing = world.take(), CountedFolder.listing
    world.clock.now += 6

    def slow(folder: CountedFolder, prefix: str) -> Any:
        found = list(listing(folder, prefix))
        world.clock.now += 4
        return iter(found)

    with monkeypatch.context() as storage:
        storage.setattr(CountedFolder, "listing", slow)
        older.confirm()
    world.take()
    world.clock.now += 1.1
    with pytest.raises(LeaseLost):
        older.confirm()


def test_the_right_to_spend_is_not_proven_by_a_storage_that_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.take()
    world.clock.now += 6

    def away(*_: object) -> Any:
        msg = "S3 answers 503."
        raise StorageFailed(msg)

    with monkeypatch.context() as storage:
        storage.setattr(type(world.folder), "listing", away)
        for _ in range(2):
            with pytest.raises(StorageFailed):
                ledger.confirm()
    ledger.confirm()


def test_a_segment_that_somebody_else_wrote_is_never_overwritten(world: World) -> None:
    ledger = world.take()
    world.folder.write("segments/00000001-00000001.jsonl", b"other")
    with pytest.raises(LeaseLost, match="segment 00000001-00000001 exists already"):
        ledger.append(numbered(1))
    assert world.folder.content("segments/00000001-00000001.jsonl") == b"other"


def test_an_append_that_is_repeated_since_its_answer_was_lost_is_there_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, create = world.take(), type(world.folder).create

    def lose_the_answer(folder: Folder, name: str, content: bytes) -> bool:
        create(folder, name, content)
        monkeypatch.undo()
        message = "the answer was lost"
        raise StorageFailed(message)

    monkeypatch.setattr(type(world.folder), "create", lose_the_answer)
    with pytest.raises(StorageFailed):
        ledger.append(numbered(1))
    assert ledger.append(numbered(1)) == "00000001-00000001"
    assert entries(ledger) == numbered(1)


def test_of_several_that_take_a_free_ledger_at_once_one_gets_it(world: World) -> None:
    def take(number: int) -> Ledger | None:
        try:
            return world.take(Owner("photos", f"run {number}", "edit", -1))
        except LedgerBusy:
            return None

    with ThreadPoolExecutor(8) as threads:
        taken = [ledger for ledger in threads.map(take, range(8)) if ledger is not None]
    assert len(taken) == 1
    assert taken[0].append(numbered(1)) == "00000001-00000001"
    assert world.names("lease/") == ["lease/00000001.json"]


TAKER = """
import sys, time
from airflow_imagepipeline.records.object_storage import Ledger, LedgerBusy, Owner
from airflow_imagepipeline.storage.folder import open_folder
folder = open_folder(sys.argv[1], "aws_default")
folder.content("warm")
print("ready", flush=True)
sys.stdin.readline()
try:
    ledger = Ledger.take(folder, Owner("photos", sys.argv[2], "edit", -1), lease_seconds=60)
except LedgerBusy:
    print("busy")
else:
    ledger.append([{"run": sys.argv[2]}])
    print("taken")
"""


@pytest.mark.slow
def test_of_two_processes_that_race_for_the_ledger_one_gets_it(world: World) -> None:
    racing = [
        subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-c", TAKER, world.folder.uri, run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=dict(os.environ),
        )
        for run in ("1", "2")
    ]
    for one in racing:
        assert one.stdout is not None
        while one.stdout.readline().strip() != "ready":
            assert one.poll() is None
    for one in racing:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    said = [one.communicate(timeout=60)[0].split()[-1] for one in racing]
    assert sorted(said) == ["busy", "taken"]
    world.clock.now = 1e11
    assert entries(world.take()) == [{"run": str(said.index("taken") + 1)}]


def test_a_lease_that_was_removed_as_outdated_cannot_be_taken_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.take()
    create = type(world.folder).create

    def be_late(folder: Folder, name: str, content: bytes) -> bool:
        monkeypatch.undo()
        world.take()
        world.take()
        return create(folder, name, content)

    # Between its look and its creation of lease 2, others have taken 2 and 3, and removed 2.
    monkeypatch.setattr(type(world.folder), "create", be_late)
    with pytest.raises(LedgerBusy):
        world.take()
    assert world.take().mark == "00000004-00000000"


def latest(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {entry["key"]: entry for entry in found}


def test_a_compacted_ledger_says_the_same_as_all_its_segments(world: World) -> None:
    ledger = world.take()
    for turn in range(3):
        ledger.append([{"key": f"k{number}", "turn": turn} for number in range(turn, 5)])
    before = latest(entries(ledger))
    upto = ledger.mark
    ledger.append([{"key": "k0", "turn": 9}])
    ledger.compact(before.values(), upto=upto)
    assert latest(entries(ledger)) == {**before, "k0": {"key": "k0", "turn": 9}}
    assert world.names("segments/") == ["segments/00000001-00000004.jsonl"]
    assert [mark for mark, _ in ledger.entries()] == [upto] * 5 + [ledger.mark]
    assert entries(ledger, after=upto) == [{"key": "k0", "turn": 9}]


def test_a_new_snapshot_takes_the_place_of_the_old_one(world: World) -> None:
    world.take().append(numbered(1))
    ledger = world.take()
    assert entries(ledger) == numbered(1)
    ledger.compact(numbered(10), upto=ledger.mark)
    ledger.append(numbered(2))
    assert entries(ledger) == numbered(10, 2)
    ledger.compact(numbered(20), upto=ledger.mark)
    assert world.names() == ["lease/00000002.json", "snapshots/00000002-00000001.jsonl"]
    assert entries(world.take()) == numbered(20)


@pytest.mark.parametrize("removed", [0, 1], ids=["nothing was removed", "the older snapshot was removed"])
def test_a_crash_between_a_snapshot_and_the_removal_leaves_a_consistent_ledger(
    removed: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.take()
    first.append(numbered(1))
    assert entries(first) == numbered(1)
    first.compact(numbered(10), upto=first.mark)
    first.append(numbered(2))
    first.append(numbered(3))
    remove, left = type(world.folder).remove, [removed]

    def die(folder: Folder, names: Iterable[str]) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        remove(folder, names)

    monkeypatch.setattr(type(world.folder), "remove", die)
    with pytest.raises(KeyboardInterrupt):
        first.compact(numbered(20), upto="00000001-00000002")
    monkeypatch.undo()
    assert "segments/00000001-00000002.jsonl" in world.names()
    second = world.take()
    assert entries(second) == numbered(20, 3)
    second.append(numbered(4))
    second.compact(numbered(30), upto=second.mark)
    assert entries(second) == numbered(30)
    assert world.names() == ["lease/00000002.json", "snapshots/00000002-00000001.jsonl"]


def test_marks_behind_a_snapshot_are_not_read_from_as_if_nothing_had_happened(world: World) -> None:
    ledger = world.take()
    early = ledger.append(numbered(1))
    ledger.append(numbered(2))
    ledger.compact(numbered(10), upto=ledger.mark)
    with pytest.raises(MarkForgotten, match="up to 00000001-00000002, which is behind 00000001-00000001"):
        entries(ledger, after=early)


def test_what_was_never_read_is_not_compacted_away(world: World) -> None:
    ledger = world.take()
    ledger.append(numbered(1))
    ledger.compact(numbered(10), upto=ledger.mark)
    newer = world.take()
    mark = newer.append(numbered(2))
    with pytest.raises(ValueError, match="read the entries before compacting"):
        newer.compact(numbered(20), upto=mark)
    assert entries(newer) == numbered(10, 2)
    with pytest.raises(ValueError, match="read the entries before compacting"):
        newer.compact(numbered(20), upto="00000000-00000000")


@pytest.mark.parametrize("mark", ["", "1", "00000001-00000001.jsonl", "../x"])
def test_a_mark_that_is_none_is_refused(mark: str, world: World) -> None:
    ledger = world.take()
    with pytest.raises(ValueError, match="not a mark of a ledger"):
        ledger.compact([], upto=mark)
    if mark:
        with pytest.raises(ValueError, match="not a mark of a ledger"):
            entries(ledger, after=mark)


HEAD = b'{"v":1,"kind":"segment","entries":1}\n'
LEASE = json.dumps({"v": 1, "owner": SOMEBODY.to_payload(), "token": "x", "expires_at": 5.5, "idle": False}).encode()


@pytest.mark.fault(114)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("segments/00000001-00000001.jsonl", b""),
        ("segments/00000001-00000001.jsonl", b'{"n":1}\n'),
        ("segments/00000001-00000001.jsonl", HEAD),
        ("segments/00000001-00000001.jsonl", HEAD + b'{"n":1}'),
        ("segments/00000001-00000001.jsonl", HEAD + b'{"n":\n'),
        ("segments/00000001-00000001.jsonl", HEAD + b"\xff\n"),
        ("segments/00000001-00000001.jsonl", HEAD + b"[1]\n"),
        ("segments/00000001-00000001.jsonl", HEAD + b'{"n":1}\n{"n":2}\n'),
        ("segments/00000001-00000001.jsonl", HEAD.replace(b"1", b"2", 1) + b'{"n":1}\n'),
        ("segments/00000001-00000001.jsonl", HEAD.replace(b"segment", b"snapshot") + b'{"n":1}\n'),
        ("segments/00000001-00000001.jsonl", HEAD + b'{"n":1}\n{"n":1}\n'),
        ("segments/00000001-00000001.jsonl", HEAD + b'{"n":NaN}\n'),
        ("segments/00000001-00000001.jsonl", HEAD + b'{"n":-Infinity}\n'),
        ("segments/00000001-00000001.jsonl", HEAD + b'{"n":1e999}\n'),
        ("segments/00000001-00000001.jsonl", HEAD + b'{"n":' + b"9" * 5000 + b"}\n"),
        ("segments/00000001-00000001.jsonl", HEAD + b'{"n":' + b"[" * 100_000 + b"\n"),
        ("segments/00000001-00000001.jsonl", HEAD.replace(b'"entries":1', b'"entries":true') + b'{"n":1}\n'),
        ("segments/00000001-00000001.jsonl", HEAD.replace(b'"entries":1', b'"entries":-1')),
        ("segments/notes.txt", b"hello"),
        ("snapshots/00000001-00000001.jsonl", b""),
        ("snapshots/00000001-00000001.jsonl", b'{"v":1,"kind":"snapshot","entries":0}\n'),
        ("snapshots/00000001-00000001.jsonl", b'{"v":1,"kind":"snapshot","entries":2,"covers":{}}\n{"n":1}\n'),
        ("snapshots/00000001-00000001.jsonl", b'{"v":1,"kind":"snapshot","entries":0,"covers":[]}\n'),
        ("snapshots/00000001-00000001.jsonl", b'{"v":1,"kind":"snapshot","entries":0,"covers":{"x":1}}\n'),
        ("snapshots/00000001-00000001.jsonl", b'{"v":1,"kind":"snapshot","entries":0,"covers":{"1":"1"}}\n'),
        ("snapshots/00000001-00000001.jsonl", b'{"v":1,"kind":"snapshot","entries":0,"covers":{},"closed":"x"}\n'),
        ("snapshots/00000001-00000001.jsonl", b'{"v":1,"kind":"snapshot","entries":1,"covers":{}}\n\xff\n'),
        ("snapshots/00000001-00000001.jsonl", b'{"v":1,"kind":"snapshot","entries":1,"covers":{}}\n{"n":NaN}\n'),
        ("snapshots/notes.txt", b"hello"),
    ],
)
def test_what_is_damaged_or_foreign_is_refused_by_name(name: str, content: bytes, world: World) -> None:
    ledger = world.take()
    world.folder.write(name, content)
    with pytest.raises(LedgerDamaged) as caught:
        entries(ledger)
    assert str(caught.value).startswith(f"{world.folder.uri_of(name)} is damaged or was not written by this provider (")
    assert "Nothing more is submitted, as it may be paid twice" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("00000001.json", b""),
        ("00000001.json", b"[]"),
        ("00000001.json", json.dumps({"v": 2}).encode()),
        ("00000001.json", json.dumps({"v": 1, "token": "x", "expires_at": "soon"}).encode()),
        ("00000001.json", json.dumps({"v": 1, "token": "x", "expires_at": 1, "owner": {"dag_id": "x"}}).encode()),
        ("00000001.json", b"\xff"),
        ("00000001.json", b"[" * 100_000),
        ("00000001.json", LEASE.replace(b"5.5", b"NaN")),
        ("00000001.json", LEASE.replace(b"5.5", b"1e999")),
        ("00000001.json", LEASE.replace(b"5.5", b"1e300")),
        ("00000001.json", LEASE.replace(b"5.5", b"-1")),
        ("00000001.json", LEASE.replace(b"5.5", b"true")),
        ("00000001.json", LEASE.replace(b"5.5", b"9" * 5000)),
        ("00000001.json", LEASE.replace(b"false", b'"no"')),
        ("mine.json", b""),
    ],
)
def test_a_lease_that_cannot_be_read_is_nobody_s_to_take(name: str, content: bytes, world: World) -> None:
    world.folder.write(f"lease/{name}", content)
    with pytest.raises(LedgerDamaged, match=rf"lease/{name} is damaged .* delete it while nothing runs"):
        world.take()
    world.folder.remove([f"lease/{name}"])
    world.take()


@pytest.mark.fault(114)
@pytest.mark.parametrize(
    ("gone", "after"),
    [("00000001-00000001", ""), ("00000001-00000002", ""), ("00000001-00000002", "00000001-00000001")],
)
def test_a_segment_that_is_missing_before_others_is_noticed(gone: str, after: str, world: World) -> None:
    ledger = world.take()
    for number in (1, 2, 3):
        ledger.append(numbered(number))
    world.folder.remove([f"segments/{gone}.jsonl"])
    with pytest.raises(LedgerDamaged, match=rf"segments/{gone}\.jsonl is damaged .*missing.*restore it from a backup"):
        entries(world.take(), after=after)


@pytest.mark.fault(114)
def test_a_segment_that_a_checkpoint_stands_on_and_that_is_missing_is_noticed(world: World) -> None:
    mark = world.take().append(numbered(1))
    world.folder.remove(world.names("segments/"))
    with pytest.raises(LedgerDamaged, match=rf"segments/{mark}\.jsonl is damaged .*missing"):
        entries(world.take(), after=mark)


def test_a_mark_of_a_ledger_that_was_deleted_is_forgotten(world: World) -> None:
    with pytest.raises(MarkForgotten, match="ends at 00000001-00000000, which is before 00000007-00000001"):
        entries(world.take(), after="00000007-00000001")


@pytest.mark.fault(114)
def test_an_entry_that_the_reader_refuses_is_named_by_its_object(world: World) -> None:
    def check(entry: dict[str, Any]) -> None:
        if entry["n"] == 2:
            msg = "no two"
            raise ValueError(msg)

    world.take().append(numbered(1, 2))
    ledger = Ledger.take(world.folder, ME, lease_seconds=60, clock=world.clock, check=check)
    with pytest.raises(LedgerDamaged, match=r"segments/00000001-00000001\.jsonl is damaged .*\(no two\)"):
        entries(ledger)


def test_an_entry_that_json_cannot_carry_is_not_half_written(world: World) -> None:
    ledger = world.take()
    with pytest.raises(ValueError, match="JSON compliant"):
        ledger.append([{"n": 1}, {"n": float("nan")}])
    assert world.names("segments/") == []


def test_an_owner_comes_back_as_it_was_and_a_stranger_is_refused() -> None:
    assert Owner.from_payload(json.loads(json.dumps(SOMEBODY.to_payload()))) == SOMEBODY
    strangers: list[object] = [
        None,
        [],
        {},
        {**ME.to_payload(), "map_index": "0"},
        {**ME.to_payload(), "map_index": True},
    ]
    for stranger in strangers:
        with pytest.raises(ValueError, match="not an owner of a ledger"):
            Owner.from_payload(stranger)


def test_requests_are_counted(world: World) -> None:
    ledger = world.take()
    taken = ledger.requests
    # Leases, segments, snapshots, what a plan names; the new lease, and the leases again.
    assert taken == 7
    ledger.append(numbered(*range(1000)))
    assert ledger.requests == taken + 1
    world.clock.now += 6
    ledger.append(numbered(1))
    assert ledger.requests == taken + 4
    assert world.take().requests == 7


def test_ten_thousand_entries_pass_through_little_memory(tmp_path: Path) -> None:
    folder = open_folder(f"file://{tmp_path}/ledger", None)
    ledger = Ledger.take(folder, ME, lease_seconds=600)
    for group in range(100):
        ledger.append([{"n": 100 * group + number, "filler": "x" * 1000} for number in range(100)])
    tracemalloc.start()
    try:
        assert sum(1 for _ in ledger.entries()) == 10_000
        ledger.compact((entry for _, entry in ledger.entries()), upto=ledger.mark)
        assert [entry["n"] for entry in entries_without_filler(ledger)] == list(range(10_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The ledger holds ten million bytes, a segment a hundred thousand.
    assert peak < 5_000_000


def entries_without_filler(ledger: Ledger) -> Iterable[dict[str, Any]]:
    return ({"n": entry["n"]} for _, entry in ledger.entries())
