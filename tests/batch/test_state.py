"""A state that was rebuilt from any checkpoint and the entries after it is the state that was lost, money included."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_imagepipeline.batch.state import BatchState
from airflow_imagepipeline.policy.batch import Budget
from airflow_imagepipeline.policy.ledger_entry import NOT_CHARGED, LedgerEntry, RowPhase

PRICE = 0.25
LEGS = {
    "lands": [RowPhase.SUBMITTING, RowPhase.SUBMITTED, RowPhase.LANDED],
    "is landed by a second try": [RowPhase.SUBMITTING, RowPhase.SUBMITTED, RowPhase.SUBMITTED, RowPhase.LANDED],
    "fails": [RowPhase.SUBMITTING, RowPhase.SUBMITTED, RowPhase.FAILED],
    "is lost": [RowPhase.SUBMITTING, RowPhase.SUBMITTED, RowPhase.LOST],
    "is refused": [RowPhase.SUBMITTING, RowPhase.REFUSED],
    "is withdrawn": [RowPhase.SUBMITTING, RowPhase.WITHDRAWN],
    "is withdrawn and lands": [RowPhase.SUBMITTING, RowPhase.WITHDRAWN, RowPhase.SUBMITTING, RowPhase.SUBMITTED],
    "is made again in vain": [
        RowPhase.SUBMITTING,
        RowPhase.SUBMITTED,
        RowPhase.AGAIN,
        RowPhase.SUBMITTING,
        RowPhase.WITHDRAWN,
    ],
    "is made again": [RowPhase.SUBMITTING, RowPhase.SUBMITTED, RowPhase.AGAIN, RowPhase.SUBMITTING],
    "stays uncertain": [RowPhase.SUBMITTING, RowPhase.SUBMITTING],
    "is taken up": [RowPhase.SUBMITTED, RowPhase.FILTERED],
    "is passed": [],
}
COST = {RowPhase.LANDED: {"cost_usd": 0.5}, RowPhase.FAILED: {"credits_charged": False}}


def budget() -> Budget:
    return Budget(max_jobs=None, max_cost=None, price=PRICE)


def facts(state: BatchState) -> dict[str, Any]:
    known = {**state.to_checkpoint(), "begun": set(state.begun), "cost": round(state.budget.cost, 6)}
    # An answer that is waited for by nobody any more is told in words, and in no other way.
    return {**known, "open": sorted((one["index"], one["phase"], one.get("job_id")) for one in known["open"])}


class Life:
    """A batch that goes on, and what is written of it."""

    def __init__(self) -> None:
        self.state = BatchState(budget())
        self.entries: list[dict[str, Any]] = []
        self.checkpoints: list[tuple[dict[str, Any] | None, int]] = [(None, 0)]
        self._newest: dict[int, LedgerEntry] = {}

    def begin(self, place: int) -> None:
        self.state.begun.add(place)
        self.state.cursor = max(self.state.cursor, place + 1)

    def go_on(self, place: int, phase: RowPhase) -> None:
        before = self._newest.get(place) or LedgerEntry(f"k{place}", 0, place, "p", "r", phase)
        is_new_try = phase is RowPhase.SUBMITTING and before.phase is not phase
        reason = "no answer" if phase is RowPhase.SUBMITTING and before.phase is phase and place in self._newest else ""
        attempts = before.attempts + (is_new_try or place not in self._newest) - (phase in NOT_CHARGED)
        job = {"job_id": f"j{place}"} if phase is RowPhase.SUBMITTED else {}
        changes: dict[str, Any] = {"attempts": attempts, "cost": COST.get(phase, {}), "reason": reason, **job}
        self._newest[place] = self.state.next_entry(before, phase, **changes)
        self.entries.append(json.loads(json.dumps(self._newest[place].to_payload())))

    def keep(self) -> None:
        self.checkpoints.append((json.loads(json.dumps(self.state.to_checkpoint())), len(self.entries)))


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Interleave the lives of some rows, with checkpoints in between."""
    life, left = Life(), {}
    kinds = draw(st.lists(st.sampled_from(sorted(LEGS)), max_size=7))
    for place, kind in enumerate(kinds):
        left[place] = list(LEGS[kind])
    begun = 0
    while any(left.values()) or begun < len(kinds):
        choices: list[Any] = [place for place in range(begun) if left[place]]
        choices += ["begin"] if begun < len(kinds) else []
        step = draw(st.sampled_from([*choices, "keep"]))
        if step == "keep":
            life.keep()
        elif step == "begin":
            life.begin(begun)
            begun += 1
        else:
            life.go_on(step, left[step].pop(0))
    return life


