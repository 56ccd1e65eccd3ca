"""What README and the pages say of arguments, options and imports is so; what they show to be copied runs."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_imagepipeline.emulator.__main__ import _parser
from airflow_imagepipeline.operators.batch import EditImageBatchOperator, ImagePipelineBatchOperator
from airflow_imagepipeline.operators.contact_sheet import ContactSheetOperator
from airflow_imagepipeline.operators.job import ImagePipelineJobOperator
from airflow_imagepipeline.operators.merge_manifests import MergeManifestsOperator
from airflow_imagepipeline.sensors.imagepipeline import ImagePipelineJobSensor
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
ARGUMENTS = (
    ("operator.md", "Argument | Default", (ImagePipelineJobOperator,)),
    ("sensor.md", "Argument | Default", (ImagePipelineJobSensor,)),
    ("transfer.md", "Argument | Default", (ImagePipelineToObjectStorageOperator,)),
    ("contact-sheet.md", "Argument | Default", (ContactSheetOperator,)),
    ("batch.md", "Argument | Default", (ImagePipelineBatchOperator, EditImageBatchOperator)),
    ("batch.md", "Argument of", (MergeManifestsOperator,)),
)
OF_CONFIG = "[operators] default_deferrable"


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def table_of(page: str, header: str) -> dict[str, str]:
    """Return the first two columns of the table whose header begins like this, without code marks and quotes."""
    _, _, rest = text_of(page).partition(f"| {header}")
    rows = [line.split("|")[1:3] for line in rest.partition("\n\n")[0].splitlines()[2:]]
    return {name.strip(" `"): value.strip() for name, value in rows}


def code_of(page: Path) -> list[str]:
    return re.findall(r"```(?:python|\{code-block\} python\n:caption:.*)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def shown(value: object) -> str:
    """Return a default as a table shows it."""
    if value is inspect.Parameter.empty:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize(("page", "header", "classes"), ARGUMENTS)
def test_a_table_of_arguments_has_each_of_them_with_its_default(
    page: str, header: str, classes: tuple[type, ...]
) -> None:
    described = {name: value.strip('`"') for name, value in table_of(page, header).items()}
    defaults = {
        name: OF_CONFIG if name == "deferrable" else shown(parameter.default)
        for its_class in classes
        for name, parameter in inspect.signature(its_class).parameters.items()
        if name != "kwargs"
    }
    assert described == defaults


def test_every_option_of_the_emulator_is_on_its_page_with_its_default() -> None:
    described = table_of("emulator.md", "Option | Default")
    options = {action.option_strings[-1]: action.default for action in _parser()._actions if action.dest != "help"}
    assert described.keys() == options.keys()
    said = {name: described[name].strip("`") for name in described if described[name] not in {"", "no limit"}}
    assert said == {name: shown(options[name]) for name in said}


@pytest.mark.parametrize("page", [page for page in PAGES if code_of(page)], ids=lambda page: page.name)
def test_what_a_page_imports_is_there(page: Path) -> None:
    for code in code_of(page):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("airflow"):
                module = importlib.import_module(str(node.module))
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_every_page_is_named_on_the_first() -> None:
    listed = re.findall(r"^([a-z-]+)$", text_of("index.md"), re.MULTILINE)
    assert sorted(listed) == sorted(page.stem for page in PAGES if page.name not in {"README.md", "index.md"})


@pytest.mark.live
def test_the_tests_that_the_emulators_page_shows_pass(tmp_path: Path) -> None:
    files = re.findall(r"```\{code-block\} python\n:caption: (\S+)\n\n(.*?)```", text_of("emulator.md"), re.DOTALL)
    for name, code in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    own = {"AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags")}
    environment = {**os.environ, **own, "PYTHONPATH": os.pathsep.join([str(tmp_path / "dags"), str(ROOT)])}
    for command in (["airflow", "db", "migrate"], ["pytest", "tests", "-q", "-p", "no:cacheprovider"]):
        done = subprocess.run(  # noqa: S603 - this interpreter
            [sys.executable, "-m", *command],
            check=False,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "2 passed" in done.stdout
