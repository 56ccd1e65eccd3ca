"""The page on real inputs says what the tests say."""

from __future__ import annotations

from tests.real_inputs.rows import ROWS
from tests.real_inputs.table import PAGE, covering_tests, page


def test_the_page_is_what_the_tests_make_of_it() -> None:
    assert PAGE.read_text() == page(covering_tests()), "run `make tables`"


def test_every_row_has_a_test() -> None:
    assert set(ROWS) <= set(covering_tests())


def test_no_test_names_a_row_that_does_not_exist() -> None:
    assert set(covering_tests()) <= set(ROWS)
