"""What a task's result names: the images of one job, or the manifest of a batch. Nothing else is ever read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_imagepipeline.contract.manifest import ManifestRow, RowOutcome
from airflow_imagepipeline.contract.result import LandedImage
from airflow_imagepipeline.contract.sidecar import sidecar_in
from airflow_imagepipeline.contract.text import without_signature
from airflow_imagepipeline.plugins.words import is_number

MOST_IMAGES: Final = 16
"""Images of one job that are shown; the API gives four."""
MOST_INPUTS: Final = 8
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LONGEST_ADDRESS: Final = 2_000
_TREATMENTS: Final = ("new", "reused", "taken_up", "same", "kept", "uncertain", "invalid")
_INPUT_FIELDS: Final = ("init_image", "input_image")


@dataclass(frozen=True)
class Named:
    """
    An object that a result names.

    :param sha256: digest of its bytes; None when the result does not say.
    :param is_input: whether it went in, rather than came out.
    """

    uri: str
    sha256: str | None = None
    is_input: bool = False


@dataclass(frozen=True)
class JobFound:
    """
    The result of one job, as far as it can be shown.

    :param images: what was landed, and behind it what was put aside.
    :param rejected: how many of the images were put aside, as they did not pass the checks.
    :param links: how many of the vendor's own links it holds instead of images.
    """

    status: str
    job_id: str | None
    api: str
    seed: int | None
    submitted_at: float | None
    images: tuple[LandedImage, ...] = ()
    rejected: int = 0
    links: int = 0
    cost: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchFound:
    """The result of a batch, as far as it can be shown."""

    manifest: str
    ledger: str = ""
    submitted: int | None = None
    cost: float | None = None
    bytes: int | None = None
    seconds: float | None = None
    contact_sheet: str | None = None
    counts: Mapping[RowOutcome, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SheetFound:
    """A contact sheet: one picture of a whole run."""

    uri: str
    counts: Mapping[RowOutcome, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanFound:
    """
    What a batch would have done, of which nothing but its plan was asked.

    :param rows: how many rows would be treated how, by the operator's words, without those of no row.
    :param invalid: why the first invalid rows are.
    """

    total: int
    rows: Mapping[str, int]
    cost: float | None = None
    seconds: float | None = None
    invalid: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """How an image was made, as its sidecar says; empty when it has none."""

    request: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Named, ...] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    checks: Mapping[str, Any] = field(default_factory=dict)
    landed_at: float | None = None


Found = JobFound | BatchFound | SheetFound


def read_result(value: Any) -> Found | None:
    """Return what a task returned; None when it is not ours."""
    if not isinstance(value, Mapping):
        return None
    counts = value.get("counts")
    if _text(value.get("manifest")) and "ledger" in value and isinstance(counts, Mapping):
        return _batch(value)
    if _text(value.get("uri")) and "pairs" in value and isinstance(counts, Mapping):
        return SheetFound(_text(value["uri"]), _counts(counts))
    if "job_id" in value and isinstance(value.get("api"), str) and isinstance(value.get("status"), str):
        return _job(value)
    return None


def read_plan(value: Any) -> PlanFound | None:
    """Return the plan that a batch returned instead of a result; None when it did not."""
    total = _whole(value.get("total")) if isinstance(value, Mapping) and value.get("plan_only") is True else None
    if total is None:
        return None
    rows = {name: number for name in _TREATMENTS if (number := _whole(value.get(name)) or 0) > 0}
    told = value.get("invalid_rows")
    invalid = tuple(text for one in told if (text := _text(one))) if isinstance(told, list) else ()
    return PlanFound(total, rows, _number(value.get("cost")), _number(value.get("seconds")), invalid)


def _batch(value: Mapping[str, Any]) -> BatchFound:
    submitted, cost = _whole(value.get("submitted")), _number(value.get("cost"))
    return BatchFound(
        manifest=_text(value["manifest"]),
        ledger=_text(value.get("ledger")),
        submitted=submitted,
        # Version 0.1.0 said None where nothing was paid and no price known.
        cost=0.0 if cost is None and submitted == 0 else cost,
        bytes=_whole(value.get("bytes")),
        seconds=_number(value.get("seconds")),
        contact_sheet=_text(value.get("contact_sheet")) or None,
        counts=_counts(value["counts"]),
    )


def _counts(value: Mapping[str, Any]) -> dict[RowOutcome, int]:
    return {outcome: number for outcome in RowOutcome if (number := _whole(value.get(outcome.value)) or 0) > 0}


def _job(value: Mapping[str, Any]) -> JobFound:
    landed, rejected = _images(value.get("images")), _images(value.get("rejected"))
    links = value.get("download_urls")
    return JobFound(
        status=_text(value["status"]),
        job_id=_text(value["job_id"]) or None,
        api=_text(value["api"]),
        seed=_whole(value.get("seed")),
        submitted_at=_number(value.get("submitted_at")),
        images=(*landed, *rejected),
        rejected=len(rejected),
        links=len(links) if isinstance(links, list) else 0,
        cost=_mapping(value.get("cost")),
    )


def _images(value: Any) -> tuple[LandedImage, ...]:
    return tuple(filter(None, map(_image, value[:MOST_IMAGES]))) if isinstance(value, list) else ()


def _image(value: Any) -> LandedImage | None:
    if not isinstance(value, Mapping) or not _text(value.get("uri")):
        return None
    sizes = (_whole(value.get(name)) or 0 for name in ("bytes", "width", "height"))
    size, width, height = sizes
    digest, form = _text(value.get("sha256")), _text(value.get("format"))
    checks, is_blank = _mapping(value.get("checks")), value.get("blank") is True
    return LandedImage(_text(value["uri"]), digest, size, form, width, height, is_blank, checks)


def read_provenance(content: bytes) -> Provenance:
    """Return what a sidecar says; nothing when it is none."""
    try:
        found = sidecar_in(content)
    except ValueError:
        return Provenance()
    inputs = tuple(
        Named(without_signature(one.address), one.sha256, is_input=True) for one in found.inputs[:MOST_INPUTS]
    )
    return Provenance(found.request, inputs, found.cost, found.checks, found.landed_at)


def named_image(image: LandedImage) -> Named:
    """Return a landed image as an object that may be read."""
    return Named(image.uri, digest_of(image.sha256))


def row_inputs(row: ManifestRow, provenance: Provenance) -> tuple[Named, ...]:
    """Return what went into a row of a batch: the sidecar knows all of it and its digests, the row the first."""
    return provenance.inputs or ((Named(without_signature(row.input), is_input=True),) if _text(row.input) else ())


def rendered_inputs(rendered: Mapping[str, Any]) -> tuple[Named, ...]:
    """Return what went into a job, as its task's rendered fields say."""
    for name in _INPUT_FIELDS:
        value = rendered.get(name)
        addresses = [text for one in (value if isinstance(value, list) else [value]) if (text := _text(one))]
        if addresses:
            return tuple(Named(without_signature(text), is_input=True) for text in addresses[:MOST_INPUTS])
    return ()


def digest_of(value: Any) -> str | None:
    """Return a sha256 in hexadecimal digits, or None when it is none: it becomes part of a file name."""
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= _LONGEST_ADDRESS else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and is_number(value) else None


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
