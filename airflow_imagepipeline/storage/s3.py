"""S3 through the amazon provider's hook: written once, with the checksum that the store verifies itself."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from botocore.exceptions import BotoCoreError, ClientError

from airflow_imagepipeline.contract.errors import NotSent
from airflow_imagepipeline.storage.folder import (
    MARKER,
    DestinationUnusable,
    Folder,
    Listed,
    StorageFailed,
    StoredFile,
)
from airflow_imagepipeline.storage.s3_client import (
    LazyS3Client,
    advice,
    code_of,
    is_not_understood,
    may_pass,
    s3_client,
    said,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_log: Final = logging.getLogger(__name__)

_EXISTS: Final = frozenset({"PreconditionFailed", "412", "304", "FileAlreadyExists", "ObjectAlreadyExists"})
_ABSENT: Final = frozenset({"NoSuchKey", "404"})
_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_CHUNK: Final = 1024 * 1024
_REMOVED_AT_ONCE: Final = 1000


@dataclass(frozen=True)
class _Knows:
    """
    What a store knows beyond plain writing.

    :param conditions: ``If-None-Match``; without it, whether an object exists is asked before it is written.
    :param sha256: the checksum of AWS; without it, the MD5 digest goes along, which every store knows.
    """

    conditions: bool = True
    sha256: bool = True


class S3Folder(Folder):
    """
    A prefix in a bucket. Several threads may use one object.

    Stores that speak S3 differ in what they know; what one refuses is done without from then on.

    :param uri: ``s3://bucket`` or ``s3://bucket/prefix``.
    :param aws_conn_id: Airflow connection of type ``aws``.
    :param hurried: see :func:`open_folder`.
    """

    def __init__(self, uri: str, aws_conn_id: str | None, *, hurried: bool = False) -> None:
        super().__init__(uri)
        self._bucket, _, self._prefix = self.uri.removeprefix("s3://").partition("/")
        self._aws_conn_id = aws_conn_id
        self._lazy_client = LazyS3Client(aws_conn_id, hurried=hurried)
        self._knows = _Knows()

    @property
    def _client(self) -> S3Client:
        return self._lazy_client.get()

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def prepare(self, *, write_once: bool = False) -> None:
        """Write the marker once: bucket, permission, credentials and conditional writes are proven by it."""
        try:
            reason = self._proven()
        except (ClientError, BotoCoreError) as exc:
            msg = f"destination {self.uri} cannot be written ({said(exc)}): {advice(exc, self._aws_conn_id)}."
            raise (StorageFailed if may_pass(exc) else DestinationUnusable)(msg) from exc
        if reason and write_once:
            raise self.not_exclusive(reason)
        if reason:
            self._do_without(_Knows(conditions=False, sha256=self._knows.sha256), reason)

    def _proven(self) -> str:
        # There is a marker before the second request at the latest: a store that takes that has replaced it.
        for _ in range(2):
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._key(MARKER), Body=b"", IfNoneMatch="*")
            except ClientError as exc:
                if code_of(exc) in _EXISTS:
                    return ""
                if not is_not_understood(exc):
                    raise
                self._client.put_object(Bucket=self._bucket, Key=self._key(MARKER), Body=b"")
                return said(exc)
        return "it ignores If-None-Match"

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
                        name, size, tag = found["Key"][skipped:], found["Size"], found["ETag"].strip('"')
                        yield Listed(name, size, tag, size > 0 and found.get("StorageClass") not in _ARCHIVES)

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
            # The answer to our own request may have been lost, and the request sent again by botocore.
            return self._put(name, content, self._knows, once=True) or self.content(name) == content

    def write(self, name: str, content: bytes) -> None:
        """Write an object in one request."""
        with self._named(f"{self.uri_of(name)} could not be written"):
            self._put(name, content, self._knows, once=False)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, a thousand in a request where the store knows such a request."""
        left = iter(names)
        while batch := list(islice(left, _REMOVED_AT_ONCE)):
            what = f"{len(batch)} files in {self.uri} could not be removed"
            with self._named(what):
                self._remove([self._key(name) for name in batch], what)

    def _remove(self, keys: list[str], what: str) -> None:
        objects: Any = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        try:
            answer = self._client.delete_objects(Bucket=self._bucket, Delete=objects)
        except ClientError as exc:
            if not is_not_understood(exc):
                raise
            for key in keys:
                self._client.delete_object(Bucket=self._bucket, Key=key)
            return
        if failures := answer.get("Errors"):
            raise self._failed(what, ClientError({"Error": failures[0]}, "DeleteObjects"))

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
        with self._named(f"{self.uri_of(name)} could not be written"):
            try:
                is_new = self._put(name, file, self._knows, once=not overwrite)
            except ClientError as exc:
                if not is_not_understood(exc):
                    raise
                is_new = self._put_plainly(name, file, exc, once=not overwrite)
            if not is_new and self.notes(name).get("sha256") != file.sha256:
                raise self.already_there(name)

    def _put(self, name: str, body: StoredFile | bytes, knows: _Knows, *, once: bool) -> bool:
        """Write an object; with ``once`` only where there is none, else return False."""
        if once and not knows.conditions and self._is_there(name):
            return False
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if once and knows.conditions else {}
        target = {"Bucket": self._bucket, "Key": self._key(name), **condition}
        try:
            if isinstance(body, bytes):
                self._client.put_object(Body=body, **target)
            else:
                with body.path.open("rb") as source:
                    self._client.put_object(Body=source, **_about(body, source, knows), **target)
        except ClientError as exc:
            if not condition or code_of(exc) not in _EXISTS:
                raise
            return False
        return True

    def _put_plainly(self, name: str, file: StoredFile, refusal: ClientError, *, once: bool) -> bool:
        """Find out what the store does not know, the checksum or the condition, and do without it from now on."""
        now = self._knows
        for less in (
            _Knows(now.conditions, sha256=False),
            _Knows(conditions=False, sha256=now.sha256),
            _Knows(False, False),
        ):
            if less == now or (not once and less.conditions != now.conditions):
                continue
            try:
                is_new = self._put(name, file, less, once=once)
            except ClientError as exc:
                if not is_not_understood(exc):
                    raise
            else:
                self._do_without(less, said(refusal))
                return is_new
        raise refusal

    def _do_without(self, less: _Knows, reason: str) -> None:
        if less.conditions != self._knows.conditions:
            _warn_once(self._bucket, reason)
        self._knows = less

    def _is_there(self, name: str) -> bool:
        try:
            self._client.head_object(Bucket=self._bucket, Key=self._key(name))
        except ClientError as exc:
            if code_of(exc) not in _ABSENT:
                raise
            return False
        return True

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as exc:
            raise self._failed(what, exc) from exc

    def _failed(self, what: str, error: Exception) -> StorageFailed:
        return StorageFailed(f"{what} ({said(error)}): {advice(error, self._aws_conn_id)}.")


