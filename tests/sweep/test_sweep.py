"""A short form of the sweep: some points of every group, on one job and on a batch."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep.faults import Fault
from tests.sweep.lives import End
from tests.sweep.sweep import Verdict, chosen, is_wrong, points, table

CLEAN = End("success", lines=40, calls={"store": 3, "storage": 2})


def test_the_points_of_a_life_are_its_lines_and_calls() -> None:
    every = list(points("single", "worker", CLEAN))
    groups = {group: sum(point.group == group for point in every) for group in {point.group for point in every}}
    assert groups == {"killed": 40, "superseded": 40, "store": 3 * 2 * 4, "storage": 2 * 3 * 4}
    both = [point.fault.how for point in points("batch", "worker", CLEAN) if point.group == "superseded"]
    assert both == ["pause", "overlap"] * 40


def test_a_short_sweep_spreads_its_points_over_every_group() -> None:
    every = list(points("batch", "worker", CLEAN))
    some = chosen(every, 4, random.Random(1))
    killed = sorted(point.fault.at for point in some if point.group == "killed")
    assert len(some) == 16
    assert [later - earlier for earlier, later in itertools.pairwise(killed)] == [10, 10, 10]


@pytest.mark.parametrize("wrong", ["twice", "lost", "missing", "error"])
def test_what_must_never_happen_is_counted_and_named(wrong: str) -> None:
    verdict = Verdict(str(Fault("store", 2, "down", late=True)), "single", "store", ends=["success"])
    assert not is_wrong(verdict)
    setattr(verdict, wrong, "an image" if wrong == "error" else ["an image"])
    assert is_wrong(verdict)
    assert f"{wrong}: store call 2 down, after its effect: success; an image" in table([verdict])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault(103, 111)
@pytest.mark.parametrize("what", ["single", "batch"])
def test_whatever_goes_wrong_once_nothing_is_paid_twice_and_nothing_paid_is_lost(what: str) -> None:
    # In an interpreter of its own: it forks, and this process has threads.
    command = [sys.executable, "-m", "tests.sweep", "--what", what, "--limit", "40", "--minutes", "1"]
    done = subprocess.run(  # noqa: S603 - this very file's neighbour
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, json.dumps([done.stdout[-4000:], done.stderr[-2000:]])
