"""What is not in the code: switches that weaken TLS, formats that execute, doors, and packages nobody chose."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from airflow_imagepipeline.contract.job import JobHandle
from airflow_imagepipeline.policy.job_event import JobEvent
from airflow_imagepipeline.policy.submission import SubmissionRecord

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "airflow_imagepipeline"
EMULATOR: Final = "emulator"
"""The stand-in for the vendor is a server, and no part of what Airflow runs."""

EXECUTING: Final = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "code", "subprocess", "ctypes", "xml"}
CALLS: Final = {"eval", "exec", "compile", "__import__", "breakpoint"}
LISTENING: Final = {"socketserver", "http.server", "uvicorn", "starlette", "fastapi", "flask"}
WEAKENING: Final = {"CERT_NONE", "_create_unverified_context", "disable_warnings", "check_hostname", "TLSVersion"}


def modules() -> dict[str, ast.Module]:
    files = [path for path in PACKAGE.rglob("*.py") if EMULATOR not in path.relative_to(PACKAGE).parts]
    assert len(files) > 20
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in files}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def names(tree: ast.AST) -> set[str]:
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return found | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_nothing_is_read_that_executes() -> None:
    for path, tree in modules().items():
        assert not {name.partition(".")[0] for name in imported(tree)} & EXECUTING, path
        assert not {call.func.id for call in calls(tree) if isinstance(call.func, ast.Name)} & CALLS, path


def test_no_switch_weakens_tls() -> None:
    for path, tree in modules().items():
        assert not names(tree) & WEAKENING, path
        for call in calls(tree):
            switches = {word.arg: word.value for word in call.keywords if word.arg in {"verify", "ssl", "verify_ssl"}}
            assert not switches, f"{path}:{call.lineno}"


def test_nothing_listens() -> None:
    # The vendor's webhook is not signed: nothing here believes it, or waits for it.
    for path, tree in modules().items():
        # The Images tab is served by Airflow's own API server, and can only be read.
        if "/plugins/" not in path:
            assert not [name for name in imported(tree) if name.startswith(tuple(LISTENING))], path
        assert not names(tree) & {"start_server", "create_server", "listen"}, path
        assert "webhook" not in (ROOT / path).read_text().lower(), path


def test_the_key_is_read_in_one_place() -> None:
    readers = [path for path, tree in modules().items() if "password" in names(tree) and "urlsplit" not in path]
    assert sorted(readers) == [
        "airflow_imagepipeline/contract/links.py",  # the password of an input's link, to refuse it
        "airflow_imagepipeline/hooks/connection.py",
    ]
    users = [path for path, tree in modules().items() if "_key" in names(tree)]
    assert "airflow_imagepipeline/hooks/connection.py" in users
    senders = [path for path, tree in modules().items() if "key_headers" in names(tree)]
    assert senders == ["airflow_imagepipeline/hooks/transport.py"]


CHOSEN: Final = {
    "aiohttp",
    "apache-airflow",
    "apache-airflow-providers-amazon",
    "apache-airflow-providers-common-compat",
    "pillow",
    "pydantic",
    "requests",
    "tenacity",
}


def test_the_provider_needs_no_package_that_was_not_chosen() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in project["dependencies"]}
    assert needed == CHOSEN


@pytest.mark.parametrize("path", sorted(ROOT.glob("constraints*.txt")), ids=lambda path: path.name)
def test_every_package_is_pinned_to_one_version(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) > 50
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+( *;.*)?", line)]


STRANGERS: Final[list[object]] = [
    None,
    "",
    [],
    {},
    {"v": 2},
    {"v": 1},
    {"v": 1, "handle": {"__class__": "os.system"}, "outcome": "succeeded"},
    {"v": 1, "py/object": "os.system", "py/reduce": [1]},
    {"v": 1, "job_id": {"$type": "x"}, "api": "sdxl/image2image/v1"},
    b"\x80\x04\x95",
    ...,  # of no type that JSON has
]


@pytest.mark.parametrize("reader", [JobEvent, JobHandle, SubmissionRecord], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("payload", STRANGERS, ids=lambda payload: ascii(payload)[:30])
def test_a_stranger_is_refused_by_value(reader: type[JobEvent | JobHandle | SubmissionRecord], payload: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any sentence will do
        reader.from_payload(payload)
