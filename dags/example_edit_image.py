"""The smallest use of the current generation: edit one image by an instruction, wait without a worker, land it."""

from __future__ import annotations

# [START example_edit_image]
from airflow.sdk import DAG, Param

from airflow_imagepipeline.operators.imagepipeline import EditImageOperator

with DAG(
    dag_id="example_edit_image",
    schedule=None,
    params={
        "input_image": Param("s3://my-bucket/photos/cup.png", type="string"),
        "prompt": Param("make it a watercolor painting with soft light", type="string"),
        "destination": Param("s3://my-bucket/edited", type="string"),
    },
    tags=["example", "imagepipeline"],
) as dag:
    EditImageOperator(
        task_id="edit",
        input_image="{{ params.input_image }}",
        prompt="{{ params.prompt }}",
        faster_inference=False,
        destination="{{ params.destination }}",
        deferrable=True,
        retries=3,
    )
# [END example_edit_image]
