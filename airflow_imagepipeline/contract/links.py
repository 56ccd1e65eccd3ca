"""Links, judged by their text alone: what may be handed to the vendor, how a result's is read, what names an image."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote_plus, unquote_to_bytes, urlsplit

from airflow_imagepipeline.contract.addresses import address_of, is_loopback, is_public
from airflow_imagepipeline.contract.errors import InvalidParameters, NotTheResult, ResultRefused
from airflow_imagepipeline.contract.text import cleaned

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]|[^\x21-\x7e]")
_LONGEST_LINK: Final = 4096
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
# Buckets of the first years have capital letters, underscores and up to 255 characters.
_S3_OBJECT: Final = re.compile(r"s3://[A-Za-z0-9._\-]{3,255}/.+", re.DOTALL)

# What browsers leave in a path or a query as it is, "%" included; the rest of ASCII they quote.
_KEPT: Final = "!#$%&'()*+,-./:;=?@[\\]^_|~"
_UNQUOTED: Final = re.compile(r"[ \"<>`{}]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

_TIME: Final = r"[0-9]{9,13}|[0-9]{4}-[0-9]{2}-[0-9]{2}.*"
_SIGNATURE: Final = r"[0-9A-Za-z+/_=\-]{16,}"
_SCHEMES: Final[Sequence[tuple[Mapping[str, str], str]]] = (
    # AWS (version 4, version 2, CloudFront) and those who speak as it does: R2, B2, MinIO, Wasabi, Spaces.
    ({"x-amz-signature": ".+"}, "x-amz-.*"),
    ({"awsaccesskeyid": ".+", "signature": ".+", "expires": _TIME}, "x-amz-security-token"),
    ({"key-pair-id": ".+", "signature": ".+", "expires": _TIME}, "hash-algorithm"),
    ({"key-pair-id": ".+", "signature": ".+", "policy": ".+"}, "hash-algorithm"),
    # Google Cloud Storage (version 4, version 2), Backblaze's own, Azure (by a date, by a stored policy).
    ({"x-goog-signature": ".+"}, "x-goog-.*"),
    ({"googleaccessid": ".+", "signature": ".+", "expires": _TIME}, ""),
    ({"authorization": _SIGNATURE}, ""),
    ({"sv": _TIME, "sig": ".+", "se": _TIME}, "s[prst]|spr|sip|s[ir]|srt|ss|sk(oid|tid|[tesv])|s[asu]oid|scid|sdd|ses"),
    ({"sv": _TIME, "sig": ".+", "si": ".+"}, "s[prst]|spr|sip|sr"),
    # Aliyun (version 4, version 1, its CDN), Tencent (COS, its CDN), Huawei, Volcengine, Qiniu.
    ({"x-oss-signature": ".+"}, "x-oss-(signature-version|credential|date|expires|additional-headers|security-token)"),
    ({"ossaccesskeyid": ".+", "signature": ".+", "expires": _TIME}, "security-token"),
    ({"auth_key": r"[0-9]{9,11}-[^-]*-[^-]*-[0-9a-fA-F]{32}"}, ""),
    (
        {"q-sign-algorithm": ".+", "q-ak": ".+", "q-sign-time": ".+", "q-key-time": ".+", "q-signature": ".+"},
        "q-header-list|q-url-param-list|x-cos-security-token",
    ),
    ({"sign": "[0-9a-fA-F]{32}", "t": "[0-9a-fA-F]{8,11}"}, ""),
    ({"accesskeyid": ".+", "signature": ".+", "expires": _TIME}, "x-obs-security-token"),
    ({"x-tos-signature": ".+"}, "x-tos-(algorithm|credential|date|expires|signedheaders|security-token|policy)"),
    ({"e": _TIME, "token": r"[\w\-]{20,}:[\w\-]{20,}=*(:.+)?"}, ""),
    # Akamai and Cloudinary, Discord, and what many write: a date and a signature (Cloudflare Images among them).
    ({"hdnts": ".+"}, ""),
    ({"hdnea": ".+"}, ""),
    ({"hdntl": ".+"}, ""),
    ({"__token__": ".*hmac=.+"}, ""),
    ({"__cld_token__": ".*hmac=.+"}, ""),
    ({"ex": "[0-9a-f]{8}", "is": "[0-9a-f]{8}", "hm": "[0-9a-f]{64}"}, ""),
    *(
        ({moment: _TIME, signature: _SIGNATURE}, "")
        for moment in ("exp", "expires", "expire", "expiry")
        for signature in ("sig", "signature", "sign", "hmac")
    ),
)
"""
How links are signed: the query parameters that a scheme is known by, all of them, with what their values look like; and
what else belongs to it. Names in small letters. No parameter that might tell one image from another stands here alone.
"""

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


def as_browsers_send(link: str) -> str:
    """
    Return a result's link as a browser would ask for it: spaces and letters beyond ASCII quoted, a host in IDNA.

    What is quoted already stays. So do control characters and the backslash, which parsers read in two ways: they are
    refused later.

    :param link: a link as an API or a redirect gives it; what cannot be one comes back as it is.
    """
    link = link.strip(" ")
    scheme, separator, rest = link.partition("://")
    if not separator or _CONTROL.search(link) or (link.isascii() and not _UNQUOTED.search(link)):
        return link
    end = re.search(r"[/?#]|$", rest)
    host, path = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    try:
        # The mapping of uppercase and full-width letters is the standard library's; a host that has none is refused.
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return link
    return f"{scheme}://{host}{quote(path, safe=_KEPT, errors='surrogateescape')}"


def data_in(link: str, most: int) -> bytes:
    """
    Return what a ``data:`` link holds.

    :param most: bytes.
    :raises ResultRefused: when it holds more.
    :raises NotTheResult: when it cannot be decoded.
    """
    if len(link) > 3 * most + 1024:
        msg = f"A result's data: link holds more than {most} bytes."
        raise ResultRefused(msg)
    head, comma, encoded = link.partition(",")
    content = unquote_to_bytes(encoded)
    if re.search(r";\s*base64\s*$", head, re.IGNORECASE):
        plain = content.translate(bytes.maketrans(b"-_", b"+/"), b" \t\r\n\f=")
        try:
            content = base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
        except binascii.Error:
            content = b""
    if not comma or not content:
        msg = "A result's data: link cannot be decoded."
        raise NotTheResult(msg)
    if len(content) > most:
        msg = f"A result's data: link holds more than {most} bytes."
        raise ResultRefused(msg)
    return content


def checked_identity(value: object) -> str | tuple[str, ...] | None:
    """
    Return what of a link counts, see :func:`link_identity`.

    :raises InvalidParameters: naming the argument.
    """
    if value is None or value in ("path", "link"):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) and name for name in value):
        return tuple(value)
    msg = (
        f"link_identity: {cleaned(repr(value), 80)} is not 'path', 'link' or a list of the query parameters that tell "
        "one image from another"
    )
    raise InvalidParameters(msg)


def link_identity(link: str, counts: str | Sequence[str] | None = None) -> str:
    """
    Return what of a link names its image, so that two signatures of one object are equal, and nothing else is.

    :param link: an https link; any other address comes back as it is.
    :param counts: ``path``: no query parameter; ``link``: every one; names: these; None: all but a known signature.
    """
    if not link.lower().startswith(("http://", "https://")):
        return link
    # Cut by hand: decoding would make different bytes equal, and urlsplit raises on a bracket in the host.
    address, _, query = link.partition("#")[0].partition("?")
    texts = [] if counts == "path" else [text for text in query.split("&") if text]
    if counts is None:
        signing = _signing(dict(map(_parameter, texts)))
        texts = [text for text in texts if _parameter(text)[0] not in signing]
    elif counts not in {"path", "link"}:
        texts = [text for text in texts if unquote_plus(text.partition("=")[0]) in counts]
    return f"{address}?{'&'.join(texts)}" if texts else address


def query_of(link: str) -> dict[str, str]:
    """Return the query parameters of a link; of one that stands twice all values, joined."""
    parameters: dict[str, str] = {}
    for text in filter(None, link.partition("#")[0].partition("?")[2].split("&")):
        name, _, value = text.partition("=")
        known = parameters.get(unquote_plus(name))
        parameters[unquote_plus(name)] = value if known is None else f"{known}&{value}"
    return parameters


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return unquote_plus(name).lower(), unquote_plus(value)


def _signing(parameters: Mapping[str, str]) -> set[str]:
    """Return the names of the parameters that belong to a complete signature."""
    found: set[str] = set()
    for required, beside in _SCHEMES:
        if all(name in parameters and _fits(value, parameters[name]) for name, value in required.items()):
            found |= required.keys() | {name for name in parameters if re.fullmatch(beside, name)}
    return found


def _fits(pattern: str, value: str) -> bool:
    return re.fullmatch(pattern, value, re.DOTALL) is not None
