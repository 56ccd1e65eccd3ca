"""
How often a human has cleared a task, and whether it asks for something else since without that.

Beside the ledger lie ``runs/<run>.json`` with the first ``max_tries`` of the run's task, and for each decision
``runs/<run>-<clears>.json`` with what was asked for. They are written once and never removed. Where the first is
missing or damaged, nobody can tell a clear from a retry: it is taken for a retry, which pays for nothing twice. Where
the other is damaged, the task is taken for changed, which submits nothing until a human clears it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.policy.ledger_entry import is_count
from airflow_imagepipeline.records.ledger_lines import json_object

if TYPE_CHECKING:
    from airflow_imagepipeline.storage.folder import Folder

_log: Final = logging.getLogger(__name__)


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
        name, ours = f"runs/{run}.json", {"v": 1, "max_tries": max_tries}
        first = _kept(home, name, ours).get("max_tries")
        if not is_count(first):
            _warn(home, name, "this start counts as a retry, even if the task was cleared")
            home.write(name, json.dumps(ours).encode())
            first = max_tries
        count = max_tries - first
        name = f"runs/{run}-{count}.json"
        before = _kept(home, name, {"v": 1, "asked": asked}).get("asked")
        if not isinstance(before, str):
            _warn(home, name, "nobody can tell whether the task asks for the same as before")
        return cls(count, before != asked)


def _kept(home: Folder, name: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return what the first to come has written, or nothing when that is damaged."""
    content = json.dumps(value).encode()
    if home.create(name, content):
        return value
    earlier = home.content(name)
    try:
        found = json_object(content if earlier is None else earlier)
    except ValueError:
        return {}
    return found if found.get("v") == 1 else {}


def _warn(home: Folder, name: str, what: str) -> None:
    _log.warning(
        "%s is damaged or was not written by this provider: %s. Nothing is paid for twice; clear the task (again) to "
        "have done anew what needs a clear.",
        home.uri_of(name),
        what,
    )
