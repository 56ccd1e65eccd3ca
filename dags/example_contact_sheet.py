"""One picture of the night: photos are edited, drawn side by side, and a mail and a chat message link to the sheet."""

from __future__ import annotations

# [START example_contact_sheet]
from airflow.providers.amazon.aws.operators.ses import SesEmailOperator
from airflow.providers.amazon.aws.operators.sns import SnsPublishOperator
from airflow.sdk import DAG, Param, TriggerRule, task

from airflow_imagepipeline.operators.contact_sheet import ContactSheetOperator
from airflow_imagepipeline.operators.imagepipeline import ImageToImageOperator

with DAG(
    dag_id="example_contact_sheet",
    schedule=None,
    params={
        "photos": Param(["s3://my-bucket/photos/cup.png", "s3://my-bucket/photos/cat.png"], type="array"),
        "prompt": Param("pencil sketch on rough paper", type="string"),
        "destination": Param("s3://my-bucket/edited", type="string"),
        "topic_arn": Param("arn:aws:sns:us-east-1:123456789012:edited-photos", type="string"),
        "mail_from": Param("airflow@example.com", type="string"),
        "mail_to": Param("photos@example.com", type="string"),
    },
    tags=["example", "imagepipeline"],
) as dag:

    @task
    def photos(params: dict[str, list[str]] | None = None) -> list[str]:
        """Return the photos to edit; in a real pipeline a listing of a bucket, or rows of a table."""
        return (params or {})["photos"]

    restyle = ImageToImageOperator.partial(
        task_id="restyle",
        prompt="{{ params.prompt }}",
        destination="{{ params.destination }}",
        deferrable=True,
        retries=3,
        max_active_tis_per_dag=8,
    ).expand(init_image=photos())

    sheet = ContactSheetOperator(
        task_id="sheet",
        manifest=restyle.output,
        destination="{{ params.destination }}/sheets",
        file_stem="{{ dag_run.run_after | ts_nodash }}",
        title="Photos edited by {{ dag.dag_id }}",
        trigger_rule=TriggerRule.ALL_DONE,
        retries=3,
    )

    address = "{{ ti.xcom_pull('sheet')['uri'] }}"
    summary = "{{ ti.xcom_pull('sheet')['counts']['landed'] }} of {{ params.photos | length }} photos were edited."
    mail = SesEmailOperator(
        task_id="mail",
        mail_from="{{ params.mail_from }}",
        to="{{ params.mail_to }}",
        subject="Photos edited",
        html_content=f"<p>{summary}</p><p>The contact sheet is at {address}.</p>",
    )
    chat = SnsPublishOperator(
        task_id="chat", target_arn="{{ params.topic_arn }}", subject="Photos edited", message=f"{summary}\n{address}"
    )
    sheet >> [mail, chat]
# [END example_contact_sheet]
