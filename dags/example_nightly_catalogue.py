"""Every night the catalogue: new and changed photos are edited in two shards, merged, drawn on a sheet, reported."""

from __future__ import annotations

# [START example_nightly_catalogue]
from datetime import UTC, datetime

from airflow.providers.amazon.aws.operators.sns import SnsPublishOperator
from airflow.sdk import DAG, Asset, Param, TriggerRule

from airflow_imagepipeline.operators.batch import EditImageBatchOperator
from airflow_imagepipeline.operators.contact_sheet import ContactSheetOperator
from airflow_imagepipeline.operators.merge_manifests import MergeManifestsOperator

EDITED = Asset("edited_catalogue", uri="s3://my-bucket/edited")

with DAG(
    dag_id="example_nightly_catalogue",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Two nights at once would want the same ledgers: the later one waits for the earlier.
    max_active_runs=1,
    params={
        "catalogue": Param("s3://my-bucket/catalog/*.jpg", type="string"),
        "prompt": Param("put the product on a plain white background", type="string"),
        "destination": Param(EDITED.uri, type="string"),
        "topic_arn": Param("arn:aws:sns:us-east-1:123456789012:edited-photos", type="string"),
    },
    default_args={"retries": 3},
    tags=["example", "imagepipeline"],
) as dag:
    edit = EditImageBatchOperator.partial(
        task_id="edit",
        inputs="{{ params.catalogue }}",
        request={"prompt": "{{ params.prompt }}"},
        destination="{{ params.destination }}",
        # A photo that was replaced replaces its picture.
        file_stem="{path}",
        overwrite=True,
        accept={},
        min_success_ratio=0.98,
        # Of each shard, in each run: a night costs $400 at the most.
        max_jobs=5_000,
        price_per_job=0.04,
        deferrable=True,
    ).expand(shard=[[0, 2], [1, 2]])

    merge = MergeManifestsOperator(
        task_id="merge", summaries=edit.output, destination="{{ params.destination }}", outlets=[EDITED]
    )
    sheet = ContactSheetOperator(
        task_id="sheet",
        manifest=merge.output,
        destination="{{ params.destination }}/_sheets",
        file_stem="{{ dag_run.run_after | ts_nodash }}",
    )
    notify = SnsPublishOperator(
        task_id="notify",
        target_arn="{{ params.topic_arn }}",
        subject="Catalogue edited",
        message=(
            "{% set night = ti.xcom_pull('merge') %}"
            "{{ night.counts.landed }} edited and {{ night.counts.reused }} kept of {{ night.total }} photos"
            " ({{ night.submitted }} jobs, ${{ '%.2f' | format(night.cost) }}).\n"
            "Not edited: {{ night.total - night.counts.landed - night.counts.reused }}.\n"
            "Every photo: {{ night.manifest }}\n"
            "At a glance: {{ ti.xcom_pull('sheet').uri }}"
        ),
    )
    notify_failure = SnsPublishOperator(
        task_id="notify_failure",
        target_arn="{{ params.topic_arn }}",
        subject="Catalogue not edited",
        message="Run {{ run_id }} of {{ dag.dag_id }} did not edit the catalogue; see the failed task.",
        trigger_rule=TriggerRule.ONE_FAILED,
    )
    edit >> merge >> sheet >> notify
    [edit, merge, sheet] >> notify_failure
# [END example_nightly_catalogue]
