"""Write ``docs/security.md`` from its text, the rows and the tests: ``python -m tests.security.table``."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from tests.reliability.table import ROOT, covering_tests
from tests.security.rows import FETCHING, STORING, THREATS, Row

PAGE: Final = ROOT / "docs" / "security.md"
TEXT: Final = Path(__file__).with_name("security.md")
"""What people read first; the tables follow it."""

Rows = Mapping[str, Row] | Mapping[int, Row]


def shown_by(rows: Rows) -> dict[str, list[str]]:
    """Return the tests of each row: those that the row names, then those that are marked with its number."""
    marked = covering_tests()
    found = {}
    for number, row in rows.items():
        also = [test.replace(".py::", "::") for test in marked.get(number, [])] if isinstance(number, int) else []
        found[str(number)] = list(dict.fromkeys((*row.tests, *also)))
    return found


@cache
def functions_of(file: str) -> frozenset[str]:
    """Return the names of the tests in a file of ``tests``."""
    path = ROOT / "tests" / f"{file}.py"
    if not path.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def page() -> str:
    """Return the page."""
    lines = [TEXT.read_text()]
    tables: dict[str, Rows] = {
        "Threats": THREATS,
        "Faults of fetching an image": FETCHING,
        "Faults of storing an image": STORING,
    }
    lines += [f"{_counted(THREATS)} threats and {_counted({**FETCHING, **STORING})} faults are covered by tests."]
    for title, rows in tables.items():
        tests = shown_by(rows)
        lines += ["", f"### {title}", "", "| # | What may happen | What is done | Tests |", "|---|---|---|---|"]
        lines += [f"| {n} | {row.what} | {row.done} | {_by_file(tests[str(n)])} |" for n, row in rows.items()]
    lines += ["", "## What is not done", ""]
    lines += [f"- {n}: {row.limit}." for rows in tables.values() for n, row in rows.items() if row.limit]
    lines += ["", "## The tests by row", ""]
    for rows in tables.values():
        for number, names in shown_by(rows).items():
            shown = ", ".join(f"`{name.partition('::')[2]}`" for name in names)
            lines.append(f"- {number}: {shown or 'none'}")
    return "\n".join(lines) + "\n"


def _counted(rows: Rows) -> str:
    return f"{sum(map(bool, shown_by(rows).values()))} of {len(rows)}"


def _by_file(tests: list[str]) -> str:
    by_file: dict[str, int] = defaultdict(int)
    for test in tests:
        by_file[test.partition("::")[0]] += 1
    return ", ".join(f"`{file}` ({count})" for file, count in by_file.items()) or "none"


if __name__ == "__main__":
    sys.stdout.write(page())
