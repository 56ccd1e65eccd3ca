"""Rows that a task is mapped over stay data, whichever way they came."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_imagepipeline.operators.imagepipeline import EditImageOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROWS = [{"prompt": "{{ 6 * 7 }}", "input_image": "https://a.example/{{ 1 }}.png", "extra_parameters": {"a": "{{ 2 }}"}}]


def rendered(map_over: Callable[[Any, Any], Any], rows: Any) -> Mapping[str, Any]:
    """Return the fields of the first task that Airflow makes of rows which another task returned."""
    with DAG("rows", schedule=None) as dag:
        source = BaseOperator(task_id="source")
        mapped = map_over(EditImageOperator.partial(task_id="edit", file_stem="{{ 5 * 5 }}"), source.output)
    ti = SimpleNamespace(map_index=0, task=mapped, xcom_pull=lambda **_: rows, dag_id="rows")
    context = {"ti": ti, "dag": dag, "dag_run": SimpleNamespace(conf={}), "params": {}}
    mapped.render_template_fields(context)
    return {name: getattr(ti.task, name) for name in (*ROWS[0], "file_stem")}


@pytest.mark.real_input("C8")
@pytest.mark.parametrize(
    ("map_over", "rows"),
    [
        pytest.param(lambda task, output: task.expand_kwargs(output), ROWS, id="expand_kwargs"),
        pytest.param(lambda task, output: task.expand_kwargs([output, {}]), ROWS[0], id="expand_kwargs, in a list"),
        pytest.param(lambda task, output: task.expand_kwargs(output.map(dict)), ROWS, id="expand_kwargs of a map"),
    ],
)
def test_rows_of_another_task_are_no_templates(map_over: Callable[[Any, Any], Any], rows: Any) -> None:
    # The argument beside the rows stands in the DAG's own file: it is a template as ever.
    assert rendered(map_over, rows) == {**ROWS[0], "file_stem": "25"}


@pytest.mark.real_input("C8")
def test_values_of_another_task_are_no_templates() -> None:
    images = ["https://a.example/1.png"]
    found = rendered(lambda task, output: task.expand(prompt=output, input_image=images), [ROWS[0]["prompt"]])
    assert found["prompt"] == ROWS[0]["prompt"]


def test_rows_in_the_dags_own_file_are_templates() -> None:
    found = rendered(lambda task, _: task.expand_kwargs(ROWS), None)
    assert found == {
        "prompt": "42",
        "input_image": "https://a.example/1.png",
        "extra_parameters": {"a": "2"},
        "file_stem": "25",
    }
