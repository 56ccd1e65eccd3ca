"""What may be shown of text from outside, and what two signatures of one link have in common."""

from __future__ import annotations

import base64
import functools
import html
import json
import quopri
import time
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.text import LONGEST_REMOTE_TEXT, Secret, cleaned, without_signature

if TYPE_CHECKING:
    from collections.abc import Callable

anything = st.text(st.characters(), max_size=80)
# What RFC 3986 allows in a query, with a control character now and then.
in_query = st.text("abcXYZ019-._~!$&'()*+,;=:@/?%\0\x1b\u200b", max_size=12)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("out of memory", "out of memory", id="plain text stays as it is"),
        pytest.param("  two\r\n\tlines ", "two lines", id="several lines become one"),
        pytest.param("\x1b[31mred\x1b[0m", "[31mred [0m", id="a terminal escape loses its teeth"),
        pytest.param("a\u202eb\u200bc\ud800d\x85e", "a b c d e", id="invisible characters and lone surrogates go"),
        pytest.param("a\u2028b\u00a0c", "a b c", id="every kind of space is a space"),
        pytest.param("get https://h/a?sig=S now", "get https://h/a?… now", id="a link loses its query"),
        pytest.param("get https://h/a#S", "get https://h/a?…", id="a link loses its fragment"),
        pytest.param("https://h/it's?sig=S", "https://h/it's?…", id="an apostrophe in the path hides no query"),
        pytest.param("https://h/a?n='x'&sig=S", "https://h/a?…", id="an apostrophe in the query ends nothing"),
        pytest.param("https://h/a?sig=S\0S", "https://h/a?…", id="a control character does not part the query"),
        pytest.param("https://h?a=S@S", "https://h?…", id="an at sign in the query is no user name"),
        pytest.param("https://me:S@h/a", "https://…@h/a", id="a link loses user name and password"),
        pytest.param("https://me:S@S@h/a", "https://…@h/a", id="a password may hold an at sign"),
        pytest.param(r"https:\/\/h\/a?sig=S", r"https:\/\/h\/a?…", id="slashes may be escaped"),
        pytest.param('{"u":"https://h/a?sig=S"}', '{"u":"https://h/a?…"}', id="JSON around a link stays"),
        pytest.param("why? me@h", "why? me@h", id="a question and an address are no links"),
        pytest.param(["x", 1], "['x', 1]", id="other types are shown by str"),
        pytest.param(None, "None", id="none is a word"),
    ],
)
def test_shows_remote_text(text: object, shown: str) -> None:
    assert cleaned(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("x" * 10, "x" * 10, id="as long as the limit: whole"),
        pytest.param("x" * 11, "x" * 9 + "…", id="one more: cut with an ellipsis"),
        pytest.param("x" * 5000, "x" * 9 + "…", id="a huge word is cut"),
        pytest.param("ab " + " " * 5000 + "c", "ab…", id="what was never looked at is an ellipsis"),
        pytest.param(" " * 190 + "https://me:secret@h/", "…", id="half a link is not shown"),
    ],
)
def test_cuts_at_the_limit(text: str, shown: str) -> None:
    assert cleaned(text, 10) == shown


@given(text=anything, limit=st.integers(1, 400))
@example(text="\ud800\0", limit=1)
def test_shown_text_is_one_short_line_without_control_characters(text: str, limit: int) -> None:
    shown = cleaned(text * 20, limit)
    assert len(shown) <= limit
    assert not [c for c in shown if unicodedata.category(c)[0] == "C" or (c.isspace() and c != " ")]
    assert shown == shown.strip()


@given(before=anything, path=st.text("abc/.-'()", max_size=8), a=in_query, b=in_query, after=anything)
@example(before="", path="/it's", a="n='", b="@", after="")
def test_never_shows_the_query_of_a_link(before: str, path: str, a: str, b: str, after: str) -> None:
    assert "SECRET" not in cleaned(f"{before}https://h{path}?{a}SECRET{b} {after}")


