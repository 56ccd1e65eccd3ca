"""What a signed link is signed with: version 4, the bucket's own region, the host that leads there."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_imagepipeline.contract.errors import NotSent
from airflow_imagepipeline.storage.folder import DestinationUnusable, StorageFailed, StoredFile
from airflow_imagepipeline.storage.s3 import S3Folder, S3Signer
from airflow_imagepipeline.storage.s3_client import s3_client
from tests.doubles.moto_server import CONNECTION, Moto, aws_connection
from tests.doubles.small_store import SmallStore
from tests.faults import Instruction, ScriptedServer, answer, forever

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[bytes], StoredFile]

ONCE = {"retries": {"total_max_attempts": 1}}


def signed_for(link: str) -> str:
    """Return the region in a link's signature, which must be of version 4."""
    query = parse_qs(urlsplit(link).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    return query["X-Amz-Credential"][0].split("/")[2]


def opened(link: str) -> bytes:
    with urllib.request.urlopen(link) as response:  # noqa: S310 - moto's own address
        content: bytes = response.read()
        return content


@pytest.mark.parametrize("region", [None, "us-east-1", "eu-west-1", "us-west-2", "ap-southeast-1", "eu-central-1"])
@pytest.mark.real_input("C2")
def test_a_link_is_signed_with_version_4_in_every_region_and_without_one(
    region: str | None, bucket: str, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, aws_connection(moto.url, region_name=region))
    moto.s3.put_object(Bucket=bucket, Key="a b.png", Body=b"photo")
    link = S3Signer("aws_test").link(f"s3://{bucket}/a b.png", 60)
    assert signed_for(link) == "us-east-1"
    assert opened(link) == b"photo"


@pytest.mark.parametrize("own", ["eu-central-1", "us-west-2"])
@pytest.mark.real_input("C3")
def test_a_link_is_signed_for_the_buckets_own_region_also_at_an_endpoint_of_ones_own(
    own: str, moto: Moto, bucket: str
) -> None:
    elsewhere = f"{bucket}-{own}"
    moto.s3.create_bucket(Bucket=elsewhere, CreateBucketConfiguration={"LocationConstraint": own})
    moto.s3.put_object(Bucket=elsewhere, Key="a.png", Body=b"photo")
    signer = S3Signer("aws_test")
    for name, region in ((elsewhere, own), (bucket, "us-east-1"), (elsewhere, own)):
        assert signed_for(signer.link(f"s3://{name}/a.png", 60)) == region
    assert opened(signer.link(f"s3://{elsewhere}/a.png", 60)) == b"photo"


SAYS_REGION = {"x-amz-bucket-region": "eu-south-2"}


@pytest.mark.parametrize(
    ("answered", "region"),
    [
        pytest.param(answer(200, headers=SAYS_REGION), "eu-south-2", id="200"),
        pytest.param(answer(301, headers=SAYS_REGION), "eu-south-2", id="301"),
        pytest.param(answer(400, headers=SAYS_REGION), "eu-south-2", id="400"),
        pytest.param(answer(403, headers=SAYS_REGION), "eu-south-2", id="403"),
        pytest.param(answer(200), "us-east-1", id="a store without regions"),
        pytest.param(answer(301, headers={"Location": "https://store.test/"}), "us-east-1", id="301 to https"),
        pytest.param(answer(403), "us-east-1", id="403 without a region"),
        pytest.param(answer(404), "us-east-1", id="no such bucket"),
        pytest.param(answer(501), "us-east-1", id="a store that does not know the question"),
    ],
)
@pytest.mark.real_input("C3")
def test_the_region_is_taken_from_whatever_the_store_answers_and_asked_for_once(
    answered: Instruction, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer({"HEAD /bucket": [forever(answered)]}) as server:
        monkeypatch.setenv(CONNECTION, aws_connection(server.url, config_kwargs=ONCE))
        signer = S3Signer("aws_test")
        assert signed_for(signer.link("s3://bucket/a.png", 60)) == region
        asked = server.count()
        assert signed_for(signer.link("s3://bucket/b.png", 60)) == region
        # Botocore follows a redirection by itself.
        assert server.count() == asked <= 3


@pytest.mark.real_input("C3")
def test_a_store_that_is_unwell_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer({"HEAD /bucket": [answer(503), answer(200, headers=SAYS_REGION)]}) as server:
        monkeypatch.setenv(CONNECTION, aws_connection(server.url, config_kwargs=ONCE))
        signer = S3Signer("aws_test")
        with pytest.raises(
            NotSent, match=r"s3://bucket/a\.png could not be signed \(503: Service Unavailable\): check"
        ):
            signer.link("s3://bucket/a.png", 60)
        assert signed_for(signer.link("s3://bucket/a.png", 60)) == "eu-south-2"


@pytest.mark.parametrize(
    ("region", "bucket", "start"),
    [
        ("eu-west-1", "my-bucket", "https://my-bucket.s3.eu-west-1.amazonaws.com/"),
        ("ap-east-1", "my-bucket", "https://my-bucket.s3.ap-east-1.amazonaws.com/"),
        ("cn-north-1", "my-bucket", "https://my-bucket.s3.cn-north-1.amazonaws.com.cn/"),
        ("us-east-1", "my-bucket", "https://my-bucket.s3.amazonaws.com/"),
        ("eu-west-1", "My_Bucket", "https://s3.eu-west-1.amazonaws.com/My_Bucket/"),
        ("eu-west-1", "my.bucket", "https://s3.eu-west-1.amazonaws.com/my.bucket/"),
    ],
)
@pytest.mark.real_input("C3", "E6")
def test_a_link_leads_to_the_host_of_the_region(
    region: str, bucket: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The global host does not know the buckets of all regions, and sends others on to a host that is not signed.
    monkeypatch.setenv(CONNECTION, '{"conn_type": "aws", "login": "testing", "password": "testing"}')
    monkeypatch.setattr("airflow_imagepipeline.storage.s3_client._region_of", lambda *_: region)
    link = S3Signer("aws_test").link(f"s3://{bucket}/a.png", 60)
    assert link.startswith(start)
    assert signed_for(link) == region


@pytest.mark.parametrize("name", ["My_Bucket", "photos_2009.Summer", "ABC", "x" * 255])
@pytest.mark.real_input("E6")
def test_objects_in_buckets_of_the_first_years_are_signed_and_written(
    name: str, monkeypatch: pytest.MonkeyPatch, file_of: Maker
) -> None:
    with ScriptedServer({"* /": SmallStore().answer}) as server:
        monkeypatch.setenv(CONNECTION, aws_connection(server.url, config_kwargs=ONCE))
        folder = S3Folder(f"s3://{name}/landed", "aws_test")
        folder.prepare(write_once=True)
        folder.put("a.png", file_of(b"photo"), overwrite=False)
        link = S3Signer("aws_test").link(f"s3://{name}/landed/a.png", 60)
        assert link.startswith(f"{server.url}/{name}/landed/a.png?")
        assert opened(link) == b"photo"


ENCRYPTED = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1", "ACL": "bucket-owner-full-control"}
PLACES: dict[str, dict[str, Any]] = {
    "the extra": {"extra_args": ENCRYPTED},
    "the service": {"service_config": {"s3": {"extra_args": ENCRYPTED}}},
    "both": {"extra_args": {**ENCRYPTED, "ACL": "private"}, "service_config": {"s3": {"extra_args": ENCRYPTED}}},
}


@pytest.mark.parametrize("extra", PLACES.values(), ids=PLACES)
@pytest.mark.real_input("C4")
def test_extra_arguments_of_the_connection_reach_every_write(
    extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch, file_of: Maker
) -> None:
    with ScriptedServer({"* /": SmallStore().answer}) as server:
        monkeypatch.setenv(CONNECTION, aws_connection(server.url, config_kwargs=ONCE, **extra))
        folder = S3Folder("s3://bucket/landed", "aws_test")
        folder.prepare()
        folder.put("a.png", file_of(b"photo"), overwrite=False)
        folder.put("a.png", file_of(b"photo"), overwrite=True)
        folder.create("b.json", b"{}")
        folder.write("c.json", b"{}")
        assert [found.name for found in folder.listing()] == [".imagepipeline", "a.png", "b.json", "c.json"]
        folder.remove(["c.json"])
        writes = [request for request in server.requests if request.method == "PUT"]
        link = S3Signer("aws_test").link("s3://bucket/landed/a.png", 60)
    assert len(writes) == 6
    for write in writes:
        assert write.header("x-amz-server-side-encryption") == "aws:kms"
        assert write.header("x-amz-server-side-encryption-aws-kms-key-id") == "key-1"
        assert write.header("x-amz-acl") == "bucket-owner-full-control"
    assert {write.header("x-amz-meta-sha256") is not None for write in writes} == {True, False}
    assert parse_qs(urlsplit(link).query)["X-Amz-SignedHeaders"] == ["host"]


@pytest.mark.real_input("C4")
def test_a_requester_who_pays_says_so_in_every_request_but_not_in_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer({"* /": SmallStore().answer}) as server:
        extra = {"extra_args": {"RequestPayer": "requester"}}
        monkeypatch.setenv(CONNECTION, aws_connection(server.url, config_kwargs=ONCE, **extra))
        folder = S3Folder("s3://bucket/landed", "aws_test")
        folder.write("a", b"1")
        assert folder.content("a") == b"1"
        assert [found.name for found in folder.listing()] == ["a"]
        folder.remove(["a"])
        assert {request.header("x-amz-request-payer") for request in server.requests} == {"requester"}
        link = S3Signer("aws_test").link("s3://bucket/landed/a.png", 60)
    assert parse_qs(urlsplit(link).query)["X-Amz-SignedHeaders"] == ["host"]
    assert "payer" not in link


@pytest.mark.parametrize("extra_args", [{"ServerSideEncyption": "AES256"}, "AES256", ["ACL"], {"Body": "x"}])
@pytest.mark.real_input("C4")
def test_an_extra_argument_that_s3_does_not_take_is_named(
    extra_args: Any, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, aws_connection(moto.url, extra_args=extra_args))
    folder = S3Folder("s3://bucket/landed", "aws_test")
    with pytest.raises(DestinationUnusable, match=r"extra_args of connection 'aws_test': S3Hook takes no "):
        folder.prepare()
    with pytest.raises(StorageFailed, match=r"extra_args of connection 'aws_test'"):
        folder.write("a", b"")


def test_what_the_connection_says_of_signatures_wins(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONNECTION, aws_connection(moto.url, config_kwargs={"signature_version": "s3"}))
    assert s3_client("aws_test").meta.config.signature_version == "s3"
