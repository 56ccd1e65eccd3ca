"""
A ledger on the user's storage: what was about to be submitted, what got a job id, what landed.

Objects have no append. Entries are written in groups, as immutable segments; from time to time a snapshot stands for
all segments up to one of them, which are then removed. See :mod:`~airflow_imagepipeline.records.lease` for who writes.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Self

from airflow_imagepipeline.records.counted_folder import CountedFolder
from airflow_imagepipeline.records.lease import Lease, LeaseLost, LedgerBusy, Owner, newest_lease, take_lease
from airflow_imagepipeline.records.ledger_lines import (
    LedgerDamaged,
    heading,
    line_of,
    mark_of,
    numbers_of,
    read_entries,
    read_heading,
)
from airflow_imagepipeline.records.snapshots import marks_in, name_of, opened, write_snapshot
from airflow_imagepipeline.storage.folder import Folder, StorageFailed

__all__ = ["LeaseLost", "Ledger", "LedgerBusy", "LedgerDamaged", "MarkForgotten", "Owner"]

_log: Final = logging.getLogger(__name__)

_TRUSTED_FOR: Final = 5.0
"""Seconds for which a process that was seen as the newest is taken for it, without asking the storage."""
NOTICED_AFTER: Final = _TRUSTED_FOR + 1.0
"""Seconds after which a process that was superseded has noticed it, whatever it does."""
_RESTORE: Final = (
    "restore it from a backup. Where there is none, give another ledger folder: it knows of nothing, and everything is "
    "paid for once more."
)
_LATE: Final = (
    "%d segments of %s are ignored: processes that had been superseded wrote them after a newer one had read the "
    "ledger (%s). A request that they announce was not sent."
)
_SHOWN: Final = 3


def steady_seconds() -> float:
    """Return seconds that go on while the machine sleeps, where it can tell, and that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class MarkForgotten(LookupError):
    """A snapshot stands for segments behind the mark: they must be read from the beginning."""


