"""A plan is there whole or not at all, and is read from any row on without reading the rows before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.records.plans import PlanDamaged, PlanExists, PlanStore
from airflow_imagepipeline.storage.folder import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(count: int) -> Iterator[str]:
    return (f'{{"row":{number},"text":"a\u2028b"}}' for number in range(count))


@pytest.fixture
def plan(folder: Folder) -> PlanStore:
    return PlanStore(folder, "p1")


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_what_was_frozen_is_read_again(count: int, plan: PlanStore, folder: Folder) -> None:
    assert plan.freeze(rows(count), {"inputs": "s3://in", "deep": {"a": 1}}) == count
    again = PlanStore(folder, "p1")
    assert again.about() == {"inputs": "s3://in", "deep": {"a": 1}, "count": count}
    assert list(again.lines()) == list(rows(count))
    assert len(list(folder.listing("plans/p1/rows-"))) == -(-count // 1000)


@pytest.mark.parametrize("start", [0, 1, 999, 1000, 1001, 2499, 2500, 9999])
def test_a_plan_is_read_from_any_row_on(start: int, plan: PlanStore) -> None:
    plan.freeze(rows(2500), {})
    assert list(plan.lines(start)) == list(rows(2500))[start:]


def test_objects_before_the_first_row_and_behind_the_last_that_is_wanted_are_not_read(
    plan: PlanStore, folder: Folder
) -> None:
    plan.freeze(rows(3000), {})
    folder.remove(["plans/p1/rows-000000.jsonl", "plans/p1/rows-000002.jsonl"])
    lines = plan.lines(1500)
    assert [next(lines) for _ in range(500)] == list(rows(2000))[1500:]
    with pytest.raises(PlanDamaged, match=r"plans/p1/rows-000002\.jsonl is damaged .*\(missing\)"):
        next(lines)


def test_a_plan_whose_writer_died_does_not_exist_and_is_frozen_anew(plan: PlanStore, folder: Folder) -> None:
    def dying() -> Iterator[str]:
        yield from rows(1500)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.freeze(dying(), {})
    assert [found.name for found in folder.listing("plans/")] == ["plans/p1/rows-000000.jsonl"]
    assert plan.about() is None
    with pytest.raises(PlanDamaged, match=r"plan\.json is damaged .*\(missing\)"):
        list(plan.lines())
    assert plan.freeze(rows(700), {}) == 700
    assert list(plan.lines()) == list(rows(700))


def test_a_frozen_plan_is_not_written_again(plan: PlanStore) -> None:
    plan.freeze(rows(2), {})
    with pytest.raises(PlanExists, match=r"plans/p1/plan\.json exists"):
        plan.freeze(rows(3), {})
    assert list(plan.lines()) == list(rows(2))


def test_plans_of_other_names_are_apart(plan: PlanStore, folder: Folder) -> None:
    plan.freeze(rows(2), {})
    plan.write_checkpoint({"a": 1})
    other = PlanStore(folder, "p10")
    assert other.about() is None
    assert other.checkpoint() is None


def test_a_row_of_two_lines_is_refused(plan: PlanStore) -> None:
    with pytest.raises(ValueError, match="must be one line"):
        plan.freeze(["one", "two\nthree"], {})
    assert plan.about() is None


def test_a_checkpoint_is_the_last_one_until_it_is_removed(plan: PlanStore, folder: Folder) -> None:
    assert plan.checkpoint() is None
    plan.remove_checkpoint()
    for turn in range(2):
        plan.write_checkpoint({"turn": turn, "open": [1, 2]})
        assert PlanStore(folder, "p1").checkpoint() == {"turn": turn, "open": [1, 2]}
    assert plan.about() is None
    plan.remove_checkpoint()
    assert plan.checkpoint() is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plan.json", b""),
        ("plan.json", b"[]"),
        ("plan.json", b'{"v":2,"count":1,"about":{}}'),
        ("plan.json", b'{"v":1,"count":true,"about":{}}'),
        ("rows-000000.jsonl", b"one\n"),
        ("rows-000000.jsonl", b"one\ntwo"),
        ("rows-000000.jsonl", b"one\ntwo\nthree\n"),
        ("rows-000000.jsonl", b"one\n\xff\n"),
        ("checkpoint.json", b"{"),
    ],
)
def test_what_is_damaged_is_refused_by_name(name: str, content: bytes, plan: PlanStore, folder: Folder) -> None:
    plan.freeze(["one", "two"], {})
    folder.write(f"plans/p1/{name}", content)
    with pytest.raises(PlanDamaged, match=f"plans/p1/{name} is damaged or was not written by this provider"):
        [*plan.lines(), plan.checkpoint()]
