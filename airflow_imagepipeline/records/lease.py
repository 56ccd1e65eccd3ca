"""Who may write to a ledger: objects ``lease/<epoch>.json``, each created by one process only; the highest counts."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from airflow.providers.common.compat.sdk import AirflowException

from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.records.counted_folder import CountedFolder
from airflow_imagepipeline.records.ledger_lines import LedgerDamaged

_FOLDER: Final = "lease/"
_NAME: Final = re.compile(r"lease/([0-9]{8})\.json", re.ASCII)


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
        return f"{_FOLDER}{self.epoch:08d}.json"

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
        value = json.loads(content)
        if not isinstance(value, dict) or value.get("v") != 1:
            msg = "not a lease of version 1"
            raise ValueError(msg)
        token, expires_at = value.get("token"), value.get("expires_at")
        if not isinstance(token, str) or not isinstance(expires_at, int | float):
            msg = "a lease without token or end"
            raise ValueError(msg)  # noqa: TRY004 - as for every other damage
        owner = Owner.from_payload(value.get("owner"))
        return cls(epoch, owner, token, float(expires_at), value.get("idle") is True)


def take_lease(
    folder: CountedFolder, owner: Owner, *, seconds: float, now: float, is_over: Callable[[Owner], bool]
) -> tuple[Lease, bool]:
    """
    Take the lease on a ledger: at once from an earlier process of the same owner, else when it has expired.

    :param is_over: tells whether nothing will come back that another owner has left its lease to.
    :return: the lease, and whether the process that had it before may not have noticed yet.
    :raises LedgerBusy: when another owner's lives, or another process was faster.
    :raises LedgerDamaged: when there is a lease that cannot be read.
    """
    newest = _newest(folder)
    is_held = newest is not None and newest.owner != owner and newest.expires_at > now
    if newest is not None and is_held and not (newest.is_idle and is_over(newest.owner)):
        raise _busy(folder, newest)
    mine = Lease(newest.epoch + 1 if newest else 1, owner, secrets.token_hex(8), now + seconds)
    is_mine = folder.create(mine.name, mine.content())
    epochs = list(_epochs(folder))
    # A faster process may have been superseded, and its lease removed, before ours was created in its place.
    if not is_mine or epochs[-1:] != [mine.epoch]:
        raise _busy(folder, _newest(folder) or mine)
    folder.remove([replace(mine, epoch=epoch).name for epoch in epochs[:-1]])
    return mine, newest is not None and not newest.is_idle


def newest_epoch(folder: CountedFolder) -> int:
    """Return the epoch that counts; 0 when there is none."""
    return max(_epochs(folder), default=0)


def _newest(folder: CountedFolder) -> Lease | None:
    # A newer process removes older leases: that the newest of a listing is gone says that there is a newer one.
    while epoch := newest_epoch(folder):
        name = f"{_FOLDER}{epoch:08d}.json"
        content = folder.content(name)
        if content is not None:
            try:
                return Lease.read(epoch, content)
            except ValueError as exc:
                raise LedgerDamaged.at(folder.uri_of(name), str(exc)) from exc
    return None


def _epochs(folder: CountedFolder) -> Iterator[int]:
    for found in folder.listing(_FOLDER):
        match = _NAME.fullmatch(found.name)
        if match is None:
            raise LedgerDamaged.at(folder.uri_of(found.name), "not the name of a lease")
        yield int(match[1])


def _busy(folder: CountedFolder, lease: Lease) -> LedgerBusy:
    until = datetime.fromtimestamp(lease.expires_at, UTC).isoformat(" ", "seconds")
    return LedgerBusy(
        f"The ledger {folder.uri} is in use by {lease.owner}, until {until} or longer if it goes on: nothing was "
        "submitted. A retry may find it free. Let one run at a time use a ledger: set max_active_runs=1 in the DAG, "
        "and give `airflow backfill create` --max-active-runs 1; tasks that are to run at once need a ledger= or "
        "shard= each."
    )
