"""One strict decoder, and the meaning of each status code."""

from __future__ import annotations

import gzip
import json
import math
import time
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.answers import (
    LARGEST_ANSWER,
    ApiResponse,
    json_object,
    reason_in,
    refusal,
    remote_message,
    retry_after,
    whole_members,
)
from airflow_imagepipeline.contract.errors import (
    Blocked,
    Busy,
    ImagePipelineError,
    Malformed,
    Misconfigured,
    NotSent,
    Refused,
    Uncertain,
)
from tests.contract.answered import RECEIVED_AT, SOURCE, answer, any_answers, any_text
from tests.memory import peak_of

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = b'{"status": "PENDING"}'
READ = {"status": "PENDING"}


def raw_deflate(body: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(body) + engine.flush()


def nested(levels: int) -> bytes:
    return b'{"a": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(GOOD, {}, id="plain JSON"),
        pytest.param(b"\n\t " + GOOD + b"\r\n", {}, id="spaces around it"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, {}, id="a byte order mark in front"),
        pytest.param(GOOD, {"content_type": "text/html"}, id="labelled as HTML"),
        pytest.param(GOOD, {"content_encoding": " Identity "}, id="expressly not compressed"),
        pytest.param(GOOD, {"content_encoding": ""}, id="an empty encoding"),
        pytest.param(gzip.compress(GOOD), {"content_encoding": "gzip"}, id="gzip"),
        pytest.param(gzip.compress(GOOD), {"content_encoding": "X-GZIP"}, id="gzip by its old name"),
        pytest.param(gzip.compress(GOOD) + b"\0\0", {"content_encoding": "gzip"}, id="gzip with padding behind it"),
        pytest.param(zlib.compress(GOOD), {"content_encoding": "deflate"}, id="deflate"),
        pytest.param(raw_deflate(GOOD), {"content_encoding": "deflate"}, id="deflate without its header"),
        pytest.param(gzip.compress(GOOD), {}, id="gzip that is not declared"),
        pytest.param(zlib.compress(GOOD), {"content_encoding": "aws-chunked"}, id="deflate under another name"),
        pytest.param(gzip.compress(GOOD)[:-9], {"content_encoding": "gzip"}, id="gzip whose end was cut off"),
        pytest.param(GOOD, {"content_encoding": "gzip"}, id="gzip that is none"),
        pytest.param(GOOD, {"content_encoding": "deflate"}, id="deflate that is none"),
        pytest.param(GOOD, {"content_encoding": "br"}, id="an encoding nobody asked for"),
        pytest.param(GOOD, {"content_encoding": "aws-chunked"}, id="the store's word for how it was uploaded"),
        pytest.param(GOOD, {"content_encoding": "utf-8"}, id="a charset where an encoding belongs"),
        pytest.param(GOOD.decode().encode("utf-16"), {}, id="UTF-16"),
        pytest.param(GOOD + b"\0\0\r\n", {}, id="padding behind it"),
    ],
)
@pytest.mark.real_input("D3")
def test_reads_an_object(body: bytes, headers: dict[str, str]) -> None:
    assert json_object(answer(body, 200, **headers)) == READ


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        pytest.param(b"", {}, "no readable JSON", id="nothing"),
        pytest.param(b"<html>502</html>", {}, "no readable JSON", id="HTML"),
        pytest.param(GOOD[:-3], {}, "no readable JSON", id="JSON that was cut"),
        pytest.param(GOOD + b"x", {}, "no readable JSON", id="something behind the object"),
        pytest.param(GOOD + GOOD, {}, "no readable JSON", id="two objects"),
        pytest.param(b"[" * 200_000, {}, "RecursionError", id="200 000 brackets"),
        pytest.param(b"[1]", {}, "a JSON list where an object belongs", id="a list"),
        pytest.param(b"null", {}, "a JSON NoneType where an object belongs", id="null"),
        pytest.param(b'"PENDING"', {}, "a JSON str where an object belongs", id="a text"),
        pytest.param(b"", {"content_encoding": "gzip"}, "no readable JSON", id="gzip of no byte at all"),
        pytest.param(b"\x0b\x02\x80", {"content_encoding": "br"}, "encoded as br", id="an encoding that is unknown"),
        pytest.param(b" " * LARGEST_ANSWER + b"{", {}, "more than 1048576 bytes;", id="one byte too many"),
        pytest.param(
            gzip.compress(b" " * (LARGEST_ANSWER + 1)),
            {"content_encoding": "gzip"},
            "more than 1048576 bytes;",
            id="one byte too many after decompression",
        ),
    ],
)
def test_refuses_what_is_no_object(body: bytes, headers: dict[str, str], said: str) -> None:
    with pytest.raises(Malformed) as caught:
        json_object(answer(body, 200, **headers))
    assert str(caught.value).startswith(f"{SOURCE} answered 200 with ")
    assert said in str(caught.value)


