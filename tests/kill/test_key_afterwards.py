"""After all that: neither the key nor the signature of a link is in any file, table or output of Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.canary import forms, texts
from tests.kill.stage import API_KEY, Stage
from tests.kill.vendor import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kill(short=True), pytest.mark.timeout(300)]


@pytest.mark.parametrize("secret", [API_KEY, SIGNATURE], ids=["the key", "the signature of a link"])
def test_nothing_that_airflow_wrote_holds_a_secret(standing: Stage, secret: str) -> None:
    standing.airflow.stop()  # nothing is written any more

    found = []
    places = set()
    for place, text in everything_written(standing):
        found += [f"{place}: {name}" for name, form in forms(secret).items() if form in text]
        if "kill_images" in text:
            places.add(place)

    assert found == []
    # The name of the DAGs' file was found where it belongs, so the search did look there.
    assert any(place.endswith("attempt=1.log") for place in places)
    assert any(place.endswith("scheduler.log") for place in places)
    assert any(place.endswith(("database", ", dumped")) for place in places)


def test_the_vendor_was_given_the_key_that_was_looked_for(standing: Stage) -> None:
    orders = [request for request in standing.vendor.server.requests if request.method == "POST"]

    assert {request.header("API-Key") for request in orders} == {API_KEY}
    assert SIGNATURE in {request.query.partition("=")[2] for request in standing.vendor.server.requests}


def everything_written(stage: Stage) -> Iterator[tuple[str, str]]:
    """Return the files of Airflow's home, a database of SQLite among them, and what PostgreSQL keeps and logs."""
    yield from texts(stage.airflow.home)
    if stage.postgres:
        yield "log of the database", stage.postgres.log.read_text()
        yield "database", stage.postgres.dump().decode()
