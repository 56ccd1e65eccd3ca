"""Who may write to a ledger: objects ``lease/<epoch>.json``, each created by one process only; the highest counts."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from airflow.providers.common.compat.sdk import AirflowException

from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.policy.ledger_entry import is_number
from airflow_imagepipeline.records.counted_folder import CountedFolder
from airflow_imagepipeline.records.ledger_lines import LAST_EPOCH, LedgerDamaged, json_object, numbers_of
from airflow_imagepipeline.records.snapshots import marks_in
from airflow_imagepipeline.storage.folder import StorageFailed

_FOLDER: Final = "lease/"
_NAME: Final = re.compile(r"lease/([0-9]{8})\.json", re.ASCII)
_MARKED: Final = re.compile(rb'"mark": ?"([0-9]{8})-')
_PLANNED: Final = re.compile(rb'-([0-9]{8})[/"]')
"""How the name of a plan ends, in an address or in JSON."""
_LATEST: Final = 253_402_300_800.0
"""The end of the year 9999, in seconds since the epoch."""
_ATTEMPTS: Final = 5
_PATIENCE: Final = 30.0
_DELETE: Final = "delete it while nothing runs that uses the ledger; who comes next then takes the ledger as its own."


class LedgerBusy(AirflowException):
    """Another owner's lease on the ledger lives; nothing was written, and a retry may find the ledger free."""


class LeaseLost(AirflowException):
    """A newer process has taken the ledger over; this one stops, and submits nothing more."""


@dataclass(frozen=True)
class Owner:
    """The task instance that a process works for, whatever its try."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    def to_payload(self) -> dict[str, Any]:
        """Return the owner as JSON values."""
        return asdict(self)

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """
        Read an owner.

        :raises ValueError: when it is none.
        """
        kinds = {"dag_id": str, "run_id": str, "task_id": str, "map_index": int}
        if not isinstance(payload, Mapping) or any(type(payload.get(name)) is not kinds[name] for name in kinds):
            msg = f"not an owner of a ledger: {cleaned(repr(payload), 80)}"
            raise ValueError(msg)
        return cls(**{name: payload[name] for name in kinds})

    def __str__(self) -> str:
        """Return the words for a message."""
        mapped = f" [{self.map_index}]" if self.map_index >= 0 else ""
        return cleaned(f"task {self.task_id}{mapped} of DAG {self.dag_id}, run {self.run_id}")


@dataclass(frozen=True)
class Lease:
    """
    The right to write to a ledger.

    :param epoch: counts the processes that held it, from 1.
    :param token: tells this lease from that of another process which tried for the same epoch.
    :param expires_at: seconds since the epoch of time, by the clock of the machine that holds it.
    :param is_idle: whether its process has said that it writes nothing more; the owner's next one may.
    """

    epoch: int
    owner: Owner
    token: str
    expires_at: float
    is_idle: bool = False

    @property
    def name(self) -> str:
        """The object's name."""
        return _name_of(self.epoch)

    def content(self) -> bytes:
        """Return what is stored."""
        value = {"v": 1, "owner": self.owner.to_payload(), "token": self.token, "expires_at": self.expires_at}
        return json.dumps({**value, "idle": self.is_idle}).encode()

    @classmethod
    def read(cls, epoch: int, content: bytes) -> Self:
        """
        Read what is stored.

        :raises ValueError: when it is no lease.
        """
        value = json_object(content)
        if value.get("v") != 1 or not isinstance(value.get("idle", False), bool):
            msg = "not a lease of version 1"
            raise ValueError(msg)
        token, expires_at = value.get("token"), value.get("expires_at")
        if not isinstance(token, str) or not is_number(expires_at) or not 0 <= expires_at < _LATEST:
            msg = "a lease without token or end"
            raise ValueError(msg)
        return cls(epoch, Owner.from_payload(value.get("owner")), token, float(expires_at), value.get("idle", False))


