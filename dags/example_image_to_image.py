"""The smallest use: edit one image, wait without a worker, land it."""

from __future__ import annotations

# [START example_image_to_image]
from airflow.sdk import DAG, Param

from airflow_imagepipeline.operators.imagepipeline import ImageToImageOperator

with DAG(
    dag_id="example_image_to_image",
    schedule=None,
    params={
        "init_image": Param("s3://my-bucket/photos/cup.png", type="string"),
        "prompt": Param("watercolor painting, soft light", type="string"),
        "destination": Param("s3://my-bucket/edited", type="string"),
    },
    tags=["example", "imagepipeline"],
) as dag:
    ImageToImageOperator(
        task_id="restyle",
        init_image="{{ params.init_image }}",
        prompt="{{ params.prompt }}",
        strength=0.7,
        destination="{{ params.destination }}",
        deferrable=True,
        retries=3,
    )
# [END example_image_to_image]
