"""S3 through the amazon provider's hook: written once, with the checksum that the store verifies itself."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NotConnected

from airflow_imagepipeline.storage.folder import MARKER, DestinationUnusable, Folder, StorageFailed, StoredFile

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_EXISTS: Final = frozenset({"PreconditionFailed", "412"})
_RETRIES: Final = Config(retries={"mode": "standard", "total_max_attempts": 5})
_CHUNK: Final = 1024 * 1024
_CONFLICT: Final = 409
_SERVER_ERRORS: Final = 500


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
        return _client(self._aws_conn_id)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def prepare(self) -> None:
        """Write the marker once: bucket, permission and credentials are proven by it."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._key(MARKER), Body=b"", IfNoneMatch="*")
        except (ClientError, BotoCoreError) as exc:
            if _code(exc) not in _EXISTS:
                where = f"bucket, permissions and connection {self._aws_conn_id!r}"
                msg = f"destination {self.uri} cannot be written ({_code(exc)}): check {where}."
                raise (StorageFailed if may_pass(exc) else DestinationUnusable)(msg) from exc

    def names(self, stem: str) -> list[str]:
        """Return the names under the prefix that begin with ``stem`` and a hyphen."""
        with self._named(f"{self.uri} could not be listed"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._key(f"{stem}-")
            )
            skipped = len(self._prefix) + 1 if self._prefix else 0
            return [found["Key"][skipped:] for page in pages for found in page.get("Contents", [])]

    def notes(self, name: str) -> Mapping[str, str]:
        """Return the object's metadata, and its size as ``bytes``."""
        with self._named(f"{self.uri_of(name)} could not be looked at"):
            found = self._client.head_object(Bucket=self._bucket, Key=self._key(name))
            return {**found["Metadata"], "bytes": str(found["ContentLength"])}

    def read(self, name: str, target: Path) -> None:
        """Copy an object to this machine."""
        with self._named(f"{self.uri_of(name)} could not be read"), target.open("wb") as sink:
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"]
            for chunk in body.iter_chunks(_CHUNK):
                sink.write(chunk)

    def put(self, name: str, file: StoredFile, *, overwrite: bool) -> None:
        """Write an object in one request, so that no part of it can be left behind."""
        condition: dict[str, Any] = {} if overwrite else {"IfNoneMatch": "*"}
        with self._named(f"{self.uri_of(name)} could not be written"):
            try:
                with file.path.open("rb") as body:
                    self._client.put_object(
                        Bucket=self._bucket,
                        Key=self._key(name),
                        Body=body,
                        ContentType=file.content_type,
                        ChecksumSHA256=base64.b64encode(bytes.fromhex(file.sha256)).decode(),
                        Metadata={**file.notes, "sha256": file.sha256},
                        **condition,
                    )
            except ClientError as exc:
                if _code(exc) not in _EXISTS:
                    raise
                if self.notes(name).get("sha256") != file.sha256:
                    raise self.already_there(name) from exc

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as exc:
            msg = f"{what} ({_code(exc)}): check bucket, permissions and connection {self._aws_conn_id!r}."
            raise StorageFailed(msg) from exc


def signed_link(uri: str, aws_conn_id: str | None, seconds: int) -> str:
    """
    Return a link by which anybody can read an object for some time.

    The link dies earlier when the credentials that signed it do.

    :param uri: ``s3://bucket/key``.
    :param seconds: lifetime of the link.
    :raises DestinationUnusable: when it cannot be signed, for want of credentials, say.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        link: str = _client(aws_conn_id).generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds
        )
    except (ClientError, BotoCoreError) as exc:
        msg = f"{uri} could not be signed ({_code(exc)}): check connection {aws_conn_id!r}."
        raise DestinationUnusable(msg) from exc
    return link


@contextmanager
def opened_object(uri: str, aws_conn_id: str | None) -> Iterator[BinaryIO]:
    """
    Open an object for reading.

    :param uri: ``s3://bucket/key``.
    :raises botocore.exceptions.ClientError: when it cannot be read.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with closing(_client(aws_conn_id).get_object(Bucket=bucket, Key=key)["Body"]) as body:
        yield body


def _client(aws_conn_id: str | None) -> S3Client:
    # Keys are never handed to S3Hook: one that looks like an s3:// address would lead it to another bucket.
    hook = S3Hook(aws_conn_id=aws_conn_id)
    # What the connection itself says (config_kwargs) wins; a configuration given to the hook would hide all of it.
    client: S3Client = hook.get_client_type(region_name=hook.region_name, config=_RETRIES.merge(hook.config))
    return client


def _code(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__


def may_pass(error: Exception) -> bool:
    """Tell whether an error of S3 may be gone the next time."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status == _CONFLICT or status >= _SERVER_ERRORS
    return isinstance(error, HTTPClientError | NotConnected)