def _about(file: StoredFile, source: BinaryIO, knows: _Knows) -> dict[str, Any]:
    about = {"ContentType": file.content_type, "Metadata": {**file.notes, "sha256": file.sha256}}
    if knows.sha256:
        return {**about, "ChecksumSHA256": base64.b64encode(bytes.fromhex(file.sha256)).decode()}
    digest = hashlib.md5(source.read(), usedforsecurity=False).digest()
    source.seek(0)
    return {**about, "ContentMD5": base64.b64encode(digest).decode()}


@cache
def _warn_once(bucket: str, reason: str) -> None:
    _log.warning(
        "The store of s3://%s does not know conditional writes (%s): whether a file exists is asked before it is "
        "written, so of two tasks that write one name at the same time, the later replaces the earlier's file.",
        bucket,
        reason,
    )


class S3Signer:
    """
    Signs links, with version 4 of the signature and for the region of each bucket; several threads may use one object.

    :param aws_conn_id: Airflow connection of type ``aws``.
    """

    def __init__(self, aws_conn_id: str | None) -> None:
        self._aws_conn_id = aws_conn_id
        self._client = LazyS3Client(aws_conn_id)

    def link(self, uri: str, seconds: int) -> str:
        """
        Return a link by which anybody can read an object for some time.

        For the first link of a bucket, the store is asked for the bucket's region.

        The link dies earlier when the credentials that signed it do.

        :param uri: ``s3://bucket/key``.
        :param seconds: lifetime of the link.
        :raises DestinationUnusable: when it cannot be signed, for want of credentials, say.
        :raises NotSent: when the store does not answer for now.
        """
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        try:
            link: str = self._client.signing_for(bucket).generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds
            )
        except (ClientError, BotoCoreError) as exc:
            msg = f"{uri} could not be signed ({said(exc)}): {advice(exc, self._aws_conn_id)}."
            raise (NotSent if may_pass(exc) else DestinationUnusable)(msg) from exc
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
