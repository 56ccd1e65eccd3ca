"""
From an address of the tab to what is behind it: rights first, then the task instance, then what its result names.

Every function here that takes a user asks for the rights of that user before anything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.contract.manifest import RowOutcome
from airflow_imagepipeline.contract.result import LandedImage
from airflow_imagepipeline.plugins import tiles, views
from airflow_imagepipeline.plugins.access import may_read
from airflow_imagepipeline.plugins.manifests import Line, Manifests
from airflow_imagepipeline.plugins.results import (
    BatchFound,
    Found,
    JobFound,
    Named,
    SheetFound,
    named_image,
    read_plan,
    read_result,
)
from airflow_imagepipeline.plugins.stored import NotReadable, Storage
from airflow_imagepipeline.plugins.task_instances import (
    UNMAPPED,
    FoundTask,
    Place,
    find_run,
    find_task,
    is_mapped,
    map_index_of,
)
from airflow_imagepipeline.plugins.under_way import batch_under_way, batches_under_way

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

RUN_PAGE: Final = 24
"""Task instances of a page."""
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_INPUT: Final = re.compile(r"input(?:-([1-9][0-9]?))?", re.ASCII)
_manifests: Final = Manifests()

Query = Mapping[str, str]


class NothingThere(Exception):
    """There is no such thing, or the user may not know of it."""


def place_of(dag_id: str, run_id: str, task_id: str, map_index: str) -> Place:
    """
    Return the task instance that an address names.

    :raises NothingThere: when it names none.
    """
    index = map_index_of(map_index)
    if index is None:
        raise NothingThere
    return Place(dag_id, run_id, task_id, index)


def task_page(user: BaseUser, place: Place, query: Query) -> dict[str, Any]:
    """Return the page of a task instance; of all of its instances where the task is mapped and none was named."""
    _check(user, place.dag_id)
    task = find_task(place)
    if task is None:
        if place.map_index == UNMAPPED and is_mapped(place):
            return _run_page(place.dag_id, place.run_id, {**query, "task": place.task_id})
        raise NothingThere
    found, storage = read_result(task.result), views.storage_of(task)
    page = {"place": task.place, "task": task, "storage": storage, "problem": "", "plan": None, "under_way": None}
    if isinstance(found, BatchFound):
        return {**page, **_batch_page(found, storage, query)}
    if isinstance(found, JobFound) and found.images:
        view = views.job_view(task, found, storage, _number(query.get("image")))
        return {**page, "kind": "job", "view": view}
    if isinstance(found, SheetFound):
        return {**page, "kind": "sheet", "sheet": found}
    told = {"plan": read_plan(task.result), "under_way": batch_under_way(task)}
    return {**page, **told, "kind": "nothing", "job": found}


def row_page(user: BaseUser, place: Place, row: str, query: Query) -> dict[str, Any]:
    """Return the page of one row of a batch."""
    task = _task(user, place)
    storage, batch = views.storage_of(task), read_result(task.result)
    if not isinstance(batch, BatchFound) or not _NUMBER.fullmatch(row):
        raise NothingThere
    number, outcome = int(row), _outcome(query)
    manifest = _manifests.open(storage, batch.manifest)
    line = Line(number, manifest.row(number))
    view = views.row_view(line, storage, views.asked_of_all(task), _number(query.get("image")))
    before, behind = manifest.beside(number, outcome)
    return {
        "place": task.place,
        "storage": storage,
        "line": line,
        "view": view,
        "outcome": outcome,
        "page": manifest.page_of(number, outcome),
        "before": before,
        "behind": behind,
        "total": len(manifest),
    }


def run_page(user: BaseUser, dag_id: str, run_id: str, query: Query) -> dict[str, Any]:
    """Return the page of a DAG run."""
    _check(user, dag_id)
    return _run_page(dag_id, run_id, query)


def named(user: BaseUser, place: Place, row: str, name: str) -> tuple[Storage, Named]:
    """
    Return the object that a picture's address means.

    :param row: ``job``, ``sheet`` (a contact sheet), or the place of a row in the manifest.
    :param name: the number of an image, ``input``, or ``input-1`` and so on.
    """
    task = _task(user, place)
    storage, found = views.storage_of(task), read_result(task.result)
    if isinstance(found, JobFound) and row == "job":
        return storage, _object(name, found.images, partial(views.inputs_of_job, task, found, storage))
    if row == "sheet" and name == "0" and (sheet := _sheet_of(found)):
        return storage, Named(sheet)
    if isinstance(found, BatchFound) and _NUMBER.fullmatch(row):
        line = _manifests.open(storage, found.manifest).row(int(row))
        if line is not None:
            return storage, _object(name, line.images, partial(views.inputs_of_row, line, storage))
    raise NothingThere


def _sheet_of(found: Found | None) -> str | None:
    if isinstance(found, SheetFound):
        return found.uri
    return found.contact_sheet if isinstance(found, BatchFound) else None


def _task(user: BaseUser, place: Place) -> FoundTask:
    _check(user, place.dag_id)
    task = find_task(place)
    if task is None:
        raise NothingThere
    return task


def _check(user: BaseUser, dag_id: str) -> None:
    if not may_read(user, dag_id):
        raise NothingThere


def _object(name: str, images: tuple[LandedImage, ...], inputs: Callable[[], tuple[tuple[Named, ...], Any]]) -> Named:
    # Only what went in needs the sidecar; a picture that came out is named by the result itself.
    if _NUMBER.fullmatch(name) and int(name) < len(images):
        return named_image(images[int(name)])
    if found := _INPUT.fullmatch(name):
        number, named = int(found[1] or 0), inputs()[0]
        if number < len(named):
            return named[number]
    raise NothingThere


def _batch_page(batch: BatchFound, storage: Storage, query: Query) -> dict[str, Any]:
    try:
        manifest = _manifests.open(storage, batch.manifest)
    except NotReadable as exc:
        return {"kind": "nothing", "batch": batch, "job": None, "problem": str(exc)}
    outcome = _outcome(query)
    page = manifest.page(_number(query.get("page")), outcome)
    return {
        "kind": "batch",
        "batch": batch,
        "facts": tiles.batch_facts(batch, manifest),
        "counts": manifest.counts(),
        "total": len(manifest),
        "outcome": outcome,
        "page": page,
        "tiles": [tiles.tile_of(line) for line in page.lines],
    }


def _run_page(dag_id: str, run_id: str, query: Query) -> dict[str, Any]:
    task_id = query.get("task") or None
    page = find_run(dag_id, run_id, task_id, number=_number(query.get("page")), size=RUN_PAGE)
    if page is None:
        raise NothingThere
    under_way = batches_under_way(dag_id, run_id, task_id) if page.number == 1 else []
    results = [(task, read_result(task.result)) for task in page.tasks]
    cards = [tiles.card_of(task, found) for task, found in results if found is not None and tiles.has_images(found)]
    return {
        "kind": "run",
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "filters": {"task": task_id} if task_id else {},
        "cards": [*(tiles.card_under_way(task, told) for task, told in under_way), *cards],
        "under_way": len(under_way),
        "number": page.number,
        "pages": page.pages,
        "total": page.total,
    }


def _outcome(query: Query) -> RowOutcome | None:
    text = query.get("outcome", "")
    return RowOutcome(text) if text in set(RowOutcome) else None


def _number(text: str | None) -> int:
    return int(text) if text and _NUMBER.fullmatch(text) else 0
