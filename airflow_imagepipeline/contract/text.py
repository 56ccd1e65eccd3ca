"""Make text from outside fit to be shown: remote messages cleaned, links without what signs them."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

LONGEST_REMOTE_TEXT: Final = 300

# Query parameters that sign a link or date the signature (AWS, Google, CloudFront, Azure SAS, Backblaze).
_SIGNING_PARAMETERS: Final = re.compile(
    r"""^(x-amz-.*|x-goog-.*|awsaccesskeyid|googleaccessid|signature|expires|key-pair-id|policy
        |sig|se|sp|sv|sr|st|spr|sip|ske|skoid|sks|skt|sktid|skv|token|authorization)$""",
    re.IGNORECASE | re.VERBOSE,
)
_LINK_IN_TEXT: Final = re.compile(r"(?P<link>\w+://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.ASCII)
_USERINFO_IN_TEXT: Final = re.compile(r"(?P<scheme>\w+://)[^\s/@\"'<>]*@", re.ASCII)


def cleaned(value: Any, limit: int = LONGEST_REMOTE_TEXT) -> str:
    """
    Return remote text on one line, without control characters, link queries and userinfo.

    :param value: text of any origin; other types are shown by ``str``.
    :param limit: longest result in characters; longer text ends with an ellipsis.
    """
    text = value if isinstance(value, str) else str(value)
    # A huge answer is cut before the patterns run over it.
    text = text[: limit * 20]
    printable = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    one_line = " ".join(printable.split())
    without_queries = _LINK_IN_TEXT.sub(r"\g<link>?…", _USERINFO_IN_TEXT.sub(r"\g<scheme>…@", one_line))
    return without_queries if len(without_queries) <= limit else without_queries[: limit - 1] + "…"


def without_signature(link: str) -> str:
    """
    Return the link without the query parameters that sign it, so that two signatures of one object are equal.

    :param link: a link of the user, signed or not; anything else comes back as it is.
    """
    if not link.startswith(("http://", "https://")):
        return link
    parts = urlsplit(link)
    kept = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if not _SIGNING_PARAMETERS.match(k)]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(kept), ""))