def test_takes_an_answer_of_exactly_the_largest_size() -> None:
    body = GOOD + b" " * (LARGEST_ANSWER - len(GOOD))
    assert json_object(answer(body)) == READ
    assert json_object(answer(gzip.compress(body), 200, content_encoding="gzip")) == READ


ODD = [
    pytest.param(b'{"a": "\xff"}', {"a": "\udcff"}, id="a byte that is no text"),
    pytest.param(b'{"a": "x\ny\0"}', {"a": "x\ny\0"}, id="bare control characters in a text"),
    pytest.param(b'{"a": -Infinity}', {"a": -math.inf}, id="infinity"),
    pytest.param(b'{"a": 1e999}', {"a": math.inf}, id="a number beyond all"),
    pytest.param(b'{"a": 1, "a": 1}', {"a": 1}, id="a field that stands twice and says the same"),
    pytest.param(b'{"a": 1, "a": 2}', {"a": [1, 2]}, id="a field that stands twice and says two things"),
    pytest.param(nested(65), {"a": "…"}, id="65 levels"),
    pytest.param(nested(900), {"a": "…"}, id="900 levels"),
]


@pytest.mark.real_input("D4")
@pytest.mark.parametrize(("body", "value"), ODD)
def test_what_is_odd_in_a_field_spoils_no_other(body: bytes, value: dict[str, object]) -> None:
    read = json_object(answer(body[:-1] + b', "id": "job-1"}'))
    assert read.pop("id") == "job-1"
    while isinstance(read["a"], list) and len(read["a"]) == 1:
        read["a"] = read["a"][0]
    assert read == value


@pytest.mark.real_input("D4")
@pytest.mark.parametrize("number", [b"NaN", b"9" * 5000])
def test_what_is_no_number_is_read_as_none(number: bytes) -> None:
    read = json_object(answer(b'{"a": ' + number + b', "id": "job-1"}'))
    assert math.isnan(read["a"])
    assert read["id"] == "job-1"


@pytest.mark.fault(120)
@pytest.mark.parametrize(
    ("body", "members"),
    [
        pytest.param(b'{"id": "job-1", "status": "PEND', {"id": "job-1"}, id="cut in the next value"),
        pytest.param(b'{"id": "job-1",', {"id": "job-1"}, id="cut behind the comma"),
        pytest.param(b' {"eta": 3, "id" : "job-1" }<html>', {"eta": 3, "id": "job-1"}, id="a page behind it"),
        pytest.param(b'{"id": "job-1"', {}, id="cut before what ends the value"),
        pytest.param(b'{"id": "job', {}, id="cut in the id"),
        pytest.param(b'{"id": 12', {}, id="cut in a number, or behind it"),
        pytest.param(b'{"id": "job-1"}{"id": "job-2"}', {}, id="two objects: which?"),
        pytest.param(b'{"id": "job-1"]', {}, id="what is no object"),
        pytest.param(b'[{"id": "job-1"},', {}, id="a list"),
        pytest.param(b"<html>", {}, id="a page"),
        pytest.param(b"", {}, id="nothing"),
        pytest.param(b'{"id": "a", "id": "b", "s', {"id": ["a", "b"]}, id="two ids"),
        pytest.param(b'{"a": {"id": "job-1", "b', {}, id="an id inside of something that was cut"),
        pytest.param(b'{"id": "job-1", "a": ' + b"[" * 100_000, {"id": "job-1"}, id="a bottomless value behind it"),
    ],
)
def test_the_whole_members_of_a_broken_object_are_read(body: bytes, members: dict[str, object]) -> None:
    assert whole_members(answer(body)) == members


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.integers(), max_size=4), st.data())
def test_a_cut_object_never_gives_a_value_that_the_whole_one_has_not(
    value: dict[str, object], data: st.DataObject
) -> None:
    body = json.dumps(value).encode()
    cut = body[: data.draw(st.integers(0, len(body)))]
    assert whole_members(answer(cut)).items() <= value.items()


