"""
Every operation of the API as a value: what to send, and how to read what comes back.

The hook sends a call with requests in a worker and with aiohttp in the triggerer; nothing else differs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar

from airflow_imagepipeline.contract.answers import (
    ApiResponse,
    code_in,
    json_object,
    page_in,
    reason_in,
    refusal,
    retry_after,
    whole_members,
)
from airflow_imagepipeline.contract.api import EDIT_IMAGE, Api, JobStatus, checked_job_id, is_same_job_id
from airflow_imagepipeline.contract.errors import Malformed, Uncertain, WrongAnswer
from airflow_imagepipeline.contract.job import Job, JobHandle, cost_in, estimate_in, has_odd_price
from airflow_imagepipeline.contract.text import cleaned

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)
_BOUNDARY: Final = "airflow-provider-imagepipeline-7c1f3b9e"
_ACCOUNT_PATH: Final = "/v1/user/me"
_UPLOAD_PATH: Final = "/upload/image/v1"

_SAYS_NO_MORE: Final = frozenset({"failure", "failed", "fail", "error", "errored"})
MOST_LINKS: Final = 16
"""Links in one answer beyond which they are not believed: the API makes at most four images a job."""


class RequestKind(StrEnum):
    """What a request costs when it is sent twice."""

    SUBMIT = "submit"
    """Starts a job that is paid for: sent twice, paid twice."""
    LOOK = "look"
    """Changes nothing: may be sent again at any time."""
    UPLOAD = "upload"
    """Makes a copy of an input that is not paid for: may be sent again."""


@dataclass(frozen=True)
class ApiRequest:
    """
    An HTTP request as values; the key is added by the hook, under ``key_header``.

    :param path: absolute path, to be put behind the connection's origin as it is.
    :param body: what is sent, or None.
    """

    kind: RequestKind
    method: str
    path: str
    key_header: str
    body: bytes | None = field(default=None, repr=False)
    content_type: str = "application/json"


@dataclass(frozen=True)
class Call(Generic[T]):
    """
    One operation: the request and the reading of its answer.

    :param parse: turns an answer into a value, or raises an :class:`ImagePipelineError`.
    """

    request: ApiRequest
    parse: Callable[[ApiResponse], T]


class Submittable(Protocol):
    """What can be posted as a job: the parameters of one endpoint."""

    @property
    def api(self) -> Api:
        """The endpoint these parameters belong to."""

    @property
    def seed(self) -> int | None:
        """What makes the picture again."""

    def to_payload(self, links: Mapping[str, str]) -> dict[str, Any]:
        """Return the request's JSON body, inputs replaced by the links the vendor can fetch."""


def submit_job(
    parameters: Submittable, links: Mapping[str, str] | None = None, *, submitted_at: float | None = None
) -> Call[Job]:
    """
    Start a job. **This is what is paid for.**

    :param links: for inputs that the vendor cannot fetch as they are (``s3://``), the link to send instead.
    :param submitted_at: seconds since the epoch, kept in the job's handle.
    """
    api = parameters.api
    body = json.dumps(parameters.to_payload(links or {}), allow_nan=False).encode()
    request = ApiRequest(RequestKind.SUBMIT, "POST", api.submit_path, api.key_header, body)

    def parse(response: ApiResponse) -> Job:
        value = _taken(api, response)
        handle = JobHandle(api, _new_id(api, value, response), submitted_at, parameters.seed)
        # What has an id was taken, whatever else the answer lacks.
        job = _job(handle, value, response, is_new=handle.job_id is not None)
        if handle.job_id is None and not (
            job.status.is_terminal and (job.download_urls or job.status is JobStatus.FAILURE)
        ):
            _lacks(f"{job.status_word or job.status} without a job id", value, response)
        return job

    return Call(request, parse)


def get_job(handle: JobHandle) -> Call[Job]:
    """
    Look where a job stands.

    :raises Malformed: when the handle's id cannot be part of a path.
    """
    api = handle.api
    request = ApiRequest(RequestKind.LOOK, "GET", api.status_path(handle.job_id or ""), api.key_header)

    def parse(response: ApiResponse) -> Job:
        value = _accepted(response)
        # A finished job's answer carries no id: the known one is kept, another one is an error.
        named = _named_id(api, value)
        if named is not None and not is_same_job_id(str(named), handle.job_id or ""):
            msg = f"{response.source} answered for another job: {ascii(named)[:80]}"
            raise WrongAnswer(msg)
        return _job(handle, value, response)

    return Call(request, parse)


