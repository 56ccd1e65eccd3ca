"""A ledger is a list: whatever is appended, compacted, taken over or broken off, it says what the list says."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_imagepipeline.records.object_storage import LeaseLost, Ledger, LedgerBusy, MarkForgotten
from airflow_imagepipeline.storage.folder import open_folder
from tests.records.conftest import ME, SOMEBODY, Clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_imagepipeline.storage.folder import Folder

ENTRIES = st.lists(st.fixed_dictionaries({"key": st.integers(0, 5), "value": st.text(max_size=3)}), max_size=4)


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
    """``model`` is all that was ever appended; ``stale`` are processes that were superseded."""

    marks = Bundle("marks")

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.folder = open_folder(f"file://{self.directory.name}/ledger", None)
        self.clock, self.owner = Clock(), ME
        self.model: list[dict[str, Any]] = []
        self.stale: list[Ledger] = []
        self.ledger = self._taken()
        self.compacted = ""

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.directory.cleanup()

    def _taken(self) -> Ledger:
        ledger = Ledger.take(self.folder, self.owner, lease_seconds=60, clock=self.clock)
        list(ledger.entries())
        return ledger

    @rule(target=marks, entries=ENTRIES)
    def append(self, entries: list[dict[str, Any]]) -> tuple[str, int]:
        mark = self.ledger.append(entries)
        self.model += entries
        return mark, len(self.model)

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
        self.stale.append(self.ledger)
        self.ledger = self._taken()

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def a_superseded_process_wakes_up(self, data: st.DataObject) -> None:
        self.clock.now += 6
        with pytest.raises(LeaseLost):
            data.draw(st.sampled_from(self.stale)).append([{"key": 0, "value": "zombie"}])

    @rule(at=marks, dies=st.booleans())
    def compact(self, at: tuple[str, int], *, dies: bool) -> None:
        mark, count = at
        entries = folded(self.model[:count]).values()
        if mark < self.compacted:
            with pytest.raises(ValueError, match="read the entries before"):
                self.ledger.compact(entries, upto=mark)
            return
        if dies:
            self.ledger._snapshots._folder._folder = _DyingFolder(self.folder)  # type: ignore[assignment]
            with pytest.raises(Killed):
                self.ledger.compact(entries, upto=mark)
            self.ledger = self._taken()
        else:
            self.ledger.compact(entries, upto=mark)
            assert len(list(self.folder.listing("snapshots/"))) == 1
            assert all(found.name > f"segments/{mark}.jsonl" for found in self.folder.listing("segments/"))
        self.compacted = mark

    @rule(at=marks)
    def read_from_a_mark_on(self, at: tuple[str, int]) -> None:
        mark, count = at
        if mark < self.compacted:
            with pytest.raises(MarkForgotten):
                list(self.ledger.entries(after=mark))
        else:
            assert [entry for _, entry in self.ledger.entries(after=mark)] == self.model[count:]

    @invariant()
    def it_says_what_the_list_says(self) -> None:
        if hasattr(self, "ledger"):
            found = list(self.ledger.entries())
            assert folded(entry for _, entry in found) == folded(self.model)
            assert [mark for mark, _ in found] == sorted(mark for mark, _ in found)
            if not self.compacted:
                assert [entry for _, entry in found] == self.model


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLedger.pytestmark = [pytest.mark.slow]  # type: ignore[attr-defined]