def test_keeps_a_lone_surrogate_for_others_to_judge() -> None:
    assert json_object(answer(b'{"a": "\\ud800"}')) == {"a": "\ud800"}


def test_a_gzip_bomb_is_refused_without_being_unpacked() -> None:
    bomb = gzip.compress(bytes(64 * LARGEST_ANSWER), compresslevel=9)

    def read() -> None:
        with pytest.raises(Malformed, match="more than 1048576 bytes"):
            json_object(answer(bomb, 200, content_encoding="gzip"))

    assert peak_of(read) < 8 * LARGEST_ANSWER


def test_a_malformed_answer_is_described_in_few_cleaned_characters() -> None:
    page = b"gone\x1b[31m" + b"x" * 500
    with pytest.raises(Malformed) as caught:
        json_object(answer(page, 200, content_type="text/html\x07; charset=utf-8"))
    message = str(caught.value)
    assert "content type text/html ; charset=utf-8: 'gone [31mxxx" in message
    assert "\x1b" not in message
    assert len(message) < len(SOURCE) + 300


def test_the_body_is_kept_out_of_repr() -> None:
    assert "PENDING" not in repr(answer(GOOD))


# Status codes: each from 100 to 599 stands in exactly one row.
MEANINGS = {
    Misconfigured: [*range(300, 400)],
    NotSent: [408, 421, 425],
    Busy: [429],
    Refused: [code for code in range(400, 500) if code not in {408, 421, 425, 429}] + [501],
    Uncertain: [*range(100, 200), 500, *range(502, 600)],
}


def test_the_table_of_codes_is_complete() -> None:
    assert sorted(code for codes in MEANINGS.values() for code in codes) == [*range(100, 200), *range(300, 600)]


@pytest.mark.parametrize(("cls", "codes"), MEANINGS.items())
def test_a_status_code_has_one_meaning(cls: type[ImagePipelineError], codes: list[int]) -> None:
    errors = {code: refusal(answer({"detail": "so it is"}, code)) for code in codes}
    assert {type(error) for error in errors.values()} == {cls}
    assert all(str(error).startswith(f"{SOURCE} answered {code}: so it is.") for code, error in errors.items())


def test_only_200_to_299_is_success() -> None:
    assert [code for code in range(100, 600) if answer(b"", code).is_success] == [*range(200, 300)]


@pytest.mark.parametrize(
    ("code", "pause", "cls"),
    [
        pytest.param(503, "7", Busy, id="503 with a pause was not taken"),
        pytest.param(503, "0", Busy, id="503 with a pause of nothing was not taken"),
        pytest.param(503, "soon", Uncertain, id="503 with an unreadable pause may have been taken"),
        pytest.param(500, "7", Uncertain, id="500 with a pause may have been taken"),
        pytest.param(502, "7", Uncertain, id="502 with a pause may have been taken"),
        pytest.param(400, "7", Refused, id="400 with a pause is refused"),
        pytest.param(429, "soon", Busy, id="429 was not taken, whatever it names"),
    ],
)
def test_a_pause_turns_only_503_into_busy(code: int, pause: str, cls: type[ImagePipelineError]) -> None:
    assert type(refusal(answer(b"", code, retry_after=pause))) is cls


@pytest.mark.parametrize(("pause", "seconds"), [("7", 7.0), ("soon", None)])
def test_busy_carries_the_pause(pause: str, seconds: float | None) -> None:
    error = refusal(answer(b"", 429, retry_after=pause))
    assert isinstance(error, Busy)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (400, "Correct the parameters."),
        (401, "correct the password of the connection"),
        (402, "no credits left"),
        (403, "check the connection and the plan"),
        (404, "whether the account has this endpoint"),
        (405, "Check the host"),
        (410, "withdrawn this endpoint"),
        (418, "will not take this request"),
        (422, "Correct the parameters."),
    ],
)
def test_a_refusal_says_what_to_do(code: int, advice: str) -> None:
    error = refusal(answer({"detail": "no"}, code))
    assert isinstance(error, Refused)
    assert advice in str(error)
    assert (error.status, error.detail) == (code, "no")


