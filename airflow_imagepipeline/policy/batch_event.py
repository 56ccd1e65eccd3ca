"""What the trigger of a batch fires: which jobs have ended, and what its worker must know again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, TypeGuard

from airflow_imagepipeline.contract.text import cleaned


@dataclass(frozen=True)
class BatchEvent:
    """
    The end of a wait for many jobs; crosses from the triggerer to a worker as JSON, without links.

    :param plan: name of the plan.
    :param cursor: the first place of the plan that was never begun.
    :param deadline: of the whole batch, seconds since the epoch.
    :param ended: places in the plan whose jobs have ended.
    :param schedule: what is known of how long jobs take, see :class:`LookSchedule`; None for nothing.
    :param message: why the triggerer could not wait, for the reader; empty when it could.
    """

    plan: str
    cursor: int
    deadline: float
    ended: list[int]
    schedule: dict[str, Any] | None = None
    message: str = ""

    def to_payload(self) -> dict[str, Any]:
        """Return the event as JSON values."""
        return {"v": 1, **asdict(self)}

    @classmethod
    def from_payload(cls, payload: object) -> Self:
        """
        Read an event.

        :raises ValueError: when it is none.
        """
        if not _is_event(payload):
            msg = f"not the event of a batch: {cleaned(repr(payload), 80)}"
            raise ValueError(msg)
        return cls(**{name: payload.get(name, getattr(cls, name, None)) for name in _KINDS})


_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "plan": (str,),
    "cursor": (int,),
    "deadline": (int, float),
    "ended": (list,),
    "schedule": (dict, type(None)),
    "message": (str,),
}


def _is_event(payload: object) -> TypeGuard[Mapping[str, Any]]:
    if not isinstance(payload, Mapping) or payload.get("v") != 1:
        return False
    values = {name: payload.get(name, getattr(BatchEvent, name, None)) for name in _KINDS}
    are_right = all(isinstance(value, _KINDS[name]) for name, value in values.items())
    return are_right and all(type(place) is int for place in values["ended"])
