"""
Print what importing the provider adds to the parsing of a DAG file, beside libraries that it does not import.

Each figure is the median of several processes that had imported ``airflow.sdk`` before::

    python bench/import_time.py [runs]
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 7
PROVIDER = (
    "airflow_imagepipeline.operators.imagepipeline, airflow_imagepipeline.sensors.imagepipeline, "
    "airflow_imagepipeline.triggers.imagepipeline"
)
CASES = {"this provider": PROVIDER, "requests": "requests", "aiohttp": "aiohttp", "boto3": "boto3"}
PROGRAM = """
import time
from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, Param, task
from airflow.triggers.base import BaseTrigger
start = time.perf_counter()
import {modules}
print((time.perf_counter() - start) * 1000)
"""


def milliseconds(modules: str) -> float:
    """Return the milliseconds that importing the modules takes in a process of their own."""
    program = [sys.executable, "-c", PROGRAM.format(modules=modules)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure each case, by turns so that a busy moment of the machine hits all alike."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(runs):
        for name, modules in CASES.items():
            times[name].append(milliseconds(modules))
    print(f"Added to airflow.sdk, median of {runs} processes:")
    for name, taken in times.items():
        print(f"  {name:<14} {statistics.median(taken):7.1f} ms")


if __name__ == "__main__":
    main()
