"""Make the images of accepted jobs, off the event loop, so that polls stay quick meanwhile.

The input images are downloaded at once, in the background; an image that cannot be had ends the job with an error,
never the server. Nothing is tried twice. Jobs whose end is decided already, and canned ones, are settled on the spot.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx

from .editing import NotAnImageError, edit, make_files, open_inputs
from .encoding import canned_files
from .failures import Failure

if TYPE_CHECKING:
    from PIL import Image

    from .account import Account
    from .jobs import Job, JobStore
    from .order import EditOrder

FETCH_SECONDS = 10.0
FETCH_BYTES = 20 * 2**20

_log = logging.getLogger(__name__)


class UnusableInputError(Exception):
    """Says why an input image cannot be used, in a sentence whose subject is the image."""


class Worker:
    """Turns orders into images; must be created, used and closed inside one event loop.

    :param store: where results are recorded.
    :param account: where failed jobs give their credit back.
    """

    def __init__(self, store: JobStore, account: Account) -> None:
        """Open the HTTP client and the pool of threads."""
        self._store = store
        self._account = account
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1), thread_name_prefix="emulator-edit")
        self._client = httpx.AsyncClient(
            timeout=FETCH_SECONDS,
            follow_redirects=True,
            headers={"User-Agent": "imagepipeline-emulator"},
            mounts={"all://127.0.0.1": None, "all://localhost": None},  # a proxy cannot reach this machine's loopback
        )

    def start(self, job: Job, failure: Failure | None = None, *, canned: bool = False) -> None:
        """Begin to make a job's images, without waiting for them.

        :param job: a job of the store.
        :param failure: how the job fails whatever its order is, or None.
        :param canned: True settles the job with ready-made files.
        """
        if failure is None and job.order.is_refused:
            failure = Failure("INPUT_INVALID", "the prompt was refused by the content policy")
        if failure is not None:
            self._fail(job, failure)
        elif canned:
            self._store.settle(job, images=canned_files(job.order))
        else:
            task = asyncio.create_task(self._settle(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up all running jobs and free what they hold; an image in the making is not waited for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        await self._client.aclose()

    async def _settle(self, job: Job) -> None:
        try:
            images = await self._make(job.order)
        except UnusableInputError as exc:
            self._fail(job, Failure("INPUT_INVALID", f"{job.generation.image_field} {exc}"))
        except Exception:  # noqa: BLE001 - without this edge a defect would leave its job pending for ever
            _log.exception("job %s failed in the emulator itself", job.job_id)
            self._fail(job, Failure("INTERNAL_ERROR", "internal error"))
        else:
            self._store.settle(job, images=images)

    def _fail(self, job: Job, failure: Failure) -> None:
        self._store.settle(job, failure=failure)
        if job.generation.refunds_failures:
            self._account.refund()

    async def _make(self, order: EditOrder) -> tuple[bytes, ...]:
        if order.init_image is None:
            message = "is missing: there is nothing to edit"
            raise UnusableInputError(message)
        raws = await asyncio.gather(*map(self._fetch, (order.init_image, *order.further_images)))
        loop = asyncio.get_running_loop()
        try:
            base = await loop.run_in_executor(self._pool, open_inputs, raws, order)
        except NotAnImageError as exc:
            message = f"is not a usable image: {exc}"
            raise UnusableInputError(message) from exc
        if order.making != "edit":
            return await loop.run_in_executor(self._pool, self._made, base, order)
        samples = (loop.run_in_executor(self._pool, edit, base, order, index) for index in range(order.samples))
        return tuple(await asyncio.gather(*samples))

    @staticmethod
    def _made(base: Image.Image, order: EditOrder) -> tuple[bytes, ...]:
        try:
            return make_files(base, order)
        except NotAnImageError as exc:
            message = f"cannot be used: {exc}"
            raise UnusableInputError(message) from exc

    async def _fetch(self, link: str) -> bytes:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await self._download(link)
        except TimeoutError as exc:
            message = f"could not be downloaded: not complete within {FETCH_SECONDS:g} seconds"
            raise UnusableInputError(message) from exc
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as exc:
            message = f"could not be downloaded: {type(exc).__name__}"
            raise UnusableInputError(message) from exc

    async def _download(self, link: str) -> bytes:
        content = bytearray()
        async with self._client.stream("GET", link) as response:
            if response.status_code != httpx.codes.OK:
                message = f"could not be downloaded: HTTP {response.status_code}"
                raise UnusableInputError(message)
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > FETCH_BYTES:
                    message = f"could not be downloaded: more than {FETCH_BYTES} bytes"
                    raise UnusableInputError(message)
        return bytes(content)
