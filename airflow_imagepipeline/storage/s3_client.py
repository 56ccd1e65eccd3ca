"""The clients for S3 that an Airflow connection describes, and what the errors of a store mean."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from boto3.s3.transfer import S3Transfer
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, ParamValidationError
from botocore.exceptions import ConnectionError as NotConnected

from airflow_imagepipeline.contract.text import cleaned

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_THREADS: Final = 32
"""Threads that may use one client at once without waiting for, or throwing away, connections."""
_CONFIG: Final = Config(
    # For some regions botocore signs links with version 2, which S3 refuses for objects that a KMS key encrypts.
    signature_version="s3v4",
    # Stores other than AWS refuse the checksums that botocore adds by itself.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=_THREADS,
)
_HURRIED: Final = _CONFIG.merge(
    Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=5, read_timeout=15)
)
# Without it botocore signs links for the global host, which does not lead to buckets of every region.
_REGIONAL: Final = Config(s3={"addressing_style": "virtual"})
_ON_AWS: Final = re.compile(r"https://s3[a-z0-9.\-]*\.amazonaws\.com(\.cn)?")
_HOST_NAME: Final = re.compile(r"[a-z0-9][a-z0-9\-]{1,61}[a-z0-9]")
_REGION_HEADER: Final = "x-amz-bucket-region"
_EXTRA: Final = frozenset({*S3Transfer.ALLOWED_UPLOAD_ARGS, *S3Transfer.ALLOWED_DOWNLOAD_ARGS})

_SERVER_ERRORS: Final = 500
_PASSING: Final = frozenset({408, 409, 429})
_PASSING_CODES: Final = frozenset({"RequestTimeout", "Throttling", "ThrottlingException"})
_NOT_UNDERSTOOD: Final = frozenset({400, 501})
# What a store answers with 400, too, and no header is at fault.
_UNDERSTOOD: Final = re.compile(
    "AuthorizationHeaderMalformed|BadDigest|EntityTooLarge|ExpiredToken|IncompleteBody|Invalid(BucketName|Digest|Token)|"
    "KeyTooLongError|RequestTimeout|TokenRefreshRequired|XAmzContentSHA256Mismatch"
)
_ADVICE: Final = {
    "AuthorizationHeaderMalformed|PermanentRedirect": "set the region_name of connection {} to the bucket's region",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "ExpiredToken|Invalid(AccessKeyId|Token)|NoCredentialsError|SignatureDoesNotMatch|TokenRefreshRequired": (
        "renew the credentials of connection {}"
    ),
    "InvalidObjectState": "restore it from the archive first",
}
"""Codes to what a reader can do."""


class LazyS3Client:
    """
    The clients of a connection, each made when it is first asked for; any number of threads may ask at once.

    :param aws_conn_id: Airflow connection of type ``aws``.
    :param hurried: give up within a minute: somebody is waiting for the answer before a screen.
    """

    def __init__(self, aws_conn_id: str | None, *, hurried: bool = False) -> None:
        self._aws_conn_id = aws_conn_id
        self._hurried = hurried
        self._clients: dict[tuple[str | None, bool], S3Client] = {}
        self._regions: dict[str, str | None] = {}
        self._lock = threading.RLock()

    def get(self, region: str | None = None, *, regional: bool = False) -> S3Client:
        """
        Return a client: it is safe to be used by several threads, which making one is not.

        :param region: other than the connection's.
        :param regional: sign links for the host of the region and the bucket.
        """
        with self._lock:
            key = (region, regional)
            if key not in self._clients:
                self._clients[key] = s3_client(
                    self._aws_conn_id, hurried=self._hurried, region=region, regional=regional
                )
            return self._clients[key]

    def signing_for(self, bucket: str) -> S3Client:
        """
        Return the client that signs links for a bucket: the store is asked once for the bucket's own region.

        :raises botocore.exceptions.ClientError: when the store does not answer well.
        :raises botocore.exceptions.BotoCoreError: when it cannot be asked.
        """
        with self._lock:
            client = self.get()
            if bucket not in self._regions:
                self._regions[bucket] = _region_of(client, bucket)
            is_host = _ON_AWS.fullmatch(client.meta.endpoint_url) and _HOST_NAME.fullmatch(bucket)
            return self.get(self._regions[bucket], regional=is_host is not None)


def s3_client(
    aws_conn_id: str | None, *, hurried: bool = False, region: str | None = None, regional: bool = False
) -> S3Client:
    """
    Make a client; this takes a tenth of a second. Arguments as :class:`LazyS3Client`.

    What the connection's extra calls ``extra_args`` (or ``extra_args`` of ``service_config.s3``), as
    :class:`~airflow.providers.amazon.aws.hooks.s3.S3Hook` does, goes with each request that knows the argument.
    """
    # Keys are never handed to S3Hook: one that looks like an s3:// address would lead it to another bucket.
    hook = S3Hook(aws_conn_id=aws_conn_id)
    config = (_HURRIED if hurried else _CONFIG).merge(_REGIONAL if regional else Config())
    # What the connection itself says (config_kwargs) wins; a configuration given to the hook would hide all of it.
    client: S3Client = hook.get_client_type(region_name=region or hook.region_name, config=config.merge(hook.config))
    own_region = client.meta.region_name

    def with_region(response: tuple[Any, dict[str, Any]] | None, **_: Any) -> None:
        # Where the answer to a HEAD names no region (a redirection to https, say), botocore asks without end.
        if response is not None:
            response[1]["ResponseMetadata"]["HTTPHeaders"].setdefault(_REGION_HEADER, own_region)

    client.meta.events.register_first("needs-retry.s3.HeadBucket", with_region)
    if extra := _extra_arguments(hook):

        def with_extra(params: dict[str, Any], model: Any, context: Any = None, **_: Any) -> dict[str, Any]:
            # Who opens a link would have to send what was signed into it as headers.
            known = () if (context or {}).get("is_presign_request") else model.input_shape.members
            return {**{name: value for name, value in extra.items() if name in known}, **params}

        client.meta.events.register("provide-client-params.s3", with_extra)
    return client


def _extra_arguments(hook: S3Hook) -> dict[str, Any]:
    given = [holder.get("extra_args") or {} for holder in (hook.conn_config.extra_config, hook.service_config)]
    wrong = [repr(one) for one in given if not isinstance(one, Mapping)] or sorted({*chain(*given)} - _EXTRA)
    if wrong:
        report = f"extra_args of connection {hook.aws_conn_id!r}: S3Hook takes no {', '.join(wrong)}"
        raise ParamValidationError(report=report)
    return {**given[0], **given[1]}


def _region_of(client: S3Client, bucket: str) -> str | None:
    try:
        metadata: Any = client.head_bucket(Bucket=bucket)["ResponseMetadata"]
    except ClientError as exc:
        # S3 names the region whether or not the bucket may be seen.
        metadata = exc.response.get("ResponseMetadata", {})
        if may_pass(exc):
            raise
    region: str | None = metadata.get("HTTPHeaders", {}).get(_REGION_HEADER)
    return None if region == client.meta.region_name else region


def code_of(error: Exception) -> str:
    """Return the short name of an error."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code") or "unknown")
    return type(error).__name__


