"""A DAG that serialises otherwise in every process gets a new version at every parse: the examples do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DAGS = Path(__file__).parents[1] / "dags"
PROGRAM = """
import json, runpy, sys
from airflow.sdk import DAG
try:
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # before Airflow 3.2
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

texts = {}
for path in sys.argv[1:]:
    for value in runpy.run_path(path).values():
        if isinstance(value, DAG):
            # Airflow sorts the names of fields before it compares, so their order may change; nothing else may.
            texts[value.dag_id] = json.dumps(DagSerialization.to_dict(value), sort_keys=True)
print(json.dumps(texts))
"""


def serialised(hash_seed: str) -> dict[str, str]:
    """Return the text of each example's DAG, as a process with this hash seed writes it."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(DAGS.parent)}
    done = subprocess.run(  # noqa: S603 - this interpreter, a literal program
        [sys.executable, "-c", PROGRAM, *map(str, sorted(DAGS.glob("*.py")))],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment,
    )
    texts: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return texts


@pytest.fixture(scope="module")
def twice() -> tuple[dict[str, str], dict[str, str]]:
    return serialised("1"), serialised("2")


@pytest.mark.slow
def test_every_example_is_a_dag(twice: tuple[dict[str, str], dict[str, str]]) -> None:
    assert sorted(twice[0]) == sorted(path.stem for path in DAGS.glob("*.py"))


@pytest.mark.parametrize("name", sorted(path.stem for path in DAGS.glob("*.py")))
def test_two_processes_write_the_same_text(twice: tuple[dict[str, str], dict[str, str]], name: str) -> None:
    one, other = twice
    assert one[name] == other[name]
    assert "airflow_imagepipeline.operators." in one[name]
