"""Read an input image, so that a copy of it can be given to the vendor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from airflow_imagepipeline.contract.errors import InvalidParameters

LARGEST_INPUT: Final = 20 * 1000 * 1000
"""Bytes of one upload at most, as the vendor's page says."""


def copy_input(address: str, aws_conn_id: str | None, target: Path) -> None:
    """
    Copy an input image to this machine.

    :param address: ``s3://bucket/key``, an absolute path, or an address of Airflow's object storage.
    :param aws_conn_id: connection for ``s3://``.
    :raises InvalidParameters: when it cannot be read, or is larger than the vendor takes.
    """
    try:
        with _opened(address, aws_conn_id) as source:
            content = source.read(LARGEST_INPUT + 1)
    except Exception as exc:
        # Every storage has errors of its own; none of them may end as a stack trace.
        msg = f"{address} cannot be read ({type(exc).__name__}): check the address, its permissions and the connection."
        raise InvalidParameters(msg) from exc
    if len(content) > LARGEST_INPUT:
        msg = f"{address} has more than {LARGEST_INPUT} bytes, which the vendor does not take."
        raise InvalidParameters(msg)
    target.write_bytes(content)


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
