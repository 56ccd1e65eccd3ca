"""
A pytest plugin: secrets that are unique to a test, and a search for them in everything that the test has produced.

Searched are log records of all loggers with their exceptions, captured output, warnings, and what was handed to
:meth:`Canaries.watch`: in plain, quoted, escaped, in base64 of every alignment, in hexadecimal, reversed. A secret that
is found fails the test, which names the place and never shows the secret. A test without canaries costs nothing.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import secrets
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

import pytest

OTHER_SIDE: Final = ("httpx", "httpcore", "uvicorn", "werkzeug", "imagepipeline-emulator", "botocore", "boto3")
"""
Loggers of servers that run in the tests' process, and of botocore, which logs what it signs where it logs at DEBUG.
"""
_SHORTEST: Final = 8
_BASE64_BLOCK: Final = 3
_AROUND: Final = 60


def forms(secret: str) -> dict[str, str]:
    """Return the ways in which a secret may be written, all of them ASCII, and what each is called."""
    escaped = json.dumps(secret)[1:-1]
    found = {
        "plain": secret,
        "escaped": escaped,
        "escaped twice": json.dumps(escaped)[1:-1],
        "with escaped slashes": escaped.replace("/", "\\/"),
        "quoted": quote(secret, safe=""),
        "quoted as a path": quote(secret),
        "quoted as a form": quote_plus(secret),
        "quoted twice": quote(quote(secret, safe=""), safe=""),
        "as HTML": html.escape(secret),
        "in hexadecimal": secret.encode().hex(),
        "in capital hexadecimal": secret.encode().hex().upper(),
        "reversed": secret[::-1],
    }
    for shift in range(_BASE64_BLOCK):
        coded = _base64_inside(secret.encode(), shift)
        found[f"in base64, alignment {shift}"] = coded
        found[f"in base64 for links, alignment {shift}"] = coded.replace("+", "-").replace("/", "_")
    # Each text once, the plainest name first.
    return {name: text for text, name in reversed({text: name for name, text in reversed(found.items())}.items())}


def _base64_inside(secret: bytes, shift: int) -> str:
    # Without the characters that also depend on the neighbours, whatever they are.
    padded = bytes(shift) + secret
    return base64.b64encode(padded)[4 if shift else 0 : len(padded) // _BASE64_BLOCK * 4].decode()


class Canaries:
    """The secrets of one test, and the places in which they must not be."""

    def __init__(self) -> None:
        self._forms: dict[str, str] = {}
        """What is looked for, and what it is called."""
        self._watched: list[tuple[str, Any]] = []
        self.logged: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._forms)

    def add(self, what: str, secret: str) -> str:
        """
        Look for a secret that came to be during the test, too.

        :param what: for the report.
        """
        assert len(secret) >= _SHORTEST, f"{what} is too short to be told from other text"
        self._forms |= {text: f"{what} ({form})" for form, text in forms(secret).items()}
        return secret

    def watch(self, thing: Any, place: str = "") -> None:
        """
        Search a thing now and, as it may change, once more after the test.

        :param thing: a value, an exception with all that led to it, or the path of a file, a database or a folder.
        """
        place = place or (str(thing) if isinstance(thing, Path) else type(thing).__name__)
        self._watched.append((place, thing))
        found = list(self._found_in(place, thing))
        assert not found, "\n".join(found)

    def search(self, places: Iterator[tuple[str, str]]) -> list[str]:
        """Return a line for each secret in these places, in the log, and in what is watched."""
        if not self._forms:
            return []
        everything = [*places, *(("the log", text) for text in self.logged), *self._watched]
        return list(dict.fromkeys(line for place, thing in everything for line in self._found_in(place, thing)))

    def _found_in(self, place: str, thing: Any) -> Iterator[str]:
        for part, text in texts(thing):
            for form, what in self._forms.items():
                before, hit, _ = text.partition(form)
                if hit:
                    yield f"{what} stands in {place}{part}, behind {self._without_secrets(before)!r}"

    def _without_secrets(self, text: str) -> str:
        for form, what in self._forms.items():
            text = text.replace(form, f"<{what}>")
        return text[-_AROUND:]


def texts(thing: Any) -> Iterator[tuple[str, str]]:
    """Return the texts that a thing may be shown as, each with where in the thing it is."""
    if isinstance(thing, Path):
        for file in sorted(thing.rglob("*")) if thing.is_dir() else [thing]:
            if file.is_file():
                yield from _texts_of_file(file, f"/{file.relative_to(thing)}" if file != thing else "")
    elif isinstance(thing, BaseException):
        yield from ((f", {part}", text) for part, text in _texts_of_error(thing))
    elif isinstance(thing, bytes):
        yield "", thing.decode("latin-1")
    else:
        yield "", thing if isinstance(thing, str) else str(thing)
        yield ", repr", repr(thing)
        with suppress(TypeError, ValueError):
            yield ", JSON", json.dumps(thing)


def _texts_of_file(file: Path, part: str) -> Iterator[tuple[str, str]]:
    content = file.read_bytes()
    yield part, content.decode("latin-1")
    if content.startswith(b"SQLite format 3\0"):
        with closing(sqlite3.connect(file)) as database:  # what is cut into pages comes out whole
            yield f"{part}, dumped", "\n".join(database.iterdump())


def _texts_of_error(error: BaseException) -> Iterator[tuple[str, str]]:
    yield "traceback", "".join(traceback.format_exception(error))
    waiting, seen = [error], {id(error)}
    while waiting:
        one = waiting.pop()
        yield f"{type(one).__name__}", f"{one}\n{one!r}\n{one.args!r}\n{vars(one)!r}"
        for other in (one.__cause__, one.__context__, *getattr(one, "exceptions", ())):
            # What is suppressed is not printed; it is searched only where it leads to by "from".
            if other is not None and id(other) not in seen and not (other is one.__context__ and _is_hidden(one)):
                seen.add(id(other))
                waiting.append(other)


def _is_hidden(error: BaseException) -> bool:
    return error.__suppress_context__ and error.__context__ is not error.__cause__


@pytest.fixture
def canaries(request: pytest.FixtureRequest) -> Iterator[Canaries]:
    """Return the secrets of this test; while it runs, all loggers log everything."""
    root, quiet = logging.getLogger(), [logging.getLogger(name) for name in OTHER_SIDE]
    before = [(logger, logger.level) for logger in (root, *quiet)]
    root.setLevel(logging.DEBUG)
    for logger in quiet:
        logger.setLevel(logging.INFO)
    yield request.node.stash[_CANARIES]
    for logger, level in before:
        logger.setLevel(level)


@pytest.fixture
def canary_key(canaries: Canaries) -> str:
    """Return an API key, unique, and with characters that every way of writing changes."""
    return canaries.add("the API key", f'Ck/{secrets.token_hex(8)}+"=&%<{secrets.token_hex(4)}')


@pytest.fixture
def canary_signature(canaries: Canaries) -> str:
    """Return what signs a link: unique, and fit for a query as it is."""
    return canaries.add("a link's signature", f"3_{secrets.token_hex(8)}_sig-{secrets.token_hex(8)}")


@pytest.fixture
def canary_prompt(canaries: Canaries) -> str:
    """Return a prompt, unique."""
    return canaries.add("the prompt", f"a lighthouse on the isle of {secrets.token_hex(8)} by night")


_CANARIES: Final = pytest.StashKey[Canaries]()
_FACTORY: Final = pytest.StashKey[Any]()
_HITS: Final = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the list of what was found in warnings: pytest tells of them when their test is over."""
    config.stash[_HITS] = []
    config.pluginmanager.register(_Warnings(config), "canary-warnings")


