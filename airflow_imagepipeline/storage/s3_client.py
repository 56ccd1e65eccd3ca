"""The client for S3 that an Airflow connection describes, and what its errors mean."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NotConnected

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_THREADS: Final = 32
"""Threads that may use one client at once without waiting for, or throwing away, connections."""
_CONFIG: Final = Config(retries={"mode": "standard", "total_max_attempts": 5}, max_pool_connections=_THREADS)
_HURRIED: Final = Config(
    retries={"mode": "standard", "total_max_attempts": 2},
    connect_timeout=5,
    read_timeout=15,
    max_pool_connections=_THREADS,
)
_CONFLICT: Final = 409
_SERVER_ERRORS: Final = 500


class LazyS3Client:
    """
    One client of a connection, made when it is first asked for; any number of threads may ask at once.

    :param aws_conn_id: Airflow connection of type ``aws``.
    :param hurried: give up within a minute: somebody is waiting for the answer before a screen.
    """

    def __init__(self, aws_conn_id: str | None, *, hurried: bool = False) -> None:
        self._aws_conn_id = aws_conn_id
        self._hurried = hurried
        self._client: S3Client | None = None
        self._lock = threading.Lock()

    def get(self) -> S3Client:
        """Return the client: it is safe to be used by several threads, which making one is not."""
        with self._lock:
            if self._client is None:
                self._client = s3_client(self._aws_conn_id, hurried=self._hurried)
            return self._client


def s3_client(aws_conn_id: str | None, *, hurried: bool = False) -> S3Client:
    """Make a client; this takes a tenth of a second. Arguments as :class:`LazyS3Client`."""
    # Keys are never handed to S3Hook: one that looks like an s3:// address would lead it to another bucket.
    hook = S3Hook(aws_conn_id=aws_conn_id)
    # What the connection itself says (config_kwargs) wins; a configuration given to the hook would hide all of it.
    config = (_HURRIED if hurried else _CONFIG).merge(hook.config)
    client: S3Client = hook.get_client_type(region_name=hook.region_name, config=config)
    return client


def code_of(error: ClientError | BotoCoreError) -> str:
    """Return the short name of an error, for a message."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__


def may_pass(error: Exception) -> bool:
    """Tell whether an error of S3 may be gone the next time."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status == _CONFLICT or status >= _SERVER_ERRORS
    return isinstance(error, HTTPClientError | NotConnected)
