"""A warning that one task may have to give ten thousand times."""

from __future__ import annotations

import logging
from itertools import count
from typing import Final

_EACH: Final = 3


class FewWarnings:
    """
    Gives the first three warnings of a kind, then one at every power of ten, with the number so far.

    The others are there for who asks for them, at DEBUG. Several threads may use one object.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._numbers = count(1)

    def warn(self, message: str, *arguments: object) -> None:
        """Log a warning, if it is among the few."""
        number = next(self._numbers)
        if number <= _EACH:
            self._log.warning(message, *arguments)
        elif str(number).strip("0") == "1":
            counted = f"{message} (%s times so far; not each is logged)"
            self._log.warning(counted, *arguments, f"{number:,}")
        else:
            self._log.debug(message, *arguments)
