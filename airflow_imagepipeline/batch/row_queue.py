"""The rows of a batch in the order of their turns: those that were never begun, and those that are to be redone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from airflow_imagepipeline.policy.batch import Treatment

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.steps import Steps
    from airflow_imagepipeline.contract.planned_row import PlannedRow


class RowQueue:
    """
    Gives one row after the other to the coroutines that submit them.

    :param rows: those whose turn has not come, each with its place in the plan.
    :param deadline: of the whole batch, seconds since the epoch: no row is given after it.
    """

    def __init__(self, steps: Steps, rows: AsyncIterator[tuple[int, PlannedRow]], deadline: float) -> None:
        self._steps = steps
        self._state = steps.state
        self._rows = rows
        self._deadline = deadline
        self._turn = asyncio.Lock()
        self._again: deque[tuple[int, PlannedRow]] = deque()
        self._rows_left = True

    @property
    def has_rows(self) -> bool:
        """Tell whether a row waits for its turn."""
        return self._rows_left or bool(self._again)

    @property
    def is_empty(self) -> bool:
        """Tell whether no row will have its turn any more: of those to be redone none has, when all is stopped."""
        return not (self._rows_left or (self._again and not self._state.stopped))

    def add(self, place: int, row: PlannedRow) -> None:
        """Take in a row that is to be redone."""
        self._again.append((place, row))

    async def next(self, has_room: Callable[[], bool], taken: Callable[[], None]) -> tuple[int, PlannedRow]:
        """
        Wait for room, and return the next row with its place.

        :param has_room: tells whether a row may be begun now.
        :param taken: is called when one is, before anybody else asks for room.
        """
        async with self._turn:
            while True:
                while not has_room():
                    await self._steps.change()
                found = self._again.popleft() if self._again and not self._state.stopped else await self._new_row()
                if found is not None:
                    break
                await self._steps.change()
            self._begin(found[0])
            taken()
            return found

    async def _new_row(self) -> tuple[int, PlannedRow] | None:
        while self._rows_left and self._steps.clock() < self._deadline:
            found = await anext(self._rows, None)
            if found is None:
                break
            if not self._state.stopped or found[1].treatment == Treatment.TAKE_UP.value:
                return found
            # A job that is there is brought home all the same; the others stay for the next try.
            self._begin(found[0])
        if self._rows_left:
            self._rows_left = False
            self._steps.tell()
        return None

    def _begin(self, place: int) -> None:
        self._state.begun.add(place)
        self._state.cursor = max(self._state.cursor, place + 1)
