"""The answers of ImagePipeline's API as instructions, so that a test reads like a story.

Both generations live side by side, as on the vendor's server: the path of a request decides in whose words it is
answered. The JSON is literal and shares nothing with the package under test: two sides that share code share mistakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.faults.exchange import Exchange, Headers, Instruction, Reply
from tests.faults.instructions import answer
from tests.generations import assert_spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SUBMIT = "POST ~/(sdxl/image2image|edit/image)/v1"
STATUS = "GET ~/(sdxl/image2image|edit/image)/v1/status(/.*)?"


def pending(job_id: str = "job-1", *, status: int | None = None, headers: Headers = ()) -> Instruction:
    """Say that a job was taken or still runs.

    :param status: the HTTP status; ``None``: as the API does, 202 to a POST of the old generation, else 200.
    """
    pairs = Reply.of(b"", status=200, headers=headers).headers

    def play(exchange: Exchange) -> None:
        is_post = exchange.request.method == "POST"
        if _is_current(exchange):
            body, usual = {"job_id": job_id, "status": "queued" if is_post else "processing"}, 200
        else:
            body, usual = {"id": job_id, "status": "PENDING"}, 202 if is_post else 200
        answer(status or usual, json=body, headers=pairs).play(exchange)

    return Instruction(f"pending({job_id!r})", play)


def success(links: Sequence[str], job_id: str | None = None) -> Instruction:
    """Say that a job is done; like the old generation's own sample without an id unless one is given.

    :param links: the current generation has one at most.
    """

    def body_for(exchange: Exchange) -> dict[str, Any]:
        if not _is_current(exchange):
            return {"download_urls": list(links), "status": "SUCCESS", **({"id": job_id} if job_id else {})}
        assert len(links) <= 1, "the current generation makes one image a job"
        return {"job_id": job_id, "status": "completed", "result_url": links[0] if links else None}

    return _told(f"success({len(links)} links)", body_for)


def failure(message: Any = "generation failed", job_id: str | None = None) -> Instruction:
    """Say, with HTTP 200, that a job failed."""

    def body_for(exchange: Exchange) -> dict[str, Any]:
        if not _is_current(exchange):
            return {"error": message, "status": "FAILURE", **({"id": job_id} if job_id else {})}
        unknown = {"failure_reason_code": None, "retryable": None}
        return {"job_id": job_id, "status": "failed", "error": message, **unknown}

    return _told("failure()", body_for)


def _is_current(exchange: Exchange) -> bool:
    assert_spoken(exchange.request.path)
    return exchange.request.path.startswith("/edit/")


def _told(name: str, body_for: Callable[[Exchange], dict[str, Any]]) -> Instruction:
    return Instruction(name, lambda exchange: answer(200, json=body_for(exchange)).play(exchange))


def refused(status: int, detail: Any = "refused", *, headers: Headers = ()) -> Instruction:
    """Refuse a request with an HTTP status and the ``detail`` that FastAPI writes."""
    return answer(status, json={"detail": detail}, headers=headers)
