"""HTTP answers as values, and strategies for those that no sane server would give."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from hypothesis import strategies as st

from airflow_imagepipeline.contract.answers import ApiResponse
from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE
from airflow_imagepipeline.contract.calls import get_job, submit_job
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.contract.parameters import ImageToImageParameters

RECEIVED_AT = 1_800_000_000.0
SOURCE = "GET /sdxl/image2image/v1/status/job-1 (connection imagepipeline_default)"
HANDLE = JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1", submitted_at=1_799_999_990.0, seed=7)
PARAMETERS = ImageToImageParameters(init_image="https://images.example/cup.png", prompt="a cup", seed=7)


def answer(body: object = b"", status: int = 200, /, **headers: str) -> ApiResponse:
    """Return an answer; a body that is no bytes is sent as JSON, header names are given with underscores."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ApiResponse(SOURCE, status, named, sent, RECEIVED_AT)


def looked(body: object, status: int = 200, /, **headers: str) -> Job:
    """Read the answer to a look at job ``job-1``."""
    return get_job(HANDLE).parse(answer(body, status, **headers))


def submitted(body: object, status: int = 202, /, **headers: str) -> Job:
    """Read the answer to a submission."""
    return submit_job(PARAMETERS, submitted_at=1_799_999_990.0).parse(answer(body, status, **headers))


any_text = st.text(st.characters(), max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text
json_values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(any_text, inner), max_leaves=12)

_words = st.sampled_from(["PENDING", "SUCCESS", "FAILURE", " success ", "QUEUED", "", "\0"])
_near_links = st.lists(st.sampled_from(["https://f.example/1.png", "https://f.example/2.png", ""]), max_size=20)
_near_objects = st.fixed_dictionaries(
    {},
    optional={
        "status": _words | json_values,
        "id": st.sampled_from(["job-1", "job-2", "../job-1", 1, 0, True]) | json_values,
        "task_id": json_values,
        "download_urls": _near_links | json_values,
        "error": json_values,
        "message": json_values,
        "detail": json_values,
    },
)


def _as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


_plain_bodies = _near_objects.map(_as_bytes) | json_values.map(_as_bytes) | st.binary(max_size=200)
_bodies = _plain_bodies | _plain_bodies.map(gzip.compress) | _plain_bodies.map(zlib.compress)
_dates = st.sampled_from(["Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 1 Jan 0001 0:0"])
_pauses = st.sampled_from(["0", "7", "1.5", "-5", "soon", "9" * 400]) | _dates | any_text


@st.composite
def any_answers(draw: st.DrawFn) -> ApiResponse:
    """Return any answer at all: near the contract, far from it, compressed, cut."""
    body = draw(_bodies)
    headers = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "content-type": st.just("application/json") | any_text,
                "content-encoding": st.sampled_from(["gzip", "deflate", "br", "identity", ""]) | any_text,
                "retry-after": _pauses,
                "date": _dates | any_text,
                "location": any_text,
            },
        )
    )
    status = draw(st.sampled_from([200, 202, 429, 503]) | st.integers(100, 999))
    cut = draw(st.none() | st.integers(0, len(body)))
    return ApiResponse(SOURCE, status, headers, body[:cut], RECEIVED_AT)