class Ledger:
    """
    Entries in the order in which they were written, by one process at a time. Several threads may use one object.

    Who writes is settled by the lease. A process that was superseded learns it when it proves its right to spend, at
    most five seconds after the last time by a clock that nobody can set: until then it can still write. Whoever takes a
    ledger and finds :attr:`is_contested` reads nothing for :data:`NOTICED_AFTER` seconds, and then finds all that
    counts. What the older process writes later is ignored, by this one at once, by all others when it has compacted;
    :meth:`late_entries` yields it.

    :param is_contested: whether the process that had the ledger before may still write: it was killed, or goes on.
    :param check: raises :exc:`ValueError` for an entry that is none.
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
        check: Callable[[dict[str, Any]], object] = bool,
    ) -> None:
        self.is_contested = is_contested
        self._folder = folder
        self._lease = lease
        self._clock = clock
        self._monotonic = monotonic
        self._check_entry = check
        self._proven_at = proven_at
        self._proving = threading.Lock()
        self._number = 0
        self._last_read: dict[int, int] | None = None
        self._late: list[str] = []
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
        check: Callable[[dict[str, Any]], object] = bool,
    ) -> Self:
        """
        Take the ledger in a folder for a task instance, and return it.

        :param lease_seconds: how long others are refused, unless :meth:`renew` is called.
        :param clock: seconds since the epoch, for the end of the lease.
        :param monotonic: seconds that never go back, for how long a proof of the right to spend counts.
        :param is_over: tells whether another task instance, of which no process runs now, will not go on either.
        :param check: raises :exc:`ValueError` for an entry that is none.
        :raises LedgerBusy: when another task instance has it.
        :raises LedgerDamaged: when a lease cannot be read.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        counted, proven_at = CountedFolder(folder), monotonic()
        lease, is_contested = take_lease(counted, owner, seconds=lease_seconds, now=clock(), is_over=is_over)
        return cls(
            counted, lease, clock, monotonic=monotonic, proven_at=proven_at, is_contested=is_contested, check=check
        )

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
        self._prove()

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
                self._prove()
                mark = mark_of(self._lease.epoch, self._number + 1)
                if not self._folder.create(name_of("segments", mark), heading("segment", len(lines)) + b"".join(lines)):
                    reason = f"segment {mark} exists already"
                    raise self._lost(reason)
                # What took long to write may be read by nobody any more: money must not follow it.
                self._prove()
                self._number += 1
            return self.mark

    def entries(self, *, after: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """
        Yield marks and entries in the order of the marks, one object in memory at a time.

        Without ``after``: what the newest snapshot holds, with the mark up to which it stands, then all later segments.
        What a process that was superseded wrote after this one had first read is ignored, and counted in the log.

        :param after: a mark; only later segments are read.
        :raises MarkForgotten: when a snapshot stands for some of them, or the mark is of a ledger that was deleted.
        :raises LedgerDamaged: when an object or a line is missing, or not what was written.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        if after:
            numbers_of(after)
        # In this order: who compacts meanwhile has written the snapshot before a segment goes.
        marks, upto = marks_in(self._folder, "segments"), self._snapshot()
        if after and upto > after:
            msg = f"the ledger's snapshot stands for everything up to {upto}, which is behind {after}"
            raise MarkForgotten(msg)
        if after > self.mark:
            msg = f"the ledger was deleted since: it ends at {self.mark}, which is before {after}"
            raise MarkForgotten(msg)
        later = [mark for mark in marks if mark > upto]
        self._check_whole(later, upto, after)
        if self._last_read is None:
            self._last_read = dict(map(numbers_of, later))
        late = [mark for mark in later if self._is_late(mark)]
        if upto and not after:
            earlier = marks[: len(marks) - len(later)]
            with opened(self._folder, upto) as snapshot:
                # Version 0.1.0 gave epochs anew when the leases were deleted, and did not close them: what such
                # processes wrote counts for the work that the snapshot does not know.
                for mark in () if snapshot.is_closing else earlier:
                    yield from self._segment(mark)
                yield from ((upto, entry) for entry in map(self._checked, snapshot.entries))
                late += snapshot.late_of(earlier)
        for mark in later:
            if mark > after and not self._is_late(mark):
                yield from self._segment(mark)
        self._late = sorted(late)
        if late:
            _log.warning(_LATE, len(late), self._folder.uri, ", ".join(self._late[:_SHOWN]))

    def late_entries(self) -> Iterator[dict[str, Any]]:
        """
        Yield what the last reading has ignored, as it came too late; what is damaged of it is left out.

        :raises StorageFailed: when the storage does not do what it is asked.
        """
        for mark in self._late:
            with suppress(LedgerDamaged):
                yield from [entry for _, entry in self._segment(mark)]

    def compact(self, entries: Iterable[Mapping[str, Any]], *, upto: str) -> None:
        """
        Write a snapshot that stands for all segments up to a mark, then remove older snapshots and those segments.

        It closes the epochs before that of the mark: what arrives of them later counts no more. A crash before all is
        removed leaves segments that the snapshot stands for; they are not read again.

        :param entries: what is to be read in their place.
        :raises LeaseLost: when a newer process has taken over.
        :raises StorageFailed: when the storage does not do what it is asked.
        :raises ValueError: when ``upto`` is no mark, behind the newest snapshot's or not written yet; or when there is
            something of other processes, and this one has never read.
        """
        epoch, number = numbers_of(upto)
        self._prove(at_once=True)
        marks, newest = marks_in(self._folder, "segments"), self._snapshot()
        is_unread = self._last_read is None and (
            newest or any(numbers_of(mark)[0] < self._lease.epoch for mark in marks)
        )
        if is_unread or not newest <= upto <= self.mark:
            msg = (
                f"the ledger's newest snapshot is {newest or '(none)'}, its end {self.mark}: read the entries before "
                f"compacting up to {upto}"
            )
            raise ValueError(msg)
        covers = {known: last for known, last in (self._last_read or {}).items() if known < epoch}
        write_snapshot(self._folder, entries, upto, {**covers, epoch: number})
        self._remove("snapshots", [mark for mark in marks_in(self._folder, "snapshots") if mark < upto])
        self._remove("segments", [mark for mark in marks if mark <= upto])

    def renew(self, seconds: float, *, is_idle: bool = False) -> None:
        """
        Keep the lease for some seconds from now.

        :param is_idle: whether this process writes nothing more, so that the owner's next one need not wait for it.
        :raises LeaseLost: when a newer process has taken over.
        :raises StorageFailed: when the storage does not do what it is asked.
        """
        self._prove(at_once=True)
        self._lease = replace(self._lease, expires_at=self._clock() + seconds, is_idle=is_idle)
        self._folder.write(self._lease.name, self._lease.content())

    def release(self) -> None:
        """
        Let the lease end now; a newer process' is left alone. Nothing is written after it.

        :raises StorageFailed: when the storage does not do what it is asked.
        """
        newest = newest_lease(self._folder)
        if newest is not None and newest.token == self._lease.token:
            self._lease = replace(self._lease, expires_at=self._clock(), is_idle=True)
            self._folder.write(self._lease.name, self._lease.content())

    def _prove(self, *, at_once: bool = False) -> None:
        with self._proving:
            # Of the time before the storage is asked: what it answers may be as old as that when it arrives.
            now = self._monotonic()
            if not at_once and 0 <= now - self._proven_at <= _TRUSTED_FOR:
                return
            newest = newest_lease(self._folder)
            if newest is None or newest.token != self._lease.token:
                found = f"the newest lease is {newest.epoch}" if newest else "its leases were deleted"
                reason = f"{found}, its own is {self._lease.epoch}"
                raise self._lost(reason)
            self._proven_at = now

    def _lost(self, reason: str) -> LeaseLost:
        return LeaseLost(
            f"Another process has taken over the ledger {self._folder.uri} ({reason}): this process stops and submits "
            "nothing more. See the log of the task's other try."
        )

    def _remove(self, folder: str, marks: Iterable[str]) -> None:
        self._folder.remove(name_of(folder, mark) for mark in marks)

    def _snapshot(self) -> str:
        return max(marks_in(self._folder, "snapshots"), default="")

    def _is_late(self, mark: str) -> bool:
        epoch, number = numbers_of(mark)
        return epoch < self._lease.epoch and number > (self._last_read or {}).get(epoch, 0)

    def _check_whole(self, later: Iterable[str], upto: str, after: str) -> None:
        # Each process numbers its segments without a gap, and only what a snapshot stands for is removed.
        last = dict([numbers_of(upto)] if upto else [])
        for epoch, number in map(numbers_of, later):
            if number > last.get(epoch, 0) + 1 and epoch <= self._lease.epoch:
                raise self._missing(epoch, last.get(epoch, 0) + 1)
            last[epoch] = number
        if after > upto:
            epoch, number = numbers_of(after)
            if number > last.get(epoch, 0):
                raise self._missing(epoch, number)

    def _missing(self, epoch: int, number: int) -> LedgerDamaged:
        uri = self._folder.uri_of(name_of("segments", mark_of(epoch, number)))
        return LedgerDamaged.at(uri, "missing, but later entries refer to it", _RESTORE)

    def _checked(self, entry: dict[str, Any]) -> dict[str, Any]:
        self._check_entry(entry)
        return entry

    def _segment(self, mark: str) -> Iterator[tuple[str, dict[str, Any]]]:
        name = name_of("segments", mark)
        uri, content = self._folder.uri_of(name), self._folder.content(name)
        if content is None:
            msg = f"{uri} was removed while it was to be read: another process compacts the ledger; read it again."
            raise StorageFailed(msg)
        lines = io.BytesIO(content)
        try:
            for entry in read_entries(lines, read_heading(lines.readline(), "segment")["entries"]):
                yield mark, self._checked(entry)
        except ValueError as exc:
            raise LedgerDamaged.at(uri, str(exc)) from exc
