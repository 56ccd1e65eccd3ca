"""What one generation of the API is to the emulator: paths, a header, and how its answers are worded.

A further generation is one more module with one more :class:`Generation`; routes, jobs and editing stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .failures import Failure
    from .order import EditOrder


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job as one look sees it.

    :param job_id: the job's id.
    :param order: what it makes.
    :param queued_at: when it was accepted.
    :param age: seconds since then; they stop at its end.
    :param seconds: how long it runs at least.
    :param price_usd: what it costs.
    :param balance_usd: what the account has left after it.
    :param links: links to the images, empty unless the job succeeded.
    :param failure: what went wrong, or None.
    """

    job_id: str
    order: EditOrder
    queued_at: datetime
    age: float
    seconds: float
    price_usd: float
    balance_usd: float
    links: tuple[str, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One endpoint of one API generation, as data.

    :param path: the path that jobs are posted to; a job's status lives at ``{path}/status/{id}``.
    :param key_header: the header that carries the API key.
    :param accepted_status: the HTTP status of an accepted job.
    :param image_field: the field that links to the image to edit, as messages call it.
    :param read_order: turns a request body into an order; raises ``InvalidFieldsError``.
    :param describe_accepted: the answer to an accepted job.
    :param describe: the answer to a look at a job: running (no links, no failure), done or failed.
    :param has_newer_errors: True when refusals may come in the newer envelope.
    :param refunds_failures: True when a failed job gives its credit back.
    """

    path: str
    key_header: str
    accepted_status: int
    image_field: str
    read_order: Callable[[bytes], EditOrder]
    describe_accepted: Callable[[JobView], dict[str, Any]]
    describe: Callable[[JobView], dict[str, Any]]
    has_newer_errors: bool = False
    refunds_failures: bool = False
