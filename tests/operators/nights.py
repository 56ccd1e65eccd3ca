"""Batches as nights: the same task again and again on one destination, each night a DAG run, in every mode."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from airflow_imagepipeline.emulator import Emulator
from airflow_imagepipeline.operators.batch import EditImageBatchOperator, ImageToImageBatchOperator
from tests.airflow_versions import HAS_TASK_STATE_STORE
from tests.generations import CURRENT, spoken
from tests.running import PROMPT, FakeStore, run_to_end

RETRIES: Final = 2


class TaskInstance:
    """What Airflow's task instance tells a batch operator, and what it is told."""

    def __init__(self, run_id: str, try_number: int = 1, max_tries: int = RETRIES, map_index: int = -1) -> None:
        self.dag_id = "photos"
        self.task_id = "edit"
        self.run_id = run_id
        self.map_index = map_index
        self.try_number = try_number
        self.max_tries = max_tries
        self.task: Any = None
        self.pushed: dict[str, Any] = {}
        self.states: dict[str, str] = {}
        """What Airflow says of the same task in other runs, run id to state."""

    def get_task_states(self, **wanted: Any) -> dict[str, dict[str, str]]:
        """Answer as Airflow's: a run that it does not know is left out."""
        assert wanted == {"dag_id": "photos", "task_ids": ["edit"], "run_ids": wanted["run_ids"], "map_index": -1}
        return {run: {"edit": self.states[run]} for run in wanted["run_ids"] if run in self.states}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = json.loads(json.dumps(value))


class Vendor:
    """
    A running emulator that many tests ask in turn: settings and counts of each are its own.

    It may be stopped and started; it keeps its address.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._usual = replace(emulator.settings, fail_next=[], refuse_next=[])
        self._before: dict[str, Any] = {}
        self.settings = emulator.settings
        self.url = emulator.url
        self.stop = emulator.stop
        self.start = emulator.start

    def begin_anew(self) -> None:
        """Forget the counts and the changed settings of an earlier test."""
        for field in fields(self._usual):
            value = getattr(self._usual, field.name)
            setattr(self.settings, field.name, value.copy() if isinstance(value, list) else value)
        self._before = self._emulator.stats()

    def stats(self) -> dict[str, Any]:
        """Return the emulator's counts since the test began."""
        return _since(self._emulator.stats(), self._before)


def _since(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _since(value, before.get(name, {})) if isinstance(value, dict) else value - before.get(name, 0)
        for name, value in now.items()
    }


class Nights:
    """
    A vendor, a destination, and the task that runs every night.

    :param mode: ``worker`` or ``triggerer``.
    """

    def __init__(self, emulator: Vendor, folder: Path, mode: str, **usual: Any) -> None:
        self.emulator = emulator
        self.settings = emulator.settings
        self.folder = folder
        self.mode = mode
        self.store = FakeStore() if HAS_TASK_STATE_STORE else None
        self.ti = TaskInstance("none")
        self.starts = 0
        """How often the last try was started in a worker: once more for each deferral."""
        self._before = 0
        self._usual = {
            "task_id": "edit",
            "destination": f"file://{folder}",
            "file_stem": "{sku}",
            # In the triggerer, with a pause before the first look that is worth giving up the worker.
            "poll_interval": 0.02 if mode == "worker" else 0.2,
            "defer_after": 0.0,
            "timeout": 60.0,
            # What fails is to stay failed, where a test does not say otherwise.
            "redo_failed": 0,
            "retries": RETRIES,
            **usual,
        }

    def rows(self, count: int, **changed: Any) -> list[dict[str, Any]]:
        """Return rows with an image, a name and a word each; ``s3="new"`` changes the word of the row of that name."""
        field, url = spoken().image, self.emulator.url
        rows = [{field: f"{url}/photos/{i}.png", "sku": f"s{i}", "word": "old"} for i in range(count)]
        return [{**row, "word": changed.get(row["sku"], row["word"])} for row in rows]

    def operator(self, **arguments: Any) -> Any:
        """Return the operator of the generation that is spoken."""
        is_current = spoken() is CURRENT
        request = {"prompt": f"{PROMPT} {{word}}", **({"output_format": "png"} if is_current else {})}
        kind = EditImageBatchOperator if is_current else ImageToImageBatchOperator
        return kind(**{"request": request, **self._usual, **arguments})

    def run(self, run_id: str, inputs: Any, **arguments: Any) -> dict[str, Any]:
        """Run the first try of a night to its end; return what the task returns."""
        return self.attempt(TaskInstance(run_id), inputs, **arguments)

    def retry(self, inputs: Any, **arguments: Any) -> dict[str, Any]:
        """Run the next automatic try of the last night."""
        ti = self.ti
        return self.attempt(TaskInstance(ti.run_id, ti.try_number + 1, ti.max_tries, ti.map_index), inputs, **arguments)

    def clear(self, inputs: Any, **arguments: Any) -> dict[str, Any]:
        """Run the last night again as a human's clear does."""
        ti = self.ti
        again = TaskInstance(ti.run_id, ti.try_number + 1, ti.try_number + RETRIES, ti.map_index)
        return self.attempt(again, inputs, **arguments)

    def attempt(self, ti: TaskInstance, inputs: Any, **arguments: Any) -> dict[str, Any]:
        self.ti, self.starts, self._before = ti, 0, self.emulator.stats()["accepted"]
        given: dict[str, Any] = {"ti": ti, "params": {}, "run_id": ti.run_id}
        if self.store is not None:
            given["task_state_store"] = self.store

        def make(**mode: Any) -> Any:
            self.starts += 1
            return self.operator(**{"inputs": inputs, **mode, **arguments})

        result: dict[str, Any] = run_to_end(make, given, self.mode)
        return result

    @property
    def paid(self) -> int:
        """Jobs that the vendor has accepted since the last try began."""
        accepted: int = self.emulator.stats()["accepted"]
        return accepted - self._before

    @property
    def summary(self) -> dict[str, Any]:
        """What the task pushed although it failed."""
        found: dict[str, Any] = self.ti.pushed["return_value"]
        return found

    def manifest(self, summary: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return the rows of the manifest of the last night."""
        text = Path((summary or self.summary)["manifest"].removeprefix("file://")).read_text()
        return [json.loads(line) for line in text.splitlines()]

    def images(self) -> list[str]:
        """Return the names of the images in the destination."""
        return sorted(file.name for file in self.folder.iterdir() if file.suffix == ".png")


def counts(summary: dict[str, Any]) -> dict[str, int]:
    """Return the outcomes that rows had; all of them must add up."""
    assert sum(summary["counts"].values()) == summary["total"]
    return {outcome: count for outcome, count in summary["counts"].items() if count}


def assert_complete(rows: Sequence[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Check that a manifest has one row for each input, in order, and the counts of the summary."""
    assert [row["index"] for row in rows] == list(range(summary["total"]))
    assert Counter(row["outcome"] for row in rows) == counts(summary)
