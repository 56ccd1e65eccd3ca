"""What Airflow's database knows of a task instance: its state, its result and the rendered fields that matter here."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from airflow.configuration import conf
from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import ColumnElement, Select, Text, and_, cast, exists, func, or_, select

UNMAPPED: Final = -1
ENDED: Final = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})
"""States in which a task instance stays until somebody clears it."""
_KEY: Final = "return_value"
_LARGEST_RESULT: Final = 64_000
"""Characters; a result of ours has a few thousand, and a larger one is not even loaded."""
_MAP_INDEX: Final = re.compile(r"-1|0|[1-9][0-9]{0,8}", re.ASCII)
_CONNECTION_ID: Final = re.compile(r"[\w.\-]{1,250}", re.ASCII)
# Airflow 3.1 to 3.3 leave the placeholder as it is where a task instance is not mapped.
_PLACEHOLDER: Final = "{MAP_INDEX}"
_LABEL: Final[Any] = TaskInstance.rendered_map_index


@dataclass(frozen=True)
class Place:
    """
    Which task instance is meant.

    :param label: what a ``map_index_template`` calls it; empty where there is none.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = UNMAPPED
    label: str = field(default="", compare=False)

    @property
    def path(self) -> str:
        """The place as the end of an address of this tab."""
        parts = (self.dag_id, self.run_id, self.task_id, str(self.map_index))
        return "/".join(quote(part, safe="") for part in parts)

    @property
    def name(self) -> str:
        """The task as a person calls it."""
        return self.task_id if self.map_index == UNMAPPED else f"{self.task_id} [{self.label or self.map_index}]"


@dataclass(frozen=True)
class FoundTask:
    """
    A task instance.

    :param result: its ``return_value``; None when there is none, or one that cannot be ours.
    :param rendered: its rendered template fields; empty when Airflow no longer keeps them.
    :param started_at: when its try began.
    """

    place: Place
    state: str | None
    result: Any
    rendered: Mapping[str, Any] = field(default_factory=dict, repr=False)
    started_at: datetime | None = None

    @property
    def aws_conn_id(self) -> str:
        """The connection that the task used for S3, as far as that is known; else the configured one."""
        own = self.rendered.get("aws_conn_id")
        if isinstance(own, str) and _CONNECTION_ID.fullmatch(own) and own != "None":
            return own
        return str(conf.get("imagepipeline", "images_tab_aws_conn_id", fallback="aws_default"))


@dataclass(frozen=True)
class RunPage:
    """
    Some of a run's task instances that have a result which may be ours.

    :param number: of the page, from 1.
    :param pages: how many there are, at least 1.
    :param total: task instances of all pages.
    """

    tasks: list[FoundTask]
    number: int
    pages: int
    total: int


def map_index_of(text: str) -> int | None:
    """Return the map index that an address names; None when it names none."""
    if text == _PLACEHOLDER:
        return UNMAPPED
    return int(text) if _MAP_INDEX.fullmatch(text) else None


def find_task(place: Place) -> FoundTask | None:
    """Return a task instance, or None when there is no such one."""
    with create_session() as session:
        columns = select(TaskInstance.state, TaskInstance.start_date, _LABEL)
        row = session.execute(columns.where(*is_at(TaskInstance, place))).first()
        if row is None:
            return None
        result = session.scalar(_results(place.dag_id, place.run_id).where(*is_at(XComModel, place)))
        rendered = session.scalar(select(Rendered.rendered_fields).where(*is_at(Rendered, place)))
        fields = rendered if isinstance(rendered, Mapping) else {}
        return FoundTask(replace(place, label=_word(row[2]) or ""), _word(row[0]), plain(result), fields, row[1])


def is_mapped(place: Place) -> bool:
    """Tell whether a task has mapped instances in this run."""
    with create_session() as session:
        mapped = TaskInstance.map_index > UNMAPPED
        return (
            session.execute(select(TaskInstance.map_index).where(*_is_of(place), mapped).limit(1)).first() is not None
        )


