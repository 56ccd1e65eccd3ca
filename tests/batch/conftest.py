from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.batch.planning import planned_rows
from airflow_imagepipeline.contract.parameters import EditImageParameters, ImageToImageParameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_imagepipeline.contract.planned_row import PlannedRow


@pytest.fixture
def planned() -> Callable[..., list[PlannedRow]]:
    """Return what plans a batch: of SDXL with a prompt, unless it is told otherwise."""

    def plan(inputs: object, *, edit: bool = False, **more: Any) -> list[PlannedRow]:
        arguments: dict[str, Any] = {
            "request": {"prompt": "a cup"},
            "file_stem": None,
            "parameters_class": EditImageParameters if edit else ImageToImageParameters,
            "link_field": "input_image" if edit else "init_image",
            "aws_conn_id": "aws_default",
            "upload_inputs": edit,
        }
        return list(planned_rows(inputs, **arguments | more))

    return plan
