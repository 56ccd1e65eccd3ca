"""A few photos first; a check and a person look at them; only then all others. Nothing is paid for twice."""

from __future__ import annotations

# [START example_canary_then_ramp]
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param, task

from airflow_imagepipeline.operators.batch import EditImageBatchOperator
from airflow_imagepipeline.operators.contact_sheet import ContactSheetOperator

CANARY = 10
BATCH: dict[str, Any] = {
    # One destination, so one ledger: the ramp finds what the canary has landed there.
    "inputs": "{{ params.catalogue }}",
    "request": {"prompt": "{{ params.prompt }}"},
    "destination": "{{ params.destination }}",
    "accept": {},
    "price_per_job": 0.04,
    "deferrable": True,
}

with DAG(
    dag_id="example_canary_then_ramp",
    schedule=None,
    max_active_runs=1,
    params={
        "catalogue": Param("s3://my-bucket/catalog/*.jpg", type="string"),
        "prompt": Param("put the product on a plain white background", type="string"),
        "destination": Param("s3://my-bucket/edited", type="string"),
    },
    default_args={"retries": 3},
    tags=["example", "imagepipeline"],
) as dag:
    canary = EditImageBatchOperator(task_id="canary", max_jobs=CANARY, min_success_ratio=0.8, **BATCH)

    @task.short_circuit(retries=0)
    def new_ones_are_good(summary: Any, least: float = 0.8) -> bool:
        """Fail if too few of the *new* images are good; those of earlier runs say nothing about today's model."""
        good, paid = summary["counts"]["landed"], summary["submitted"]
        if good < least * paid:
            msg = f"Only {good} of {paid} new images are good, see {summary['manifest']}: the others are not submitted."
            raise ValueError(msg)
        # Nobody need be asked where nothing is left to do.
        return bool(summary["counts"]["over_budget"])

    sheet = ContactSheetOperator(
        task_id="sheet",
        manifest=canary.output,
        destination="{{ params.destination }}/_sheets",
        file_stem="canary-{{ dag_run.run_after | ts_nodash }}",
    )
    approve = ApprovalOperator(
        task_id="approve",
        subject="Edit {{ ti.xcom_pull('canary').counts.over_budget }} more photos?",
        body=(
            "{% set canary = ti.xcom_pull('canary') %}"
            "{{ canary.counts.landed }} of {{ canary.submitted }} new images are good: "
            "{{ ti.xcom_pull('sheet').uri }}\n\n"
            "The others would cost about ${{ '%.2f' | format(canary.counts.over_budget * 0.04) }}."
        ),
    )
    # $200 at the most.
    ramp = EditImageBatchOperator(task_id="ramp", max_jobs=5_000, min_success_ratio=0.98, **BATCH)

    new_ones_are_good(canary.output) >> sheet >> approve >> ramp
# [END example_canary_then_ramp]
