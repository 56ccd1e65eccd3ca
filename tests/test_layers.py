"""An import goes to a lower floor, never up, never to another room of the same floor; each room knows its libraries."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGE = "airflow_imagepipeline"

# From the ground up. Links are a floor of their own, since operators and transfers carry them.
FLOORS: list[set[str]] = [
    {"__init__"},
    {"contract"},
    {"policy"},
    {"hooks", "storage", "images", "exceptions", "compat"},
    {"records", "landing", "triggers"},
    {"batch"},
    {"links"},
    {"operators", "sensors", "transfers", "notifications", "plugins", "cli"},
]
APART = {"emulator", "get_provider_info"}
"""They import nothing of the package, and nothing of the package imports them."""

AIRFLOW = {"airflow"}
LIBRARIES: dict[str, set[str]] = {
    "__init__": set(),
    "get_provider_info": set(),
    "contract": {"pydantic"},
    "policy": set(),
    "hooks": AIRFLOW | {"requests", "aiohttp", "urllib3", "tenacity", "yarl"},
    "storage": AIRFLOW | {"boto3", "botocore"},
    "images": {"PIL"},
    "records": AIRFLOW | {"tenacity"},
    "batch": AIRFLOW | {"pyarrow"},
    "plugins": AIRFLOW | {"fastapi", "jinja2", "sqlalchemy", "starlette"},
    "emulator": {"starlette", "uvicorn", "httpx", "pydantic", "PIL"},
}
"""What a room may import besides the standard library; rooms that are not named here: Airflow."""

FOR_DAGS = (
    "airflow.sdk",
    "airflow.providers.amazon.aws.operators",
    "airflow.providers.standard.operators",
    *(f"{PACKAGE}.{room}" for room in ("operators", "sensors", "transfers", "notifications")),
)


def imports(node: ast.AST, module: str, *, for_types: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield each imported name in full, and whether it stands under ``if TYPE_CHECKING``."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, for_types) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = module.split(".")[: -node.level] if node.level else []
        source = ".".join([*above, *([node.module] if node.module else [])])
        yield from ((f"{source}.{alias.name}", for_types) for alias in node.names)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.body:
            yield from imports(statement, module, for_types=True)
        for statement in node.orelse:
            yield from imports(statement, module, for_types=for_types)
    else:
        for child in ast.iter_child_nodes(node):
            yield from imports(child, module, for_types=for_types)


def room_of(module: str) -> str:
    """Return the room that a module of the package, or a name in it, belongs to."""
    return next((room for room in [*set.union(*FLOORS), *APART] if module.split(".")[1:2] == [room]), "__init__")


def floor_of(room: str) -> int:
    return next(floor for floor, rooms in enumerate(FLOORS) if room in rooms)


def wrong_imports(module: str, source: str) -> list[str]:
    """Return the imports of a module of the package that its room may not make."""
    room, wrong = room_of(module), []
    for name, for_types in imports(ast.parse(source), module):
        top = name.partition(".")[0]
        if top == PACKAGE:
            other = room_of(name)
            same = room == other
            apart = not same and bool(APART & {room, other})
            if apart or (not same and floor_of(other) >= floor_of(room)):
                wrong.append(name)
        elif not for_types and top not in sys.stdlib_module_names | LIBRARIES.get(room, AIRFLOW):
            wrong.append(name)
    return wrong


def modules() -> list[str]:
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_the_floors_below(module: str) -> None:
    source = (ROOT / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")
    assert wrong_imports(module, source) == []


def test_every_room_has_a_floor() -> None:
    assert {module.split(".")[1] for module in modules()} <= set.union(APART, *FLOORS)


@pytest.mark.parametrize("dag", sorted((ROOT / "dags").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_imports_only_what_a_dag_author_may(dag: Path) -> None:
    names = [name for name, _ in imports(ast.parse(dag.read_text(encoding="utf-8")), dag.stem)]
    allowed = [name for name in names if name.startswith(tuple(f"{prefix}." for prefix in FOR_DAGS))]
    outside = [name for name in names if name not in allowed and name.partition(".")[0] not in sys.stdlib_module_names]
    assert outside == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        pytest.param("contract.x", "import requests", ["requests"], id="contract knows no requests"),
        pytest.param("contract.x", "from airflow.sdk import DAG", ["airflow.sdk.DAG"], id="contract knows no Airflow"),
        pytest.param("policy.x", "import pydantic", ["pydantic"], id="policy knows no pydantic"),
        pytest.param("policy.x", "def f():\n  import aiohttp", ["aiohttp"], id="nor a library inside a function"),
        pytest.param("contract.x", f"import {PACKAGE}.policy.y", [f"{PACKAGE}.policy.y"], id="up"),
        pytest.param("contract.x", f"from {PACKAGE} import policy", [f"{PACKAGE}.policy"], id="up, by another form"),
        pytest.param("contract.x", "from ..policy import y", [f"{PACKAGE}.policy.y"], id="up, relatively"),
        pytest.param("contract.x", "from . import y", [], id="the same room, relatively"),
        pytest.param("storage.x", f"from {PACKAGE}.hooks.y import Z", [f"{PACKAGE}.hooks.y.Z"], id="across"),
        pytest.param(
            "hooks.x",
            f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  import yarl, fsspec\n  import {PACKAGE}.landing.y",
            [f"{PACKAGE}.landing.y"],
            id="up, for types only",
        ),
        pytest.param("operators.x", f"from {PACKAGE}.links.y import Z", [], id="operators carry links"),
        pytest.param("links.x", f"from {PACKAGE}.operators.y import Z", [f"{PACKAGE}.operators.y.Z"], id="not back"),
        pytest.param("operators.x", "import requests", ["requests"], id="only hooks speak HTTP"),
        pytest.param("hooks.x", f"import {PACKAGE}", [], id="everybody knows the version"),
        pytest.param("emulator.x", f"from {PACKAGE} import __version__", [f"{PACKAGE}.__version__"], id="but not it"),
        pytest.param("cli", f"import {PACKAGE}.emulator.y", [f"{PACKAGE}.emulator.y"], id="nobody knows the emulator"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, found: list[str]) -> None:
    assert wrong_imports(f"{PACKAGE}.{module}", source) == found
