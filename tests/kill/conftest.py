"""One Airflow for the whole suite: on PostgreSQL with two triggerers, or, with KILL_SHORT=1, on SQLite with one."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.kill.postgres import Postgres
from tests.kill.stage import Stage
from tests.kill.vendor import Vendor

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT = bool(os.environ.get("KILL_SHORT"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the search for the key behind everything that may leak it; the short form leaves most scenarios out."""
    items.sort(key=lambda item: item.path.name == "test_key_afterwards.py")
    left_out = [item for item in items if SHORT and not _is_short(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _is_short(item: pytest.Item) -> bool:
    marks = list(item.iter_markers("kill"))
    return not marks or any(mark.kwargs.get("short") for mark in marks)


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Set the stage for all scenarios, and clear it after the last."""
    with ExitStack() as stack:
        vendor = stack.enter_context(Vendor())
        postgres = None if SHORT else stack.enter_context(Postgres())
        stage = Stage.built(tmp_path_factory.mktemp("kill"), vendor, postgres)
        stack.enter_context(stage.airflow)
        yield stage


@pytest.fixture
def stage(standing: Stage) -> Iterator[Stage]:
    """Bring all parts of Airflow to life, whatever the scenario before has left."""
    standing.revive()
    yield standing
    standing.vendor.let_go()
