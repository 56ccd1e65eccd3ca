"""What people see of a batch under way: a line in the log, the same in Airflow's task state store, and metrics."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.contract.manifest import PROGRESS_KEY, RowOutcome
from airflow_imagepipeline.policy.batch import Treatment

if TYPE_CHECKING:
    from airflow_imagepipeline.compat import TaskStateStore

_log: Final = logging.getLogger(__name__)
_FIRST: Final = 10.0
_EVERY: Final = 60.0
_ENOUGH: Final = 5
"""Jobs that must have ended before the time that is left is guessed from them."""


class Progress:
    """
    Says where a batch stands, at sensible moments.

    :param total: rows of the plan.
    :param treatments: how many rows of the plan are treated how.
    :param began: when the first try of this run began, seconds since the epoch: what was waited for in the triggerer
        counts, too.
    :param store: None where Airflow has none.
    """

    def __init__(
        self,
        total: int,
        treatments: Mapping[str, int],
        began: float,
        store: TaskStateStore | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._total = total
        self._reused = treatments.get(Treatment.REUSE.value, 0)
        self._waiting = treatments.get(Treatment.SUBMIT.value, 0) + treatments.get(Treatment.TAKE_UP.value, 0)
        self._began = began
        self._store = store
        self._clock = clock
        self._next = clock() + _FIRST

    @property
    def is_due(self) -> bool:
        """Tell whether it is time for another line."""
        return self._clock() >= self._next

    def tell(self, counts: Counter[RowOutcome], in_flight: int, cost: float) -> None:
        """
        Log where the batch stands, and keep it where the task's other tries and its readers find it.

        :param counts: rows that have come to an end, by outcome.
        :param cost: what was spent so far; 0 when that is not known.
        """
        self._next = self._clock() + _EVERY
        line = self.line(counts, in_flight, cost)
        _log.info("%s", line)
        if self._store is not None:
            try:
                self._store.set(PROGRESS_KEY, {"line": line, **self._numbers(counts, in_flight, cost)})
            except Exception as exc:  # noqa: BLE001 - a line that is not kept is not worth a batch
                _log.warning("The progress cannot be kept (%s).", type(exc).__name__)

    def line(self, counts: Counter[RowOutcome], in_flight: int, cost: float) -> str:
        """Return the line for a reader."""
        bad = {outcome: count for outcome, count in counts.items() if outcome is not RowOutcome.LANDED and count}
        parts = [f"{counts[RowOutcome.LANDED]:,}/{self._total:,} landed"]
        parts += [f"{self._reused:,} reused"] if self._reused else []
        parts += [f"{in_flight:,} in flight"]
        parts += [f"{count:,} {outcome.value}" for outcome, count in sorted(bad.items())]
        parts += [f"${cost:,.2f}"] if cost else []
        left = self._seconds_left(counts)
        return " · ".join(parts if left is None else [*parts, f"about {_in_words(left)} left"])

    def _numbers(self, counts: Counter[RowOutcome], in_flight: int, cost: float) -> dict[str, Any]:
        ended = {outcome.value: count for outcome, count in counts.items()}
        return {"v": 1, "total": self._total, "counts": ended, "in_flight": in_flight, "cost": round(cost, 6)}

    def _seconds_left(self, counts: Counter[RowOutcome]) -> float | None:
        ended = counts.total()
        left = self._waiting - ended
        if ended < _ENOUGH or left <= 0:
            return None
        return max(0.0, left * (self._clock() - self._began) / ended)


def _in_words(seconds: float) -> str:
    if seconds < 90:  # noqa: PLR2004 - below this, minutes say too little
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"  # noqa: PLR2004 - as above


class Metrics:
    """Airflow's metrics: ``imagepipeline.submitted``, ``.landed``, ``.reused``, ``.failed`` and ``.wait_seconds``."""

    def __init__(self) -> None:
        from airflow.providers.common.compat.sdk import Stats

        self._stats = Stats

    def count(self, name: str, count: int = 1) -> None:
        """Add to a counter."""
        if count:
            self._stats.incr(f"imagepipeline.{name}", count)

    def waited(self, seconds: float) -> None:
        """Tell how long a job was in flight."""
        self._stats.timing("imagepipeline.wait_seconds", seconds * 1000)
