"""The answers of ImagePipeline's SDXL image-to-image API as instructions, so that a test reads like a story.

The JSON is literal and shares nothing with the package under test: two sides that share code share mistakes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.faults.exchange import Exchange, Headers, Instruction, Reply
from tests.faults.instructions import answer

if TYPE_CHECKING:
    from collections.abc import Sequence

SUBMIT = "POST /sdxl/image2image/v1"
STATUS = "GET /sdxl/image2image/v1/status"


def pending(job_id: str = "job-1", *, status: int | None = None, headers: Headers = ()) -> Instruction:
    """Say that a job was taken or still runs.

    :param status: the HTTP status; ``None``: 202 to a POST and 200 to a poll, as the API does.
    """
    pairs = Reply.of(b"", status=200, headers=headers).headers
    body = {"id": job_id, "status": "PENDING"}

    def play(exchange: Exchange) -> None:
        usual = 202 if exchange.request.method == "POST" else 200
        answer(status or usual, json=body, headers=pairs).play(exchange)

    return Instruction(f"pending({job_id!r})", play)


def success(links: Sequence[str], job_id: str | None = None) -> Instruction:
    """Say that a job is done; like the API's own sample without an id unless one is given."""
    body: dict[str, Any] = {"download_urls": list(links), "status": "SUCCESS"}
    if job_id is not None:
        body["id"] = job_id
    return replace(answer(200, json=body), name=f"success({len(links)} links)")


def failure(message: Any = "generation failed") -> Instruction:
    """Say, with HTTP 200, that a job failed."""
    return replace(answer(200, json={"error": message, "status": "FAILURE"}), name="failure()")


def refused(status: int, detail: Any = "refused", *, headers: Headers = ()) -> Instruction:
    """Refuse a request with an HTTP status and the ``detail`` that FastAPI writes."""
    return answer(status, json={"detail": detail}, headers=headers)
