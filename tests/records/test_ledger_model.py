"""A ledger is a list: whatever is appended, compacted, taken over or broken off, it says what the list says."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_imagepipeline.records.ledger_lines import heading, line_of, mark_of, numbers_of
from airflow_imagepipeline.records.object_storage import LeaseLost, Ledger, LedgerBusy, MarkForgotten
from airflow_imagepipeline.storage.folder import open_folder
from tests.records.conftest import ME, SOMEBODY, Clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_imagepipeline.storage.folder import Folder

ENTRIES = st.lists(
    st.fixed_dictionaries({"key": st.integers(0, 5), "value": st.text(max_size=3)}), min_size=1, max_size=4
)


class Killed(BaseException):
    """The process died."""


class _DyingFolder:
    """A folder whose process dies when something is to be removed."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._folder, name)

    def remove(self, _names: Iterable[str]) -> None:
        raise Killed


def folded(entries: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {entry["key"]: entry for entry in entries}


class LedgerMachine(RuleBasedStateMachine):
    """
    ``model`` is all that counts, with its marks; ``stale`` are processes that were superseded, and ``late`` is what
    arrived of them after the one that has the ledger had read.
    """

    marks = Bundle("marks")

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.folder = open_folder(f"file://{self.directory.name}/ledger", None)
        self.clock, self.owner = Clock(), ME
        self.model: list[tuple[str, dict[str, Any]]] = []
        self.late: list[tuple[str, dict[str, Any]]] = []
        self.last: dict[int, int] = {}
        self.stale: list[Ledger] = []
        self.compacted = ""
        self.ledger = self._taken()

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.directory.cleanup()

    def _taken(self) -> Ledger:
        ledger = Ledger.take(self.folder, self.owner, lease_seconds=60, clock=self.clock, monotonic=self.clock.steady)
        assert numbers_of(ledger.mark)[0] > max(self.last, default=0)
        list(ledger.entries())
        # Nothing has closed the epochs of the dead that are later than the last compaction.
        self.model += [one for one in self.late if one[0] > self.compacted]
        self.model.sort(key=lambda one: one[0])
        self.late = []
        return ledger

    def _said(self, *, upto: str = "99", after: str = "") -> list[dict[str, Any]]:
        return [entry for mark, entry in self.model if after < mark <= upto]

    @rule(target=marks, entries=ENTRIES)
    def append(self, entries: list[dict[str, Any]]) -> str:
        mark = self.ledger.append(entries)
        self.model += [(mark, entry) for entry in entries]
        self.last |= dict([numbers_of(mark)])
        return mark

    @rule()
    def the_same_task_takes_over(self) -> None:
        self.stale.append(self.ledger)
        self.ledger = self._taken()

    @rule(released=st.booleans())
    def another_task_takes_over(self, *, released: bool) -> None:
        self.owner = SOMEBODY if self.owner is ME else ME
        if released:
            self.ledger.release()
        else:
            with pytest.raises(LedgerBusy):
                self._taken()
            self.clock.now += 60
        assert self.ledger.append([]) == self.ledger.mark
        self.stale.append(self.ledger)
        self.ledger = self._taken()

    @rule(released=st.booleans())
    def the_leases_are_deleted_and_another_task_takes_over(self, *, released: bool) -> None:
        if released:
            self.ledger.release()
        self.folder.remove([found.name for found in self.folder.listing("lease/")])
        self.owner = SOMEBODY if self.owner is ME else ME
        self.stale.append(self.ledger)
        self.ledger = self._taken()

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def a_superseded_process_wakes_up(self, data: st.DataObject) -> None:
        self.clock.now += 6
        with pytest.raises(LeaseLost):
            data.draw(st.sampled_from(self.stale)).append([{"key": 0, "value": "zombie"}])

    @precondition(lambda self: any(epoch < numbers_of(self.ledger.mark)[0] for epoch in self.last))
    @rule(data=st.data(), entries=ENTRIES)
    def a_segment_of_the_dead_arrives(self, data: st.DataObject, entries: list[dict[str, Any]]) -> None:
        own = numbers_of(self.ledger.mark)[0]
        epoch = data.draw(st.sampled_from([epoch for epoch in self.last if epoch < own]))
        self.last[epoch] += 1
        mark, body = mark_of(epoch, self.last[epoch]), b"".join(map(line_of, entries))
        self.folder.write(f"segments/{mark}.jsonl", heading("segment", len(entries)) + body)
        self.late += [(mark, entry) for entry in entries]

    @rule(mark=marks, dies=st.booleans())
    def compact(self, mark: str, *, dies: bool) -> None:
        entries = folded(self._said(upto=mark)).values()
        if mark < self.compacted:
            with pytest.raises(ValueError, match="read the entries before"):
                self.ledger.compact(entries, upto=mark)
            return
        if dies:
            self.ledger._folder._folder = _DyingFolder(self.folder)  # type: ignore[assignment]
            with pytest.raises(Killed):
                self.ledger.compact(entries, upto=mark)
            self.compacted = mark
            self.ledger = self._taken()
        else:
            self.ledger.compact(entries, upto=mark)
            assert len(list(self.folder.listing("snapshots/"))) == 1
            assert all(found.name > f"segments/{mark}.jsonl" for found in self.folder.listing("segments/"))
        self.compacted = mark

    @rule(mark=marks)
    def read_from_a_mark_on(self, mark: str) -> None:
        if mark < self.compacted:
            with pytest.raises(MarkForgotten):
                list(self.ledger.entries(after=mark))
        else:
            assert [entry for _, entry in self.ledger.entries(after=mark)] == self._said(after=mark)

    @invariant()
    def it_says_what_the_list_says(self) -> None:
        if hasattr(self, "ledger"):
            found = list(self.ledger.entries())
            assert folded(entry for _, entry in found) == folded(self._said())
            assert [mark for mark, _ in found] == sorted(mark for mark, _ in found)
            if not self.compacted:
                assert found == self.model


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLedger.pytestmark = [pytest.mark.slow]  # type: ignore[attr-defined]
