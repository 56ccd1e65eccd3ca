"""A clear is told apart from a retry; where nobody can tell, nothing is paid for twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.batch.clears import Clears
from airflow_imagepipeline.storage.folder import open_folder

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_imagepipeline.storage.folder import Folder

DAMAGED = [
    b"",
    b"{",
    b"[1]",
    b"null",
    b"\xff",
    b"[" * 100_000,
    b'{"v": 2, "max_tries": 1, "asked": "x"}',
    b'{"v": 1, "max_tries": "1", "asked": 1}',
    b'{"v": 1, "max_tries": NaN, "asked": NaN}',
    b'{"v": 1, "max_tries": true, "asked": null}',
    b'{"v": 1, "max_tries": 1e999, "asked": 1e999}',
    b'{"v": 1, "max_tries": ' + b"9" * 5000 + b', "asked": []}',
    b'{"v": 1, "max_tries": -1}',
]


@pytest.fixture
def home(tmp_path: Path) -> Folder:
    return open_folder(tmp_path.as_uri(), None)


def test_each_clear_is_another_decision_and_a_retry_is_none(home: Folder) -> None:
    assert Clears.of(home, "r", 2, "x") == Clears(0, is_changed=False)
    assert Clears.of(home, "r", 2, "y") == Clears(0, is_changed=True)
    assert Clears.of(home, "r", 5, "y") == Clears(3, is_changed=False)
    assert Clears.of(home, "r", 1, "z") == Clears(-1, is_changed=False)
    assert Clears.of(home, "other", 5, "x") == Clears(0, is_changed=False)


@pytest.mark.fault(114)
@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:40]))
def test_where_the_first_record_is_damaged_a_clear_counts_as_a_retry_and_the_next_one_as_a_clear(
    content: bytes, home: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    Clears.of(home, "r", 2, "x")
    home.write("runs/r.json", content)
    assert Clears.of(home, "r", 5, "x") == Clears(0, is_changed=False)
    assert f"{home.uri}/runs/r.json is damaged" in caplog.text
    caplog.clear()
    assert Clears.of(home, "r", 5, "x") == Clears(0, is_changed=False)
    assert Clears.of(home, "r", 8, "x") == Clears(3, is_changed=False)
    assert not caplog.text


@pytest.mark.fault(114)
@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:40]))
def test_where_the_record_of_what_was_asked_for_is_damaged_nothing_is_submitted_until_a_clear(
    content: bytes, home: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    Clears.of(home, "r", 2, "x")
    home.write("runs/r-0.json", content)
    for _ in range(2):
        assert Clears.of(home, "r", 2, "x") == Clears(0, is_changed=True)
    assert f"{home.uri}/runs/r-0.json is damaged" in caplog.text
    assert Clears.of(home, "r", 5, "x") == Clears(3, is_changed=False)


@pytest.mark.fault(101)
def test_a_clear_whose_records_were_deleted_counts_as_a_retry(home: Folder) -> None:
    Clears.of(home, "r", 2, "x")
    home.remove(found.name for found in home.listing("runs/"))
    assert Clears.of(home, "r", 5, "x") == Clears(0, is_changed=False)
