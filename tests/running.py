"""
Run a task as Airflow does, in every mode, without a scheduler: what crosses a process crosses here as JSON.

Deferred tasks are taken up by a fresh operator, triggers are rebuilt from what they serialise to, and everything that
Airflow would store in clear is looked through for the key, for signed links and for the prompt.
"""

from __future__ import annotations

import asyncio
import base64
import contextvars
import functools
import importlib
import json
import re
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

import pytest
from _pytest.mark.structures import ParameterSet
from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_imagepipeline.operators.imagepipeline import EditImageOperator, ImageToImageOperator
from tests.airflow_versions import AirflowRescheduleException, TaskDeferred
from tests.generations import BOTH, CURRENT, spoken

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

KEY: Final = "canary/KEY+7f3a=&%!x"
"""The only key of these tests; letters that every encoding changes."""
PROMPT: Final = "an old lighthouse, canary-prompt"
POLL: Final = 0.02

_KEY_FORMS: Final = tuple(
    {
        KEY,
        quote(KEY, safe=""),
        quote_plus(KEY),
        json.dumps(KEY)[1:-1],
        base64.b64encode(KEY.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
    }
)
_SIGNED: Final = re.compile(r"(?i)[?&](?:X-Amz-|Signature=|AWSAccessKeyId=|Authorization=|token=)")

Modes = Mapping[str, Mapping[str, Any]]

TASK_MODES: Final[Modes] = {"worker": {"deferrable": False}, "triggerer": {"deferrable": True}}
SENSOR_MODES: Final[Modes] = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False},
    "deferrable": {"deferrable": True},
}
in_task_modes = pytest.mark.parametrize("mode", TASK_MODES)
in_sensor_modes = pytest.mark.parametrize("mode", SENSOR_MODES)


def in_turn(
    names: str, cases: Iterable[Any], *, mode: str = "mode", modes: Iterable[str] = TASK_MODES
) -> pytest.MarkDecorator:
    """
    Run each case once: in one generation and one mode, its neighbour in others, so that few cases of a kind meet all.

    This is for tables that a lower layer has decided on, where each case runs.

    :param names: the arguments that a case gives, parted by commas.
    :param cases: as ``pytest.mark.parametrize`` takes them.
    :param mode: the argument or fixture that takes the mode.
    """
    ways = list(modes)
    turns = [(str(BOTH[one]), ways[(one + shift) % len(ways)]) for shift in range(len(ways)) for one in (0, 1)]
    given = [ParameterSet.extract_from(case, force_tuple="," not in names) for case in cases]
    in_turns = [
        pytest.param(*case.values, *turn, id=case.id and f"{case.id}-{turn[0]}-{turn[1]}", marks=case.marks)
        for case, turn in zip(given, cycle(turns), strict=False)
    ]
    fixtures = ["generation"] if mode == "mode" else ["generation", mode]
    return pytest.mark.parametrize(f"{names},generation,{mode}", in_turns, indirect=fixtures)


def assert_discreet(text: str, *, hide_links: bool = False) -> None:
    """
    Check that a text holds neither the key in any form nor what signs a link.

    :param hide_links: whether it must hold no link to an image at all, and no prompt.
    """
    for form in _KEY_FORMS:
        assert form not in text, "the key is shown"
    signed = _SIGNED.search(text)
    assert signed is None, f"a signed link is shown: {text[max(0, signed.start() - 80) : signed.end()]}"
    if hide_links:
        assert PROMPT not in text, "the prompt is stored"
        assert ".png" not in text, "a link is stored"


class StoreDown(Exception):
    """Airflow's database cannot be reached."""


class FakeStore:
    """
    Airflow's task state store: it stands for a table of Airflow's database, and so keeps JSON.

    :param is_down: told operation (``get``, ``set``, ``delete``), key and value; true means that the call fails.
    """

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.retentions: list[timedelta | None] = []
        self.is_down: Callable[[str, str, Any], bool] = lambda *_: False

    def get(self, key: str) -> Any:
        self._reach("get", key)
        return json.loads(self.rows[key]) if key in self.rows else None

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        self._reach("set", key, value)
        row = json.dumps(value)
        assert_discreet(row, hide_links=True)
        self.rows[key] = row
        self.retentions.append(retention)

    def delete(self, key: str) -> None:
        self._reach("delete", key)
        self.rows.pop(key, None)

    def record(self) -> dict[str, Any]:
        """Return the newest record."""
        found: dict[str, Any] = json.loads(self.rows[json.loads(self.rows["imagepipeline:latest"])])
        return found

    def _reach(self, operation: str, key: str, value: Any = None) -> None:
        if self.is_down(operation, key, value):
            raise StoreDown


class TaskInstance:
    """What Airflow's task instance tells an operator."""

    def __init__(self, try_number: int, max_tries: int, map_index: int) -> None:
        self.try_number = try_number
        self.max_tries = max_tries
        self.map_index = map_index
        self.task: BaseOperator | None = None
        self.first_reschedule: datetime | None = None

    def get_first_reschedule_date(self, _context: Any) -> datetime | None:
        return self.first_reschedule


