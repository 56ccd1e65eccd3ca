# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""Jobs and the store that keeps them, in memory only.

Images are kept as PNG. When all kept images together pass ``keep_bytes`` (256 MiB unless told otherwise), or more than
10,000 jobs are kept, the jobs that ended longest ago are forgotten with their images: their ids answer 404, as if the
vendor had cleaned up. Running jobs are never forgotten.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .generation import Generation
    from .order import EditOrder

KEEP_BYTES = 256 * 2**20
KEEP_JOBS = 10_000


@dataclass(kw_only=True)
class Job:
    """One accepted order and what became of it.

    :param generation: the API generation that took it; another generation does not know its id.
    :param order: what to make.
    :param ready_at: ``time.monotonic()`` before which the job does not end, in seconds.
    :param images: the PNG files, one for each sample, once they are made.
    :param error: why no images can be made.
    """

    generation: Generation
    order: EditOrder
    ready_at: float
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    images: tuple[bytes, ...] = ()
    error: str | None = None

    @property
    def has_ended(self) -> bool:
        """Say whether the job's time is over and its images (or its error) are there."""
        return self._is_settled and time.monotonic() >= self.ready_at

    @property
    def _is_settled(self) -> bool:
        return bool(self.images) or self.error is not None


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

    def add(self, job: Job) -> None:
        """Keep a new, running job.

        :param job: the job.
        """
        self._jobs[job.job_id] = job

    def get(self, job_id: str) -> Job | None:
        """Look a job up.

        :param job_id: the id that the job was given.
        :return: the job, or None when it is unknown or forgotten.
        """
        return self._jobs.get(job_id)

    def settle(self, job: Job, *, images: tuple[bytes, ...] = (), error: str | None = None) -> None:
        """Record what became of a job, and forget the oldest ended jobs beyond the limits.

        :param job: the job.
        :param images: the PNG files, empty on failure.
        :param error: what went wrong, None on success.
        """
        job.images, job.error = images, error
        self._settled[job.job_id] = sum(map(len, images))
        self._kept_bytes += self._settled[job.job_id]
        self._forget_oldest(but=job)

    def _forget_oldest(self, *, but: Job) -> None:
        for job_id in list(self._settled):
            if self._kept_bytes <= self._keep_bytes and len(self._settled) <= KEEP_JOBS:
                return
            if job_id != but.job_id and self._jobs[job_id].has_ended:
                self._kept_bytes -= self._settled.pop(job_id)
                del self._jobs[job_id]
