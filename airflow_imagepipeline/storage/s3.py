"""S3 through the amazon provider's hook: written once, with the checksum that the store verifies itself."""

from __future__ import annotations

import base64
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from airflow_imagepipeline.storage.folder import MARKER, AlreadyThere, DestinationUnusable, Folder, StoredFile

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_EXISTS: Final = frozenset({"PreconditionFailed", "412"})


class S3Folder(Folder):
    """
    A prefix in a bucket.

    :param uri: ``s3://bucket`` or ``s3://bucket/prefix``.
    :param aws_conn_id: Airflow connection of type ``aws``.
    """

    def __init__(self, uri: str, aws_conn_id: str | None) -> None:
        super().__init__(uri)
        self._bucket, _, self._prefix = self.uri.removeprefix("s3://").partition("/")
        self._aws_conn_id = aws_conn_id

    @cached_property
    def _client(self) -> S3Client:
        # Keys are never handed to S3Hook: one that looks like an s3:// address would lead it to another bucket.
        config = Config(retries={"mode": "standard", "total_max_attempts": 5})
        client: S3Client = S3Hook(aws_conn_id=self._aws_conn_id, config=config).get_conn()
        return client

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def prepare(self) -> None:
        """Write the marker once: bucket, permission and credentials are proven by it."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._key(MARKER), Body=b"", IfNoneMatch="*")
        except ClientError as exc:
            if _code(exc) not in _EXISTS:
                raise self._unusable(_code(exc)) from exc
        except BotoCoreError as exc:
            raise self._unusable(type(exc).__name__) from exc

    def _unusable(self, reason: str) -> DestinationUnusable:
        where = f"bucket, permissions and connection {self._aws_conn_id!r}"
        return DestinationUnusable(f"destination {self.uri} cannot be written ({reason}): check {where}.")

    def names(self, stem: str) -> list[str]:
        """Return the names under the prefix that begin with ``stem`` and a hyphen."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._key(f"{stem}-")
        )
        skipped = len(self._prefix) + 1 if self._prefix else 0
        return [found["Key"][skipped:] for page in pages for found in page.get("Contents", [])]

    def put(self, name: str, file: StoredFile, *, overwrite: bool) -> None:
        """Write an object in one request, so that no part of it can be left behind."""
        condition: dict[str, Any] = {} if overwrite else {"IfNoneMatch": "*"}
        try:
            with file.path.open("rb") as body:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(name),
                    Body=body,
                    ContentType=file.content_type,
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(file.sha256)).decode(),
                    Metadata={"sha256": file.sha256},
                    **condition,
                )
        except ClientError as exc:
            if _code(exc) not in _EXISTS:
                raise
            if self._stored_sha256(name) != file.sha256:
                msg = f"{self.uri_of(name)} exists with other bytes: give another file_stem, or overwrite=True."
                raise AlreadyThere(msg) from exc

    def _stored_sha256(self, name: str) -> str | None:
        found = self._client.head_object(Bucket=self._bucket, Key=self._key(name))
        sha256: str | None = found["Metadata"].get("sha256")
        return sha256


def signed_link(uri: str, aws_conn_id: str | None, seconds: int) -> str:
    """
    Return a link by which anybody can read an object for some time.

    The link dies earlier when the credentials that signed it do.

    :param uri: ``s3://bucket/key``.
    :param seconds: lifetime of the link.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    hook = S3Hook(aws_conn_id=aws_conn_id)
    link: str | None = hook.generate_presigned_url(
        "get_object", params={"Bucket": bucket, "Key": key}, expires_in=seconds
    )
    if link is None:
        msg = f"{uri} could not be signed: check connection {aws_conn_id!r}."
        raise DestinationUnusable(msg)
    return link


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
