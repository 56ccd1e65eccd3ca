"""The emulated vendor as tests use it: one server for the whole session, counts that begin with each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_imagepipeline.emulator import Emulator
from tests.running import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

_JOB_SECONDS = 0.15
_LINK_SECONDS = 3600.0


class Vendor:
    """A running emulator and what it was asked since the test began."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.settings = emulator.settings
        self.url = emulator.url
        self._before: dict[str, Any] = emulator.stats()

    def begin_anew(self) -> None:
        """Forget the counts and the changed settings of an earlier test."""
        self.settings.job_seconds, self.settings.link_seconds = _JOB_SECONDS, _LINK_SECONDS
        self.settings.credits, self.settings.api_key = None, KEY
        self.settings.fail_next, self.settings.refuse_next = [], []
        self.settings.error_envelope, self.settings.retry_after = "message", 0
        self._before = self._emulator.stats()

    def count(self, name: str) -> int:
        """Return one of the emulator's counts since the test began: ``submits``, ``accepted``, ``polls``, ..."""
        value: int = self._emulator.stats()[name] - self._before[name]
        return value


def running_vendor() -> Iterator[Vendor]:
    """Start an emulator, yield it, stop it."""
    with Emulator(api_key=KEY, job_seconds=_JOB_SECONDS) as emulator:
        yield Vendor(emulator)
