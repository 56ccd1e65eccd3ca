"""The emulated service itself: what is behind each route, for every generation alike."""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from .account import Account
from .chance import Chance
from .encoding import FORMATS
from .failures import TOO_MANY_AT_ONCE
from .generation import Generation, JobView
from .jobs import Job, JobStore
from .links import LinkSigner
from .refusals import RefusedError
from .uploads import UPLOADED_PATH, UploadStore, read_upload
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.applications import Starlette
    from starlette.requests import Request

    from .settings import Settings
    from .stats import Stats


class Service:
    """Answers requests; its state lives as long as the application.

    :param settings: the behaviour, read at each request.
    :param stats: the counts, written at each request.
    :param key_headers: headers that carry a key, and must not be sent where files are fetched.
    """

    def __init__(self, settings: Settings, stats: Stats, *, key_headers: Sequence[str]) -> None:
        """Start without jobs; the worker comes with the event loop."""
        self.settings = settings
        self.stats = stats
        self.account = Account(settings)
        self._key_headers = key_headers
        self._store = JobStore(settings.keep_bytes)
        self._uploads = UploadStore(settings.keep_bytes)
        self._links = LinkSigner()
        self._chance = Chance(settings)
        self._worker: Worker

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Hold a worker while the application runs."""
        self._worker = Worker(self._store, self.account)
        try:
            yield
        finally:
            await self._worker.close()

    async def submit(self, generation: Generation, request: Request) -> Response:
        """Take a job, unless the key, the settings or its body speak against it."""
        self.stats.submits += 1
        self._check_key(generation, request)
        raw = await request.body()
        if self.settings.refuse_next:
            raise RefusedError(self.settings.refuse_next.pop(0), self.settings.retry_after)
        order = dataclasses.replace(generation.read_order(raw), model=self.settings.model)
        if self._is_busy:
            raise RefusedError(TOO_MANY_AT_ONCE, self.settings.retry_after)
        self.account.charge()
        fate = self._chance.decide()
        job = Job(
            generation=generation,
            order=order,
            seconds=fate.seconds,
            price_usd=self.settings.price_usd,
            balance_usd=self.account.balance_usd,
        )
        self._store.add(job)
        self._worker.start(job, fate.failure, canned=self.settings.canned)
        self.stats.accepted += 1
        return JSONResponse(generation.describe_accepted(_view(job)), generation.accepted_status)

    async def look(self, generation: Generation, request: Request) -> Response:
        """Tell where a job of this generation stands."""
        self.stats.polls += 1
        self._check_key(generation, request)
        job = self._store.get(request.path_params["job_id"])
        if job is None or job.generation is not generation:
            raise HTTPException(404, "Job not found")
        if not job.has_ended:
            return JSONResponse(generation.describe(_view(job)))
        file, seconds = FORMATS[job.order.output_format], self.settings.link_seconds
        links = [
            self._links.link(str(request.base_url), job.job_id, index, file, seconds=seconds)
            for index in range(len(job.images))
        ]
        return JSONResponse(generation.describe(_view(job, links=tuple(links), failure=job.failure)))

    async def download(self, request: Request) -> Response:
        """Give an image to whoever holds its link."""
        self._watch_for_keys(request)
        job_id, index = request.path_params["job_id"], request.path_params["index"]
        if not self._links.allows(request.query_params.get("Authorization", ""), job_id, index):
            self.stats.downloads_refused += 1
            return JSONResponse({"detail": "This link is not valid or has expired"}, 403)
        job = self._store.get(job_id)
        if job is None:  # forgotten after the link was given
            self.stats.downloads_refused += 1
            return JSONResponse({"detail": "Not Found"}, 404)
        self.stats.downloads += request.method == "GET"
        return Response(job.images[index], media_type=FORMATS[job.order.output_format].media_type)

    async def upload(self, generation: Generation, request: Request) -> Response:
        """Take an image into storage."""
        self._check_key(generation, request)
        upload = await read_upload(request)
        name = self._uploads.add(upload)
        self.stats.uploads += 1
        return JSONResponse(
            {
                "url": f"{str(request.base_url).rstrip('/')}{UPLOADED_PATH}/{name}",
                "filename": upload.filename,
                "content_type": upload.content_type,
                "size_bytes": len(upload.content),
            }
        )

    async def show_upload(self, request: Request) -> Response:
        """Give an uploaded image to whoever holds its link."""
        self._watch_for_keys(request)
        upload = self._uploads.get(request.path_params["name"])
        if upload is None:
            return JSONResponse({"detail": "Not Found"}, 404)
        return Response(upload.content, media_type=upload.content_type)

    async def show_account(
        self, generation: Generation, describe: Callable[[], dict[str, Any]], request: Request
    ) -> Response:
        """Tell about the account behind the key."""
        self._check_key(generation, request)
        return JSONResponse(describe())

    async def show_stats(self, _request: Request) -> Response:
        """Tell what was counted."""
        return JSONResponse(self.stats.to_payload())

    @property
    def _is_busy(self) -> bool:
        limit = self.settings.concurrent_jobs
        return limit is not None and self._store.count_running() >= limit

    def _watch_for_keys(self, request: Request) -> None:
        self.stats.downloads_with_key += any(header in request.headers for header in self._key_headers)

    def _check_key(self, generation: Generation, request: Request) -> None:
        key = request.headers.get(generation.key_header)
        if key is None:
            raise HTTPException(401, f"Missing header {generation.key_header}")
        if not hmac.compare_digest(key.encode(), self.settings.api_key.encode()):
            raise HTTPException(401, "Invalid API key")


def _view(job: Job, **outcome: Any) -> JobView:
    return JobView(
        job_id=job.job_id,
        order=job.order,
        queued_at=job.queued_at,
        age=job.age,
        seconds=job.seconds,
        price_usd=job.price_usd,
        balance_usd=job.balance_usd,
        **outcome,
    )