def test_a_redirect_names_where_it_leads_without_the_query() -> None:
    error = refusal(answer(b"", 302, location="https://me:pw@evil.example/x?token=SECRET"))
    assert "leads to https://…@evil.example/x?…" in str(error)
    assert "not followed" in str(error)


def test_an_answer_without_words_ends_its_sentence() -> None:
    assert str(refusal(answer(b"", 500))) == f"{SOURCE} answered 500."


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param({"error": "a", "message": "b", "detail": "c"}, "a", id="error comes first"),
        pytest.param({"error": "", "message": "b", "detail": "c"}, "b", id="then message"),
        pytest.param({"error": None, "detail": "c"}, "c", id="then detail"),
        pytest.param({"error": True, "message": "b"}, "b", id="a true error only announces the message"),
        pytest.param({"error": True}, "", id="a true error alone is no reason"),
        pytest.param({}, "", id="no reason at all"),
        pytest.param({"error": 17}, "17", id="a number"),
        pytest.param({"error": {"code": 1, "message": "b"}}, "b", id="an object with a message"),
        pytest.param({"error": {"msg": "b"}}, "b", id="an object with a msg"),
        pytest.param({"error": {"code": 1}}, "{'code': 1}", id="an object without words"),
        pytest.param({"detail": ["a", 2]}, "a; 2", id="a list"),
        pytest.param(
            {"detail": [{"loc": ["body", "samples", 0], "msg": "too many", "input": "SECRET"}]},
            "body.samples.0: too many",
            id="FastAPI's list, without the input it echoes",
        ),
        pytest.param({"detail": [{"loc": "body", "msg": "m"}]}, "{'loc': 'body', 'msg': 'm'}", id="nearly FastAPI's"),
        pytest.param({"detail": [{"loc": ["body"]}]}, "{'loc': ['body']}", id="FastAPI's without msg"),
        pytest.param({"detail": list(range(30))}, "; ".join(map(str, range(20))), id="twenty of a long list"),
        pytest.param({"error": "a\nb\x07"}, "a b", id="cleaned"),
    ],
)
def test_finds_the_reason(value: dict[str, object], reason: str) -> None:
    assert reason_in(value) == reason
    assert remote_message(answer(value)) == reason


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"Bad Gateway\n", "Bad Gateway", id="text"),
        pytest.param(b"\xff\x81", "", id="bytes"),
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"x" * 5000, "x" * 299 + "…", id="a long page"),
    ],
)
def test_without_json_the_raw_text_is_the_message(body: bytes, message: str) -> None:
    assert remote_message(answer(body)) == message


CHALLENGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Enable cookies</body></html>"


@pytest.mark.real_input("F7")
@pytest.mark.parametrize(
    ("status", "cls"),
    [(403, Blocked), (401, Blocked), (404, Blocked), (451, Blocked), (429, Busy), (503, Uncertain), (408, NotSent)],
)
@pytest.mark.parametrize("kind", ["text/html; charset=UTF-8", "application/json"])
def test_a_page_is_named_as_one_and_says_nothing_of_the_key(
    status: int, cls: type[ImagePipelineError], kind: str
) -> None:
    error = refusal(answer(CHALLENGE, status, content_type=kind))
    assert type(error) is cls
    assert f"a page answered, not the API ({kind}, title 'Just a moment...')" in str(error)
    assert "key" not in str(error)


