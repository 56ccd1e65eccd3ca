"""Write ``docs/reliability.md`` from the rows and from the tests: ``python -m tests.reliability.table``."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from tests.reliability.rows import PARTS, ROWS, UNCOVERED, Row

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reliability.md"

TOP: Final = """# Reliability

<!-- Made by `make tables` from tests/reliability: change it there. -->

**The promise.** For one image and one human decision, at most one accepted request: when answers are lost, workers
are killed, triggerers move, tasks are retried, and mapped tasks are expanded again. A human decision is a new run, or
the clear of a finished task. A later try re-attaches to a job whose id was recorded. Airflow 3.3 or later is
needed for this; row 93 says what holds before.

**The price.** Sometimes nobody can know whether a request was taken. Then the task fails for good with
`SubmissionUncertain`, says at what time the request left, and sends nothing more. With
`on_ambiguous_submit="resubmit"` it submits again instead, and may pay twice.

**The window.** From the moment the record is written until the job's id is recorded: as a rule the time of one
request. Whatever happens outside of it, the next try goes on by itself.

**What a human does.** Look at the vendor's dashboard for a job of that time. If there is one, set `job_id` to its id;
if not, clear the task: it submits again. [](cost.md) has more.

## How it is proven

Each fault below is made to happen: by a server on the loopback that answers as it is told, by a proxy that breaks
connections, by killing real processes, by a store that fails. The server counts the requests; the tests compare that
count, with the task waiting in a worker and in the triggerer. Those in `tests/reliability` do it for each generation of
the API. Tests in `tests/kill` do it to the parts of a real Airflow (`make kill-test`).

`tests/reliability/test_never_twice.py` draws the order of things by lot: submissions, crashes before and after every
single call of the store and of the network, faults of both, lost reports, retries, clears, mapped tasks that are
expanded again. In each order no image may be paid for twice, no known job lost, and no key, link or prompt stored.
With the record that is written first taken out, it finds a double charge. `NEVER_TWICE_EXAMPLES=2000` makes it look
longer.

Rows 54-74 of the same numbering, on fetching and storing images, cannot cost a second job; their tests are in
`tests/hooks`, `tests/landing` and `tests/storage`.
"""


@cache
def covering_tests(root: Path = ROOT) -> Mapping[int, list[str]]:
    """Return the row numbers and the tests that are marked with them, as ``file::function``, in the order of files."""
    return {row: tests for row, tests in marked_tests("fault", root).items() if isinstance(row, int)}


def marked_tests(marker: str, root: Path = ROOT) -> Mapping[int | str, list[str]]:
    """Return what tests are marked with, and these tests as ``file::function``, in the order of files."""
    found: dict[int | str, list[str]] = defaultdict(list)
    for file in sorted((root / "tests").rglob("test_*.py")):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for number in dict.fromkeys(_rows_of(node, marker)):
                    found[number].append(f"{file.relative_to(root / 'tests')}::{node.name}")
    return found


def _rows_of(function: ast.FunctionDef | ast.AsyncFunctionDef, marker: str) -> Iterator[int | str]:
    # In decorators alone: on the function, and on single parameters of a parametrisation.
    for decorator in function.decorator_list:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{marker}":
                values = (one.value for one in node.args if isinstance(one, ast.Constant))
                yield from (value for value in values if isinstance(value, int | str))


def page(tests: Mapping[int, list[str]]) -> str:
    """Return the page."""
    covered = sum(number in tests for number in ROWS)
    lines = [TOP, f"{covered} of {len(ROWS)} rows are covered by a test.", ""]
    for title, rows in PARTS.items():
        lines += [f"## {title}", "", "| # | What goes wrong | What happens | Tests |", "|---|---|---|---|"]
        lines += [_line(number, row, tests.get(number, [])) for number, row in rows.items()]
        lines.append("")
    lines += ["## What it does not do", ""]
    lines += [f"- Row {number}: {row.limit}." for number, row in ROWS.items() if row.limit]
    lines += [f"- Row {number} has no test: {why}." for number, why in UNCOVERED.items()]
    lines += ["", "## The tests by row", ""]
    for number in ROWS:
        names = ", ".join(f"`{test.partition('::')[2]}`" for test in tests.get(number, []))
        lines.append(f"- {number}: {names or 'none'}")
    return "\n".join(lines) + "\n"


def _line(number: int, row: Row, tests: list[str]) -> str:
    by_file: dict[str, int] = defaultdict(int)
    for test in tests:
        by_file[test.partition("::")[0]] += 1
    shown = ", ".join(f"`{file.removesuffix('.py')}` ({count})" for file, count in by_file.items())
    return f"| {number} | {row.fault} | {row.outcome} | {shown or 'none'} |"


if __name__ == "__main__":
    sys.stdout.write(page(covering_tests()))
