"""One task instance as Airflow runs it: tries, deferrals through JSON, clears, and a store that survives all of it."""

from __future__ import annotations

import json
import time
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_imagepipeline.operators.imagepipeline import EditImageOperator, ImageToImageOperator
from airflow_imagepipeline.operators.job import ImagePipelineJobOperator
from airflow_imagepipeline.triggers.imagepipeline import ImagePipelineJobTrigger
from tests.generations import CURRENT, spoken
from tests.running import PROMPT, FakeStore, _in_task_runner, assert_discreet, context, through_triggerer

LINK: Final = "https://files.example/image-0.png?X-Amz-Signature=canary-link"


class Clock:
    """Stands for the module ``time``: it moves when somebody sleeps, and its wall clock may jump."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.sleeps: list[float] = []
        self.on_sleep: Callable[[int], None] = lambda _: None
        """Called with the number of sleeps so far: what happens in the world while the task sleeps."""
        self._wall = time.time()

    def time(self) -> float:
        """Return the wall clock."""
        return self._wall + self.passed

    def monotonic(self) -> float:
        """Return the clock that never jumps."""
        return self.passed

    def sleep(self, seconds: float) -> None:
        """Pass time."""
        assert seconds >= 0
        self.sleeps.append(seconds)
        self.passed += seconds
        self.on_sleep(len(self.sleeps))

    def set(self, passed: float) -> None:
        """Say how much time has passed altogether."""
        self.passed = passed

    def jump(self, seconds: float) -> None:
        """Set the machine's wall clock to another time."""
        self._wall += seconds


class Store(FakeStore):
    """
    The store of the other tests, with a moment before each operation, and in a file where processes are killed.

    :param file: where it is kept; None keeps it in memory.
    """

    def __init__(self, file: Path | None = None) -> None:
        super().__init__()
        self.before: Callable[[str, str], None] = lambda *_: None
        """Called before each operation; what it raises, the operation raises."""
        self._file = file
        if file is not None and file.exists():
            self.rows = json.loads(file.read_text())

    @property
    def phases(self) -> list[str]:
        """The phase of each record."""
        return [row["phase"] for row in map(json.loads, self.rows.values()) if isinstance(row, dict)]

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        super().set(key, value, retention=retention)
        self._save()

    def delete(self, key: str) -> None:
        super().delete(key)
        self._save()

    def _reach(self, operation: str, key: str, value: Any = None) -> None:
        self.before(operation, key)
        super()._reach(operation, key, value)

    def _save(self) -> None:
        if self._file is not None:
            fresh = self._file.with_suffix(".new")
            fresh.write_text(json.dumps(self.rows))
            fresh.replace(self._file)  # whole or not at all, however the process ends


class Task:
    """
    A task instance and its tries, in the generation that is spoken.

    :param clock: passes while it waits.
    :param deferrable: wait in the triggerer.
    :param arguments: of the operator.
    """

    def __init__(self, clock: Clock, *, deferrable: bool, store: Store | None = None, **arguments: Any) -> None:
        self.clock = clock
        self.deferrable = deferrable
        self.arguments: dict[str, Any] = {
            "task_id": "edit",
            spoken().image: "https://img.example/in.png?X-Amz-Signature=canary-in",
            "prompt": PROMPT,
            "retries": 3,
            **arguments,
        }
        self.store: Store | None = store or Store()
        self.try_number = 0
        self.map_index = -1
        self.days: float | None = None
        """How long ago the DAG run began; None where the context does not tell."""
        self.max_tries = int(self.arguments["retries"])
        self.deferred: TaskDeferred | None = None
        self.event: Any = None

    def operator(self) -> ImagePipelineJobOperator:
        """Return the operator as a fresh process has it."""
        kind = EditImageOperator if spoken() is CURRENT else ImageToImageOperator
        return kind(deferrable=self.deferrable, **self.arguments)

    def context(self, operator: ImagePipelineJobOperator) -> Any:
        """Return the context of the current try."""
        given = context(self.store, try_number=self.try_number, max_tries=self.max_tries, map_index=self.map_index)
        given["ti"].task = operator
        if self.days is not None:
            started = datetime.fromtimestamp(self.clock.time(), UTC) - timedelta(days=self.days)
            given["dag_run"] = types.SimpleNamespace(start_date=started)
        return given

    def start(self) -> Any:
        """Begin the next try; return its result, or raise what it raises, TaskDeferred included."""
        self.try_number += 1
        operator = self.operator()
        try:
            return called(operator, "execute", self.context(operator))
        except TaskDeferred as deferred:
            self.deferred = deferred
            raise

    def run(self) -> Any:
        """Run the next try to its end, through the triggerer where it defers."""
        try:
            return self.start()
        except TaskDeferred:
            return self.resume(self.wait())

    def fails(self, kind: type[Exception]) -> str:
        """Run the next try, which must fail with exactly this class; return its sentence."""
        try:
            result = self.run()
        except Exception as error:
            if type(error) is not kind:
                raise
            assert_discreet(str(error))
            return str(error)
        message = f"{kind.__name__} expected, but the task succeeded: {result}"
        raise AssertionError(message)

    def trigger(self) -> ImagePipelineJobTrigger:
        """Rebuild the trigger from what is stored, as every triggerer does."""
        assert self.deferred is not None
        return ImagePipelineJobTrigger(**json.loads(json.dumps(self.deferred.trigger.serialize()[1])))

    def wait(self) -> Any:
        """Let a triggerer wait; return the event as JSON."""
        assert self.deferred is not None
        self.event = through_triggerer(self.deferred.trigger.serialize())
        return self.event

    def resume(self, event: Any) -> Any:
        """Go on in a worker after the event."""
        operator = self.operator()
        return called(operator, "execute_complete", self.context(operator), event)

    def clear(self, **arguments: Any) -> None:
        """Clear the task as a human does, perhaps after an edit."""
        self.arguments.update(arguments)
        self.max_tries = self.try_number + int(self.arguments["retries"])


def called(operator: ImagePipelineJobOperator, method: str, *arguments: Any) -> Any:
    """Call a method as Airflow's task runner does."""
    return _in_task_runner(operator, lambda _: getattr(operator, method)(*arguments))


async def fired(trigger: ImagePipelineJobTrigger) -> Any:
    """Run a trigger to its end; return its one event as JSON would carry it."""
    events = [json.loads(json.dumps(event.payload)) async for event in trigger.run()]
    assert len(events) == 1
    return events[0]
