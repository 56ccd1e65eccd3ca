"""The hook: an Airflow connection and the operations of the API. Results are fetched elsewhere, without the key."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import BaseHook
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay

from airflow_imagepipeline.contract import calls
from airflow_imagepipeline.contract.addresses import is_loopback
from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE
from airflow_imagepipeline.contract.calls import Call, RequestKind
from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters, Refused
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.hooks import transport
from airflow_imagepipeline.hooks.connection import DEFAULT_HOST, ApiAccess
from airflow_imagepipeline.policy import resending
from airflow_imagepipeline.policy.job_event import JobEvent
from airflow_imagepipeline.policy.waiting import JobWait, steady_clock

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

LAST_LOOK: Final = 120.0
"""Seconds for a fresh look at a job that is known to be finished."""
_NOT_FOUND: Final = 404
_PROBE_ID: Final = "airflow-connection-test"


class ImagePipelineHook(BaseHook):
    """
    Talk to ImagePipeline.io with the key of an Airflow connection.

    :param imagepipeline_conn_id: connection of type ``imagepipeline``: the password is the API key, the host is
        optional.
    """

    conn_name_attr = "imagepipeline_conn_id"
    default_conn_name = "imagepipeline_default"
    conn_type = "imagepipeline"
    hook_name = "ImagePipeline"

    def __init__(self, imagepipeline_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.imagepipeline_conn_id = imagepipeline_conn_id
        self._random = random.Random()
        self._sleep = time.sleep

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the connection form's behaviour for Airflow 3.1; later versions read the provider's metadata."""
        return {
            "hidden_fields": ["schema", "login", "extra"],
            "relabeling": {"password": "API key"},
            "placeholders": {"host": DEFAULT_HOST},
        }

    @cached_property
    def access(self) -> ApiAccess:
        """
        Where the API is and what opens it, read from the connection once.

        :raises AirflowNotFoundException: when there is no such connection.
        :raises Misconfigured: when its key or host cannot be used.
        """
        return ApiAccess.from_connection(self.get_connection(self.imagepipeline_conn_id))

    async def aaccess(self) -> ApiAccess:
        """Return :attr:`access` without blocking an event loop."""
        if "access" not in self.__dict__:
            from airflow.providers.common.compat.connection import get_async_connection

            conn_id = self.imagepipeline_conn_id
            # No local name for the connection: its text shows the password wherever a traceback shows locals.
            try:
                self.__dict__["access"] = ApiAccess.from_connection(await get_async_connection(conn_id))
            except AirflowNotFoundException:
                # The asynchronous getter of Airflow 3.1 does not see every secrets backend.
                self.__dict__["access"] = ApiAccess.from_connection(
                    await asyncio.to_thread(self.get_connection, conn_id)
                )
        return self.access

    def send(self, call: Call[T]) -> T:
        """
        Send a call once.

        :raises ImagePipelineError: when it failed; its class says whether it may have been taken.
        """
        return call.parse(transport.send_with_requests(self.access, call.request))

    async def asend(self, call: Call[T], session: aiohttp.ClientSession) -> T:
        """Send a call once, inside an event loop."""
        return call.parse(await transport.send_with_aiohttp(await self.aaccess(), call.request, session))

    def asession(self) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
        """Open the session for all calls of one run of an event loop."""
        return transport.aiohttp_session()

    def submit_job(self, parameters: calls.Submittable, links: Mapping[str, str] | None = None) -> Job:
        """
        Start a job. **This is what is paid for.**

        It is sent again only while nothing can have been accepted (no connection, or the API said "later"): at most
        four times within two minutes.

        :param links: for inputs the vendor cannot fetch as they are (``s3://``), the link to send instead.
        :raises InvalidParameters: when an input lies on this machine and the API does not.
        :raises ImagePipelineError: when it was not taken, or when that is not known (``Uncertain``, ``Malformed``).
        """
        self.refuse_unreachable_inputs(parameters.to_payload(links or {}))
        # A call for each attempt: the job is as old as the one that was taken.
        return self._sent(RequestKind.SUBMIT, lambda: calls.submit_job(parameters, links, submitted_at=time.time()))

    def upload_image(self, content: bytes, content_type: str, extension: str) -> str:
        """
        Give the vendor a copy of an image and return its link. Nothing is paid for it, so it is sent again on a fault.

        :param content: at most 20 MB of PNG, JPEG, WebP or GIF.
        :param content_type: ``image/png``, say.
        :param extension: of a file name, without the dot; the file's own name is not told.
        :return: a link that the vendor's pages call permanent: who knows it can open the image.
        :raises ImagePipelineError: when it was not taken.
        """
        return self._sent(RequestKind.UPLOAD, lambda: calls.upload_image(content, content_type, extension))

    def _sent(self, kind: RequestKind, call: Callable[[], Call[T]]) -> T:
        engine = Retrying(
            retry=retry_if_exception(lambda error: resending.may_send_again(kind, error)),
            wait=self._pause,
            stop=stop_after_attempt(resending.SUBMIT_ATTEMPTS) | stop_before_delay(resending.SUBMIT_SECONDS),
            sleep=self._sleep,
            reraise=True,
        )
        result: T = engine(lambda: self.send(call()))
        return result

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        seconds = resending.pause_before_resending(state.attempt_number, error, self._random)
        self.log.warning("%s Attempt %d; next in at most %.0f s.", error, state.attempt_number, seconds)
        return seconds

    def refuse_unreachable_inputs(self, payload: Mapping[str, Any]) -> None:
        """
        Refuse a request whose inputs lie on this machine while the API does not.

        :param payload: its body; any field may hold a link, or a list of them.
        :raises InvalidParameters: naming the field.
        """
        for name, value in payload.items():
            hosts = map(_host, value if isinstance(value, list) else [value])
            if any(map(is_loopback, hosts)) and not self.access.is_loopback:
                msg = f"{name}: the image lies on this machine, where {self.access.origin} cannot fetch it."
                raise InvalidParameters(msg)

    def get_job(self, handle: JobHandle) -> Job:
        """Look once where a job stands."""
        return self.send(calls.get_job(handle))

    async def aget_job(self, handle: JobHandle, session: aiohttp.ClientSession) -> Job:
        """Look once where a job stands, inside an event loop."""
        return await self.asend(calls.get_job(handle), session)

    def wait_for_job(self, handle: JobHandle, *, deadline: float, poll_interval: float = 5.0) -> JobEvent:
        """
        Look at a job until it is done, holding this process.

        :param deadline: seconds since the epoch; the job is looked at once even if it has passed.
        :param poll_interval: seconds between two looks.
        :return: the end of the wait; with ``Outcome.SUCCEEDED`` its ``job`` holds fresh links.
        """
        wait = JobWait(handle, deadline=deadline, poll_interval=poll_interval, source=self._random)
        clock = steady_clock(time.time, time.monotonic)
        _ = self.access
        while (event := wait.after(self.seen(handle), now=clock())) is None:
            if wait.remark:
                self.log.warning("%s", wait.remark)
            self._sleep(wait.pause(now=clock()))
        return event

    def last_look(self, handle: JobHandle) -> JobEvent:
        """Look at a job that should be finished, and give a passing fault of the network two minutes."""
        return self.wait_for_job(handle, deadline=time.time() + LAST_LOOK)

    def seen(self, handle: JobHandle) -> Job | ImagePipelineError:
        """Look once; what went wrong is an answer too, for a wait to judge."""
        try:
            return self.get_job(handle)
        except ImagePipelineError as error:
            return error

    async def aseen(self, handle: JobHandle, session: aiohttp.ClientSession) -> Job | ImagePipelineError:
        """Look once, inside an event loop; what went wrong is an answer too."""
        try:
            return await self.aget_job(handle, session)
        except ImagePipelineError as error:
            return error

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection without paying.

        The current generation has an account endpoint, whose answer (it holds the key) is neither read nor shown. The
        old one has no call that proves a key for nothing: a job that does not exist is asked for; a refused key shows,
        an accepted one cannot be told from one that is not looked at.
        """
        try:
            self.send(calls.get_account())
        except Refused as error:
            return self._test_old_generation(f"The account endpoint answered {error.status}")
        except ImagePipelineError as error:
            return False, str(error)
        return True, f"{self.access.origin} accepts the key, as its account endpoint says."

    def _test_old_generation(self, account: str) -> tuple[bool, str]:
        try:
            self.get_job(JobHandle(SDXL_IMAGE_TO_IMAGE, _PROBE_ID))
        except Refused as error:
            if error.status != _NOT_FOUND:
                return False, f"{error} {account}."
        except ImagePipelineError as error:
            return False, str(error)
        return True, (
            f"{self.access.origin} answers, and the SDXL endpoint did not refuse the key. {account}, so the key may be "
            "one of the old generation only. There is no free call that proves more; the first job will."
        )


def _host(value: object) -> str | None:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        return None
    try:
        return urlsplit(value).hostname
    except ValueError:
        # A prompt may begin like a link.
        return None