def said(error: Exception) -> str:
    """Return an error of S3 in the store's own words: its code, and its sentence where there is one."""
    code = code_of(error)
    sentence = error.response.get("Error", {}).get("Message") if isinstance(error, ClientError) else str(error)
    return cleaned(f"{code}: {sentence}" if sentence and sentence != code else code)


def advice(
    error: Exception, aws_conn_id: str | None, usual: str = "check bucket, permissions and connection {}"
) -> str:
    """Return what a reader can do about an error of S3."""
    found = (text for codes, text in _ADVICE.items() if re.fullmatch(codes, code_of(error)))
    return next(found, usual).format(repr(aws_conn_id))


def status_of(error: Exception) -> int:
    """Return the HTTP status of an answer of S3; 0 where there was none."""
    metadata = error.response.get("ResponseMetadata", {}) if isinstance(error, ClientError) else {}
    return int(metadata.get("HTTPStatusCode", 0))


def may_pass(error: Exception) -> bool:
    """Tell whether an error of S3 may be gone the next time."""
    if isinstance(error, ClientError):
        status = status_of(error)
        is_passing = status in _PASSING or code_of(error) in _PASSING_CODES
        return is_passing or (status >= _SERVER_ERRORS and status not in _NOT_UNDERSTOOD)
    return isinstance(error, HTTPClientError | NotConnected)


def is_not_understood(error: ClientError) -> bool:
    """Tell whether a store may have refused a request for a header that it does not know."""
    return status_of(error) in _NOT_UNDERSTOOD and not _UNDERSTOOD.fullmatch(code_of(error))
