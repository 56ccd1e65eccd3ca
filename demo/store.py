"""The AWS side of the demo: a bucket for photos and results, a topic, and a queue that shows what was published."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import boto3

from demo.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKET = "imagepipeline-demo"


@dataclass(frozen=True)
class Message:
    """What a subscriber of the topic received."""

    subject: str | None
    text: str


class Store:
    """Bucket, topic and queue in moto, made on construction.

    :param url: moto's address; no request goes anywhere else.
    """

    def __init__(self, url: str) -> None:
        session = boto3.Session("testing", "testing", region_name="us-east-1")  # moto takes any key
        self._s3 = session.client("s3", endpoint_url=url)
        self._sqs = session.client("sqs", endpoint_url=url)
        sns = session.client("sns", endpoint_url=url)
        self._s3.create_bucket(Bucket=BUCKET)
        self.topic_arn: str = sns.create_topic(Name="imagepipeline-demo")["TopicArn"]
        self._queue: str = self._sqs.create_queue(QueueName="imagepipeline-demo")["QueueUrl"]
        wanted = ["QueueArn"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=wanted)["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=arn)

    def upload(self, photo: Path) -> str:
        """Put a photo below ``photos/`` and return its ``s3://`` address."""
        key = f"photos/{photo.name}"
        self._s3.upload_file(str(photo), BUCKET, key)
        return f"s3://{BUCKET}/{key}"

    def fetch(self, image: Mapping[str, Any], folder: Path) -> Path:
        """Copy a landed image into ``folder``.

        :param image: one entry of the transfer's result: ``uri``, ``bytes``, ``sha256`` and more.
        :return: the file.
        :raises RuntimeError: when what lies in the store is not what the transfer says it stored.
        """
        bucket, _, key = str(image["uri"]).removeprefix("s3://").partition("/")
        content: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        if len(content) != image["bytes"] or hashlib.sha256(content).hexdigest() != image["sha256"]:
            message = f"{image['uri']} is not what the task said it stored"
            raise RuntimeError(message)
        target = folder / PurePosixPath(key).name
        target.write_bytes(content)
        return target

    def message(self, seconds: float = 10.0) -> Message:
        """Read the message that was published to the topic.

        :raises TimeoutError: when none has arrived within ``seconds``.
        """
        envelope = wait_until(self._received, seconds=seconds, what="the message of the topic")
        return Message(subject=envelope.get("Subject"), text=envelope["Message"])

    def _received(self) -> dict[str, Any] | None:
        found = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=1).get("Messages", [])
        if not found:
            return None
        envelope: dict[str, Any] = json.loads(found[0]["Body"])
        return envelope
