"""How the emulated service behaves: every knob a test, a load run or the command line can turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .jobs import KEEP_BYTES
from .order import FIRST_MODEL


@dataclass(kw_only=True)
class Settings:
    """Knobs that may be turned while the emulator runs; they count from the next request on.

    :param api_key: the only key that is accepted; any text, never a real key.
    :param job_seconds: how long a job runs at least; longer when making its images takes longer.
    :param spread: 0 to 1: each job's time is drawn evenly from ``job_seconds`` minus and plus this part of it.
    :param heavy_tail: True multiplies each job's time by a lognormal draw: half of the jobs are quicker, one in a
        hundred takes more than six times as long.
    :param link_seconds: lifetime of a result link; 0 gives links that are dead at once.
    :param credits: number of jobs that may still be accepted before 402, or None for no limit. Each accepted job takes
        one; where the API promises not to charge failed jobs (the edit endpoint), a failure gives it back.
    :param price_usd: what a job costs in the answers that speak of money.
    :param concurrent_jobs: number of jobs that may run at once before 429, or None for no limit.
    :param fail_next: what becomes of the next accepted jobs, first one first: a failure code (see ``failures``), or
        None to let that job through. A code of no list is answered as it is, as a future one would be.
    :param refuse_next: why the next submits with a right key are refused, first one first: a failure code.
    :param fail_rate: 0 to 1: the part of jobs that fail by chance, spread over the kinds of failures.
    :param retry_after: the ``Retry-After`` of refusals that ask to wait: seconds, or an HTTP date as text.
    :param error_envelope: how the current generation words a refusal: ``message`` is the newer
        ``{"error", "error_code", "message"}``, ``detail`` is FastAPI's. The SDXL generation always uses ``detail``.
    :param model: the model's version; another one than ``v1`` gives every picture another look.
    :param canned: True answers every job with one small ready-made image and looks at no input: thousands of jobs cost
        next to nothing.
    :param seed: of all chance here, never of the pictures; the n-th job draws the same for the same seed.
    :param keep_bytes: bound of all kept images, and of all uploads, in bytes; read once, at the start.
    """

    api_key: str = "emulator-key"
    job_seconds: float = 2.0
    spread: float = 0.0
    heavy_tail: bool = False
    link_seconds: float = 3600.0
    credits: int | None = None
    price_usd: float = 0.04
    concurrent_jobs: int | None = None
    fail_next: list[str | None] = field(default_factory=list)
    refuse_next: list[str] = field(default_factory=list)
    fail_rate: float = 0.0
    retry_after: int | str = 1
    error_envelope: Literal["message", "detail"] = "message"
    model: str = FIRST_MODEL
    canned: bool = False
    seed: int = 0
    keep_bytes: int = field(default=KEEP_BYTES, repr=False)
