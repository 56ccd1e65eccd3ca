"""Decide how long a job runs and whether it fails, before it starts: by order of the settings, or by seeded chance."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .failures import CHANCE_CODES, Failure

if TYPE_CHECKING:
    from .settings import Settings

_TAIL = 0.8  # the lognormal's sigma: one draw in a hundred is above exp(0.8 * 2.33) = 6.4


@dataclass(frozen=True)
class Fate:
    """What is settled about a job before it starts.

    :param seconds: how long it runs at least.
    :param failure: how it will fail, or None when its order decides.
    """

    seconds: float
    failure: Failure | None


class Chance:
    """Draws fates; the n-th depends on the seed and n only, so a changed knob leaves all other draws alone.

    :param settings: read at each draw.
    """

    def __init__(self, settings: Settings) -> None:
        """Start with the first job."""
        self._settings = settings
        self._count = 0

    def decide(self) -> Fate:
        """Draw the next job's fate, and take its entry off ``fail_next``.

        :return: the fate.
        """
        self._count += 1
        draw = random.Random(f"{self._settings.seed}/{self._count}")
        shift, tail, luck = draw.uniform(-1, 1), draw.lognormvariate(0, _TAIL), draw.random()
        seconds = self._settings.job_seconds * (1 + self._settings.spread * shift)
        if self._settings.heavy_tail:
            seconds *= tail
        code = draw.choice(CHANCE_CODES) if luck < self._settings.fail_rate else None
        if self._settings.fail_next:
            code = self._settings.fail_next.pop(0)
        return Fate(seconds, None if code is None else Failure.of(code))
