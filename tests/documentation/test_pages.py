"""What README and the pages say of arguments, options and imports is so; what they show to be copied runs."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
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
BLOCK = re.compile(
    r"""(?:^\ *<!--\ (?P<part>part\ of\ )?(?P<example>dags/\S+)\ -->\n)?
    ^(?P<indent>\ *)(?P<fence>```)(?:python|\{code-block\}\ python)\n
    (?::caption:\ (?P<caption>\S+)\n)?(?P<code>.*?)^(?P=indent)```$""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
OF_CONFIG = "[operators] default_deferrable"


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def table_of(page: str, header: str) -> dict[str, str]:
    """Return the first two columns of the table whose header begins like this, without code marks and quotes."""
    _, _, rest = text_of(page).partition(f"| {header}")
    rows = [line.split("|")[1:3] for line in rest.partition("\n\n")[0].splitlines()[2:]]
    return {name.strip(" `"): value.strip() for name, value in rows}


@dataclass(frozen=True)
class Block:
    """A fenced block of Python on a page.

    :param example: the file in ``dags/`` that an invisible comment above the block names; empty: none.
    :param part: whether the comment says that the block is a part of the example.
    :param caption: the file that the reader is to make of it, if any; other blocks of the page may import it.
    """

    page: str
    line: int
    code: str
    example: str
    part: bool
    caption: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(
            page=page.name,
            line=text.count("\n", 0, found.start("fence")) + 1,
            code=textwrap.dedent(found["code"]),
            example=found["example"] or "",
            part=bool(found["part"]),
            caption=found["caption"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


def marked(example: str) -> str:
    """Return what stands between the marks ``[START …]`` and ``[END …]`` of an example."""
    name = Path(example).stem
    _, _, rest = (ROOT / example).read_text("utf-8").partition(f"# [START {name}]\n")
    code, end, _ = rest.partition(f"# [END {name}]\n")
    assert end, f"{example} has no marks"
    return code


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


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


@pytest.mark.real_input("F10")
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.example], ids=str)
def test_the_code_of_an_example_on_a_page_is_that_of_its_file(block: Block) -> None:
    code = marked(block.example)
    if block.part:
        assert textwrap.indent(block.code, "    ") in code
    else:
        assert block.code == code


@pytest.mark.real_input("F10")
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_python_on_a_page_compiles_and_its_imports_resolve(block: Block) -> None:
    of_the_page = {Path(other.caption).stem for other in BLOCKS if other.page == block.page}
    tree = ast.parse(block.code)
    compile(tree, str(block), "exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)
        elif isinstance(node, ast.ImportFrom) and node.module not in of_the_page:
            module = importlib.import_module(str(node.module))
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


@pytest.mark.real_input("F10")
def test_every_example_is_on_a_page_and_names_its_file() -> None:
    whole = {block.example for block in BLOCKS if block.example and not block.part}
    assert whole == {f"dags/{file.name}" for file in (ROOT / "dags").glob("*.py")}
    assert [str(block) for block in BLOCKS if re.search(r"dag_id=.example_", block.code) and not block.example] == []


@pytest.mark.real_input("F10")
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "changelog.md"], ids=lambda page: page.name)
def test_a_page_holds_its_text_itself(page: Path) -> None:
    assert re.findall(r"\{(?:literal)?include\}", page.read_text("utf-8")) == []


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