def upload_image(content: bytes, content_type: str, extension: str) -> Call[str]:
    """
    Give the vendor a copy of an image, and get a link to it. Nothing is paid for it.

    :param content: at most 20 MB of PNG, JPEG, WebP or GIF.
    :param content_type: the image's own; the vendor refuses ``application/octet-stream``.
    """
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="image.{extension}"\r\n'
    body = f"{head}Content-Type: {content_type}\r\n\r\n".encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
    form = f"multipart/form-data; boundary={_BOUNDARY}"
    request = ApiRequest(RequestKind.UPLOAD, "POST", _UPLOAD_PATH, EDIT_IMAGE.key_header, body, form)

    def parse(response: ApiResponse) -> str:
        link = _accepted(response).get("url")
        if not isinstance(link, str) or not link:
            msg = f"{response.source} answered {response.status} without a link to the uploaded image"
            raise Malformed(msg)
        return link

    return Call(request, parse)


def get_account() -> Call[None]:
    """
    Ask for the account, to see whether the key is accepted.

    The answer holds the key in clear: it is not read, and what it says of a refusal is not repeated.
    """

    def parse(response: ApiResponse) -> None:
        if not response.is_success:
            raise refusal(response if page_in(response) else replace(response, body=b""))
        if response.failure is not None:
            raise response.failure

    return Call(ApiRequest(RequestKind.LOOK, "GET", _ACCOUNT_PATH, EDIT_IMAGE.key_header), parse)


def _accepted(response: ApiResponse) -> dict[str, Any]:
    if not response.is_success:
        raise refusal(response)
    try:
        return json_object(response)
    except Malformed:
        if response.failure is not None:
            raise response.failure from None
        raise


def _taken(api: Api, response: ApiResponse) -> dict[str, Any]:
    try:
        return _accepted(response)
    except (Malformed, Uncertain):
        # The job is paid for: where the answer was cut, or is followed by something else, its id may have come whole.
        value = whole_members(response) if response.is_success else {}
        if _named_id(api, value) is None:
            raise
        return value


def _lacks(what: str, value: Mapping[str, Any], response: ApiResponse) -> NoReturn:
    reason = reason_in(value)
    raise Malformed(f"{response.source} answered {response.status} {what}" + (f": {reason}" if reason else ""))


def _named_id(api: Api, value: Mapping[str, Any]) -> Any:
    return next((value[name] for name in api.id_fields if value.get(name) not in (None, "")), None)


def _new_id(api: Api, value: Mapping[str, Any], response: ApiResponse) -> str | None:
    named = _named_id(api, value)
    try:
        return None if named is None else checked_job_id(named)
    except Malformed as exc:
        msg = f"{response.source} answered {response.status} with what is {exc}"
        raise Malformed(msg) from None


def _job(handle: JobHandle, value: Mapping[str, Any], response: ApiResponse, *, is_new: bool = False) -> Job:
    word = value.get("status")
    links = _links(value.get(handle.api.links_field), response, handle.api)
    # Cleaned first: a word of control characters alone is no news, but no word.
    shown = cleaned(word, 40) if isinstance(word, str) else ""
    if shown:
        known = handle.api.status_of(str(word))
    elif links:
        known = JobStatus.SUCCESS
    else:
        known = JobStatus.PENDING if is_new else _lacks("without a status", value, response)
    status = JobStatus.PENDING if known is None else known
    return Job(
        handle,
        status,
        download_urls=links if status is JobStatus.SUCCESS else (),
        **(_failure(handle.api, value) if status is JobStatus.FAILURE else {}),
        cost=cost_in(value),
        has_odd_price=has_odd_price(value),
        status_word=shown if known is None else "",
        retry_after=retry_after(response) or 0.0,
        estimated_seconds=estimate_in(value),
    )


def _failure(api: Api, value: Mapping[str, Any]) -> dict[str, Any]:
    code = code_in(value)
    said = value.get("retryable")
    retryable = said if isinstance(said, bool) else api.retryable.get(code)
    word = cleaned(value["status"], 40)
    # A word that says more than "failed" is a reason: cancelled, expired, rejected.
    reason = reason_in(value) or code or ("" if word.lower() in _SAYS_NO_MORE else word.lower())
    return {"error": reason, "reason_code": code, "retryable": retryable}


def _links(value: object, response: ApiResponse, api: Api) -> tuple[str, ...]:
    links = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    if len(links) > MOST_LINKS:
        # The job is paid for: the first ones are as good as any.
        what = f"{response.source} answered with {len(links)} links; a job makes at most {api.most_images} images"
        _log.warning("%s. The first %d are taken.", what, api.most_images)
        links = links[: api.most_images]
    # A half-written answer counts as one without links: the wait polls again.
    usable = links if all(isinstance(link, str) for link in links) else []
    return tuple(dict.fromkeys(link for link in usable if link))
