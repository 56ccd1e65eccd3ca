"""The link from a task to what it landed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_imagepipeline.links.storage import LandedImageLink, console_page
from airflow_imagepipeline.operators.imagepipeline import ImageToImageOperator
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator


@pytest.mark.parametrize(
    ("result", "page"),
    [
        pytest.param(
            {"images": [{"uri": "s3://my-bucket/a folder/x-00.png"}, {"uri": "s3://my-bucket/x-01.png"}]},
            "https://s3.console.aws.amazon.com/s3/object/my-bucket?prefix=a%20folder/x-00.png",
            id="the first image on S3",
        ),
        pytest.param({"images": [{"uri": "file:///data/x-00.png"}]}, "", id="on a disk"),
        pytest.param({"images": []}, "", id="no image"),
        pytest.param({"download_urls": ["https://files.test/x.png?token=secret"]}, "", id="nothing landed"),
        pytest.param(None, "", id="no result yet"),
        pytest.param("s3://my-bucket/x.png", "", id="a text"),
        pytest.param({"images": ["s3://my-bucket/x.png"]}, "", id="images that are none"),
        pytest.param({"images": [{"uri": None}]}, "", id="an image without an address"),
        pytest.param({"images": {"uri": "s3://b/k"}}, "", id="no list"),
    ],
)
def test_the_page_is_that_of_the_first_image_on_s3_and_nothing_else(result: Any, page: str) -> None:
    assert console_page(result) == page


@pytest.mark.parametrize("operator", [ImageToImageOperator, ImagePipelineToObjectStorageOperator])
def test_operators_that_land_carry_the_link(operator: Any) -> None:
    assert [type(link) for link in operator.operator_extra_links] == [LandedImageLink]


def test_a_link_that_cannot_be_looked_up_is_empty() -> None:
    class Key:
        dag_id, task_id, run_id, map_index = "no-dag", "no-task", "no-run", -1

    # No task runs here, so there is no XCom to ask for.
    operator = ImageToImageOperator(task_id="restyle", init_image="https://example.com/a.png", prompt="a door")
    assert LandedImageLink().get_link(operator, ti_key=Key()) == ""  # type: ignore[arg-type]
