"""Many coroutines, few segments: nobody goes on before what he wrote is durable."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.records import grouped_writer
from airflow_imagepipeline.records.grouped_writer import GroupedWriter
from airflow_imagepipeline.records.object_storage import LeaseLost, Ledger
from airflow_imagepipeline.storage.folder import Folder, StorageFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.records.conftest import World

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped_writer, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(grouped_writer, "_GATHERING", 0.0)


def for_ever(_seconds: float) -> bool:
    return True


class Gate(threading.Event):
    """Holds every creation of a segment until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    async def is_reached(self) -> None:
        """Wait until a segment is being created."""
        assert await asyncio.to_thread(self.reached.wait, 60)


@pytest.fixture
def gate(world: World, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Hold every creation of a segment until this is set."""
    gate, create = Gate(), type(world.folder).create

    def wait(folder: Folder, name: str, content: bytes) -> bool:
        if name.startswith("segments/"):
            gate.reached.set()
            gate.wait(60)
        return create(folder, name, content)

    monkeypatch.setattr(type(world.folder), "create", wait)
    return gate


@pytest.fixture
def failing(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Return what makes the next creations of a segment fail; it returns the names that were tried."""
    create = type(world.folder).create

    def begin(times: int) -> list[str]:
        tried: list[str] = []

        def fail(folder: Folder, name: str, content: bytes) -> bool:
            if name.startswith("segments/"):
                tried.append(name)
                if len(tried) <= times:
                    message = "the storage is away"
                    raise StorageFailed(message)
            return create(folder, name, content)

        monkeypatch.setattr(type(world.folder), "create", fail)
        return tried

    return begin


def found(ledger: Ledger) -> list[int]:
    return [entry["n"] for _, entry in ledger.entries()]


async def test_an_entry_is_durable_when_write_returns(world: World) -> None:
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)
    for number in range(3):
        await writer.write({"n": number})
        assert found(ledger)[-1] == number
    assert writer.mark == "00000001-00000003"


async def test_what_arrives_while_a_segment_is_written_goes_together_into_the_next(world: World, gate: Gate) -> None:
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)
    first = asyncio.create_task(writer.write({"n": 0}))
    await gate.is_reached()
    others = [asyncio.create_task(writer.write({"n": number})) for number in range(1, 200)]
    await gate.is_reached()
    assert not any(task.done() for task in (first, *others))
    gate.set()
    await asyncio.gather(first, *others)
    assert world.names("segments/") == [f"segments/00000001-0000000{number}.jsonl" for number in (1, 2)]
    assert found(ledger) == list(range(200))


async def test_what_arrives_within_a_moment_is_one_segment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped_writer, "_GATHERING", 0.2)
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)

    async def write(number: int) -> None:
        # Some later than others, but by turns of the loop and not by the clock.
        for _ in range(number):
            await asyncio.sleep(0)
        await writer.write({"n": number})

    await asyncio.gather(*map(write, range(5)))
    assert world.names("segments/") == ["segments/00000001-00000001.jsonl"]
    assert found(ledger) == list(range(5))


async def test_nobody_goes_on_before_his_own_group_is_durable(world: World, gate: Gate) -> None:
    writer = GroupedWriter(world.take(), for_ever)
    first = asyncio.create_task(writer.write({"n": 0}))
    await gate.is_reached()
    second = asyncio.create_task(writer.write({"n": 1}))
    done = []
    first.add_done_callback(lambda _: done.append(len(world.names("segments/"))))
    second.add_done_callback(lambda _: done.append(len(world.names("segments/"))))
    gate.set()
    await asyncio.gather(first, second)
    assert done[0] >= 1
    assert done[1] == 2


async def test_flush_waits_for_what_was_given_for_later_in_its_order(world: World) -> None:
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)
    await writer.flush()
    for number in range(10):
        writer.later({"n": number})
    await writer.write({"n": 10})
    writer.later({"n": 11})
    await writer.flush()
    assert found(ledger) == list(range(12))
    assert writer.mark == ledger.mark


async def test_flush_waits_for_the_group_behind_the_one_that_is_being_written(world: World, gate: Gate) -> None:
    writer = GroupedWriter(world.take(), for_ever)
    writer.later({"n": 0})
    await gate.is_reached()
    writer.later({"n": 1})
    asyncio.get_running_loop().call_soon(gate.set)
    await writer.flush()
    assert writer.mark == "00000001-00000002"


