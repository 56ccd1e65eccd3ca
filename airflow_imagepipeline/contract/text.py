"""Make text from outside fit to be shown: remote messages cleaned, links without what signs them."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final
from urllib.parse import unquote_plus

LONGEST_REMOTE_TEXT: Final = 300

# Query parameters that sign a link (AWS, Google, CloudFront, Azure SAS, Backblaze).
_SIGNATURE: Final = re.compile(
    "x-amz-.*|x-goog-.*|awsaccesskeyid|googleaccessid|signature|key-pair-id|sig|token|authorization",
    re.IGNORECASE | re.DOTALL,
)
# Those that date or bound a signature. Their names are short enough to mean something else in a link without one.
_BESIDE_SIGNATURE: Final = re.compile(
    "expires|policy|se|sp|sv|sr|st|spr|sip|ske|skoid|sks|skt|sktid|skv", re.IGNORECASE
)
# From a word's start only, and without stepping back: long hostile text must not hold up the triggerer.
# Slashes may be escaped, as in the raw text of some JSON encoders.
_LINK_IN_TEXT: Final = re.compile(r"\b(?P<link>\w+:\\?/\\?/[^\s?#]*+)[?#][^\s\"<>]*", re.ASCII)
_USERINFO_IN_TEXT: Final = re.compile(r"\b(?P<scheme>\w+:\\?/\\?/)[^\s/?#\"<>]*@", re.ASCII)

# What signs or opens something may also stand alone: in a header that was echoed, in a link without its beginning, in
# one that is quoted inside another. Behind a colon, short words are those of a sentence ("token: not valid").
_SECRET_IN_TEXT: Final = re.compile(
    r"(?P<name>(?:%[0-9a-f]{2}|\b)"
    r"(?:x-(?:amz|goog)-[a-z-]{1,30}|awsaccesskeyid|signature|sig|token|authorization|(?:x-)?api[-_]?key))"
    r"(?P<mark>[\\\"']{0,3} ?(?:=|%3d) ?[\\\"']{0,3}(?=[^\s&\"'<>])|"
    r"[\\\"']{0,3} ?: ?[\\\"']{0,3}(?:(?:bearer|basic) )?(?=[^\s&\"'<>,;]{12}))"
    r"[^\s&\"'<>,;]+",
    re.IGNORECASE | re.ASCII,
)


def cleaned(value: Any, limit: int = LONGEST_REMOTE_TEXT) -> str:
    """
    Return remote text on one line, without control characters, link queries, userinfo and values that sign or open.

    :param value: text of any origin; other types are shown by ``str``.
    :param limit: longest result in characters; longer text ends with an ellipsis.
    """
    text = value if isinstance(value, str) else str(value)
    # A huge answer is cut before the patterns run over it, between words: half a link cannot be recognised.
    marked = "".join(map(_marked, text[: limit * 20]))
    is_cut = len(text) > limit * 20
    if is_cut:
        marked = marked.rpartition(" ")[0] or marked
    without_queries = _LINK_IN_TEXT.sub(r"\g<link>?…", _USERINFO_IN_TEXT.sub(r"\g<scheme>…@", marked))
    one_line = " ".join(without_queries.replace("\0", " ").split())
    one_line = _SECRET_IN_TEXT.sub(r"\g<name>\g<mark>…", one_line)
    return one_line[: limit - 1] + "…" if is_cut or len(one_line) > limit else one_line


def _marked(character: str) -> str:
    # A control character inside a link must not part it from its query: it becomes a space only afterwards.
    if character.isspace():
        return " "
    return "\0" if unicodedata.category(character)[0] == "C" else character


def counted(count: int, noun: str) -> str:
    """Return a number of things as a person writes it: ``1 job``, ``1,204 jobs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def without_signature(link: str) -> str:
    """
    Return the link without the query parameters that sign it, so that two signatures of one object are equal.

    :param link: a link of the user, signed or not; anything else comes back as it is.
    """
    if not link.startswith(("http://", "https://")):
        return link
    # Cut by hand: decoding would make different bytes equal, and urlsplit raises on a bracket in the host.
    address, _, query = link.partition("#")[0].partition("?")
    parameters = [(unquote_plus(text.partition("=")[0]), text) for text in query.split("&") if text]
    unsigned = [(name, text) for name, text in parameters if not _SIGNATURE.fullmatch(name)]
    is_signed = len(unsigned) < len(parameters)
    kept = [text for name, text in unsigned if not (is_signed and _BESIDE_SIGNATURE.fullmatch(name))]
    return f"{address}?{'&'.join(kept)}" if kept else address