def context(
    store: FakeStore | None = None, *, try_number: int = 1, max_tries: int = 2, map_index: int = -1, **params: Any
) -> Any:
    """
    Return a task's context.

    :param store: None stands for Airflow before 3.3.
    :param max_tries: of a new run: the operator's ``retries``.
    :param params: of the run, for templates.
    """
    values: dict[str, Any] = {"ti": TaskInstance(try_number, max_tries, map_index), "params": params}
    return values if store is None else {**values, "task_state_store": store}


def retried(earlier: Any) -> Any:
    """Return the context of the next automatic try: ``max_tries`` stays as it is."""
    ti = earlier["ti"]
    return {**earlier, "ti": TaskInstance(ti.try_number + 1, ti.max_tries, ti.map_index)}


def cleared(earlier: Any) -> Any:
    """Return the context of the first try after a human's clear, which raises ``max_tries``."""
    ti = earlier["ti"]
    return {**earlier, "ti": TaskInstance(ti.try_number + 1, ti.try_number + 2, ti.map_index)}


def image_to_image(init_image: str, **arguments: Any) -> Callable[..., ImageToImageOperator | EditImageOperator]:
    """
    Return what makes the operator of the generation that is spoken; Airflow makes a new one for every start of a task.

    :param init_image: the image to edit, for the field that the generation has for it.
    """
    usual = {"task_id": "restyle", "prompt": PROMPT, "retries": 2, "poll_interval": POLL, "timeout": 30.0}
    if spoken() is CURRENT:
        return edit_image(init_image, **{**usual, **arguments})
    return functools.partial(ImageToImageOperator, **{**usual, "init_image": init_image, **arguments})


def edit_image(image: str | list[str], **arguments: Any) -> functools.partial[EditImageOperator]:
    """Return what makes the current generation's operator; it makes PNGs, as the old one does."""
    usual = {"task_id": "edit", "prompt": PROMPT, "retries": 2, "poll_interval": POLL, "timeout": 30.0}
    return functools.partial(EditImageOperator, **{**usual, "output_format": "png", "input_image": image, **arguments})


def run_to_end(make: Callable[..., BaseOperator], given: Any, mode: str) -> Any:
    """
    Run a task until it returns or fails, through deferrals and reschedules.

    :param make: makes the operator; called for every start of a process, as Airflow parses the DAG again.
    :param mode: one of :data:`TASK_MODES`, :data:`SENSOR_MODES`, or ``plain`` for an operator without modes.
    """
    arguments = {**TASK_MODES, **SENSOR_MODES, "plain": {}}[mode]

    start: Callable[[BaseOperator], Any] = lambda task: task.execute(given)  # noqa: E731 - replaced on the way
    while True:
        task = make(**arguments)
        task.render_template_fields(given)
        given["ti"].task = task
        try:
            result = _in_task_runner(task, start)
        except TaskDeferred as deferred:
            start = _resumed(deferred, given)
        except AirflowRescheduleException as later:
            given["ti"].first_reschedule = given["ti"].first_reschedule or datetime.now(UTC)
            time.sleep(max(0.0, (later.reschedule_date - datetime.now(UTC)).total_seconds()))
        else:
            assert json.loads(json.dumps(result)) == result, "XCom would change it"
            return result


def _in_task_runner(task: BaseOperator, start: Callable[[BaseOperator], Any]) -> Any:
    def call() -> Any:
        ExecutorSafeguard.tracker.set(task)
        return start(task)

    return contextvars.copy_context().run(call)


def _resumed(deferred: TaskDeferred, given: Any) -> Callable[[BaseOperator], Any]:
    assert deferred.timeout is not None, "a trigger that is lost would hang for ever"
    event = through_triggerer(deferred.trigger.serialize())
    kwargs = {**(deferred.kwargs or {}), "event": event}
    return lambda task: task.resume_execution(deferred.method_name, kwargs, given)


def through_triggerer(serialized: tuple[str, dict[str, Any]]) -> Any:
    """Rebuild a trigger from what Airflow stores, run it, and return its only event as Airflow stores that."""
    stored = json.dumps(serialized)
    assert_discreet(stored, hide_links=True)
    events = asyncio.run(_events(*json.loads(stored)))
    assert len(events) == 1
    written = json.dumps(events[0])
    assert_discreet(written, hide_links=True)
    return json.loads(written)


async def _events(path: str, kwargs: dict[str, Any]) -> list[Any]:
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**kwargs)
    return [event.payload async for event in trigger.run()]


@contextmanager
def fails_with(kind: type[BaseException], *words: str) -> Iterator[None]:
    """
    Check that the block fails with exactly this class, words in its message and no secret in the whole traceback.

    The message must be whole sentences on one line, but for a list of rows, a line each.
    """
    with pytest.raises(kind) as caught:
        yield
    said = str(caught.value)
    assert type(caught.value) is kind, f"{type(caught.value).__name__}: {said}"
    for word in words:
        assert word in said
    assert all(line.startswith("row ") for line in said.split("\n")[1:])
    assert_discreet("".join(traceback.format_exception(caught.value)))