async def test_an_entry_is_written_as_it_was_when_it_was_given(world: World) -> None:
    ledger = world.take()
    writer, entry = GroupedWriter(ledger, for_ever), {"n": 1}
    writer.later(entry)
    entry["n"] = 2
    await writer.flush()
    assert found(ledger) == [1]


async def test_a_storage_that_fails_for_a_moment_costs_nothing(
    world: World, failing: Callable[[int], list[str]]
) -> None:
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)
    tried = failing(4)
    await asyncio.gather(*(writer.write({"n": number}) for number in range(5)))
    assert found(ledger) == list(range(5))
    assert tried[:5] == ["segments/00000001-00000001.jsonl"] * 5


async def test_a_storage_that_stays_away_reaches_everybody_and_every_later_call_once_it_is_given_up(
    world: World, failing: Callable[[int], list[str]]
) -> None:
    tried = failing(1000)
    writer = GroupedWriter(world.take(), lambda _: len(tried) < 8)
    writer.later({"n": 0})
    outcomes = await asyncio.gather(*(writer.write({"n": number}) for number in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StorageFailed] * 5
    assert len(tried) == 8
    with pytest.raises(StorageFailed, match="the storage is away"):
        await writer.write({"n": 6})
    with pytest.raises(StorageFailed, match="the storage is away"):
        await writer.flush()
    with pytest.raises(StorageFailed):
        writer.later({"n": 7})
    assert len(tried) == 8
    assert world.names("segments/") == []


@pytest.mark.fault(102)
async def test_a_storage_that_is_away_for_long_is_waited_for_in_order(
    world: World, failing: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped_writer, "_LONGEST_PAUSE", 0.002)
    ledger = world.take()
    failing(60)
    writer = GroupedWriter(ledger, for_ever)
    first = asyncio.create_task(writer.write({"n": 0}))
    await asyncio.sleep(0.05)
    assert writer.away_for > 0
    await asyncio.gather(first, *(writer.write({"n": number}) for number in range(1, 5)))
    assert (found(ledger), writer.away_for) == (list(range(5)), 0.0)


async def test_those_who_came_during_the_failing_append_fail_too(world: World, gate: Gate) -> None:
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)
    world.folder.write("segments/00000001-00000001.jsonl", b"of somebody else")
    first = asyncio.create_task(writer.write({"n": 0}))
    await gate.is_reached()
    second = asyncio.create_task(writer.write({"n": 1}))
    await gate.is_reached()
    gate.set()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LeaseLost, LeaseLost]


async def test_a_lost_lease_is_not_tried_again(world: World, failing: Callable[[int], list[str]]) -> None:
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)
    world.take()
    world.clock.now += 6
    tried = failing(0)
    with pytest.raises(LeaseLost):
        await writer.write({"n": 1})
    assert tried == []


async def test_an_entry_that_json_cannot_carry_harms_nobody_else(world: World) -> None:
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)
    bad: dict[str, Any] = {"n": object()}
    outcomes = await asyncio.gather(writer.write({"n": 1}), writer.write(bad), return_exceptions=True)
    assert outcomes[0] is None
    assert isinstance(outcomes[1], TypeError)
    await writer.write({"n": 2})
    assert found(ledger) == [1, 2]


async def test_an_entry_whose_writer_was_cancelled_is_written_all_the_same(world: World, gate: Gate) -> None:
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)
    tasks = [asyncio.create_task(writer.write({"n": number})) for number in range(2)]
    await gate.is_reached()
    tasks[0].cancel()
    gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    await writer.flush()
    assert found(ledger) == [0, 1]


async def test_two_thousand_entries_of_a_hundred_writers_are_all_there_in_few_segments(world: World) -> None:
    ledger = world.take()
    writer = GroupedWriter(ledger, for_ever)

    async def write(start: int) -> None:
        for number in range(20):
            await writer.write({"n": start + number})

    await asyncio.gather(*(write(20 * place) for place in range(100)))
    numbers = found(ledger)
    assert sorted(numbers) == list(range(2_000))
    # Each writer's own entries are in its order.
    assert all(numbers.index(20 * place) < numbers.index(20 * place + 19) for place in range(0, 100, 20))
    assert len(world.names("segments/")) <= 30
