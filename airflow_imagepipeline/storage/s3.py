"""S3 through the amazon provider's hook: written once, with the checksum that the store verifies itself."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from botocore.exceptions import BotoCoreError, ClientError

from airflow_imagepipeline.storage.folder import (
    MARKER,
    DestinationUnusable,
    Folder,
    Listed,
    StorageFailed,
    StoredFile,
)
from airflow_imagepipeline.storage.inputs import ARCHIVED
from airflow_imagepipeline.storage.s3_client import LazyS3Client, code_of, may_pass, s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_EXISTS: Final = frozenset({"PreconditionFailed", "412"})
_ABSENT: Final = frozenset({"NoSuchKey", "404"})
_CHUNK: Final = 1024 * 1024
_REMOVED_AT_ONCE: Final = 1000


class S3Folder(Folder):
    """
    A prefix in a bucket. Several threads may use one object.

    :param uri: ``s3://bucket`` or ``s3://bucket/prefix``.
    :param aws_conn_id: Airflow connection of type ``aws``.
    :param hurried: see :func:`open_folder`.
    """

    def __init__(self, uri: str, aws_conn_id: str | None, *, hurried: bool = False) -> None:
        super().__init__(uri)
        self._bucket, _, self._prefix = self.uri.removeprefix("s3://").partition("/")
        self._aws_conn_id = aws_conn_id
        self._lazy_client = LazyS3Client(aws_conn_id, hurried=hurried)

    @property
    def _client(self) -> S3Client:
        return self._lazy_client.get()

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def prepare(self) -> None:
        """Write the marker once: bucket, permission and credentials are proven by it."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._key(MARKER), Body=b"", IfNoneMatch="*")
        except (ClientError, BotoCoreError) as exc:
            if code_of(exc) not in _EXISTS:
                where = f"bucket, permissions and connection {self._aws_conn_id!r}"
                msg = f"destination {self.uri} cannot be written ({code_of(exc)}): check {where}."
                raise (StorageFailed if may_pass(exc) else DestinationUnusable)(msg) from exc

    def names(self, stem: str) -> list[str]:
        """Return the names under the prefix that begin with ``stem`` and a hyphen."""
        with self._named(f"{self.uri} could not be listed"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._key(f"{stem}-")
            )
            skipped = len(self._key(""))
            return [found["Key"][skipped:] for page in pages for found in page.get("Contents", [])]

    def listing(self, prefix: str = "") -> Iterator[Listed]:
        """Yield the objects under the folder page by page; keys that end with a slash stand for folders."""
        skipped = len(self._key(""))
        with self._named(f"{self.uri} could not be listed"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._key(prefix)
            )
            for page in pages:
                for found in page.get("Contents", []):
                    if not found["Key"].endswith("/"):
                        kind = found.get("StorageClass", "")
                        archived = kind if kind in ARCHIVED else ""
                        yield Listed(found["Key"][skipped:], found["Size"], found["ETag"].strip('"'), archived)

    def content(self, name: str) -> bytes | None:
        """Return the bytes of an object, or None."""
        with self._named(f"{self.uri_of(name)} could not be read"):
            try:
                with closing(self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"]) as body:
                    return bytes(body.read())
            except ClientError as exc:
                if code_of(exc) not in _ABSENT:
                    raise
                return None

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if there is none, in one request that the store itself decides."""
        with self._named(f"{self.uri_of(name)} could not be written"):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=content, IfNoneMatch="*")
            except ClientError as exc:
                if code_of(exc) not in _EXISTS:
                    raise
                # The answer to our own request may have been lost, and the request sent again by botocore.
                return self.content(name) == content
        return True

    def write(self, name: str, content: bytes) -> None:
        """Write an object in one request."""
        with self._named(f"{self.uri_of(name)} could not be written"):
            self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=content)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, a thousand in a request."""
        left = iter(names)
        while batch := list(islice(left, _REMOVED_AT_ONCE)):
            with self._named(f"{len(batch)} files in {self.uri} could not be removed"):
                objects = [{"Key": self._key(name)} for name in batch]
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            if failures := answer.get("Errors"):
                what = f"{len(failures)} files in {self.uri} could not be removed"
                raise self._failed(what, str(failures[0].get("Code", "unknown")))

    def notes(self, name: str) -> Mapping[str, str]:
        """Return the object's metadata, its size as ``bytes``, and as ``etag`` what changes with its content."""
        with self._named(f"{self.uri_of(name)} could not be looked at"):
            found = self._client.head_object(Bucket=self._bucket, Key=self._key(name))
            return {**found["Metadata"], "bytes": str(found["ContentLength"]), "etag": found.get("ETag", "").strip('"')}

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
                if code_of(exc) not in _EXISTS:
                    raise
                if self.notes(name).get("sha256") != file.sha256:
                    raise self.already_there(name) from exc

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as exc:
            raise self._failed(what, code_of(exc)) from exc

    def _failed(self, what: str, code: str) -> StorageFailed:
        return StorageFailed(f"{what} ({code}): check bucket, permissions and connection {self._aws_conn_id!r}.")


class S3Signer:
    """
    Signs links with one client, which is made when the first is asked for; several threads may use one object.

    :param aws_conn_id: Airflow connection of type ``aws``.
    """

    def __init__(self, aws_conn_id: str | None) -> None:
        self._aws_conn_id = aws_conn_id
        self._client = LazyS3Client(aws_conn_id)

    def link(self, uri: str, seconds: int) -> str:
        """
        Return a link by which anybody can read an object for some time; no request is made.

        The link dies earlier when the credentials that signed it do.

        :param uri: ``s3://bucket/key``.
        :param seconds: lifetime of the link.
        :raises DestinationUnusable: when it cannot be signed, for want of credentials, say.
        """
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            link: str = self._client.get().generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds
            )
        except (ClientError, BotoCoreError) as exc:
            msg = f"{uri} could not be signed ({code_of(exc)}): check connection {self._aws_conn_id!r}."
            raise DestinationUnusable(msg) from exc
        return link


def signed_link(uri: str, aws_conn_id: str | None, seconds: int) -> str:
    """Return one link as :meth:`S3Signer.link` does; for many, one signer is a hundred times as fast."""
    return S3Signer(aws_conn_id).link(uri, seconds)


@contextmanager
def opened_object(uri: str, aws_conn_id: str | None) -> Iterator[BinaryIO]:
    """
    Open an object for reading.

    :param uri: ``s3://bucket/key``.
    :raises botocore.exceptions.ClientError: when it cannot be read.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with closing(s3_client(aws_conn_id).get_object(Bucket=bucket, Key=key)["Body"]) as body:
        yield body
