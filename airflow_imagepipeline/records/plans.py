"""Plans of a batch beside its ledger: rows that were decided once, frozen, and are read from any row on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_imagepipeline.contract.planned_row import PlannedRow
from airflow_imagepipeline.policy.ledger_entry import is_count
from airflow_imagepipeline.records.ledger_lines import json_object
from airflow_imagepipeline.storage.folder import Folder

_PLAN: Final = "plan.json"
_CHECKPOINT: Final = "checkpoint.json"
_ROWS: Final = 1000
"""Rows in one object."""


class PlanDamaged(AirflowException):
    """An object of a plan is missing, or not what this provider wrote; a retry plans anew from the ledger."""


class PlanExists(AirflowFailException):
    """A plan of the name was frozen before; it may be under way."""


class PlanStore:
    """
    One plan, in the folder ``plans/<name>/`` of a ledger. Only who holds the ledger's lease may write.

    :param folder: the ledger's.
    :param name: of the plan.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._inside = f"plans/{name}/"

    def freeze(self, lines: Iterable[str], about: Mapping[str, Any]) -> int:
        """
        Write the rows, a thousand in memory at a time, and what they are about last: without it there is no plan.

        :param lines: one for each row, without its end.
        :param about: JSON values; ``count`` is added.
        :return: how many rows there are.
        :raises PlanExists: when there is a plan already.
        :raises StorageFailed: when the storage does not do what it is asked; it can be done again.
        """
        if self.about() is not None:
            msg = f"{self._uri(_PLAN)} exists: the plan is frozen, and is not written again."
            raise PlanExists(msg)
        left, count, chunk = map(_checked, lines), 0, 0
        while rows := list(islice(left, _ROWS)):
            self._folder.write(self._name(_chunk(chunk)), "".join(f"{row}\n" for row in rows).encode())
            count, chunk = count + len(rows), chunk + 1
        plan = {"v": 1, "count": count, "about": dict(about)}
        self._folder.write(self._name(_PLAN), json.dumps(plan, allow_nan=False).encode())
        return count

    def about(self) -> dict[str, Any] | None:
        """
        Return what the rows are about, and their ``count``; None when there is no (whole) plan.

        :raises PlanDamaged: when it cannot be read.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        plan = self._json(_PLAN)
        if plan is None:
            return None
        about, count = plan.get("about"), plan.get("count")
        if plan.get("v") != 1 or not isinstance(about, dict) or not is_count(count):
            raise self._damaged(_PLAN, "not a plan of version 1")
        return {**about, "count": count}

    def lines(self, start: int = 0) -> Iterator[str]:
        """
        Yield the rows from one on; the objects before it are not read.

        :param start: a row's place, from 0.
        :raises PlanDamaged: when there is no whole plan, or one of its objects is not whole.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        about = self.about()
        if about is None:
            raise self._damaged(_PLAN, "missing")
        for first in range(start - start % _ROWS, about["count"], _ROWS):
            rows = self._rows(first // _ROWS, min(_ROWS, about["count"] - first))
            yield from rows[max(start - first, 0) :]

    def rows(self, start: int = 0) -> Iterator[PlannedRow]:
        """
        Yield the rows as :meth:`lines` does, read.

        :raises PlanDamaged: as there, and when one is no row.
        """
        for place, line in enumerate(self.lines(start), start):
            try:
                yield PlannedRow.from_line(line)
            except ValueError as exc:
                raise self._damaged(_chunk(place // _ROWS), f"line {place % _ROWS + 1} is no row") from exc

    def checkpoint(self) -> dict[str, Any] | None:
        """
        Return the last checkpoint, or None.

        :raises PlanDamaged: when it cannot be read.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        return self._json(_CHECKPOINT)

    def write_checkpoint(self, value: Mapping[str, Any]) -> None:
        """Write a checkpoint in place of the last one: a crash leaves one or the other."""
        self._folder.write(self._name(_CHECKPOINT), json.dumps(dict(value), allow_nan=False).encode())

    def remove_checkpoint(self) -> None:
        """Forget the checkpoint."""
        self._folder.remove([self._name(_CHECKPOINT)])

    def _rows(self, chunk: int, expected: int) -> list[str]:
        content = self._folder.content(self._name(_chunk(chunk)))
        if content is None:
            raise self._damaged(_chunk(chunk), "missing")
        try:
            # Not splitlines: JSON may hold what other alphabets end a line with.
            *rows, end = content.decode().split("\n")
        except UnicodeDecodeError as exc:
            raise self._damaged(_chunk(chunk), "no text") from exc
        if end or len(rows) != expected:
            raise self._damaged(_chunk(chunk), f"{len(rows)} rows instead of {expected}")
        return rows

    def _json(self, name: str) -> dict[str, Any] | None:
        content = self._folder.content(self._name(name))
        if content is None:
            return None
        try:
            return json_object(content)
        except ValueError as exc:
            raise self._damaged(name, str(exc)) from exc

    def _name(self, name: str) -> str:
        return self._inside + name

    def _uri(self, name: str) -> str:
        return self._folder.uri_of(self._name(name))

    def _damaged(self, name: str, reason: str) -> PlanDamaged:
        return PlanDamaged(
            f"{self._uri(name)} is damaged or was not written by this provider ({reason}). What was paid for is in the "
            "ledger: a retry, or a clear of the task, plans the rows anew from there."
        )


def _chunk(number: int) -> str:
    return f"rows-{number:06d}.jsonl"


def _checked(line: str) -> str:
    if "\n" in line:
        msg = f"a row of a plan must be one line: {ascii(line)[:80]}"
        raise ValueError(msg)
    return line