def take_lease(
    files: CountedFolder, owner: Owner, *, seconds: float, now: float, is_over: Callable[[Owner], bool]
) -> tuple[Lease, bool]:
    """
    Take the lease on a ledger: at once from an earlier process of the same owner, else when it has expired.

    Its epoch is above all that anything in the ledger names, so that none is given twice, whatever was deleted.

    :param is_over: tells whether nothing will come back that another owner has left its lease to.
    :return: the lease, and whether the process that had it before may not have noticed yet.
    :raises LedgerBusy: when another owner's lives, or another process was faster.
    :raises LedgerDamaged: when there is a lease that cannot be read.
    :raises StorageFailed: when the storage does not do what it is asked.
    """
    newest = newest_lease(files)
    is_held = newest is not None and newest.owner != owner and newest.expires_at > now
    if newest is not None and is_held and not (newest.is_idle and is_over(newest.owner)):
        raise _busy(files, newest)
    used = max(_epochs_used(files, newest), default=0)
    if used >= LAST_EPOCH:
        raise LedgerDamaged.at(files.uri, f"its objects name epoch {used}, the last that there can be")
    mine = Lease(used + 1, owner, secrets.token_hex(8), now + seconds)
    is_mine = files.create(mine.name, mine.content())
    epochs = list(_epochs(files))
    # A faster process may have been superseded, and its lease removed, before ours was created in its place.
    if not is_mine or max(epochs, default=0) != mine.epoch:
        raise _busy(files, newest_lease(files) or mine)
    files.remove([replace(mine, epoch=epoch).name for epoch in epochs if epoch < mine.epoch])
    # Where the lease was deleted, nobody can tell whether who had it still runs.
    return mine, used > 0 and not (newest is not None and newest.is_idle)


def newest_lease(files: CountedFolder) -> Lease | None:
    """
    Return the lease that counts; None when there is none.

    :raises LedgerDamaged: when it cannot be read.
    :raises StorageFailed: when the storage does not do what it is asked, or lists a lease that it does not have.
    """
    until = time.monotonic() + _PATIENCE
    for attempt in range(_ATTEMPTS):
        epoch = max(_epochs(files), default=0)
        if not epoch:
            return None
        name = _name_of(epoch)
        content = files.content(name)
        if content is not None:
            try:
                return Lease.read(epoch, content)
            except ValueError as exc:
                raise LedgerDamaged.at(files.uri_of(name), str(exc), _DELETE) from exc
        # A newer process removes older leases: that the newest of a listing is gone says that there is a newer one.
        if attempt and time.monotonic() > until:
            break
    msg = f"{files.uri_of(name)} is listed, but there is no such object when it is read: a retry may find it."
    raise StorageFailed(msg)


def _epochs(files: CountedFolder) -> Iterator[int]:
    for found in files.listing(_FOLDER):
        match = _NAME.fullmatch(found.name)
        if match is None:
            raise LedgerDamaged.at(files.uri_of(found.name), "not the name of a lease", _DELETE)
        yield int(match[1])


def _epochs_used(files: CountedFolder, newest: Lease | None) -> Iterator[int]:
    yield from (numbers_of(mark)[0] for folder in ("segments", "snapshots") for mark in marks_in(files, folder))
    if newest is not None:
        yield newest.epoch
        return
    # Without a lease, a plan may name a later epoch than all that is left of the ledger. It need not be whole.
    plans = [found.name for found in files.listing("plans/")]
    for text in (files.content("current.json") or b"", *map(str.encode, plans)):
        yield from map(int, _PLANNED.findall(text))
    for name in plans:
        if name.endswith("/checkpoint.json"):
            yield from map(int, _MARKED.findall(files.content(name) or b""))


def _name_of(epoch: int) -> str:
    return f"{_FOLDER}{epoch:08d}.json"


def _busy(files: CountedFolder, lease: Lease) -> LedgerBusy:
    until = datetime.fromtimestamp(lease.expires_at, UTC).isoformat(" ", "seconds")
    return LedgerBusy(
        f"The ledger {files.uri} is in use by {lease.owner}, until {until} or longer if it goes on: nothing was "
        "submitted. A retry may find it free. Let one run at a time use a ledger: set max_active_runs=1 in the DAG, "
        "and give `airflow backfill create` --max-active-runs 1; tasks that are to run at once need a ledger= or "
        "shard= each."
    )
