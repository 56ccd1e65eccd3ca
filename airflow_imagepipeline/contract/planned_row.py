"""One row of a frozen plan: what is asked for one input of a batch, checked and named before anything is submitted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from airflow_imagepipeline.contract.text import cleaned

QUERY_DIGITS: Final = 12
"""Length of the digests in :attr:`PlannedRow.query`."""


@dataclass(frozen=True)
class PlannedRow:
    """
    What is asked for one input.

    :param index: place in the inputs, from 0.
    :param input: address of the (first) input image, without what signs it; may be empty where the row is invalid.
    :param key: names what the input is and what is made of it: 32 hexadecimal digits, equal for equal work; empty where
        the row is invalid.
    :param arguments: field names to values, as the endpoint's parameters take them; links as the user gave them.
    :param stem: of the file names; None means the job's id.
    :param invalid: why the row cannot be a request; empty when it can.
    :param treatment: what is to be done with it, see ``policy.batch.Treatment``.
    :param tags: by what each input can be known again, in their order: ``ETag:size`` of an object, SHA-256 of a file,
        the user's ``version`` of a link (empty where there is none).
    :param owner: names whose picture has the row's file name, 12 hexadecimal digits: the input by its address alone,
        whatever its bytes are; or the name itself, where it is made of the user's own columns.
    :param query: of links with a query that counts: parameter to a digest of its value, and under the empty name a
        digest of the work as if no query counted.
    :param old_key: the key that version 0.1.0 gave the same work, where it was another; empty once the row is decided.
    :param old_stem: the file stem that version 0.1.0 gave it, likewise.
    :param earlier: what the ledger knew of the same work when the plan was made, as its payload; empty for nothing.
    """

    index: int
    input: str
    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    stem: str | None = None
    invalid: str = ""
    treatment: str = "submit"
    earlier: Mapping[str, Any] = field(default_factory=dict, repr=False)
    tags: list[str] = field(default_factory=list)
    owner: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    old_key: str = ""
    old_stem: str = ""

    def to_line(self) -> str:
        """Return the row as one line of JSON, without its end."""
        values = {name: value for name, value in asdict(self).items() if value or name not in _MAY_LACK}
        return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Self:
        """
        Read a row.

        :raises ValueError: when it is none.
        """
        row: Self | None = None
        with suppress(TypeError, ValueError, RecursionError):
            row = cls(**json.loads(line))
        if row is None or not all(isinstance(getattr(row, name), kind) for name, kind in _KINDS.items()):
            msg = f"not a row of a plan: {cleaned(line, 80)}"
            raise ValueError(msg)
        return row


_MAY_LACK: Final = frozenset({"owner", "query", "old_key", "old_stem"})
_KINDS: Final[Mapping[str, Any]] = {
    "index": int,
    **dict.fromkeys(("input", "key", "invalid", "treatment", "owner", "old_key", "old_stem"), str),
    **dict.fromkeys(("arguments", "earlier", "query"), dict),
    "stem": str | None,
    "tags": list,
}
"""What a plan's row is read back as: others can write there, too."""
