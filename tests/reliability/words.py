"""
Answers that a test writes by hand: in the old generation's words, and said in the words of the generation that asks.

The functions are those of ``tests.faults``. What they are given is translated as text, so that broken JSON stays as
broken as it was.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, ParamSpec

from tests import faults
from tests.faults import Instruction
from tests.generations import CURRENT, assert_spoken

if TYPE_CHECKING:
    from tests.faults.exchange import Exchange

P = ParamSpec("P")

_CURRENT_WORDS: Final[Mapping[str, str]] = {
    '"id"': '"job_id"',
    '"PENDING"': '"processing"',
    '"SUCCESS"': '"completed"',
    '"success"': '"completed"',
    '"FAILURE"': '"failed"',
    '"download_urls"': '"result_url"',
}
_ONE_LINK: Final = re.compile(r'("result_url": )\[("[^"]*")?\]')


def in_words_for(path: str, text: str) -> str:
    """Return what the old generation says in the words of the generation that a request's path belongs to."""
    if not path.startswith(f"/{CURRENT.name}"):
        return text
    for old, current in _CURRENT_WORDS.items():
        text = text.replace(old, current)
    return _ONE_LINK.sub(lambda found: f"{found[1]}{found[2] or 'null'}", text)


def _translated(path: str, given: Any) -> Any:
    if isinstance(given, str):
        return in_words_for(path, given)
    if isinstance(given, bytes):
        return in_words_for(path, given.decode("latin-1")).encode("latin-1")
    return given


def _speaking(make: Callable[P, Instruction]) -> Callable[P, Instruction]:
    @functools.wraps(make)
    def made(*given: P.args, **named: P.kwargs) -> Instruction:
        def play(exchange: Exchange) -> None:
            path = exchange.request.path
            if exchange.request.method != "CONNECT":
                assert_spoken(path)
            said: dict[str, Any] = dict(named)
            if "json" in said:
                said["json"] = json.loads(in_words_for(path, json.dumps(said["json"])))
            told: Any = make
            told(*[_translated(path, one) for one in given], **said).play(exchange)

        return Instruction(make(*given, **named).name, play)

    return made


answer = _speaking(faults.answer)
cut_after = _speaking(faults.cut_after)
drip = _speaking(faults.drip)
raw = _speaking(faults.raw)
