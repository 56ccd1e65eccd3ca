"""
How often a human has cleared a task, and whether it asks for something else since without that.

Beside the ledger lie ``runs/<run>.json`` with the first ``max_tries`` of the run's task, and for each decision
``runs/<run>-<clears>.json`` with what was asked for. They are written once and never removed: without the first, a
clear of an old run would be taken for a retry.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_imagepipeline.storage.folder import Folder


@dataclass(frozen=True)
class Clears:
    """
    What a human has decided.

    :param count: differs from clear to clear; 0 before the first.
    :param is_changed: whether an earlier try has asked for something else, and nobody has cleared the task since.
    """

    count: int
    is_changed: bool

    @classmethod
    def of(cls, home: Folder, run: str, max_tries: int, asked: str) -> Clears:
        """
        Read what earlier tries have left, or leave it.

        :param home: folder of the ledger.
        :param run: names the DAG run's task.
        :param max_tries: Airflow sets it anew at every clear, never at a retry.
        :param asked: digest of what all rows have in common: another one is other work for every row.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        # The task's own retries may be edited between two tries, so the first value is kept; a clear may lower it.
        first = _kept(home, f"runs/{run}.json", {"v": 1, "max_tries": max_tries})
        count = max_tries - int(first["max_tries"])
        before = _kept(home, f"runs/{run}-{count}.json", {"v": 1, "asked": asked})
        return cls(count, before["asked"] != asked)


def _kept(home: Folder, name: str, value: dict[str, int | str]) -> dict[str, int | str]:
    content = json.dumps(value).encode()
    if not home.create(name, content):
        content = home.content(name) or content
    found: dict[str, int | str] = json.loads(content)
    return found
