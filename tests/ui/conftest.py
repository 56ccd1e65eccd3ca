"""A real Airflow with images to look at, and a browser that reports whatever it asks for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from demo.gallery import Gallery
from tests.ui.real_runs import RealRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    from demo.local_airflow import LocalAirflow

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/ui/" in item.nodeid:
            item.add_marker(pytest.mark.ui)
            # The first one starts Airflow.
            item.add_marker(pytest.mark.timeout(600))


# Of a module: two Airflows at once would be too many for a small machine.
@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Run Airflow and its DAG once."""
    with Gallery(tmp_path_factory.mktemp("gallery")) as running:
        yield running


@pytest.fixture(scope="module")
def real_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRuns]:
    """Run Airflow, and every operator in it once."""
    with RealRuns(tmp_path_factory.mktemp("real_runs")) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Run the machine's own Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, which containers run tests as, Chromium starts without its own sandbox only.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Visit:
    """A page in a browser, and what went over the wire since."""

    page: Page
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def visiting(browser: Browser, airflow: LocalAirflow) -> Iterator[Callable[..., Visit]]:
    """Yield what opens an address as a logged-in viewer; ``viewer`` may read, and no more."""
    contexts = []

    def open_page(address: str, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        login = {"username": "viewer", "password": airflow.passwords["viewer"]}
        token = context.request.post(f"{airflow.url}/auth/token", data=login).json()["access_token"]
        context.add_cookies([{"name": "_token", "value": token, "url": airflow.url}])
        visited = Visit(context.new_page())
        visited.page.on("request", lambda request: visited.requests.append(request.url))
        visited.page.on("pageerror", lambda error: visited.problems.append(str(error)))
        visited.page.on("console", lambda said: visited.problems.append(said.text) if said.type == "error" else None)
        visited.page.goto(address, wait_until="load", timeout=60_000)
        return visited

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def visit(browser: Browser, gallery: Gallery) -> Iterator[Callable[..., Visit]]:
    """Return what opens an address of the gallery."""
    yield from visiting(browser, gallery.airflow)


@pytest.fixture
def look(browser: Browser, real_runs: RealRuns) -> Iterator[Callable[..., Visit]]:
    """Return what opens an address of the Airflow in which the operators have run."""
    yield from visiting(browser, real_runs.airflow)
