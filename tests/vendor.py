"""The emulated vendor as tests use it: one server for the whole session, counts that begin with each test."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from airflow_imagepipeline.emulator import Emulator
from tests.running import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

_JOB_SECONDS = 0.06
_LINK_SECONDS = 3600.0


class Vendor:
    """A running emulator and what it was asked since the test began."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._usual = replace(
            emulator.settings, fail_next=[], refuse_next=[], link_seconds=_LINK_SECONDS, retry_after=0
        )
        self.settings = emulator.settings
        self.url = emulator.url
        self._before: dict[str, Any] = emulator.stats()

    def begin_anew(self) -> None:
        """Forget the counts and the changed settings of an earlier test."""
        for field in fields(self._usual):
            value = getattr(self._usual, field.name)
            setattr(self.settings, field.name, value.copy() if isinstance(value, list) else value)
        self._before = self._emulator.stats()

    def count(self, name: str) -> int:
        """Return one of the emulator's counts since the test began: ``submits``, ``accepted``, ``polls``, ..."""
        value: int = self._emulator.stats()[name] - self._before[name]
        return value


def running_vendor() -> Iterator[Vendor]:
    """Start an emulator, yield it, stop it."""
    with Emulator(api_key=KEY, job_seconds=_JOB_SECONDS) as emulator:
        yield Vendor(emulator)
