"""The generations of the vendor's API as data: paths, the key's header, names of fields and statuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from airflow_imagepipeline.contract.errors import Malformed

# Ids are pasted into paths: percent-quoting alone does not stop "..".
_JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:-]{0,199}", re.ASCII)


class JobStatus(StrEnum):
    """Where a job stands, in one vocabulary for all generations of the API."""

    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"

    @property
    def is_terminal(self) -> bool:
        """Tell whether the job will not change any more."""
        return self is not JobStatus.PENDING


@dataclass(frozen=True)
class Api:
    """
    One generation's endpoint on the wire.

    :param name: path of the endpoint without slashes around it; also its name in results.
    :param key_header: header that carries the API key.
    :param id_fields: fields that may hold a job's id, the first one present counts.
    :param links_field: field that holds the result's link or links.
    :param statuses: the vendor's status words, upper case, and what they mean here.
    :param retryable: failure codes, and whether the vendor's page says that the same request may succeed; an answer's
        own word comes first.
    """

    name: str
    key_header: str
    id_fields: tuple[str, ...]
    links_field: str
    statuses: Mapping[str, JobStatus]
    retryable: Mapping[str, bool] = field(default_factory=dict)

    @property
    def submit_path(self) -> str:
        """Path that a job is posted to."""
        return f"/{self.name}"

    def status_path(self, job_id: str) -> str:
        """
        Return the path that answers where a job stands.

        :raises Malformed: when the id could change the path's meaning.
        """
        return f"/{self.name}/status/{checked_job_id(job_id)}"


def checked_job_id(job_id: object) -> str:
    """
    Return a job's id if it is safe inside a path; a whole number counts as its digits.

    :raises Malformed: for everything else, before a path is built from it.
    """
    text = str(job_id) if isinstance(job_id, int) and not isinstance(job_id, bool) else job_id
    if not isinstance(text, str) or not _JOB_ID.fullmatch(text):
        msg = f"not a job id: {ascii(job_id)[:80]}"
        raise Malformed(msg)
    return text


# The page documents three words; the others were seen in the vendor's own applications.
SDXL_IMAGE_TO_IMAGE: Final = Api(
    name="sdxl/image2image/v1",
    key_header="API-Key",
    id_fields=("id", "task_id"),
    links_field="download_urls",
    statuses={
        "PENDING": JobStatus.PENDING,
        "PROCESSING": JobStatus.PENDING,
        "SUCCESS": JobStatus.SUCCESS,
        "FAILURE": JobStatus.FAILURE,
        "FAILED": JobStatus.FAILURE,
        "ERROR": JobStatus.FAILURE,
        "CANCELLED": JobStatus.FAILURE,
    },
)

# The current generation. `cancelled` ends a job although no way to cancel is documented.
EDIT_IMAGE: Final = Api(
    name="edit/image/v1",
    key_header="X-API-Key",
    id_fields=("job_id", "id"),
    links_field="result_url",
    statuses={
        "QUEUED": JobStatus.PENDING,
        "PENDING": JobStatus.PENDING,
        "PROCESSING": JobStatus.PENDING,
        "COMPLETED": JobStatus.SUCCESS,
        "FAILED": JobStatus.FAILURE,
        "CANCELLED": JobStatus.FAILURE,
    },
    # The page leaves it open for CANCELLED, and codes of no list may come.
    retryable={
        **dict.fromkeys(("RATE_LIMIT_EXCEEDED", "CONCURRENT_JOBS_EXCEEDED", "MODEL_ERROR", "MODEL_UNAVAILABLE"), True),
        **dict.fromkeys(("STORAGE_ERROR", "TIMEOUT", "INTERNAL_ERROR"), True),
        **dict.fromkeys(("INSUFFICIENT_CREDITS", "CREDIT_CHARGE_FAILED", "INPUT_INVALID"), False),
    },
)

APIS: Final[Mapping[str, Api]] = {api.name: api for api in (SDXL_IMAGE_TO_IMAGE, EDIT_IMAGE)}


def api_named(name: object) -> Api:
    """
    Return the API of this name.

    :raises ValueError: when this version of the provider knows no such API.
    """
    if isinstance(name, str) and name in APIS:
        return APIS[name]
    msg = f"unknown API {ascii(name)[:80]}; known are {sorted(APIS)}"
    raise ValueError(msg)
