"""Kill a worker at a moment of a batch, run the next try here, and look at what was paid and what came."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from airflow_imagepipeline.exceptions import BatchFailed
from tests.generations import spoken
from tests.operators.nights import Nights, TaskInstance, assert_complete, counts
from tests.running import KEY, fails_with

ROOT = Path(__file__).parents[2]
MOST_UNCERTAIN = 8
"""The batch's ``submit_concurrency``."""


def killed_and_retried(nights: Nights, moment: str, count: int, *, max_in_flight: int = 40) -> dict[str, int]:
    """Run a night that is killed, then its retry; return the outcomes."""
    told = {
        "url": nights.emulator.url,
        "folder": str(nights.folder),
        "kill": moment,
        "count": count,
        "mode": nights.mode,
        "max_in_flight": max_in_flight,
        "generation": spoken().name,
    }
    done = subprocess.run(  # noqa: S603 - this very file's neighbour
        [sys.executable, "-m", "tests.batch.process", json.dumps(told)],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert KEY not in done.stdout + done.stderr
    paid = nights.emulator.stats()["accepted"]

    # The worker died without a word: its checkpoint is old or was never written, and its lease still lives.
    rows, nights.ti = nights.rows(count), TaskInstance("n1")
    try:
        summary = nights.retry(rows, max_in_flight=max_in_flight)
    except BatchFailed:
        summary = nights.summary
    assert paid + nights.paid == nights.emulator.stats()["accepted"] <= count
    outcomes = counts(summary)
    assert_complete(nights.manifest(summary), summary)
    uncertain = outcomes.get("uncertain", 0)
    assert uncertain <= MOST_UNCERTAIN
    assert outcomes == {"landed": count - uncertain, **({"uncertain": uncertain} if uncertain else {})}
    assert summary["submitted"] == count
    _is_settled_by_a_clear(nights, count, uncertain)
    return outcomes


def _is_settled_by_a_clear(nights: Nights, count: int, uncertain: int) -> None:
    if uncertain:
        with fails_with(BatchFailed, f"{uncertain} uncertain"):
            nights.retry(nights.rows(count))
        assert nights.paid == 0
    done = nights.clear(nights.rows(count))
    assert nights.paid == uncertain
    assert counts(done) == {"reused": count - uncertain, **({"landed": uncertain} if uncertain else {})}
