"""An Airflow with a database, in which whole DAGs run in this process; and what they leave in S3 and SNS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG

    from tests.doubles.moto_server import Moto

DAGS = Path(__file__).parents[2] / "dags"
POLL = 0.02
"""Seconds between two looks at a job."""


@pytest.fixture
def dag_of(_database: None) -> Callable[[str], DAG]:
    """Return what imports an example and gives its DAG."""
    from airflow import __version__

    if __version__.startswith("3.1."):
        from airflow.models.dagbag import BundleDagBag

        bundle: dict[str, Any] = {"bundle_path": DAGS}
    else:
        from airflow.dag_processing.dagbag import BundleDagBag

        bundle = {"bundle_path": DAGS, "bundle_name": "dags-folder"}

    def load(dag_id: str) -> DAG:
        bag = BundleDagBag(dag_folder=DAGS / f"{dag_id}.py", **bundle)
        assert bag.import_errors == {}
        dag: DAG = bag.dags[dag_id]
        for task in dag.tasks:
            _look_often(task)
        return dag

    return load


def _look_often(task: Any) -> None:
    # Jobs of these tests take no time; an example waits as one does for jobs that take some.
    if task.is_mapped and task.operator_class.__module__.startswith("airflow_imagepipeline."):
        task.partial_kwargs["poll_interval"] = POLL
    elif hasattr(task, "poll_interval"):
        task.poll_interval = POLL


@pytest.fixture
def run_dag(dag_of: Callable[[str], DAG]) -> Callable[..., DagRun]:
    """Return what runs a DAG to its end with the params that are given."""

    def run(dag_id: str, **params: Any) -> DagRun:
        result: DagRun = dag_of(dag_id).test(run_conf=params)
        return result

    return run


class Topic:
    """A topic with a subscribed queue."""

    def __init__(self, url: str) -> None:
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        sns, self._sqs = (session.client(name, endpoint_url=url) for name in ("sns", "sqs"))
        self.arn: str = sns.create_topic(Name="edited-photos")["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName="edited-photos")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])

    def messages(self) -> list[tuple[str, str]]:
        """Return subject and text of what was published since the last time."""
        found = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        notes = [json.loads(message["Body"]) for message in found]
        return [(note["Subject"], note["Message"]) for note in notes]


@pytest.fixture(scope="session")
def only_topic(moto: Moto) -> Topic:
    """Make the topic."""
    return Topic(moto.url)


@pytest.fixture
def topic(only_topic: Topic) -> Topic:
    """Return the topic, without what an earlier test has left unread."""
    only_topic.messages()
    return only_topic
