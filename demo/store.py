"""The AWS side of the demo: what the examples name by default, and a queue that shows what was published."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import boto3
from PIL import Image

from demo.picture import sample
from demo.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

# The examples in dags/ name these in the defaults of their params, so that each of them runs in the demo as it is.
BUCKET: Final = "my-bucket"
TOPIC: Final = "edited-photos"
SENDER: Final = "airflow@example.com"
PHOTOS: Final = {"photos/cup.png": "coffee.png", "photos/cat.png": "chelsea.png"}
CATALOGUE: Final = (
    "astronaut.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png", "gravel.png",
    "hubble_deep_field.jpg", "motorcycle_left.png", "motorcycle_right.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
"""More than the canary of an example takes, so that there is something left to ask a person about."""
_LONGEST_SIDE: Final = 512


@dataclass(frozen=True)
class Message:
    """What a subscriber of the topic received."""

    subject: str | None
    text: str


class Store:
    """Bucket with photos, topic, queue and sender of mails in moto, made on construction.

    :param url: moto's address; no request goes anywhere else.
    """

    def __init__(self, url: str) -> None:
        session = boto3.Session("testing", "testing", region_name="us-east-1")  # moto takes any key
        self._s3 = session.client("s3", endpoint_url=url)
        self._sqs = session.client("sqs", endpoint_url=url)
        sns = session.client("sns", endpoint_url=url)
        session.client("ses", endpoint_url=url).verify_email_identity(EmailAddress=SENDER)
        self._s3.create_bucket(Bucket=BUCKET)
        for key, name in PHOTOS.items():
            self._s3.upload_file(str(sample(name)), BUCKET, key)
        for name in CATALOGUE:
            self._s3.put_object(Bucket=BUCKET, Key=f"catalog/{Path(name).stem}.jpg", Body=_as_jpeg(sample(name)))
        self.topic_arn: str = sns.create_topic(Name=TOPIC)["TopicArn"]
        self._queue: str = self._sqs.create_queue(QueueName=f"{TOPIC}-demo")["QueueUrl"]
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

        :param image: what a task returned of it: ``uri`` and ``bytes``, and ``sha256`` for an image of a job.
        :return: the file.
        :raises RuntimeError: when what lies in the store is not what the task has stored by its own account.
        """
        bucket, _, key = str(image["uri"]).removeprefix("s3://").partition("/")
        content: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        digest = hashlib.sha256(content).hexdigest()
        if (len(content), digest) != (image["bytes"], image.get("sha256", digest)):
            message = f"{image['uri']} does not hold what the task reports"
            raise RuntimeError(message)
        target = folder / PurePosixPath(key).name
        target.write_bytes(content)
        return target

    def message(self, seconds: float = 10.0) -> Message:
        """Take the next message that was published to the topic.

        :raises TimeoutError: when none has arrived within ``seconds``.
        """
        envelope = wait_until(self._received, seconds=seconds, what="the message of the topic")
        return Message(subject=envelope.get("Subject"), text=envelope["Message"])

    def _received(self) -> dict[str, Any] | None:
        found = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=1).get("Messages", [])
        if not found:
            return None
        self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=found[0]["ReceiptHandle"])
        envelope: dict[str, Any] = json.loads(found[0]["Body"])
        return envelope


def _as_jpeg(photo: Path) -> bytes:
    with Image.open(photo) as image:
        plain = image.convert("RGB")
    plain.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    target = io.BytesIO()
    plain.save(target, "JPEG", quality=88)
    return target.getvalue()
