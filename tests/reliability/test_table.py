"""The page on reliability says what the tests say."""

from __future__ import annotations

from tests.reliability.rows import ROWS, UNCOVERED
from tests.reliability.table import PAGE, covering_tests, page


def test_the_page_is_what_the_tests_make_of_it() -> None:
    assert PAGE.read_text() == page(covering_tests()), "run `make tables`"


def test_every_row_has_a_test_or_a_reason() -> None:
    covered = set(covering_tests())
    assert set(ROWS) - covered == set(UNCOVERED)


def test_no_test_names_a_row_of_this_page_that_does_not_exist() -> None:
    assert {number for number in covering_tests() if not 54 <= number <= 74} <= set(ROWS)


def test_the_rows_are_those_of_submitting_waiting_and_airflow() -> None:
    assert sorted(ROWS) == [*range(1, 54), *range(75, 94), *range(101, 126)]
