"""What may be handed to the vendor as an input image, judged by its text alone."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from airflow_imagepipeline.contract.addresses import address_of, is_loopback, is_public
from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.text import cleaned

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]|[^\x21-\x7e]")
_LONGEST_LINK: Final = 4096
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
_S3_OBJECT: Final = re.compile(r"s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]/.+", re.DOTALL)

_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _is_private(host: str) -> bool:
    address = address_of(host)
    if address is None:
        name = host.lower().rstrip(".")
        # No name ends in a number: resolvers read 127.1, 0x7f000001 and 2130706433 as addresses.
        is_number = _NUMBER.fullmatch(name.rpartition(".")[2]) is not None
        return is_number or name.endswith((".internal", ".local", ".localhost"))
    return not is_public(address)


def input_image(name: str, value: str) -> str:
    """
    Return an input image's address if the vendor can be given it.

    :param value: an https link that anybody can open, or ``s3://bucket/key`` (signed later, at submit time). A link
        to this machine passes here; whether the connection allows it is the hook's question.
    :raises InvalidParameters: for everything else. The message shows no query string, as it may hold a signature.
    """
    if _S3_OBJECT.fullmatch(value):
        return value
    shown = cleaned(value.partition("?")[0], 120)
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or host is None:
        msg = (
            f"{name}: {shown!r} is not an https link nor s3://bucket/key. A local file cannot be sent: "
            "this API takes links only; put the file on S3 and give its s3:// address."
        )
        raise InvalidParameters(msg)
    if (
        _FORBIDDEN.search(value)
        or len(value) > _LONGEST_LINK
        or parts.username is not None
        or parts.password is not None
    ):
        msg = (
            f"{name}: {shown!r} holds a space, a backslash, a character outside of ASCII, a user name or a password, "
            f"or has more than {_LONGEST_LINK} characters; give a plain link."
        )
        raise InvalidParameters(msg)
    if not is_loopback(host) and (parts.scheme == "http" or _is_private(host)):
        msg = f"{name}: {shown!r} must be an https link that the vendor's servers can open."
        raise InvalidParameters(msg)
    return value


def input_object(name: str, value: str) -> str:
    """
    Return an input image's address if the vendor can be given it, or if it is a file that can be uploaded.

    :param value: as :func:`input_image`, or an absolute path, or an address of Airflow's object storage. Whether it is
        uploaded is the operator's question.
    :raises InvalidParameters: for everything else.
    """
    if is_file(value):
        return value
    return input_image(name, value)


def is_file(address: str) -> bool:
    """Tell whether an address names a file that only an upload can bring to the vendor: a path, ``gs://`` and so on."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address.startswith("/") and len(address) > 1
    return (
        _SCHEME.fullmatch(scheme) is not None
        and scheme.lower() not in {"http", "https", "s3"}
        and bool(rest.strip("/"))
    )
