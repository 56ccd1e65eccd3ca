"""What operators, sensors and the transfer return: the one shape that tasks find in XCom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from airflow_imagepipeline.contract.api import JobStatus
from airflow_imagepipeline.contract.job import Job, JobHandle, cost_in
from airflow_imagepipeline.contract.text import is_data_link

_MOST_NAMED: Final = 4


@dataclass(frozen=True)
class LandedImage:
    """
    An image in storage.

    :param uri: where it is.
    :param sha256: hexadecimal digest of its bytes.
    :param bytes: its size.
    :param format: ``PNG``, ``JPEG``, ``WEBP`` or ``GIF``, as its bytes say.
    :param width: pixels.
    :param height: pixels.
    :param blank: whether it is of one colour, as the vendor's safety filter paints what it withholds.
    :param checks: what is odd about the file (``trailing_bytes`` behind the end of the image, ``unread_metadata``: why
        it cannot be read), and what the acceptance gate found: names to numbers or words, and ``reasons`` (a list of
        sentences) where it was not accepted. Empty where there was no gate and nothing is odd.
    """

    uri: str
    sha256: str
    bytes: int
    format: str
    width: int
    height: int
    blank: bool = False
    checks: Mapping[str, Any] = field(default_factory=dict)

    def to_payload(self) -> dict[str, Any]:
        """Return the image as JSON values; ``blank`` and ``checks`` are there only where they say something."""
        return {name: value for name, value in asdict(self).items() if name not in {"blank", "checks"} or value}


@dataclass(frozen=True)
class JobResult:
    """
    The result of a task.

    :param status: ``PENDING`` where the task did not wait.
    :param images: what was landed; None where nothing was to be.
    :param rejected: what did not pass the acceptance gate, and was put aside.
    :param download_urls: the vendor's own links, of unknown lifetime; None where they were not wanted. A ``data:``
        link, which holds the image itself, is landed, but put into no payload.
    :param cost: what the vendor said of money, by its own names.
    """

    handle: JobHandle
    status: JobStatus
    images: Sequence[LandedImage] | None = None
    rejected: Sequence[LandedImage] = ()
    download_urls: Sequence[str] | None = field(default=None, repr=False)
    cost: Mapping[str, float | bool] = field(default_factory=dict)

    def to_payload(self) -> dict[str, Any]:
        """
        Return the result as JSON values.

        Keys: ``v`` (1), ``api``, ``job_id``, ``seed``, ``submitted_at`` (seconds since the epoch), ``status``, and then
        ``images`` (a list of ``uri``, ``sha256``, ``bytes``, ``format``, ``width``, ``height``, with ``blank`` and
        ``checks`` where they say something; ``rejected`` likewise, where there are any) or ``download_urls``
        (a list of links), or neither. Where the vendor says what a job cost, ``cost`` holds those of ``cost_usd``,
        ``credits_charged``, ``credits_amount``, ``balance_remaining_usd`` that it names.
        """
        payload = {**self.handle.to_payload(), "status": self.status.value}
        if self.cost:
            payload["cost"] = dict(self.cost)
        if self.images is not None:
            payload["images"] = [image.to_payload() for image in self.images]
            if self.rejected:
                payload["rejected"] = [image.to_payload() for image in self.rejected]
        elif self.download_urls is not None:
            # An image itself is no link: it would fill the database, and be shown wherever a result is.
            payload["download_urls"] = [link for link in self.download_urls if not is_data_link(link)]
        return payload


def done_sentence(result: JobResult, *, now: float) -> str:
    """
    Return the line for the log of a task whose job is done: what came, where it is, how long it took, what it cost.

    :param now: seconds since the epoch.
    """
    handle = result.handle
    if result.images is None:
        what = "its links are returned" if result.download_urls else "its links are not returned"
    else:
        put_aside = f", {len(result.rejected)} put aside" if result.rejected else ""
        names = ", ".join(image.uri for image in result.images[:_MOST_NAMED])
        more = f" and {len(result.images) - _MOST_NAMED} more" if len(result.images) > _MOST_NAMED else ""
        what = f"{len(result.images)} landed{put_aside}: {names}{more}" if names else f"none landed{put_aside}"
    seconds = (
        "" if handle.submitted_at is None else f"; {max(now - handle.submitted_at, 0.0):.0f} s since its submission"
    )
    cost = "".join(f"; {name} {amount}" for name, amount in result.cost.items() if not isinstance(amount, bool))
    return f"Job {handle.job_id or 'without an id'} ({handle.api.name}) is done, {what}{seconds}{cost}."


def finished_without_id(result: object) -> Job | None:
    """
    Return the job that a result holds whole: one that was done when it was submitted, and got no id to be looked up by.

    :param result: what an operator or the sensor returned; None is returned for everything that names a job by its id.
    :raises ValueError: when it belongs to an API that this version does not know.
    """
    if not isinstance(result, Mapping) or result.get("job_id") is not None:
        return None
    links = result.get("download_urls")
    if not isinstance(links, list) or not links or not all(isinstance(link, str) for link in links):
        return None
    # The other fields are read as always; the id is only there to be read.
    handle = replace(JobHandle.from_payload({**result, "job_id": "none"}), job_id=None)
    cost = result.get("cost")
    return Job(handle, JobStatus.SUCCESS, tuple(links), cost=cost_in(cost) if isinstance(cost, Mapping) else {})
