"""
A ledger on the user's storage: what was about to be submitted, what got a job id, what landed.

Objects have no append. Entries are written in groups, as immutable segments; from time to time a snapshot stands for
all segments up to one of them, which are then removed. See :mod:`~airflow_imagepipeline.records.lease` for who writes.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Self

from airflow_imagepipeline.records.counted_folder import CountedFolder
from airflow_imagepipeline.records.lease import Lease, LeaseLost, LedgerBusy, Owner, newest_epoch, take_lease
from airflow_imagepipeline.records.ledger_lines import (
    LedgerDamaged,
    heading,
    line_of,
    mark_of,
    numbers_of,
    read_entries,
    read_heading,
)
from airflow_imagepipeline.records.snapshots import Snapshots
from airflow_imagepipeline.storage.folder import Folder, StorageFailed

__all__ = ["LeaseLost", "Ledger", "LedgerBusy", "LedgerDamaged", "MarkForgotten", "Owner"]

_SEGMENTS: Final = "segments/"
_ENDING: Final = ".jsonl"
_TRUSTED_FOR: Final = 5.0
"""Seconds after a look at the leases in which entries are written without another look."""
NOTICED_AFTER: Final = _TRUSTED_FOR + 1.0
"""Seconds after which a process that was superseded has noticed it, whatever it does."""


def steady_seconds() -> float:
    """Return seconds that go on while the machine sleeps, where it can tell, and that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class MarkForgotten(LookupError):
    """A snapshot stands for segments behind the mark: they must be read from the beginning."""


