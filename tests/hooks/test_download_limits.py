from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_imagepipeline.contract.errors import (
    DownloadFailed,
    LinkExpired,
    LinkRefused,
    NotTheResult,
    ResultRefused,
)
from airflow_imagepipeline.hooks.download_limits import DownloadLimits

LIMITS = DownloadLimits()


def test_the_limits_are_those_that_the_documentation_promises() -> None:
    assert (
        DownloadLimits(
            bytes=67_108_864,
            redirects=3,
            connect_seconds=10,
            silent_seconds=30,
            seconds=300,
            slowest=1024,
            slow_seconds=30,
            attempts=4,
            attempts_at_other=3,
            all_seconds=600,
            first_pause=1,
            longest_pause=20,
            longest_retry_after=300,
        )
        == LIMITS
    )


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (DownloadFailed("cut"), 4),
        (NotTheResult("HTML"), 3),
        (LinkExpired("403"), 1),
        (LinkRefused("10.0.0.1"), 1),
        (ResultRefused("too large"), 1),
        (OSError("disk full"), 1),
        (None, 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_often_a_link_is_fetched_depends_on_what_went_wrong(error: BaseException | None, attempts: int) -> None:
    assert [LIMITS.may_try_again(n, error) for n in range(1, 6)] == [n < attempts for n in range(1, 6)]


@given(failures=st.integers(1, 1000), seed=st.integers(0, 9999), asked=st.none() | st.floats(0, 1e12))
def test_a_pause_has_jitter_below_its_bound_and_obeys_what_was_asked(
    failures: int, seed: int, asked: float | None
) -> None:
    pause = LIMITS.pause(failures, DownloadFailed("busy", retry_after=asked), random.Random(seed))
    assert min(asked or 0, 300) <= pause <= max(min(20, 2.0 ** min(failures - 1, 10)), min(asked or 0, 300))
