"""Write ``docs/real-inputs.md`` from the rows and from the tests: ``python -m tests.real_inputs.table``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from tests.real_inputs.rows import PARTS, ROWS, Row
from tests.reliability.table import ROOT, marked_tests

PAGE: Final = ROOT / "docs" / "real-inputs.md"

TOP: Final = """# Real inputs

<!-- Made by `make tables` from tests/real_inputs: change it there. -->

Folders that people have filled, tables that spreadsheets have written, stores and servers that are not quite what their
documentation says. Each row below is made to happen in a test, with others of its kind. Eight rules stand behind them:

1. What can be known for free is known before the request that costs money.
2. After payment, what is odd is a warning, never a lost picture.
3. Nothing is silent: a row that is left out, a name that is changed, a folder without a match.
4. A result's name belongs to its input, whatever else lies in the folder.
5. Words and endings of other people's systems are open lists.
6. Any store, any network, any script.
7. The vendor's and the store's own words reach the reader.
8. What Airflow does for this provider is tested, too.
"""


def covering_tests() -> Mapping[str, Sequence[str]]:
    """Return the names of rows, and the tests that are marked with them."""
    return {str(row): tests for row, tests in marked_tests("real_input").items()}


def page(tests: Mapping[str, Sequence[str]]) -> str:
    """Return the page."""
    lines = [TOP, f"{sum(name in tests for name in ROWS)} of {len(ROWS)} rows are covered by a test.", ""]
    for title, rows in PARTS.items():
        lines += [f"## {title}", "", "| # | What comes in | What happens | Tests |", "|---|---|---|---|"]
        lines += [_line(name, row, tests.get(name, [])) for name, row in rows.items()]
        lines.append("")
    lines += ["## What is not done", ""]
    lines += [f"- {name}: {row.limit}." for name, row in ROWS.items() if row.limit]
    lines += ["", "## The tests by row", ""]
    for name in ROWS:
        shown = ", ".join(f"`{test.partition('::')[2]}`" for test in tests.get(name, []))
        lines.append(f"- {name}: {shown or 'none'}")
    return "\n".join(lines) + "\n"


def _line(name: str, row: Row, tests: Sequence[str]) -> str:
    by_file = Counter(test.partition(".py::")[0] for test in tests)
    shown = ", ".join(f"`{file}` ({count})" for file, count in by_file.items())
    return f"| {name} | {row.given} | {row.outcome} | {shown or 'none'} |"


if __name__ == "__main__":
    sys.stdout.write(page(covering_tests()))
