# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""What one generation of the API is to the emulator: paths, a header, and how its answers are worded.

A further generation is one more module with one more :class:`Generation`; routes, jobs and editing stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .order import EditOrder


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job as one look sees it.

    :param job_id: the job's id.
    :param links: links to the images, empty unless the job succeeded.
    :param error: what went wrong, or None.
    """

    job_id: str
    links: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One endpoint of one API generation, as data.

    :param path: the path that jobs are posted to; a job's status lives at ``{path}/status/{id}``.
    :param key_header: the header that carries the API key.
    :param accepted_status: the HTTP status of an accepted job.
    :param read_order: turns a request body into an order; raises ``InvalidFieldsError``.
    :param describe_accepted: the answer to an accepted job.
    :param describe: the answer to a look at a job: running (no links, no error), done or failed.
    """

    path: str
    key_header: str
    accepted_status: int
    read_order: Callable[[bytes], EditOrder]
    describe_accepted: Callable[[JobView], dict[str, Any]]
    describe: Callable[[JobView], dict[str, Any]]
