"""One thing a task: submit, wait without a worker, land on S3, notify SNS of what was landed, or of the failure."""

from __future__ import annotations

# [START example_submit_sense_store_notify]
from airflow.providers.amazon.aws.operators.sns import SnsPublishOperator
from airflow.sdk import DAG, Param, TriggerRule

from airflow_imagepipeline.operators.imagepipeline import ImageToImageOperator
from airflow_imagepipeline.sensors.imagepipeline import ImagePipelineJobSensor
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator

with DAG(
    dag_id="example_submit_sense_store_notify",
    schedule=None,
    params={
        "init_image": Param("s3://my-bucket/photos/cup.png", type="string"),
        "prompt": Param("watercolor painting, soft light", type="string"),
        "destination": Param("s3://my-bucket/edited", type="string"),
        "topic_arn": Param("arn:aws:sns:us-east-1:123456789012:edited-photos", type="string"),
    },
    default_args={"retries": 3},
    tags=["example", "imagepipeline"],
) as dag:
    submit = ImageToImageOperator(
        task_id="submit",
        init_image="{{ params.init_image }}",
        prompt="{{ params.prompt }}",
        strength=0.7,
        wait_for_completion=False,
        return_urls=False,
    )
    wait = ImagePipelineJobSensor(task_id="wait", job=submit.output, deferrable=True, return_urls=False)
    store = ImagePipelineToObjectStorageOperator(
        task_id="store", job=wait.output, destination="{{ params.destination }}"
    )
    notify = SnsPublishOperator(
        task_id="notify",
        target_arn="{{ params.topic_arn }}",
        subject="Photo edited",
        message="{{ ti.xcom_pull('store')['images'] | map(attribute='uri') | join('\n') }}",
    )
    notify_failure = SnsPublishOperator(
        task_id="notify_failure",
        target_arn="{{ params.topic_arn }}",
        subject="Photo not edited",
        message="Run {{ run_id }} of {{ dag.dag_id }} did not edit {{ params.init_image }}; see the failed task.",
        trigger_rule=TriggerRule.ONE_FAILED,
    )
    submit >> wait >> store >> notify
    [submit, wait, store] >> notify_failure
# [END example_submit_sense_store_notify]
