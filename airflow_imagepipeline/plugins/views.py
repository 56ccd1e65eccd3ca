"""What the pages show, as values for their templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from airflow_imagepipeline.contract.manifest import ManifestRow, RowOutcome
from airflow_imagepipeline.contract.result import LandedImage
from airflow_imagepipeline.contract.sidecar import LARGEST_SIDECAR, SUFFIX
from airflow_imagepipeline.plugins import words
from airflow_imagepipeline.plugins.manifests import Line
from airflow_imagepipeline.plugins.results import (
    JobFound,
    Named,
    Provenance,
    named_image,
    read_provenance,
    rendered_inputs,
    row_inputs,
)
from airflow_imagepipeline.plugins.stored import NotReadable, Storage, kind_of, roots_for
from airflow_imagepipeline.plugins.task_instances import FoundTask
from airflow_imagepipeline.storage.scratch import scratch_folder

_PROMPTS: Final = ("prompt", "negative_prompt")
# Shown elsewhere: as pictures or addresses, or among the facts of the job.
_ELSEWHERE: Final = frozenset({*_PROMPTS, "init_image", "input_image", "image", "images", "mask_image", "seed"})
_FACTS_OF_FILE: Final = frozenset({"reasons", "format", "width", "height"})
Facts = list[tuple[str, str]]


@dataclass(frozen=True)
class Shown:
    """
    A picture on a page.

    :param path: the end of its address: row and name within the task instance.
    :param tag: makes the address another one when the bytes are others; empty when they are not known.
    :param caption: what it is, in words.
    :param is_picture: False for addresses of the web, which are shown as text.
    """

    path: str
    tag: str
    address: str
    caption: str
    is_picture: bool = True
    image: LandedImage | None = None


@dataclass(frozen=True)
class JobView:
    """One job: what went in, what came out, how it was made; and what is said of the image that is looked at."""

    images: list[Shown]
    inputs: list[Shown]
    selected: int = 0
    prompts: Facts = field(default_factory=list)
    parameters: Facts = field(default_factory=list)
    facts: Facts = field(default_factory=list)
    checks: Facts = field(default_factory=list)
    outcome: RowOutcome | None = None
    reasons: list[str] = field(default_factory=list)
    reason_code: str = ""


def storage_of(task: FoundTask) -> Storage:
    """Return the storage as the task may see it."""
    return Storage(task.aws_conn_id, roots_for(task.rendered.get("destination")))


def provenance_of(storage: Storage, image: LandedImage) -> Provenance:
    """Read what lies beside an image; nothing when there is nothing, or nothing that can be read."""
    with scratch_folder() as folder:
        path = folder / "sidecar"
        try:
            storage.fetch(f"{image.uri}{SUFFIX}", path, LARGEST_SIDECAR)
            return read_provenance(path.read_bytes())
        except NotReadable:
            return Provenance()


def inputs_of_job(task: FoundTask, job: JobFound, storage: Storage) -> tuple[tuple[Named, ...], Provenance]:
    """Return what went into a job, and what lies beside its first image."""
    made = provenance_of(storage, job.images[0]) if job.images else Provenance()
    return made.inputs or rendered_inputs(task.rendered), made


def inputs_of_row(row: ManifestRow, storage: Storage) -> tuple[tuple[Named, ...], Provenance]:
    """Return the same of a row of a batch."""
    made = provenance_of(storage, row.images[0]) if row.images else Provenance()
    return row_inputs(row, made), made


def asked_of_all(task: FoundTask) -> Mapping[str, Any]:
    """Return what a batch asked for in every row; what differs from row to row, by placeholders, is left out."""
    request = task.rendered.get("request")
    fields = request.items() if isinstance(request, Mapping) else ()
    return {name: value for name, value in fields if not isinstance(value, str) or "{" not in value}


def job_view(task: FoundTask, job: JobFound, storage: Storage, number: int) -> JobView:
    """
    Return the page of one job.

    :param number: of the image that is looked at; the last one when there is none of this number.
    """
    inputs, made = inputs_of_job(task, job, storage)
    facts = _facts(job.job_id, job.seed, {**made.cost, **job.cost})
    times = [("Submitted", job.submitted_at), ("Landed", made.landed_at)]
    view = _view("job", job.images, inputs, made, number)
    is_rejected = view.selected >= len(job.images) - job.rejected
    facts = [*facts, *_moments(times), ("API", job.api)]
    return replace(view, facts=facts, outcome=RowOutcome.REJECTED if is_rejected else None)


def row_view(line: Line, storage: Storage, asked: Mapping[str, Any], number: int) -> JobView:
    """
    Return the page of one row of a batch.

    :param asked: the request, where no sidecar tells it: the row came to nothing, say.
    :param number: as in :func:`job_view`.
    """
    row = line.row
    if row is None:
        return JobView([], [], reasons=["This line of the manifest is no row of a manifest: it cannot be shown."])
    inputs, made = inputs_of_row(row, storage)
    facts = _facts(row.job_id, row.seed, {**made.cost, **row.cost})
    times = [(words.named(name.removesuffix("_at")), at) for name, at in row.timings.items()]
    attempts = [("Submissions", words.count(row.attempts))] if row.attempts else []
    # The manifest was written last.
    made = replace(made, checks=row.checks or made.checks, request=made.request or asked)
    view = _view(str(line.place), row.images, inputs, made, number)
    return replace(
        view,
        facts=[*facts, *attempts, *_moments(times)],
        outcome=row.outcome,
        reasons=[row.reason] if row.reason else view.reasons,
        reason_code="" if row.reason_code.lower() == row.outcome.value else row.reason_code,
    )


def _view(
    row: str, images: tuple[LandedImage, ...], inputs: tuple[Named, ...], made: Provenance, number: int
) -> JobView:
    request, selected = made.request, max(0, min(number, len(images) - 1))
    image = images[selected] if images else None
    checks = (image.checks if image else {}) or (made.checks if selected == 0 else {})
    blank = ["The image is of one colour: the vendor's safety filter returns black images."]
    reasons = checks.get("reasons")
    return JobView(
        images=[shown_image(row, at, one) for at, one in enumerate(images)],
        inputs=[shown_input(row, at, named) for at, named in enumerate(inputs)],
        selected=selected,
        prompts=[(words.named(name), words.said(request[name])) for name in _PROMPTS if request.get(name)],
        parameters=_said_of({name: value for name, value in request.items() if name not in _ELSEWHERE}),
        checks=_said_of(_measured(checks)),
        reasons=[
            *([str(reason) for reason in reasons] if isinstance(reasons, list) else []),
            *(blank if image and image.blank else []),
        ],
    )


def _measured(checks: Mapping[str, Any]) -> dict[str, Any]:
    # What the result is in size and format stands among the facts of its job.
    shown = {name: value for name, value in checks.items() if name not in _FACTS_OF_FILE}
    sides = shown.pop("input_width", None), shown.pop("input_height", None)
    return {**shown, "input_size": f"{sides[0]} \u00d7 {sides[1]} pixels"} if all(sides) else shown


def _said_of(values: Mapping[str, Any]) -> Facts:
    return [(words.named(name), words.said(value)) for name, value in values.items() if value is not None]


def shown_image(row: str, number: int, image: LandedImage) -> Shown:
    """Return an image that came out."""
    named = named_image(image)
    caption = f"Result {number + 1}"
    return Shown(f"{row}/{number}", (named.sha256 or "")[:16], image.uri, caption, image=image)


def shown_input(row: str, number: int, named: Named) -> Shown:
    """Return an image that went in."""
    name, caption = ("input", "Input") if number == 0 else (f"input-{number}", f"Input {number + 1}")
    is_picture = kind_of(named.uri) != "other"
    return Shown(f"{row}/{name}", (named.sha256 or "")[:16], named.uri, caption, is_picture=is_picture)


def _facts(job_id: str | None, seed: int | None, cost: Mapping[str, Any]) -> Facts:
    facts = [("Seed", str(seed))] if seed is not None else []
    return [*facts, *words.costs(cost), *([("Job", job_id)] if job_id else [])]


def _moments(times: list[tuple[str, Any]]) -> Facts:
    return [(name, words.moment(at)) for name, at in times if isinstance(at, int | float) and words.moment(at)]
