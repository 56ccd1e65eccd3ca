from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.policy.placeholders import columns_in, filled

ROW = {
    "sku": "A-1",
    "angle": 30,
    "share": 0.5,
    "empty": None,
    "nan": math.nan,
    "odd": "{sku} {{ 7*7 }} {0.__class__} {lbrace}",
}
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))


@pytest.mark.parametrize(
    ("template", "result"),
    [
        pytest.param("a cup", "a cup", id="no placeholder"),
        pytest.param("cup {sku}, {angle}°", "cup A-1, 30°", id="text around placeholders"),
        pytest.param("{angle}", 30, id="a lone placeholder is the value itself"),
        pytest.param(" {angle}", " 30", id="with a space it is text"),
        pytest.param("{empty}", None, id="a lone None stays None"),
        pytest.param("{nan}", None, id="a lone NaN is None"),
        pytest.param("{sku}{angle}", "A-130", id="two placeholders are text"),
        pytest.param("{lbrace}sku{rbrace}", "{sku}", id="literal braces"),
        pytest.param("{lbrace}", "{", id="a lone literal brace"),
        pytest.param("{odd}", ROW["odd"], id="a value is data"),
        pytest.param("x {odd}", f"x {ROW['odd']}", id="a value in text is data"),
        pytest.param(
            {"a": ["{angle}", {"b": "{sku}"}], "{sku}": 1}, {"a": [30, {"b": "A-1"}], "{sku}": 1}, id="nested"
        ),
        pytest.param(("{sku}",), ["A-1"], id="a tuple"),
        pytest.param(7, 7, id="a number"),
    ],
)
def test_placeholders_are_filled_from_the_row(template: Any, result: Any) -> None:
    assert filled(template, ROW) == result
    assert type(filled(template, ROW)) is type(result)


@pytest.mark.parametrize("column", ["colour", "", "sku.x", "sku!r", "angle:03d", "sku[0]", " sku ", "0.__class__"])
def test_what_is_no_column_is_named_with_the_known_ones(column: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        filled(f"a {{{column}}}", ROW)
    assert repr(column.strip()) in str(caught.value) or repr(column) in str(caught.value)
    assert "angle, empty, nan, odd, share, sku" in str(caught.value)


@pytest.mark.real_input("B3", "B4")
@pytest.mark.parametrize(
    "value", [None, "", " \t", "\xa0", math.nan, Decimal("NaN"), np.float64("nan"), np.datetime64("NaT")]
)
def test_a_text_does_not_do_without_a_column_that_is_empty(value: Any) -> None:
    with pytest.raises(InvalidParameters, match="the column 'title' is empty in this row"):
        filled({"prompt": "{title} on white"}, {"title": value})
    assert filled("{title} on white", {"title": 0}) == "0 on white"


def test_the_known_columns_of_a_wide_row_are_cut() -> None:
    with pytest.raises(InvalidParameters, match="c019, …"):
        filled("{x}", {f"c{number:03}": 1 for number in range(50)})


def test_a_row_without_columns_says_so() -> None:
    with pytest.raises(InvalidParameters, match="the row has: none"):
        filled("{x}", {})


@pytest.mark.parametrize("template", ["a { b", "}", "{", "{{ sku }}", "{a{b}", ["ok", {"x": "}"}]])
def test_a_lone_brace_is_an_error_that_names_the_remedy(template: Any) -> None:
    for function in (columns_in, lambda template: filled(template, dict.fromkeys("ab", "") | ROW)):
        with pytest.raises(InvalidParameters, match=r"write \{lbrace\} for an opening brace"):
            function(template)


def test_the_columns_of_a_template_are_found() -> None:
    template = {"prompt": "{sku} {lbrace}{rbrace}", "extra": [("{angle}",), {"{key}": "{empty}"}], "seed": 1}
    assert columns_in(template) == {"sku", "angle", "empty"}


@given(value=st.text())
def test_a_value_is_never_interpreted(value: str) -> None:
    row = {"value": value, "other": "OTHER"}
    assert filled("{value}", row) == value
    if value.strip():
        assert filled("<{value}|{other}|{value}>", row) == f"<{value}|OTHER|{value}>"
    assert filled("<{value}|{other}|{value}>", row, needed=False) == f"<{value}|OTHER|{value}>"


@given(value=JSON)
def test_a_lone_placeholder_is_the_value_itself(value: Any) -> None:
    assert filled(["{value}"], {"value": value})[0] is value


@given(text=st.text(alphabet=st.sampled_from("{}ab l") | st.characters()))
def test_braces_make_a_round_trip(text: str) -> None:
    template = "".join({"{": "{lbrace}", "}": "{rbrace}"}.get(character, character) for character in text)
    assert filled(template, {}) == text
    assert columns_in(template) == set()


@given(template=st.text(alphabet="{}ab.!: "))
def test_a_template_is_filled_exactly_when_the_row_has_its_columns(template: str) -> None:
    try:
        columns = columns_in(template)
    except InvalidParameters:
        with pytest.raises(InvalidParameters):
            filled(template, {"a": 1})
        return
    if columns <= {"a"}:
        assert str(filled(template, {"a": "1"})) == template.replace("{a}", "1")
    else:
        with pytest.raises(InvalidParameters, match="there is no column"):
            filled(template, {"a": "1"})
