"""A folder that people have filled, night after night: what is paid, and whose picture lies under which name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.real_inputs.echo_vendor import running_echo_vendor
from tests.real_inputs.five_nights import (
    Shop,
    connections,
    nights,
    shared_files,
    unexplained_rows,
    wrong_pictures,
)
from tests.real_inputs.people_folder import EMPTY, TEXT, TWINS
from tests.running import in_task_modes

if TYPE_CHECKING:
    from tests.doubles.moto_server import Moto

_LEFT_OUT = {"invalid": {EMPTY, TWINS[1]}, "failed": {TEXT}}


@pytest.mark.slow
@pytest.mark.real_input("A1", "A3", "A4", "A9", "B7", "D1")
@in_task_modes
@pytest.mark.usefixtures("quick")
def test_each_night_pays_for_what_changed_and_puts_each_picture_under_its_own_name(mode: str, moto: Moto) -> None:
    with running_echo_vendor() as vendor, connections(moto, vendor):
        shop = Shop(moto, vendor, moto.bucket())
        good = len(shop.files) - sum(map(len, _LEFT_OUT.values()))
        paid = []
        for night in nights(shop, mode):
            paid.append(night.posts)
            assert wrong_pictures(shop, night) == []
            assert unexplained_rows(night) == []
            assert shared_files(night) == []
            prefix = f"s3://{shop.bucket}/catalog/"
            for outcome, names in _LEFT_OUT.items():
                found = {row["input"].removeprefix(prefix) for row in night.rows if row["outcome"] == outcome}
                assert found == names
        # Unchanged: nothing. Replaced: that one. Deleted: nothing. Renamed: an input is its address and its content.
        assert paid == [good, 0, 1, 0, 1, good - 1]
        assert all(digest is not None for _, digest in vendor.posts)
