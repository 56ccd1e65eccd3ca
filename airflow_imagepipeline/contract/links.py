"""What may be handed to the vendor as an input image, judged by its text alone."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.text import cleaned

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]|[^\x21-\x7e]")
_LONGEST_LINK: Final = 4096
_S3_OBJECT: Final = re.compile(r"s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]/.+", re.DOTALL)


def is_loopback(host: str | None) -> bool:
    """Tell whether a host name means this machine: ``localhost`` or a loopback address."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.lower().rstrip(".").endswith((".internal", ".local", ".localhost"))
    return not address.is_global or address.is_multicast


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
