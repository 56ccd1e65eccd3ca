"""A DAG file is parsed every few seconds: importing what it needs must not import what only a running task needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import importlib, json, pkgutil, sys
import airflow.sdk
from airflow.sdk import DAG, BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, Param, task
from airflow.triggers.base import BaseTrigger

before = set(sys.modules)
names = ["airflow_imagepipeline.hooks.imagepipeline"]
for room in ("operators", "sensors", "triggers", "transfers", "links", "notifications"):
    try:
        package = importlib.import_module("airflow_imagepipeline." + room)
    except ModuleNotFoundError:
        continue
    names += [module.name for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(json.dumps({"imported": names, "new": sorted(set(sys.modules) - before)}))
"""
HEAVY = ["requests", "aiohttp", "boto3", "botocore", "PIL", "airflow.providers.amazon", "urllib3", "yarl"]


@pytest.fixture(scope="module")
def report() -> dict[str, list[str]]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)  # noqa: S603 - this interpreter, a literal program
    loaded: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return loaded


@pytest.mark.slow
def test_what_a_dag_author_uses_was_imported(report: dict[str, list[str]]) -> None:
    rooms = {name.split(".")[1] for name in report["imported"]}
    assert rooms >= {"operators", "sensors", "triggers", "transfers", "links", "hooks"}
    assert set(report["imported"]) <= set(report["new"])


@pytest.mark.parametrize("library", HEAVY)
def test_importing_an_operator_does_not_import(report: dict[str, list[str]], library: str) -> None:
    assert [name for name in report["new"] if f"{name}.".startswith(f"{library}.")] == []
