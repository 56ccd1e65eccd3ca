# ruff: noqa: INP001 - Airflow loads the file by its path
"""What the Images tab is looked at with: one of each operator on real storage, and a batch that is under way."""

from __future__ import annotations

from typing import Any, Final

from airflow.sdk import DAG

from airflow_imagepipeline.operators.batch import ImageToImageBatchOperator
from airflow_imagepipeline.operators.contact_sheet import ContactSheetOperator
from airflow_imagepipeline.operators.imagepipeline import EditImageOperator, ImageToImageOperator
from airflow_imagepipeline.operators.merge_manifests import MergeManifestsOperator

BUCKET: Final = "s3://evening"
PROMPT: Final = "watercolour on rough paper, soft light"
# Three of the photos are less high than this, and so is what is made of them.
BATCH: Final[dict[str, Any]] = {
    "inputs": f"{BUCKET}/photos/*.jpg",
    "request": {"prompt": PROMPT, "strength": 0.6},
    "accept": {"min_height": 320},
    "poll_interval": 0.5,
    "retries": 0,
}

with DAG(dag_id="real_runs", schedule=None):
    ImageToImageOperator(
        task_id="restyle",
        init_image=f"{BUCKET}/photos/coffee.jpg",
        prompt=PROMPT,
        strength=0.6,
        samples=2,
        seed=7,
        destination=f"{BUCKET}/restyled",
        accept={},
        poll_interval=0.5,
    )
    EditImageOperator(
        task_id="edit",
        input_image=f"{BUCKET}/photos/astronaut.jpg",
        prompt="make it a pencil drawing",
        destination=f"{BUCKET}/edited",
        accept={},
        poll_interval=0.5,
    )
    ImageToImageBatchOperator(
        task_id="catalogue",
        destination=f"{BUCKET}/catalogue",
        imagepipeline_conn_id="imagepipeline_unlucky",
        submit_concurrency=1,
        min_success_ratio=0.5,
        price_per_job=0.04,
        contact_sheet=True,
        **BATCH,
    )
    ImageToImageBatchOperator(task_id="all_or_nothing", destination=f"{BUCKET}/strict", contact_sheet=True, **BATCH)
    ImageToImageBatchOperator(
        task_id="plan", destination=f"{BUCKET}/planned", plan_only=True, price_per_job=0.04, **BATCH
    )
    shards = ImageToImageBatchOperator.partial(
        task_id="shards", destination=f"{BUCKET}/shards", min_success_ratio=0.5, **BATCH
    ).expand(shard=[[0, 2], [1, 2]])
    merge = MergeManifestsOperator(
        task_id="merge", summaries=shards.output, destination=f"{BUCKET}/shards", file_stem="merged"
    )
    ContactSheetOperator(
        task_id="sheet", manifest=merge.output, destination=f"{BUCKET}/sheets", title="The whole evening", pairs=6
    )

with DAG(dag_id="under_way", schedule=None):
    ImageToImageBatchOperator(
        task_id="slow",
        destination=f"{BUCKET}/slow",
        imagepipeline_conn_id="imagepipeline_slow",
        deferrable=True,
        defer_after=0.5,
        **BATCH,
    )
