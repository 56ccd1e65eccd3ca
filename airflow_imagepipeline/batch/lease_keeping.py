"""Keep the lease on a ledger alive for as long as it is worked on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from airflow_imagepipeline.records.object_storage import Ledger

Item = TypeVar("Item")

LEASE: Final = 120.0
"""Seconds for which a ledger is held without a sign of life."""
_RENEW: Final = 30.0


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
        if time.monotonic() - self._renewed > _RENEW:
            self.hold(LEASE)

    def hold(self, seconds: float) -> None:
        """Hold the ledger from now on for some seconds without a sign of life."""
        # A thread of the engine's may still be at it when the turn ends: what is asked for last must count.
        with self._renewing:
            self.ledger.renew(seconds)
            self._renewed = time.monotonic()

    def while_held(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, and keep the lease meanwhile."""
        for item in items:
            self.keep()
            yield item
