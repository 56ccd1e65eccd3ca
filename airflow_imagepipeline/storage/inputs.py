"""Read an input image, so that a copy of it can be given to the vendor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from airflow_imagepipeline.contract.errors import InvalidParameters, NotSent
from airflow_imagepipeline.contract.text import cleaned

LARGEST_INPUT: Final = 20 * 1000 * 1000
"""Bytes of one upload at most, as the vendor's page says."""


def copy_input(address: str, aws_conn_id: str | None, target: Path) -> None:
    """
    Copy an input image to this machine.

    :param address: ``s3://bucket/key``, an absolute path, or an address of Airflow's object storage.
    :param aws_conn_id: connection for ``s3://``.
    :raises InvalidParameters: when it cannot be read, or is larger than the vendor takes.
    :raises NotSent: when it cannot be read for now: a retry may find the storage well.
    """
    try:
        with _opened(address, aws_conn_id) as source:
            content = source.read(LARGEST_INPUT + 1)
    except Exception as exc:
        # Every storage has errors of its own; none of them may end as a stack trace.
        shown = f"{cleaned(address, 120)} cannot be read ({type(exc).__name__})"
        msg = f"{shown}: check the address, its permissions and the connection."
        raise (NotSent if _may_pass(exc) else InvalidParameters)(msg) from exc
    if len(content) > LARGEST_INPUT:
        msg = f"{cleaned(address, 120)} has more than {LARGEST_INPUT} bytes, which the vendor does not take."
        raise InvalidParameters(msg)
    target.write_bytes(content)


def _may_pass(error: Exception) -> bool:
    from airflow_imagepipeline.storage.s3 import may_pass

    lasting = FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError
    return may_pass(error) or (isinstance(error, OSError) and not isinstance(error, lasting))


@contextmanager
def _opened(address: str, aws_conn_id: str | None) -> Iterator[BinaryIO]:
    if address.startswith("s3://"):
        from airflow_imagepipeline.storage.s3 import opened_object

        with opened_object(address, aws_conn_id) as body:
            yield body
        return
    from airflow.sdk import ObjectStoragePath

    with ObjectStoragePath(address if "://" in address else f"file://{address}").open("rb") as file:
        yield file
