"""Read an input image or a table of them, and tell by what an input can be known again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters, NotSent
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.storage import disk

LARGEST_INPUT: Final = 20 * 1000 * 1000
"""Bytes of one upload at most, as the vendor's page says."""

ARCHIVED: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes of objects that must be restored before anybody can read them (GLACIER_IR is none)."""
_RESTORED: Final = 'ongoing-request="false"'
_CHUNK: Final = 32 * 1024
_NOT_FOUND: Final = 404
_UNEXPLAINED: Final = frozenset({400, 403})
_OF_THE_OBJECT: Final = frozenset(
    {"AccessDenied", "InvalidBucketName", "InvalidObjectState", "KeyTooLongError", "NoSuchBucket", "NoSuchKey"}
)
_OF_THE_FILE: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def copy_input(address: str, aws_conn_id: str | None, target: Path) -> None:
    """
    Copy an input image to this machine.

    :param address: ``s3://bucket/key``, an absolute path, or an address of Airflow's object storage.
    :param aws_conn_id: connection for ``s3://``.
    :raises InvalidParameters: when it cannot be read, or is larger than the vendor takes.
    :raises NotSent: when it cannot be read for now: a retry may find the storage well.
    """
    with opened_input(address, aws_conn_id) as source:
        content = source.read(LARGEST_INPUT + 1)
    if len(content) > LARGEST_INPUT:
        raise _too_large(address)
    target.write_bytes(content)


@contextmanager
def opened_input(address: str, aws_conn_id: str | None) -> Iterator[BinaryIO]:
    """
    Open an input for reading; what goes wrong before it is closed counts as the storage's doing.

    :param address: as for :func:`copy_input`.
    :raises InvalidParameters: when it cannot be read.
    :raises NotSent: when it cannot be read for now.
    """
    try:
        with _opened(address, aws_conn_id) as source:
            yield source
    except ImagePipelineError:
        raise
    except Exception as exc:
        # Every storage has errors of its own; none of them may end as a stack trace.
        raise _unreadable(address, exc, lasting=not _may_pass(exc)) from exc


class InputTags:
    """
    By what the bytes of inputs can be known again.

    It serves many threads with one client.

    :param aws_conn_id: connection for ``s3://``.
    """

    def __init__(self, aws_conn_id: str | None) -> None:
        from airflow_imagepipeline.storage.s3_client import LazyS3Client

        self._aws_conn_id = aws_conn_id
        self._client = LazyS3Client(aws_conn_id)

    def of(self, address: str) -> str:
        """
        Return an object's ``ETag:size``, a file's SHA-256 (hex).

        :param address: as for :func:`copy_input`.
        :raises InvalidParameters: when there is no such input, when it may not be read, or is a file that is larger
            than the vendor takes.
        :raises NotSent: when the storage does not answer well, or answers nobody: that says nothing of this input.
        """
        return self._of_object(address) if address.startswith("s3://") else self._of_file(address)

    def _of_object(self, address: str) -> str:
        from botocore.exceptions import ParamValidationError

        bucket, _, key = address.removeprefix("s3://").partition("/")
        try:
            found = self._client.get().head_object(Bucket=bucket, Key=key)
        except Exception as exc:
            lasting = isinstance(exc, ParamValidationError) or self._is_of_the_object(exc, bucket, key)
            raise _unreadable(address, exc, lasting=lasting) from exc
        kind = found.get("StorageClass", "")
        refuse_unreadable(address, found["ContentLength"], "" if _RESTORED in found.get("Restore", "") else kind)
        return f"{found['ETag'].strip(chr(34))}:{found['ContentLength']}"

    def _is_of_the_object(self, error: Exception, bucket: str, key: str) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        if not isinstance(error, ClientError):
            return False
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status not in _UNEXPLAINED:
            return bool(status == _NOT_FOUND)
        # A HEAD has no body: whether the object or the credentials are refused, only the answer to a GET tells.
        try:
            self._client.get().get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].close()
        except ClientError as exc:
            return exc.response.get("Error", {}).get("Code") in _OF_THE_OBJECT
        except BotoCoreError:
            pass
        return False

    def _of_file(self, address: str) -> str:
        digest, size = hashlib.sha256(), 0
        try:
            with opened_input(address, self._aws_conn_id) as source:
                while size <= LARGEST_INPUT and (chunk := source.read(_CHUNK)):
                    digest.update(chunk)
                    size += len(chunk)
        except InvalidParameters as exc:
            if isinstance(exc.__cause__, (*_OF_THE_FILE, ValueError, ImportError)):
                raise
            # An error that is not known may be the whole storage's.
            raise NotSent(str(exc)) from exc
        if size > LARGEST_INPUT:
            raise _too_large(address)
        refuse_unreadable(address, size)
        return digest.hexdigest()


def refuse_unreadable(address: str, size: int, kind: str = "") -> None:
    """
    Refuse an input of which it is known for free that nobody can read an image from it.

    :param size: bytes.
    :param kind: its storage class on S3.
    :raises InvalidParameters: saying why.
    """
    if not size:
        msg = f"{cleaned(address, 120)} is empty (0 bytes): put the photo there again, or take the file away"
        raise InvalidParameters(msg)
    if kind in ARCHIVED:
        msg = f"{cleaned(address, 120)} is archived (storage class {kind}): restore it, or copy it to another class"
        raise InvalidParameters(msg)


def _unreadable(address: str, error: Exception, *, lasting: bool) -> ImagePipelineError:
    msg = (
        f"{cleaned(address, 120)} cannot be read ({_said(error)}): check the address, its permissions and the "
        "connection."
    )
    return (InvalidParameters if lasting else NotSent)(msg)


def _said(error: Exception) -> str:
    """Return the storage's own code and words, where it has any."""
    told = getattr(error, "response", None)
    found = told.get("Error", {}) if isinstance(told, dict) else {}
    words = " ".join(str(found[name]) for name in ("Code", "Message") if found.get(name))
    return cleaned(words, 160) or type(error).__name__


def _too_large(address: str) -> InvalidParameters:
    msg = f"{cleaned(address, 120)} has more than {LARGEST_INPUT} bytes, which the vendor does not take."
    return InvalidParameters(msg)


def _may_pass(error: Exception) -> bool:
    from airflow_imagepipeline.storage.s3_client import may_pass

    return may_pass(error) or (isinstance(error, OSError) and not isinstance(error, _OF_THE_FILE))


@contextmanager
def _opened(address: str, aws_conn_id: str | None) -> Iterator[BinaryIO]:
    if address.startswith("s3://"):
        from airflow_imagepipeline.storage.s3 import opened_object

        with opened_object(address, aws_conn_id) as body:
            yield body
        return
    from airflow.sdk import ObjectStoragePath

    with ObjectStoragePath(disk.one_address(address)).open("rb") as file:
        yield file
