"""The example of the contact sheet imports and runs to its end against the emulator, S3, SES and SNS."""

from __future__ import annotations

import email
import email.policy
import io
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from PIL import Image

from tests.running import PROMPT, assert_discreet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.models.dagrun import DagRun

    from tests.dags.conftest import Topic
    from tests.doubles.moto_server import Moto
    from tests.vendor import Vendor

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]


@pytest.fixture(autouse=True)
def _discreet(vendor: Vendor, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    vendor.settings.job_seconds = 0.0
    yield
    assert_discreet("".join(capfd.readouterr()))


@pytest.fixture
def newest_mail(moto: Moto) -> Callable[[], tuple[str, str]]:
    """Return what gives the subject and the text of the mail that was sent last."""
    ses = boto3.Session("testing", "testing", region_name="us-east-1").client("ses", endpoint_url=moto.url)
    ses.verify_email_identity(EmailAddress="airflow@example.com")

    def read() -> tuple[str, str]:
        sent = requests.get(f"{moto.url}/moto-api/data.json", timeout=10).json()["ses"]["RawMessage"]
        mail = email.message_from_string(sent[-1]["raw_data"], policy=email.policy.default)
        body = mail.get_body()
        assert body is not None
        return str(mail["Subject"]), str(body.get_content())

    return read


def run_example(run_dag: Callable[..., DagRun], bucket: str, topic: Topic, photos: list[str]) -> DagRun:
    return run_dag(
        "example_contact_sheet",
        photos=photos,
        prompt=PROMPT,
        destination=f"s3://{bucket}/edited",
        topic_arn=topic.arn,
        mail_from="airflow@example.com",
        mail_to="photos@example.com",
    )


def result(run: DagRun) -> Any:
    (instance,) = (ti for ti in run.get_task_instances() if ti.task_id == "sheet")
    return instance.xcom_pull(task_ids="sheet")


def test_a_sheet_of_all_photos_is_made_and_told(
    run_dag: Callable[..., DagRun],
    moto: Moto,
    topic: Topic,
    newest_mail: Callable[[], tuple[str, str]],
    *,
    bucket: str,
    photo: bytes,
) -> None:
    for name in ("cup", "cat"):
        moto.s3.put_object(Bucket=bucket, Key=f"photos/{name}.png", Body=photo)

    run = run_example(run_dag, bucket, topic, [f"s3://{bucket}/photos/{name}.png" for name in ("cup", "cat")])

    sheet = result(run)
    assert (run.state, sheet["pairs"], sheet["counts"]["landed"]) == ("success", 2, 2)
    data = moto.body(bucket, sheet["uri"].removeprefix(f"s3://{bucket}/"))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, len(data)) == ("JPEG", sheet["bytes"])
    assert topic.messages() == [("Photos edited", f"2 of 2 photos were edited.\n{sheet['uri']}")]
    subject, text = newest_mail()
    assert subject == "Photos edited"
    assert "2 of 2 photos were edited." in text
    assert sheet["uri"] in text


def test_a_photo_that_fails_does_not_keep_the_others_from_the_sheet(
    run_dag: Callable[..., DagRun],
    moto: Moto,
    topic: Topic,
    newest_mail: Callable[[], tuple[str, str]],
    *,
    bucket: str,
    photo: bytes,
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="photos/cup.png", Body=photo)

    run = run_example(run_dag, bucket, topic, [f"s3://{bucket}/photos/{name}.png" for name in ("cup", "missing")])

    sheet = result(run)
    assert (sheet["pairs"], sheet["counts"]["landed"]) == (1, 1)
    ((subject, text),) = topic.messages()
    assert (subject, text) == ("Photos edited", f"1 of 2 photos were edited.\n{sheet['uri']}")
    assert "1 of 2 photos were edited." in newest_mail()[1]
