"""One batch in a process of its own, measured from inside; ``bench.batch_scale`` starts it and reads its JSON."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import logging
import os
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final
from unittest import mock

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-bench-"))

from airflow.sdk.bases.operator import ExecutorSafeguard

from airflow_imagepipeline.operators.batch import ImageToImageBatchOperator
from airflow_imagepipeline.records.object_storage import Ledger

PROBE_SECONDS: Final = 0.01
COLLECTED_EVERY: Final = 1.0
_STEPS: Final = 10_000
"""Lags are kept by tenths of a millisecond: what is kept must not grow with the run."""


class LoopLag:
    """By how much sleeps in an event loop overrun: what everything else in it had to wait, too."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.longest = 0.0

    async def probe(self) -> None:
        """Sleep again and again, until cancelled."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(PROBE_SECONDS)
            lag = max(0.0, time.perf_counter() - began - PROBE_SECONDS)
            self._counts[int(lag * _STEPS)] += 1
            self.longest = max(self.longest, lag)

    def quantile(self, part: float) -> float:
        """Return the lag in seconds that this part of the sleeps does not exceed."""
        wanted, passed = part * self._counts.total(), 0
        for step, count in sorted(self._counts.items()):
            passed += count
            if passed >= wanted:
                return (step + 1) / _STEPS
        return self.longest

    def to_payload(self) -> dict[str, float]:
        """Return milliseconds."""
        found = {"p50": self.quantile(0.5), "p99": self.quantile(0.99), "max": self.longest}
        return {name: round(lag * 1000, 1) for name, lag in found.items()}


async def collect() -> None:
    """Collect garbage again and again, until cancelled."""
    while True:
        gc.collect()
        await asyncio.sleep(COLLECTED_EVERY)


class TaskInstance:
    """As much of Airflow's as the operator asks for."""

    dag_id, task_id, run_id = "bench", "edit", "manual"
    map_index, try_number, max_tries = -1, 1, 0

    def xcom_push(self, key: str, value: object) -> None:
        """Forget it: the summary of a failed batch is printed by the operator, too."""


def high_water() -> int:
    """Return the most memory that this process has held, in bytes. (``getrusage`` would tell a parent's.)"""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def measured(task: ImageToImageBatchOperator) -> dict[str, Any]:
    """Run the task as Airflow's task runner does, beside a probe in its event loop."""
    lag, ledgers, run, take = LoopLag(), [], asyncio.run, Ledger.take

    def probed(main: Coroutine[Any, Any, Any]) -> Any:
        async def both() -> Any:
            besides = [lag.probe(), *([collect()] if tracemalloc.is_tracing() else [])]
            probes = [asyncio.create_task(one) for one in besides]
            try:
                return await main
            finally:
                for probe in probes:
                    probe.cancel()

        return run(both())

    def kept(*given: Any, **options: Any) -> Ledger:
        ledgers.append(take(*given, **options))
        return ledgers[-1]

    def call() -> Any:
        ExecutorSafeguard.tracker.set(task)
        context: Any = {"ti": TaskInstance()}
        return task.execute(context)

    began, cpu = time.monotonic(), time.process_time()
    with mock.patch.object(asyncio, "run", probed), mock.patch.object(Ledger, "take", kept):
        summary = contextvars.copy_context().run(call)
    return {
        "wall": time.monotonic() - began,
        "cpu": time.process_time() - cpu,
        "lag_ms": lag.to_payload(),
        "peak": high_water(),
        "traced": tracemalloc.get_traced_memory()[1],
        "requests": sum(ledger.requests for ledger in ledgers),
        "summary": summary,
    }


def main() -> None:
    """Take the arguments of the operator as JSON on the command line, and perhaps ``--trace`` behind them."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    task = ImageToImageBatchOperator(task_id=TaskInstance.task_id, **json.loads(sys.argv[1]))
    if "--trace" in sys.argv[2:]:
        gc.freeze()
        tracemalloc.start(1)
    print(json.dumps(measured(task)))


if __name__ == "__main__":
    main()
