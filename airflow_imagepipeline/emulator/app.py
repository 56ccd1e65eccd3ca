# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""The routes: what the vendor's API answers, and the emulator's own pages below ``/_emulator``."""

from __future__ import annotations

import contextlib
import functools
import hmac
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .generation import Generation, JobView
from .jobs import KEEP_BYTES, Job, JobStore
from .links import FILES_PATH, LinkSigner
from .request import InvalidFieldsError
from .sdxl import SDXL_IMAGE_TO_IMAGE
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from .stats import Stats

GENERATIONS = (SDXL_IMAGE_TO_IMAGE,)


@dataclass(kw_only=True)
class Settings:
    """How the emulated service behaves; may be changed while it runs and counts from the next request on.

    :param api_key: the only key that is accepted.
    :param job_seconds: how long a job runs at least; longer when making its images takes longer.
    :param link_seconds: lifetime of a result link; 0 gives links that are dead at once.
    :param credits: number of jobs that may still be accepted, or None for no limit; each accepted job takes one.
    :param keep_bytes: bound of all kept images in bytes; read once, at the start.
    """

    api_key: str
    job_seconds: float = 2.0
    link_seconds: float = 3600.0
    credits: int | None = None
    keep_bytes: int = field(default=KEEP_BYTES, repr=False)


class _Service:
    def __init__(self, settings: Settings, stats: Stats) -> None:
        self.settings = settings
        self.stats = stats
        self.store = JobStore(settings.keep_bytes)
        self.links = LinkSigner()
        self.worker: Worker

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self.worker = Worker(self.store)
        try:
            yield
        finally:
            await self.worker.close()

    async def submit(self, generation: Generation, request: Request) -> Response:
        self.stats.submits += 1
        self._check_key(generation, request)
        order = generation.read_order(await request.body())
        self._take_credit()
        job = Job(generation=generation, order=order, ready_at=time.monotonic() + self.settings.job_seconds)
        self.store.add(job)
        self.worker.start(job)
        self.stats.accepted += 1
        return JSONResponse(generation.describe_accepted(JobView(job_id=job.job_id)), generation.accepted_status)

    async def look(self, generation: Generation, request: Request) -> Response:
        self.stats.polls += 1
        self._check_key(generation, request)
        job = self.store.get(request.path_params["job_id"])
        if job is None or job.generation is not generation:
            raise HTTPException(404, "Job not found")
        return JSONResponse(generation.describe(self._view(job, str(request.base_url))))

    async def download(self, request: Request) -> Response:
        if any(generation.key_header in request.headers for generation in GENERATIONS):
            self.stats.downloads_with_key += 1
        job_id, index = request.path_params["job_id"], request.path_params["index"]
        if not self.links.allows(request.query_params.get("Authorization", ""), job_id, index):
            self.stats.downloads_refused += 1
            return JSONResponse({"detail": "This link is not valid or has expired"}, 403)
        job = self.store.get(job_id)
        if job is None:  # forgotten after the link was given
            self.stats.downloads_refused += 1
            return JSONResponse({"detail": "Not Found"}, 404)
        self.stats.downloads += request.method == "GET"
        return Response(job.images[index], media_type="image/png")

    async def show_stats(self, _request: Request) -> Response:
        return JSONResponse(self.stats.to_payload())

    def _check_key(self, generation: Generation, request: Request) -> None:
        key = request.headers.get(generation.key_header)
        if key is None:
            raise HTTPException(401, f"Missing header {generation.key_header}")
        if not hmac.compare_digest(key.encode(), self.settings.api_key.encode()):
            raise HTTPException(401, "Invalid API key")

    def _take_credit(self) -> None:
        if self.settings.credits is None:
            return
        if self.settings.credits <= 0:
            raise HTTPException(402, "No credits left")
        self.settings.credits -= 1

    def _view(self, job: Job, base_url: str) -> JobView:
        if not job.has_ended:
            return JobView(job_id=job.job_id)
        seconds = self.settings.link_seconds
        links = (self.links.link(base_url, job.job_id, index, seconds=seconds) for index in range(len(job.images)))
        return JobView(job_id=job.job_id, links=tuple(links), error=job.error)


def _counting_refusals(
    handler: Callable[[Request], Awaitable[Response]], stats: Stats
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except HTTPException as exc:
            stats.count_refusal(exc.status_code)
            raise
        except InvalidFieldsError as exc:
            stats.count_refusal(422)
            return JSONResponse({"detail": exc.detail}, 422)

    return answer


async def _plain_refusal(_request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    return JSONResponse({"detail": exc.detail}, exc.status_code, headers=exc.headers)


def create_app(settings: Settings, stats: Stats) -> Starlette:
    """Build the emulated API as an ASGI application.

    :param settings: the behaviour, read at each request.
    :param stats: the counts, written at each request.
    :return: the application; one process may hold several.
    """
    service = _Service(settings, stats)
    routes = [
        Route("/_emulator/stats", service.show_stats, methods=["GET"]),
        Route(FILES_PATH + "/{job_id}/{index:int}.png", service.download, methods=["GET"]),
    ]
    for generation in GENERATIONS:
        submit = _counting_refusals(functools.partial(service.submit, generation), stats)
        look = _counting_refusals(functools.partial(service.look, generation), stats)
        routes.append(Route(generation.path, submit, methods=["POST"]))
        routes.append(Route(generation.path + "/status/{job_id}", look, methods=["GET"]))
    return Starlette(routes=routes, lifespan=service.lifespan, exception_handlers={HTTPException: _plain_refusal})
