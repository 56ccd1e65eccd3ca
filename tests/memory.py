"""How much memory a piece of work takes, as far as that is the work's own."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable


def peak_of(work: Callable[[], object]) -> int:
    """Return the most bytes of Python objects that ``work`` held at once: the lesser of two runs.

    The interpreter's table of interned names doubles when it is full, by half a megabyte or more after thousands of
    tests. That may hit one run, but not both.
    """
    return min(_traced(work), _traced(work))


def _traced(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