class _Warnings:
    """Searches the warnings of the test that ended last."""

    def __init__(self, config: pytest.Config) -> None:
        self._hits = config.stash[_HITS]
        self._canaries = Canaries()
        self._nodeid = ""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._canaries = item.stash.setdefault(_CANARIES, Canaries())
        self._nodeid = item.nodeid
        return (yield)

    def pytest_warning_recorded(self, warning_message: Any, nodeid: str) -> None:
        if nodeid == self._nodeid:
            found = self._canaries.search(iter([("a warning", str(warning_message.message))]))
            self._hits.extend(f"{nodeid}: {line}" for line in found)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin to keep what is logged: the factory sees every record, whatever handlers and propagation say."""
    canaries = item.stash.setdefault(_CANARIES, Canaries())
    make = logging.getLogRecordFactory()

    def kept(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if canaries and not record.name.startswith(OTHER_SIDE):
            canaries.logged.append(_text_of(record))
        return record

    logging.setLogRecordFactory(kept)
    item.stash[_FACTORY] = make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Search when all of the test is over, and fail it for what is found."""
    report: Any = yield
    if call.when == "teardown" and _FACTORY in item.stash:
        logging.setLogRecordFactory(item.stash[_FACTORY])
        # What a failed test shows of itself is not among these: only what was captured.
        found = item.stash[_CANARIES].search((f"captured: {name}", text) for name, text in report.sections)
        if found:
            report.outcome = "failed"
            report.longrepr = "\n".join(["A secret got out:", *found])
    return report  # type: ignore[no-any-return]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was found in warnings."""
    for line in config.stash[_HITS]:
        terminalreporter.write_line(f"A secret got out: {line}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session for what was found in warnings."""
    if session.config.stash[_HITS]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _text_of(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - logging itself would only print this
        text = f"{record.msg!r} {record.args!r}"
    error = record.exc_info[1] if record.exc_info else None
    shown = "".join(traceback.format_exception(error)) if error else ""
    return f"{record.name} {record.levelname}: {text}\n{shown}"
