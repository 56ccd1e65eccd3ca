"""Hypothesis without a clock: a shared machine's slowness is no fault of the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("rooms", deadline=None)
settings.load_profile("rooms")
