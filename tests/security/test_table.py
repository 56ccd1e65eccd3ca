"""The page on security says what the tests say."""

from __future__ import annotations

import pytest

from tests.security.rows import FETCHING, STORING, THREATS, Row
from tests.security.table import PAGE, functions_of, page, shown_by

ROWS: dict[str, Row] = {str(number): row for rows in (THREATS, FETCHING, STORING) for number, row in rows.items()}


def test_the_page_is_what_the_rows_and_tests_make_of_it() -> None:
    assert PAGE.read_text() == page(), "run `make tables`"


def test_the_rows_are_all_threats_and_the_faults_of_fetching_and_storing() -> None:
    assert list(THREATS) == [f"T{number}" for number in range(1, 37)]
    assert [*FETCHING, *STORING] == list(range(54, 75))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_row_has_tests_that_exist_or_a_reason(row: Row) -> None:
    assert row.tests or row.limit
    for test in row.tests:
        file, _, name = test.partition("::")
        assert name in functions_of(file), test


def test_most_of_it_is_covered() -> None:
    assert sum(map(bool, shown_by(THREATS).values())) >= 33
    assert sum(map(bool, shown_by({**FETCHING, **STORING}).values())) >= 19
