"""The generations of the vendor's API as data: paths, the key's header, names of fields and statuses."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import quote, unquote

from airflow_imagepipeline.contract.errors import Malformed

_LONGEST_JOB_ID: Final = 1024
# Quoting alone does not stop "..": servers unquote a path before they resolve it.
_CHANGES_PATH: Final = re.compile(r"(?:^|[/\\])\.{1,2}(?:$|[/\\])")
_IN_WORDS: Final = re.compile(r"[\s_-]+")


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
    :param statuses: the vendor's status words and their synonyms, upper case and without spaces and low lines, and
        what they mean here.
    :param most_images: images that one job makes at most, as the vendor's page says.
    :param retryable: failure codes, and whether the vendor's page says that the same request may succeed; an answer's
        own word comes first.
    """

    name: str
    key_header: str
    id_fields: tuple[str, ...]
    links_field: str
    statuses: Mapping[str, JobStatus]
    most_images: int
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
        return f"/{self.name}/status/{quote(checked_job_id(job_id), safe='')}"

    def status_of(self, word: str) -> JobStatus | None:
        """Return what a status word means, however it is spelled; None for one that is not known."""
        return self.statuses.get(_IN_WORDS.sub("", word).upper())


def checked_job_id(job_id: object) -> str:
    """
    Return a job's id: opaque text, which is quoted into the path; a whole number counts as its digits.

    :raises Malformed: for what quoting does not make safe inside a path (``..`` between slashes, control characters),
        for nothing, and for more than 1,024 characters.
    """
    text = str(job_id) if isinstance(job_id, int) and not isinstance(job_id, bool) else job_id
    if not isinstance(text, str) or not 0 < len(text) <= _LONGEST_JOB_ID or not _is_quotable(text):
        msg = f"not a job id: {ascii(job_id)[:80]}"
        raise Malformed(msg)
    return text


def _is_quotable(text: str) -> bool:
    # Cn, Zl and Zp are left to fail, too: nobody writes an id of them.
    is_plain = all(character == " " or unicodedata.category(character)[0] not in "CZ" for character in text)
    # Unquoted once more, as some gateways do.
    return is_plain and text.strip() != "" and not any(map(_CHANGES_PATH.search, (text, unquote(text))))


def is_same_job_id(one: str, other: str) -> bool:
    """Tell whether two ids name one job: equal but for letter case, or one UUID in two spellings."""
    if one.strip().casefold() == other.strip().casefold():
        return True
    try:
        return uuid.UUID(one) == uuid.UUID(other)
    except ValueError:
        return False


# Words that other APIs, and other versions of this one, end a job with. Those the page documents are among them.
_ENDINGS: Final[Mapping[str, JobStatus]] = {
    **dict.fromkeys(("SUCCESS", "SUCCESSFUL", "SUCCEEDED", "COMPLETE", "COMPLETED"), JobStatus.SUCCESS),
    **dict.fromkeys(("DONE", "FINISHED", "READY"), JobStatus.SUCCESS),
    **dict.fromkeys(("FAILURE", "FAILED", "FAIL", "ERROR", "ERRORED"), JobStatus.FAILURE),
    **dict.fromkeys(("CANCELLED", "CANCELED", "ABORTED", "REJECTED"), JobStatus.FAILURE),
    **dict.fromkeys(("TIMEOUT", "TIMEDOUT", "EXPIRED", "TERMINATED"), JobStatus.FAILURE),
}

# The page documents three words; the others were seen in the vendor's own applications.
SDXL_IMAGE_TO_IMAGE: Final = Api(
    name="sdxl/image2image/v1",
    key_header="API-Key",
    id_fields=("id", "task_id"),
    links_field="download_urls",
    statuses={**dict.fromkeys(("PENDING", "PROCESSING"), JobStatus.PENDING), **_ENDINGS},
    most_images=4,
)

# The current generation. `cancelled` ends a job although no way to cancel is documented.
EDIT_IMAGE: Final = Api(
    name="edit/image/v1",
    key_header="X-API-Key",
    id_fields=("job_id", "id"),
    links_field="result_url",
    statuses={**dict.fromkeys(("QUEUED", "PENDING", "PROCESSING"), JobStatus.PENDING), **_ENDINGS},
    most_images=1,
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
