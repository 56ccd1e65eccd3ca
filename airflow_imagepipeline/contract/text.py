"""Make text from outside fit to be shown: remote messages cleaned, links without what signs them, secrets cut out."""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

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

_SHORTEST_SECRET: Final = 8
_MOST_ENCODINGS: Final = 4
"""Encodings within one another that are undone: JSON in JSON in a percent-encoded link, say."""
_HIDDEN: Final = "***"
_WITHHELD: Final = "*** (withheld: it repeats the API key)"
_ESCAPE: Final = re.compile(r"(?:\\(?:u00|u\{0*|x)|=)([0-9a-f]{2})\}?|\\[nrt]", re.IGNORECASE)
# What may stand between the characters of a word without changing it: escapes, line breaks, characters without width.
_BETWEEN: Final = re.compile(r"[\s\\\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]+")
_DATA_HEAD: Final = 8192
"""Characters of a ``data:`` link that are searched for a secret: many times what is ever shown of a text."""


class Secret:
    """
    A word that must neither be shown nor sent, in whatever form software writes it.

    It is recognised as it is, in other letter case, with the escapes of JSON, percent-encoding, HTML and
    quoted-printable (also within one another), in hexadecimal, and in base64 at every offset, URL-safe or not, padded
    or not. The time that takes grows with the text alone.

    :param word: one of fewer than eight characters is never recognised: it may well mean something else.
    """

    def __init__(self, word: str) -> None:
        self._word = word if len(word) >= _SHORTEST_SECRET else ""
        content = self._word.encode()
        # A word may hold what looks like an encoding: text in which all of them are undone holds it undone, too.
        self._forms = {_folded(form) for form in (*_readings(self._word), *_base64_cores(content), content.hex())}

    def is_in(self, value: Any) -> bool:
        """Tell whether the word is in a text, or anywhere in JSON values, names of fields included."""
        if not self._word:
            return False
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        return any(map(self._is_plainly_in, _readings(text)))

    def _is_plainly_in(self, text: str) -> bool:
        folded = _folded(text)
        return any(form in folded for form in self._forms)

    def cut_from(self, text: str) -> str:
        """Return a text without the word; where it stands in another form than its own, nothing is left of the text."""
        if not self._word:
            return text
        shown = text.replace(self._word, _HIDDEN)
        return _WITHHELD if self.is_in(shown[:_DATA_HEAD] if is_data_link(shown) else shown) else shown


def _folded(text: str) -> str:
    # Every row of a batch comes here: methods of str take a tenth of the time of a pattern.
    text = "".join(text.split()).replace("\\", "").replace(":", "").replace("-", "+").replace("_", "/")
    return (text if text.isprintable() else _BETWEEN.sub("", text)).casefold()


def _readings(text: str) -> Iterator[str]:
    """Yield a text, and what becomes of it when the encodings in it are undone one after the other."""
    yield text
    for _ in range(_MOST_ENCODINGS):
        before = text
        for undo in (unquote, html.unescape, _without_escapes):
            undone = undo(text)
            if undone != text:
                yield undone
            text = undone
        if text == before:
            return


def _without_escapes(text: str) -> str:
    if "\\" not in text and "=" not in text:
        return text
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else " ", text)


def _base64_cores(content: bytes) -> list[str]:
    # What is the same whatever stands before and behind: the characters that hold bits of the content alone.
    cores = []
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + content).decode()
        cores.append(encoded[(offset * 8 + 5) // 6 : (offset + len(content)) * 8 // 6])
    return cores


def is_data_link(text: str) -> bool:
    """Tell whether a link holds what it leads to (``data:image/png;base64,...``)."""
    return text[:5].lower() == "data:"


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