@given(before=anything, a=st.text("ab:@%'\0", max_size=6), b=st.text("ab:@%'", max_size=6))
def test_never_shows_the_password_of_a_link(before: str, a: str, b: str) -> None:
    assert "SECRET" not in cleaned(f"{before}https://me:{a}SECRET{b}@h/x")


def fastest(text: str, limit: int = LONGEST_REMOTE_TEXT) -> float:
    def seconds() -> float:
        start = time.process_time()
        assert len(cleaned(text, limit)) <= limit
        return time.process_time() - start

    return min(seconds() for _ in range(3))


@pytest.mark.xdist_group("clock")
@pytest.mark.parametrize("part", ["a", "a://", "https://h?", "a:a", "://@", "a://@", "@a://"])
def test_hostile_text_does_not_hold_up_the_triggerer(part: str) -> None:
    # Reading it again from each of its characters would take some thousand times as long as plain words do.
    hostile = part * 6000
    assert fastest(hostile) < 200 * fastest("plain " * (len(hostile) // 6))


@pytest.mark.xdist_group("clock")
def test_a_long_word_is_read_once() -> None:
    assert fastest("a" * 100_000, 5000) < 50 * fastest("plain " * 16_667, 5000)


@pytest.mark.parametrize(
    ("link", "rest"),
    [
        pytest.param("https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature=2", "", id="AWS, fourth version"),
        pytest.param(
            "https://b.s3.amazonaws.com/k?AWSAccessKeyId=1&Signature=2&Expires=3", "", id="AWS, second version"
        ),
        pytest.param("https://storage.googleapis.com/b/k?X-Goog-Date=1&X-Goog-Signature=2", "", id="Google"),
        pytest.param("https://d.cloudfront.net/k?Policy=1&Signature=2&Key-Pair-Id=3", "", id="CloudFront"),
        pytest.param("https://a.blob.core.windows.net/c/k?sv=1&sp=r&se=2&sr=b&sig=3", "", id="Azure"),
        pytest.param("https://f.backblazeb2.com/file/b/k?Authorization=1", "", id="Backblaze"),
        pytest.param("https://h/k?size=2&sig=3&v=4", "?size=2&v=4", id="what names the object stays"),
        pytest.param("https://h/k?%73ig=3&x-amz-date=1", "", id="names may be quoted or in small letters"),
        pytest.param("https://h/k?st=berlin&policy=fit", "?st=berlin&policy=fit", id="short names mean nothing alone"),
        pytest.param("https://h/k?", "", id="an empty query is none"),
        pytest.param("https://h/k#part", "", id="a fragment does not reach the server"),
    ],
)
def test_drops_what_signs_a_link(link: str, rest: str) -> None:
    assert without_signature(link) == link.partition("?")[0].partition("#")[0] + rest


@pytest.mark.parametrize("text", ["s3://b/k?sig=1", "a cup?sig=1#2", "", "https:/h?sig=1"])
def test_leaves_what_is_no_link(text: str) -> None:
    assert without_signature(text) == text


@given(rest=anything)
@example(rest="[bad?sig=%ff&x")
def test_takes_any_link_and_is_done_after_once(rest: str) -> None:
    once = without_signature(f"https://{rest}")
    assert without_signature(once) == once


@pytest.mark.parametrize(("one", "other"), [("%E8", "%E9"), ("a+b", "a%2Bb"), ("a&b", "a%26b")])
def test_different_bytes_stay_different(one: str, other: str) -> None:
    assert without_signature(f"https://h/k?n={one}&sig=1") != without_signature(f"https://h/k?n={other}&sig=1")


# The key, in whatever form it comes back.

WORD = 'ip_live-"7f3a/Q\\=%41&amp;+x~'
PLAIN = "ip_live_7f3aQx9Zk2"


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def _base64(word: str, *, offset: int) -> str:
    encode = base64.urlsafe_b64encode if offset % 2 else base64.b64encode
    return encode(b"u" * offset + word.encode() + b"z" * offset).decode().rstrip("=" if offset < 3 else "")


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capital letters": str.upper,
    "as JSON": json.dumps,
    "as JSON in JSON": lambda word: json.dumps(json.dumps(word)),
    "with escaped slashes": lambda word: json.dumps(word).replace("/", "\\/"),
    "as \\u": lambda word: "".join(f"\\u{ord(letter):04x}" for letter in word),
    "as \\U in JSON": lambda word: json.dumps("".join(f"\\u{ord(letter):04X}" for letter in word)),
    "as \\x": lambda word: "".join(f"\\x{ord(letter):02x}" for letter in word),
    "as \\u{}": lambda word: "".join(f"\\u{{{ord(letter):x}}}" for letter in word),
    "quoted into a link": lambda word: quote(word, safe=""),
    "quoted into a query": quote_plus,
    "quoted twice": lambda word: quote(quote(word, safe=""), safe=""),
    "every character quoted": _percent,
    "as HTML": html.escape,
    "as HTML, by numbers": lambda word: "".join(f"&#{ord(letter)};" for letter in word),
    "as HTML, by numbers in hexadecimal": lambda word: "".join(f"&#x{ord(letter):X};" for letter in word),
    "in hexadecimal": lambda word: word.encode().hex(),
    "in hexadecimal, capital": lambda word: word.encode().hex().upper(),
    "in hexadecimal with colons": lambda word: word.encode().hex(":"),
    "in quoted-printable": lambda word: quopri.encodestring(word.encode()).decode(),
    "broken into lines": lambda word: f"{word[:5]}\r\n {word[5:]}",
    "with characters without width": "\u200b".join,
    "in UTF-16 that was read as bytes": "\0".join,
    **{f"in base64 at {offset}": functools.partial(_base64, offset=offset) for offset in range(6)},
    "in base64 in a link": lambda word: quote(base64.b64encode(f"user:{word}".encode()), safe=""),
    "in base64 in JSON": lambda word: json.dumps(base64.b64encode(f"{word}:".encode()).decode()).replace("/", "\\/"),
    "in base64 in lines": lambda word: base64.encodebytes(b"u" * 60 + word.encode()).decode(),
}


@pytest.mark.fault(109)
@pytest.mark.parametrize("word", [WORD, PLAIN], ids=["odd", "usual"])
@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_in_every_form_in_which_software_writes_it(form: str, word: str) -> None:
    secret = Secret(word)
    text = f"before {FORMS[form](word)} behind"
    assert secret.is_in(text)
    assert secret.is_in({"a": [1, {"b": text}]})
    assert secret.is_in({text: None})
    assert not secret.is_in(secret.cut_from(text))


@pytest.mark.fault(109)
def test_a_secret_that_stands_as_it_is_leaves_the_rest_of_the_text() -> None:
    assert Secret(PLAIN).cut_from(f"no such key: {PLAIN}.") == "no such key: ***."


@pytest.mark.parametrize("text", ["", "a cup", "no such key", "ip_live_", "%41 &amp; \\u0041", PLAIN[:-1], PLAIN[1:]])
def test_a_text_without_the_secret_stays(text: str) -> None:
    assert Secret(PLAIN).cut_from(text) == text
    assert not Secret(PLAIN).is_in(text)


@pytest.mark.parametrize("word", ["", "cup", "7 chars"])
def test_a_word_that_may_well_mean_something_else_is_no_secret(word: str) -> None:
    assert Secret(word).cut_from("a cup with 7 chars") == "a cup with 7 chars"


@pytest.mark.fault(109)
@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=12, max_size=40),
    st.sampled_from(sorted(FORMS)),
    st.text(max_size=20),
)
def test_any_secret_is_found_in_every_form(word: str, form: str, around: str) -> None:
    assert Secret(word).is_in(f"{around} {FORMS[form](word)} {around}")


@given(st.text(max_size=200))
def test_the_search_for_a_secret_takes_any_text(text: str) -> None:
    assert isinstance(Secret(PLAIN).cut_from(text), str)


@pytest.mark.parametrize("piece", ["\\", "%25", "&amp;", "=3D", "\\u{0", PLAIN[:-1], "a\n"])
def test_the_search_for_a_secret_is_linear(piece: str) -> None:
    long = piece * (300_000 // len(piece))
    start = time.process_time()
    Secret(PLAIN).is_in(long)
    assert time.process_time() - start < 5
