"""SIGKILL at five moments of a batch: the next try pays for nothing twice and brings everything else home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.batch.killed import killed_and_retried
from tests.generations import only_current

if TYPE_CHECKING:
    from tests.operators.nights import Nights

pytestmark = [pytest.mark.usefixtures("generation")]

SURELY_UNCERTAIN = {"after the intent", "before the ids are stored"}


@pytest.mark.slow
@only_current
@pytest.mark.parametrize(
    "moment",
    ["after the intent", "during the POSTs", "after the ids", "during landing", "during the compaction"],
)
def test_a_killed_worker_is_followed_by_one_that_pays_for_nothing_twice(nights: Nights, moment: str) -> None:
    outcomes = killed_and_retried(nights, moment, 60)
    assert (outcomes.get("uncertain", 0) > 0) >= (moment in SURELY_UNCERTAIN)
