"""
The two generations of the vendor's API, as the tests that speak both need to know them.

A test that asks for the fixture ``generation`` (by name, or for its whole module with ``usefixtures``) runs once for
each: ``image_to_image`` then makes that generation's operator, the scripted answers speak its words, and the emulator
speaks both anyway. A test of what only one generation has says so with ``only_old`` or ``only_current``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest


@dataclass(frozen=True)
class Generation:
    """
    One generation, in words of the vendor's pages that are written down here once more.

    :param name: the endpoint's path, which results and handles name it by.
    :param image: the field that takes the image to edit.
    :param key_header: the header that carries the key.
    :param several: arguments that ask for as many images as the generation makes in one job, two at most.
    :param count: how many that are.
    :param tells_cost: whether a finished job says what it cost.
    :param refunds: whether a failed job is not charged.
    """

    name: str
    image: str
    key_header: str
    several: Mapping[str, Any]
    count: int
    tells_cost: bool
    refunds: bool

    def __str__(self) -> str:
        return self.name.partition("/")[0]

    def keys(self, *more: str) -> set[str]:
        """Return the keys of a result: those of every result, ``cost`` where it is told, and ``more``."""
        told = {"cost"} if self.tells_cost else set()
        return {"v", "api", "job_id", "seed", "submitted_at", "status", *told, *more}


OLD: Final = Generation(
    name="sdxl/image2image/v1",
    image="init_image",
    key_header="API-Key",
    several={"samples": 2},
    count=2,
    tells_cost=False,
    refunds=False,
)
CURRENT: Final = Generation(
    name="edit/image/v1",
    image="input_image",
    key_header="X-API-Key",
    several={},
    count=1,
    tells_cost=True,
    refunds=True,
)
BOTH: Final = (OLD, CURRENT)

only_old = pytest.mark.parametrize("generation", [OLD], ids=str, indirect=True)
only_current = pytest.mark.parametrize("generation", [CURRENT], ids=str, indirect=True)


class Spoken:
    """What the running test speaks; the fixture ``generation`` sets it. None: the test speaks for itself."""

    generation: Generation | None = None


def spoken() -> Generation:
    """Return the generation that the running test speaks; the old one where it does not say."""
    return Spoken.generation or OLD


def assert_spoken(path: str) -> None:
    """Check that a request belongs to the generation that the running test speaks, where it says so."""
    expected = Spoken.generation
    assert expected is None or path.startswith(f"/{expected.name}"), f"{path} is not of {expected}"