MARK = "00000001-00000003"


def marked(entries: list[dict[str, Any]], mark: str = MARK) -> list[tuple[str, dict[str, Any]]]:
    return [(mark, entry) for entry in entries]


@settings(max_examples=80, deadline=None)
@given(life=lives(), data=st.data())
def test_a_state_is_rebuilt_from_any_checkpoint_and_any_mark_before_it(life: Life, data: st.DataObject) -> None:
    checkpoint, written = data.draw(st.sampled_from(life.checkpoints))
    # The mark may be older than the checkpoint: entries that it has taken in already are skipped.
    mark = data.draw(st.integers(0, written))

    rebuilt = BatchState.resumed(checkpoint and {**checkpoint, "mark": MARK}, marked(life.entries[mark:]), budget())

    expected, found = facts(life.state), facts(rebuilt)
    # Rows that ended without an entry are looked at once more, those behind the last entry are begun anew.
    assert found.pop("begun") >= {place for place in expected.pop("begun") if place < rebuilt.cursor}
    assert found.pop("cursor") <= expected.pop("cursor")
    assert found == expected
    assert rebuilt.budget.jobs == life.state.budget.jobs


def test_no_row_is_forgotten_between_the_cursor_and_what_was_begun() -> None:
    life = Life()
    for place in range(5):
        life.begin(place)
    life.go_on(3, RowPhase.SUBMITTING)
    rebuilt = BatchState.resumed(None, marked(life.entries), budget())
    assert (rebuilt.begun, rebuilt.cursor) == ({0, 1, 2}, 4)
    assert rebuilt.open[3].reason.startswith("An earlier try ended before the answer")


@pytest.mark.parametrize("is_kept", [False, True], ids=["no checkpoint", "a checkpoint"])
@pytest.mark.parametrize("place", [1, 2], ids=["the same row", "another row"])
def test_what_a_superseded_process_still_wrote_hides_nothing_of_its_successor(place: int, *, is_kept: bool) -> None:
    before = Life()
    before.begin(0)
    before.go_on(0, RowPhase.SUBMITTING)
    before.go_on(0, RowPhase.SUBMITTED)
    checkpoint = {**before.state.to_checkpoint(), "mark": "00000001-00000002"} if is_kept else None
    later = [] if is_kept else marked(before.entries, "00000001-00000001")
    superseded, successor = Life(), Life()
    for life, sent in ((superseded, 1), (successor, place)):
        life.state = BatchState.resumed(checkpoint, later, budget())
        life.begin(sent)
        life.go_on(sent, RowPhase.SUBMITTING)
        life.go_on(sent, RowPhase.SUBMITTED)
    assert [one["number"] for one in superseded.entries] == [one["number"] for one in successor.entries]

    later += marked(superseded.entries, "00000001-00000003") + marked(successor.entries, "00000002-00000001")
    rebuilt = BatchState.resumed(checkpoint, later, budget())

    assert (rebuilt.budget.jobs, set(rebuilt.open)) == (3, {0, 1, place})
    assert all(entry.phase is RowPhase.SUBMITTED for entry in rebuilt.open.values())
    assert (rebuilt.cursor, rebuilt.begun) == (place + 1, set(range(1, place)) - {1})


@pytest.mark.parametrize("is_read_back", [False, True], ids=["at once", "read back"])
def test_a_redo_that_was_not_taken_leaves_the_first_attempt_known(*, is_read_back: bool) -> None:
    life = Life()
    life.begin(0)
    for phase in LEGS["is made again in vain"]:
        life.go_on(0, phase)
    state = BatchState.resumed(None, marked(life.entries), budget()) if is_read_back else life.state
    assert (state.open[0].attempts, state.budget.jobs, state.begun) == (1, 1, {0})


def test_a_row_that_had_its_turn_and_left_no_entry_was_passed() -> None:
    life = Life()
    for place in range(3):
        life.begin(place)
    life.state.begun.discard(1)
    assert [life.state.was_passed(place) for place in range(4)] == [False, True, False, False]


def test_images_are_weighed_when_they_are_landed() -> None:
    state = BatchState(budget())
    entry = LedgerEntry("k", 0, 0, "p", "r", RowPhase.SUBMITTING)
    state.next_entry(entry, RowPhase.LANDED, images=[{"bytes": 7}, {"bytes": 5}])
    assert state.bytes == 12


@pytest.mark.parametrize("checkpoint", [{}, {"v": 2}])
def test_a_checkpoint_of_another_version_is_refused(checkpoint: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a checkpoint"):
        BatchState.resumed(checkpoint, [], budget())