@pytest.mark.real_input("F7")
@pytest.mark.parametrize(
    ("page", "kind", "shown"),
    [
        pytest.param(b"<html><body>no</body></html>", "text/html", "(text/html)", id="no title"),
        pytest.param(b"\n <HTML><TITLE >a &amp; b</TITLE>", "", "(HTML, title 'a & b')", id="capital letters"),
        pytest.param(b"<center>403</center>", "text/html", "(text/html)", id="half a page"),
        pytest.param(gzip.compress(CHALLENGE), "text/html", "(text/html, title 'Just a moment...')", id="compressed"),
    ],
)
def test_a_page_is_recognised_by_what_it_is(page: bytes, kind: str, shown: str) -> None:
    assert f"a page answered, not the API {shown}" in remote_message(answer(page, 403, content_type=kind))


def test_json_that_is_labelled_as_a_page_is_none() -> None:
    assert type(refusal(answer({"detail": "no"}, 403, content_type="text/html"))) is Refused


@pytest.mark.real_input("F7")
def test_a_page_with_a_good_status_is_named_too() -> None:
    with pytest.raises(Malformed, match=r"a page answered, not the API \(text/html, title 'Just a moment...'\)"):
        json_object(answer(CHALLENGE, 200, content_type="text/html"))


DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("0", 0.0, id="nothing"),
        pytest.param("120", 120.0, id="seconds"),
        pytest.param(" 7 ", 7.0, id="spaces around"),
        pytest.param("1.5", 2.0, id="decimals are rounded up"),
        pytest.param("1000000000000", 1e12, id="30 000 years"),
        pytest.param("-5", None, id="a negative number"),
        pytest.param("1e3", None, id="an exponent"),
        pytest.param("1,5", None, id="a comma"),
        pytest.param("\u0663", None, id="digits of another script"),
        pytest.param("9" * 400, None, id="400 digits"),
        pytest.param("soon", None, id="a word"),
        pytest.param("", None, id="nothing at all"),
        pytest.param("Sun, 06 Nov 1994 08:50:07 GMT", 30.0, id="a date"),
        pytest.param("Sun, 06 Nov 1994 09:50:07 +0100", 30.0, id="a date of another zone"),
        pytest.param("Sun Nov  6 08:50:07 1994", 30.0, id="a date without zone is GMT"),
        pytest.param("Sunday, 06-Nov-94 08:50:07 GMT", 30.0, id="a date with two digits of the year"),
        pytest.param("Sun, 06 Nov 1994 08:00:00 GMT", 0.0, id="a past date"),
        pytest.param("Sat, 01 Jan 10000 00:00:00 GMT", None, id="the year 10000"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 -2359", 252618275362.0, id="the last moment of all"),
        pytest.param("Sun, 99 Nov 1994 08:49:37 GMT", None, id="a day that is none"),
    ],
)
def test_reads_the_pause_that_is_asked_for(text: str, seconds: float | None) -> None:
    assert retry_after(answer(b"", 503, retry_after=text, date=DATE)) == seconds


def test_without_a_date_of_its_own_an_answer_is_dated_by_its_arrival() -> None:
    assert retry_after(answer(b"", 503, retry_after="Fri, 15 Jan 2027 08:01:00 GMT")) == 1_800_000_060 - RECEIVED_AT
    assert retry_after(answer(b"", 503)) is None


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
def test_the_machines_own_zone_moves_no_date() -> None:
    assert retry_after(answer(b"", 503, retry_after="Sun Nov  6 08:50:07 1994", date=DATE)) == 30.0


@given(text=any_text | st.text("0123456789., +-:GMTSunNov", max_size=40), date=any_text)
@example(text="Mon, 1 Jan 0001 00:00:00 +2359", date="")
@example(text="Mon, 1 Jan 2027 00:00:00 +99999999999999999999", date="")
def test_any_header_is_a_pause_or_none(text: str, date: str) -> None:
    seconds = retry_after(answer(b"", 503, retry_after=text, date=date))
    assert seconds is None or 0 <= seconds < float("inf")


@given(any_answers())
def test_the_decoder_returns_an_object_or_raises_malformed(response: ApiResponse) -> None:
    try:
        value = json_object(response)
    except Malformed as error:
        assert str(error).startswith(SOURCE)  # noqa: PT017 - raising is only one of two good ends
    else:
        assert isinstance(value, dict)


@given(any_answers())
def test_every_answer_can_be_refused_in_few_words(response: ApiResponse) -> None:
    assert len(str(refusal(response))) < len(SOURCE) + 900
