"""Read an input image or a table of them; ask whether the vendor can open an input, and by what it is known again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from airflow_imagepipeline.contract.errors import ImagePipelineError, InvalidParameters, NotSent
from airflow_imagepipeline.contract.text import cleaned

LARGEST_INPUT: Final = 20 * 1000 * 1000
"""Bytes of one upload at most, as the vendor's page says."""

_CHUNK: Final = 32 * 1024
_HEAD: Final = 32
"""First bytes that are read of an object, to tell what is certainly no image; formats of images are an open list."""
_NO_IMAGES: Final = {
    "a PDF": re.compile(rb"%PDF-"),
    "an archive": re.compile(rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!"),
    "text": re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\r\x20-\x7e]{8,}\Z"),
    "zeros": re.compile(rb"\0{8,}\Z"),
}
_NOT_FOUND: Final = 404
_OF_THE_OBJECT: Final = re.compile(
    r"AccessDenied|AllAccessDisabled|Invalid(BucketName|ObjectState|Request)|KeyTooLongError|KMS\..+|MethodNotAllowed|"
    "NoSuch(Bucket|Key)"
)
_WAY_OUT: Final = "check the address, its permissions and the connection"
_REQUESTER_PAYS: Final = (
    "; of a requester-pays bucket, set RequestPayer in the connection's extra_args, and upload_inputs"
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
        raise _unreadable(address, exc, aws_conn_id, lasting=not _may_pass(exc)) from exc


class InputTags:
    """
    Whether the vendor can open inputs, as far as that is known for free, and by what their bytes are known again.

    It serves many threads with one client.

    :param aws_conn_id: connection for ``s3://``.
    :param upload: whether the vendor gets a copy of an object, not a signed link to it.
    """

    def __init__(self, aws_conn_id: str | None, *, upload: bool = False) -> None:
        from airflow_imagepipeline.storage.s3_client import LazyS3Client

        self._aws_conn_id = aws_conn_id
        self._upload = upload
        self._client = LazyS3Client(aws_conn_id)

    def of(self, address: str) -> str:
        """
        Return an object's ``ETag:size``, a file's SHA-256 (hex).

        An object is asked for by one request that reads its first bytes, as the vendor will: unlike a HEAD it needs the
        right to decrypt, finds what is archived and what is no image, and is refused with a sentence.

        :param address: as for :func:`copy_input`.
        :raises InvalidParameters: when there is no such input, when it is empty or no image, may not be read or not
            be opened by a signed link, or is a file that is larger than the vendor takes.
        :raises NotSent: when the storage does not answer well, or answers nobody: that says nothing of this input.
        """
        return self._of_object(address) if address.startswith("s3://") else self._of_file(address)

    def _of_object(self, address: str) -> str:
        from botocore.exceptions import ParamValidationError

        from airflow_imagepipeline.storage.s3_client import code_of, status_of

        bucket, _, key = address.removeprefix("s3://").partition("/")
        try:
            found = self._client.get().get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{_HEAD - 1}")
            head = found["Body"].read()
        except Exception as exc:
            if code_of(exc) == "InvalidRange":
                raise _empty(address) from exc
            is_of_object = _OF_THE_OBJECT.fullmatch(code_of(exc)) or status_of(exc) == _NOT_FOUND
            lasting = bool(is_of_object) or isinstance(exc, ParamValidationError)
            raise _unreadable(address, exc, self._aws_conn_id, lasting=lasting) from exc
        size = int(found.get("ContentRange", "").rpartition("/")[2] or found["ContentLength"])
        if not size:
            raise _empty(address)
        if kind := _no_image(head[:_HEAD]):
            msg = f"{cleaned(address, 120)} is no image, whatever it is called: it holds {kind}"
            raise InvalidParameters(msg)
        if not self._upload and (header := _header_needed(found)):
            msg = (
                f"{cleaned(address, 120)} {header}, which no signed link can bring along: set upload_inputs=True where "
                "the endpoint takes uploads, or copy the object to another bucket."
            )
            raise InvalidParameters(msg)
        return f"{found['ETag'].strip(chr(34))}:{size}"

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
        if not size:
            raise _empty(address)
        if size > LARGEST_INPUT:
            raise _too_large(address)
        return digest.hexdigest()


def _header_needed(found: Mapping[str, Any]) -> str:
    """Return the header without which an object is given to nobody; empty where it needs none."""
    if found.get("RequestCharged"):
        return "is in a requester-pays bucket, and is read by a request with the header x-amz-request-payer"
    if found.get("SSECustomerAlgorithm"):
        return "is encrypted with a key of your own (SSE-C), and is read by a request that holds the key"
    return ""


def _unreadable(address: str, error: Exception, aws_conn_id: str | None, *, lasting: bool) -> ImagePipelineError:
    from airflow_imagepipeline.storage import disk
    from airflow_imagepipeline.storage.s3_client import advice, code_of, said

    way_out = f"{_WAY_OUT}{_REQUESTER_PAYS if code_of(error) == 'AccessDenied' else ''}"
    shown = said(error) if address.startswith("s3://") else disk.said(error)
    msg = f"{cleaned(address, 120)} cannot be read ({shown}): {advice(error, aws_conn_id, way_out)}."
    return (InvalidParameters if lasting else NotSent)(msg)


def _no_image(head: bytes) -> str:
    """Return what a file with these first bytes holds; empty where it may be an image."""
    return next((kind for kind, pattern in _NO_IMAGES.items() if pattern.match(head)), "")


def _empty(address: str) -> InvalidParameters:
    return InvalidParameters(f"{cleaned(address, 120)} is empty (0 bytes): upload the image again, or remove it.")


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

    from airflow_imagepipeline.storage import disk

    with ObjectStoragePath(disk.one_address(address)).open("rb") as file:
        yield file