class Ledger:
    """
    Entries in the order in which they were written, by one process at a time. Several threads may use one object.

    Who writes is settled by the lease. A process that was superseded learns it at its next look at the leases, at most
    five seconds after the last: until then it can still write. Whoever takes a ledger and finds :attr:`is_contested`
    reads nothing for :data:`NOTICED_AFTER` seconds, and then finds all that was written. The clocks of the machines are
    taken to agree within a few seconds.

    :param is_contested: whether the process that had the ledger before may still write: it was killed, or goes on.
    """

    def __init__(
        self,
        folder: CountedFolder,
        lease: Lease,
        clock: Callable[[], float],
        *,
        monotonic: Callable[[], float],
        proven_at: float,
        is_contested: bool = False,
    ) -> None:
        self.is_contested = is_contested
        self._folder = folder
        self._lease = lease
        self._clock = clock
        self._monotonic = monotonic
        self._snapshots = Snapshots(folder)
        self._proven_at = proven_at
        self._proving = threading.Lock()
        self._number = 0
        self._has_read = False
        self._known: dict[int, int] = {}
        self._writing = threading.Lock()

    @classmethod
    def take(
        cls,
        folder: Folder,
        owner: Owner,
        *,
        lease_seconds: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = steady_seconds,
        is_over: Callable[[Owner], bool] = lambda _: False,
    ) -> Self:
        """
        Take the ledger in a folder for a task instance, and return it.

        :param lease_seconds: how long others are refused, unless :meth:`renew` is called.
        :param clock: seconds since the epoch, for the end of the lease.
        :param monotonic: seconds that never go back, for how long a proof of the right to spend counts.
        :param is_over: tells whether another task instance, of which no process runs now, will not go on either.
        :raises LedgerBusy: when another task instance has it.
        :raises LedgerDamaged: when a lease cannot be read.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        counted, proven_at = CountedFolder(folder), monotonic()
        lease, is_contested = take_lease(counted, owner, seconds=lease_seconds, now=clock(), is_over=is_over)
        return cls(counted, lease, clock, monotonic=monotonic, proven_at=proven_at, is_contested=is_contested)

    @property
    def requests(self) -> int:
        """Requests made of the storage so far."""
        return self._folder.requests

    @property
    def mark(self) -> str:
        """The mark of the last segment written here; before the first, one that follows all earlier processes'."""
        return mark_of(self._lease.epoch, self._number)

    def confirm(self) -> None:
        """
        Prove the right to spend: that this process was seen as the newest at most five seconds ago.

        Call it immediately before money is spent, after every wait. It blocks while the storage is asked, and may be
        called by several threads at once.

        :raises LeaseLost: when a newer process has taken over.
        :raises LedgerDamaged: when the leases cannot be read.
        :raises StorageFailed: when the storage does not do what it is asked: nothing may be spent.
        """
        self._check()

    def append(self, entries: Sequence[Mapping[str, Any]]) -> str:
        """
        Write entries as one segment; they are durable when this returns.

        After :exc:`StorageFailed` it is not known whether they were written: only the same entries may be written
        next, which then are there once.

        :return: the segment's mark.
        :raises LeaseLost: when a newer process has taken over.
        :raises StorageFailed: when the storage does not do what it is asked.
        :raises ValueError: when an entry holds what JSON cannot carry, as :exc:`TypeError`.
        """
        return self.append_lines([line_of(entry) for entry in entries])

    def append_lines(self, lines: Sequence[bytes]) -> str:
        """Write entries as :meth:`append` does; each was made a line by ``line_of``."""
        with self._writing:
            if lines:
                self._check()
                mark = mark_of(self._lease.epoch, self._number + 1)
                if not self._folder.create(_name_of(mark), heading("segment", len(lines)) + b"".join(lines)):
                    reason = f"segment {mark} exists already"
                    raise self._lost(reason)
                # What took long to write may be read by nobody any more: money must not follow it.
                self._check()
                self._number += 1
                self._know(self._lease.epoch, self._number)
            return self.mark

    def entries(self, *, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """
        Yield marks and entries in the order in which they were written, one object in memory at a time.

        Without ``after``: what the newest snapshot holds, with the mark up to which it stands, then all segments that
        it does not stand for.

        :param after: a mark; only later segments are read.
        :raises MarkForgotten: when a snapshot stands for some of them.
        :raises LedgerDamaged: when an object or a line is not what was written.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        if after:
            numbers_of(after)
        self._has_read = True
        upto = self._snapshots.newest()
        if after and upto > after:
            msg = f"the ledger's snapshot stands for everything up to {upto}, which is behind {after}"
            raise MarkForgotten(msg)
        covered: dict[int, int] = {}
        if upto and not after:
            with self._snapshots.opened(upto) as snapshot:
                covered = dict(snapshot.covers)
                yield from ((upto, entry) for entry in snapshot.entries)
        for epoch, number in covered.items():
            self._know(epoch, number)
        for mark in self._marks():
            epoch, number = numbers_of(mark)
            if mark > after and number > covered.get(epoch, 0):
                yield from ((mark, entry) for entry in self._segment(mark))
            self._know(epoch, number)

    def compact(self, entries: Iterable[Mapping[str, Any]], *, upto: str) -> None:
        """
        Write a snapshot that stands for all segments up to a mark, then remove older snapshots and those segments.

        A crash between the two leaves segments that the snapshot stands for; they are not read again. A segment that
        this object has neither given nor written (one of a process that was superseded) stays, and is read again.

        :param entries: what is to be read in their place.
        :raises LeaseLost: when a newer process has taken over.
        :raises StorageFailed: when the storage does not do what it is asked.
        :raises ValueError: when ``upto`` is no mark or behind the newest snapshot's, or that was never read.
        """
        last_epoch, last_number = numbers_of(upto)
        self._check(at_once=True)
        newest = self._snapshots.newest()
        if newest > upto or (newest and not self._has_read):
            msg = f"a snapshot stands for everything up to {newest}: read the entries before compacting up to {upto}"
            raise ValueError(msg)
        known = dict(self._known)
        covers = {epoch: number for epoch, number in known.items() if epoch < last_epoch}
        if last_epoch in known:
            covers[last_epoch] = min(known[last_epoch], last_number)
        self._snapshots.write(entries, upto, covers)
        self._snapshots.remove_before(upto)
        marks = (mark for mark in self._marks() if numbers_of(mark)[1] <= covers.get(numbers_of(mark)[0], 0))
        self._folder.remove(map(_name_of, marks))

    def renew(self, seconds: float, *, is_idle: bool = False) -> None:
        """
        Keep the lease for some seconds from now.

        :param is_idle: whether this process writes nothing more, so that the owner's next one need not wait for it.
        :raises LeaseLost: when a newer process has taken over.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        self._check(at_once=True)
        self._lease = replace(self._lease, expires_at=self._clock() + seconds, is_idle=is_idle)
        self._folder.write(self._lease.name, self._lease.content())

    def release(self) -> None:
        """
        Let the lease end now; a newer process' is left alone. Nothing is written after it.

        :raises StorageFailed: when the storage does not do what it is asked.
        """
        if newest_epoch(self._folder) == self._lease.epoch:
            self._lease = replace(self._lease, expires_at=self._clock(), is_idle=True)
            self._folder.write(self._lease.name, self._lease.content())

    def _know(self, epoch: int, number: int) -> None:
        self._known[epoch] = max(self._known.get(epoch, 0), number)

    def _check(self, *, at_once: bool = False) -> None:
        with self._proving:
            # Of the time before the storage is asked: what it answers may be as old as that when it arrives.
            now = self._monotonic()
            if not at_once and 0 <= now - self._proven_at <= _TRUSTED_FOR:
                return
            newest = newest_epoch(self._folder)
            if newest != self._lease.epoch:
                reason = f"the newest lease is {newest}, its own is {self._lease.epoch}"
                raise self._lost(reason)
            self._proven_at = now

    def _lost(self, reason: str) -> LeaseLost:
        return LeaseLost(
            f"Another process has taken over the ledger {self._folder.uri} ({reason}): this process stops and submits "
            "nothing more. See the log of the task's other try."
        )

    def _marks(self) -> Iterator[str]:
        for found in self._folder.listing(_SEGMENTS):
            mark = found.name.removeprefix(_SEGMENTS).removesuffix(_ENDING)
            try:
                numbers_of(mark)
            except ValueError as exc:
                raise LedgerDamaged.at(self._folder.uri_of(found.name), "not the name of a segment") from exc
            yield mark

    def _segment(self, mark: str) -> Iterator[dict[str, Any]]:
        uri, content = self._folder.uri_of(_name_of(mark)), self._folder.content(_name_of(mark))
        if content is None:
            msg = f"{uri} was removed while it was to be read: another process compacts the ledger; read it again."
            raise StorageFailed(msg)
        lines = io.BytesIO(content)
        try:
            yield from read_entries(lines, read_heading(lines.readline(), "segment")["entries"])
        except ValueError as exc:
            raise LedgerDamaged.at(uri, str(exc)) from exc


def _name_of(mark: str) -> str:
    return f"{_SEGMENTS}{mark}{_ENDING}"
