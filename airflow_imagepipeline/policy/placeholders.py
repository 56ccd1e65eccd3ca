"""
Fill what is asked for each row of a batch from the row's columns, by plain substitution.

Rows come from outside, so a value is never interpreted: there are no format specs, no attribute access, no second pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.text import cleaned

_TOKEN: Final = re.compile(r"\{(?P<column>[^{}]*)\}|[{}]")
_BRACES: Final = {"lbrace": "{", "rbrace": "}"}
_LONGEST_NAME: Final = 60
_MOST_NAMES: Final = 20


def filled(template: Any, row: Mapping[str, Any], *, needed: bool = True) -> Any:
    """
    Return a template with the columns of a row in place of its ``{column}`` placeholders.

    A text that is one placeholder and nothing else becomes the column's value itself, so that a number stays a number,
    and one that is missing (NaN, NaT) None. ``{lbrace}`` and ``{rbrace}`` are the braces themselves.

    :param template: a text, or lists and dicts of texts (their keys stay as they are); anything else comes back as is.
    :param row: column to value; what a value holds is never a placeholder.
    :param needed: whether a column inside other text must hold something; else what is missing is nothing.
    :raises InvalidParameters: for a column that the row does not have, or that is empty where other text needs it, and
        for a brace that belongs to no placeholder.
    """
    if isinstance(template, str):
        whole = _TOKEN.fullmatch(template)
        if whole is not None and whole["column"] is not None:
            value = _value(whole["column"], row)
            return None if is_missing(value) else value
        pieces = _pieces(template)
        return "".join(text if column is None else _as_text(column, row, needed=needed) for text, column in pieces)
    if isinstance(template, Mapping):
        return {key: filled(value, row, needed=needed) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, row, needed=needed) for value in template]
    return template


def is_missing(value: Any) -> bool:
    """Tell whether a value stands for none: None, NaN, and what pandas writes for it (NaT, NA)."""
    if value is None or isinstance(value, str):
        return value is None
    try:
        # Not by type: numpy, pandas and decimal have NaNs of their own, all of which differ from themselves.
        return type(value).__name__ == "NAType" or bool(value != value)  # noqa: PLR0124
    except (TypeError, ValueError):
        return False


def columns_in(template: Any) -> set[str]:
    """
    Return the names of the columns that a template asks for.

    :raises InvalidParameters: for a brace that belongs to no placeholder.
    """
    if isinstance(template, str):
        return {column for _, column in _pieces(template) if column is not None} - _BRACES.keys()
    if isinstance(template, Mapping):
        return {column for value in template.values() for column in columns_in(value)}
    if isinstance(template, list | tuple):
        return {column for value in template for column in columns_in(value)}
    return set()


def _pieces(template: str) -> Iterator[tuple[str, str | None]]:
    """Yield the text between placeholders (with None), and the column of each placeholder."""
    end = 0
    for token in _TOKEN.finditer(template):
        if token["column"] is None:
            # Not shown with what is around it: that may be a prompt.
            msg = (
                f"the {token[0]!r} at character {token.start() + 1} belongs to no {{column}}: write {{lbrace}} for an "
                "opening brace and {rbrace} for a closing one"
            )
            raise InvalidParameters(msg)
        yield template[end : token.start()], None
        yield "", token["column"]
        end = token.end()
    yield template[end:], None


def _value(column: str, row: Mapping[str, Any]) -> Any:
    if column in _BRACES:
        return _BRACES[column]
    if column in row:
        return row[column]
    names = [cleaned(name, _LONGEST_NAME) for name in sorted(map(str, row))]
    more = ", …" if len(names) > _MOST_NAMES else ""
    known = ", ".join(names[:_MOST_NAMES]) or "none"
    msg = f"there is no column {cleaned(column, _LONGEST_NAME)!r}; the row has: {known}{more}"
    raise InvalidParameters(msg)


def _as_text(column: str, row: Mapping[str, Any], *, needed: bool) -> str:
    value = _value(column, row)
    text = "" if is_missing(value) else str(value)
    if needed and not text.strip():
        msg = f"the column {cleaned(column, _LONGEST_NAME)!r} is empty in this row, and a text needs it"
        raise InvalidParameters(msg)
    return text
