"""Several photos, one mapped task each; ``max_active_tis_per_dag`` bounds what is in flight, and paid for, at once."""

from __future__ import annotations

# [START example_mapped_images]
from airflow.sdk import DAG, Param, task

from airflow_imagepipeline.operators.imagepipeline import ImageToImageOperator

with DAG(
    dag_id="example_mapped_images",
    schedule=None,
    params={
        "photos": Param(["s3://my-bucket/photos/cup.png", "s3://my-bucket/photos/cat.png"], type="array"),
        "prompt": Param("pencil sketch on rough paper", type="string"),
        "destination": Param("s3://my-bucket/edited", type="string"),
    },
    tags=["example", "imagepipeline"],
) as dag:

    @task
    def photos(params: dict[str, list[str]] | None = None) -> list[str]:
        """Return the photos to edit; in a real pipeline a listing of a bucket, or rows of a table."""
        return (params or {})["photos"]

    ImageToImageOperator.partial(
        task_id="restyle",
        prompt="{{ params.prompt }}",
        destination="{{ params.destination }}",
        deferrable=True,
        retries=3,
        max_active_tis_per_dag=8,
        map_index_template="{{ task.init_image.rpartition('/')[2] }}",
    ).expand(init_image=photos())
# [END example_mapped_images]
