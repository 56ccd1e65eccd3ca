"""Jobs and the store that keeps them, in memory only.

When all kept images together pass ``keep_bytes`` (256 MiB unless told otherwise), or more than 10,000 jobs are kept,
the jobs that ended longest ago are forgotten with their images: their ids answer 404, as if the vendor had cleaned up.
Running jobs are never forgotten.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .failures import Failure
    from .generation import Generation
    from .order import EditOrder

KEEP_BYTES = 256 * 2**20
KEEP_JOBS = 10_000


@dataclass(kw_only=True)
class Job:
    """One accepted order and what became of it.

    :param generation: the API generation that took it; another generation does not know its id.
    :param order: what to make.
    :param seconds: how long it runs at least.
    :param price_usd: what it costs.
    :param balance_usd: what the account has left after it.
    :param accepted_at: ``time.monotonic()`` of its acceptance, in seconds.
    :param queued_at: the same moment on the calendar.
    :param settled_at: ``time.monotonic()`` of the moment its images (or its failure) were there, or None.
    :param images: the image files, one for each sample, once they are made.
    :param failure: why no images can be made.
    """

    generation: Generation
    order: EditOrder
    seconds: float
    price_usd: float = 0.0
    balance_usd: float = 0.0
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    accepted_at: float = field(default_factory=time.monotonic)
    queued_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    settled_at: float | None = None
    images: tuple[bytes, ...] = ()
    failure: Failure | None = None

    @property
    def has_ended(self) -> bool:
        """Say whether the job's time is over and its images (or its failure) are there."""
        return self.settled_at is not None and time.monotonic() >= self.accepted_at + self.seconds

    @property
    def age(self) -> float:
        """Seconds since its acceptance; they stop at its end."""
        end = time.monotonic()
        if self.settled_at is not None:
            end = min(end, max(self.settled_at, self.accepted_at + self.seconds))
        return end - self.accepted_at


class JobStore:
    """Keeps jobs by id within the limits of this module's docstring.

    :param keep_bytes: upper bound of all kept images; the newest result is kept even when it alone is larger.
    """

    def __init__(self, keep_bytes: int = KEEP_BYTES) -> None:
        """Start empty."""
        self._keep_bytes = keep_bytes
        self._jobs: dict[str, Job] = {}
        self._settled: dict[str, int] = {}
        self._kept_bytes = 0
        self._running: list[Job] = []
        self._sweep_at = 64

    def add(self, job: Job) -> None:
        """Keep a new, running job.

        :param job: the job.
        """
        self._jobs[job.job_id] = job
        self._running.append(job)
        if len(self._running) > self._sweep_at:  # seldom enough that thousands of jobs do not pay for it
            self._sweep_at = 64 + 2 * self.count_running()

    def get(self, job_id: str) -> Job | None:
        """Look a job up.

        :param job_id: the id that the job was given.
        :return: the job, or None when it is unknown or forgotten.
        """
        return self._jobs.get(job_id)

    def count_running(self) -> int:
        """Count the jobs that have not ended.

        :return: their number.
        """
        self._running = [job for job in self._running if not job.has_ended]
        return len(self._running)

    def settle(self, job: Job, *, images: tuple[bytes, ...] = (), failure: Failure | None = None) -> None:
        """Record what became of a job, and forget the oldest ended jobs beyond the limits.

        :param job: the job.
        :param images: the image files, empty on failure.
        :param failure: what went wrong, None on success.
        """
        job.images, job.failure, job.settled_at = images, failure, time.monotonic()
        self._settled[job.job_id] = sum(map(len, images))
        self._kept_bytes += self._settled[job.job_id]
        if self._is_too_full:
            self._forget_oldest(but=job)

    @property
    def _is_too_full(self) -> bool:
        return self._kept_bytes > self._keep_bytes or len(self._settled) > KEEP_JOBS

    def _forget_oldest(self, *, but: Job) -> None:
        for job_id in list(self._settled):
            if job_id != but.job_id and self._jobs[job_id].has_ended:
                self._kept_bytes -= self._settled.pop(job_id)
                del self._jobs[job_id]
            if not self._is_too_full:
                return
