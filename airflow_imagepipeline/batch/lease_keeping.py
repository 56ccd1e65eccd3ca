"""Keep the lease on a ledger alive for as long as it is worked on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from airflow_imagepipeline.policy.ledger_entry import LedgerEntry
from airflow_imagepipeline.records.object_storage import NOTICED_AFTER, Ledger, Owner
from airflow_imagepipeline.storage.folder import Folder

if TYPE_CHECKING:
    from airflow_imagepipeline.batch.scratch import Scratch

_log: Final = logging.getLogger(__name__)

Item = TypeVar("Item")

LEASE: Final = 120.0
"""Seconds for which a ledger is held without a sign of life."""
_RENEW: Final = 30.0
_LATE: Final = (
    "The id of its job reached the ledger too late for this try: clear the task, which lands it and pays nothing."
)


def taken_ledger(home: Folder, owner: Owner, is_over: Callable[[Owner], bool]) -> Ledger:
    """
    Take a ledger, and wait until nobody else can submit by it any more.

    :param home: folder of the ledger.
    :param is_over: tells whether a task instance that has deferred will not go on.
    :raises LedgerBusy: when another task instance has it.
    """
    ledger = Ledger.take(home, owner, lease_seconds=LEASE, is_over=is_over, check=LedgerEntry.from_payload)
    if ledger.is_contested:
        # What a process that still runs submits meanwhile is in the ledger then: it must be read after that.
        _log.info("The last process left the ledger without a word: waiting %.0f s, lest it still runs.", NOTICED_AFTER)
        time.sleep(NOTICED_AFTER)
    return ledger


class LeaseKeeper:
    """
    Renews a lease now and then; may be used by several threads at once.

    :param ledger: has just been taken, for :data:`LEASE` seconds.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._renewed = time.monotonic()
        self._renewing = threading.Lock()

    def keep(self) -> None:
        """Renew the lease, if that was not done for a while."""
        with self._renewing:
            if time.monotonic() - self._renewed > _RENEW:
                self._renew(LEASE, is_idle=False)

    def hold(self, seconds: float, *, is_idle: bool = False) -> None:
        """
        Hold the ledger from now on for some seconds without a sign of life.

        :param is_idle: whether this process writes nothing more.
        """
        # A thread of the engine's may still be at it when the turn ends: what is asked for last must count.
        with self._renewing:
            self._renew(seconds, is_idle=is_idle)

    def release(self) -> None:
        """Leave the ledger to others; nothing is written after it."""
        with self._renewing:
            self.ledger.release()
            self._renewed = time.monotonic()

    def while_held(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, and keep the lease meanwhile."""
        for item in items:
            self.keep()
            yield item

    def read_into(self, scratch: Scratch, folder: str = "") -> None:
        """
        Take in all that the ledger knows, and keep the lease meanwhile.

        What a superseded process wrote too late is used where it names the job of a submission that is unanswered in
        the ledger: then nobody pays for it again, and its image is not refused as that of other work.

        :param folder: address of the folder for results.
        """
        scratch.keep_newest((entry for _, entry in self.while_held(self.ledger.entries())), folder)
        late = self.while_held(map(LedgerEntry.from_payload, self.ledger.late_entries()))
        answers = [one for one in late if one.job_id is not None and one.answers(scratch.newest(one.key))]
        if answers:
            told = (replace(one, reason=_LATE) if one.is_under_way else one for one in answers)
            scratch.keep_newest((one.to_payload() for one in told), folder)
            _log.info(
                "%d entries that arrived late name the job of an unanswered submission: they are used.", len(answers)
            )

    def _renew(self, seconds: float, *, is_idle: bool) -> None:
        self.ledger.renew(seconds, is_idle=is_idle)
        self._renewed = time.monotonic()