def find_run(dag_id: str, run_id: str, task_id: str | None, *, number: int, size: int) -> RunPage | None:
    """
    Return the task instances of a run whose result may name images of ours, by name.

    :param task_id: None means every task.
    :param number: of the page; the nearest one when there is none of this number.
    :param size: task instances of a page.
    :return: None when there is no such run.
    """
    with create_session() as session:
        if session.execute(select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).first() is None:
            return None
        wanted = [*_is_ours(dag_id, run_id), *([XComModel.task_id == task_id] if task_id else [])]
        total = session.scalar(select(func.count()).select_from(XComModel).where(*wanted)) or 0
        pages = max(1, -(-total // size))
        number = min(max(1, number), pages)
        at = (XComModel.task_id, XComModel.map_index, _LABEL)
        columns = select(*at, XComModel.value, TaskInstance.state)
        ordered = columns.join(TaskInstance, _is_same(), isouter=True).where(*wanted)
        ordered = ordered.order_by(XComModel.task_id, XComModel.map_index)
        rows = session.execute(ordered.offset((number - 1) * size).limit(size)).all()
        tasks = [
            FoundTask(Place(dag_id, run_id, name, index, _word(label) or ""), _word(state), plain(value))
            for name, index, label, value, state in rows
        ]
        return RunPage(tasks, number, pages, total)


def find_begun(
    dag_id: str, run_id: str, task_id: str | None, *, fields: Collection[str], limit: int
) -> list[FoundTask]:
    """
    Return task instances of a run that have begun and not ended, and have no result that may be ours, by name.

    :param task_id: None means every task.
    :param fields: names of rendered fields that each of them has.
    """
    ours = exists().where(*_is_ours(dag_id, run_id), _is_same())
    text = cast(Rendered.rendered_fields, Text)
    wanted = [*(text.contains(f'"{name}"') for name in fields), *([TaskInstance.task_id == task_id] if task_id else [])]
    table = TaskInstance
    at = (table.task_id, table.map_index, _LABEL)
    columns = select(*at, table.state, Rendered.rendered_fields, table.start_date)
    begun = columns.join(Rendered, _is_same(Rendered)).where(
        TaskInstance.dag_id == dag_id,
        TaskInstance.run_id == run_id,
        TaskInstance.start_date.is_not(None),
        or_(TaskInstance.state.is_(None), TaskInstance.state.not_in(ENDED)),
        *wanted,
        ~ours,
    )
    ordered = begun.order_by(TaskInstance.task_id, TaskInstance.map_index).limit(limit)
    with create_session() as session:
        rows = session.execute(ordered).all()
    return [
        FoundTask(Place(dag_id, run_id, name, index, _word(label) or ""), _word(state), None, rendered, started_at)
        for name, index, label, state, rendered, started_at in rows
        if isinstance(rendered, Mapping)
    ]


def plain(value: Any) -> Any:
    """Return an XCom's value as JSON values, without letting it name a class to be imported."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _results(dag_id: str, run_id: str) -> Select[Any]:
    return select(XComModel.value).where(*_is_small(dag_id, run_id))


def _is_small(dag_id: str, run_id: str) -> tuple[ColumnElement[bool], ...]:
    # Without this, the result of a stranger's task could fill the memory of the API server.
    size = func.length(cast(XComModel.value, Text))
    return XComModel.dag_id == dag_id, XComModel.run_id == run_id, XComModel.key == _KEY, size <= _LARGEST_RESULT


def _is_ours(dag_id: str, run_id: str) -> tuple[ColumnElement[bool], ...]:
    text = cast(XComModel.value, Text)
    # A job whose images lie nowhere has no digest in its result.
    job = text.contains("job_id") & text.contains("submitted_at") & text.contains("sha256")
    batch, sheet = text.contains("manifest") & text.contains("ledger"), text.contains("pairs") & text.contains("counts")
    return *_is_small(dag_id, run_id), or_(job, batch, sheet)


def _is_same(table: Any = XComModel) -> ColumnElement[bool]:
    names = ("dag_id", "run_id", "task_id", "map_index")
    return and_(*(getattr(table, name) == getattr(TaskInstance, name) for name in names))


def _word(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))


def _is_of(place: Place) -> tuple[ColumnElement[bool], ...]:
    table = TaskInstance
    return table.dag_id == place.dag_id, table.run_id == place.run_id, table.task_id == place.task_id


def is_at(table: Any, place: Place) -> tuple[ColumnElement[bool], ...]:
    """Return what holds for the rows of a task instance in one of Airflow's tables."""
    return (
        table.dag_id == place.dag_id,
        table.run_id == place.run_id,
        table.task_id == place.task_id,
        table.map_index == place.map_index,
    )
