"""Which points there are, what is done at each, and what must hold after it."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import random
import shutil
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.sweep.faults import ERRORS, PAUSES, Fault
from tests.sweep.lives import End, Life
from tests.sweep.vendor import CHARGES

MOST_TRIES: Final = 9
GROUPS: Final = ("killed", "superseded", *ERRORS)
DELETABLE: Final = "lease"
"""The folder of a ledger that may be deleted while nothing runs."""
PROCESSES: Final = 2
MOST_NAMED: Final = 20
"""How many points of a kind are named below the table."""


@dataclass(frozen=True)
class Point:
    """One life and its one fault."""

    what: str
    mode: str
    group: str
    fault: Fault

    def __str__(self) -> str:
        """Return what a reader calls it."""
        return f"{self.what}, {self.mode}: {self.fault}"


@dataclass
class Verdict:
    """
    What came of a point. Charges are counted by image.

    :param twice: images that were charged more often than a human had asked for.
    :param lost: images of which a job was paid for whose id was known, and which were paid for again, or never came.
    :param missing: images that are not there although the task succeeded.
    :param paid: uncertain images that had been paid for.
    :param unpaid: uncertain images that had not.
    """

    point: str
    what: str
    group: str
    ends: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    paid: int = 0
    unpaid: int = 0
    error: str = ""


class Sweep:
    """
    :param url: of the vendor.
    :param folder: everything lies in it.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def clean(self, what: str, mode: str) -> End:
        """Run a life without a fault; return its only end, which counts lines and calls."""
        folder = self.folder / f"clean-{what}-{mode}"
        shutil.rmtree(folder, ignore_errors=True)
        end = Life(what, mode, self.url, folder).start(Fault()).end()
        assert end.kind == "success", f"without a fault: {end.kind} {end.message} {_text(folder / 'error')}"
        return end

    def judged(self, number: int, point: Point) -> Verdict:
        """Live a point to its end and look at what was charged and what came."""
        folder = self.folder / f"p{number}"
        verdict = Verdict(str(point), point.what, point.group)
        try:
            self._live(Life(point.what, point.mode, self.url, folder), point.fault, verdict)
        except Exception as error:  # noqa: BLE001 - one point that cannot be judged is reported, the others go on
            verdict.error = f"{type(error).__name__}: {error}"
        if not is_wrong(verdict):
            shutil.rmtree(folder, ignore_errors=True)
        return verdict

    def _live(self, life: Life, fault: Fault, verdict: Verdict) -> None:
        decisions, known = 1, dict[str, int]()
        uncertain = set[str]()
        end = self._first(life, fault, verdict)
        while True:
            verdict.ends.append(end.kind)
            charges = self._charges(life)
            verdict.twice += [image for image, jobs in charges.items() if len(jobs) > decisions]
            verdict.lost += [image for image, count in known.items() if len(charges[image]) > count]
            known.clear()
            for image in self._uncertain(life, end) - uncertain:
                uncertain.add(image)
                verdict.paid += bool(charges.get(image))
                verdict.unpaid += not charges.get(image)
            if end.kind == "success" or len(verdict.ends) >= MOST_TRIES:
                break
            if end.is_final or life.try_number > life.max_tries:
                # A job whose id lies anywhere must not be thrown away by a human who was told that it is not known.
                known = {image: len(jobs) for image, jobs in charges.items() if any(map(life.known, jobs))}
                if life.what == "single" and end.kind != "SubmissionUncertain":
                    known.clear()
                life.clear()
                decisions += 1
            else:
                life.next_try()
            end = life.start(Fault()).end()
        if end.kind != "success":
            verdict.lost += [image for image in life.missing() if charges.get(image)]
            verdict.error = f"no end after {len(verdict.ends)} tries: {end.kind}: {end.message[:200]}"
            return
        verdict.missing += life.missing()
        verdict.missing += [image for image in life.images if life.what == "batch" and image not in end.outcomes]
        if life.what == "batch":
            self._later_nights(life, verdict, charges)

    def _first(self, life: Life, fault: Fault, verdict: Verdict) -> End:
        life.is_alone = fault.how not in PAUSES
        child = life.start(fault)
        if life.is_alone or not child.paused():
            life.is_alone = True
            return child.end()
        # Airflow has given the paused process up: the next try takes over, and then the old one goes on.
        life.next_try()
        verdict.ends.append("paused")
        leases = life.leases()
        successor = life.start(Fault())
        if fault.how == "overlap":
            successor.work_until(lambda: bool(life.leases() - leases))
            child.proceed()
        end = successor.end()
        if fault.how == "pause":
            child.proceed()
        verdict.ends.append(f"(superseded: {child.end().kind})")
        life.is_alone = True
        return end

    def _later_nights(self, life: Life, verdict: Verdict, charges: dict[str, list[str]]) -> None:
        # What may be deleted while nothing runs is deleted: nothing may be paid for again, and nothing be left out.
        for night in ("n2", "n3"):
            for folder in list(life.destination.rglob(DELETABLE)):
                shutil.rmtree(folder)
            life.next_night(night)
            end = life.start(Fault()).end()
            while end.kind != "success" and not end.is_final and life.try_number <= life.max_tries:
                verdict.ends.append(f"{night}: {end.kind}")
                life.next_try()
                end = life.start(Fault()).end()
            verdict.ends.append(f"{night}: {end.kind}")
            now = self._charges(life)
            verdict.twice += [image for image in life.images if len(now.get(image, [])) > len(charges.get(image, []))]
            if end.kind != "success":
                verdict.error = f"{night}, after {DELETABLE}/ was deleted: {end.kind}: {end.message[:200]}"
                return
            done = {image for image, outcome in end.outcomes.items() if outcome in {"landed", "reused"}}
            verdict.missing += sorted(set(life.images) - done)

    def _uncertain(self, life: Life, end: End) -> set[str]:
        if life.what == "single":
            return set(life.images) if end.kind == "SubmissionUncertain" else set()
        return {image for image, outcome in end.outcomes.items() if outcome == "uncertain"}

    def _charges(self, life: Life) -> dict[str, list[str]]:
        with urllib.request.urlopen(f"{self.url}{CHARGES}{life.folder.name}", timeout=20) as answer:  # noqa: S310
            charges: dict[str, list[str]] = json.load(answer)
        return charges


def points(what: str, mode: str, clean: End) -> Iterator[Point]:
    """Yield every point of a life, from what a life without a fault has counted."""
    for line in range(1, clean.lines + 1):
        yield Point(what, mode, "killed", Fault("line", line, "kill"))
        # One job has no lease, by which to tell that the next try has taken over.
        for how in PAUSES if what == "batch" else PAUSES[:1]:
            yield Point(what, mode, "superseded", Fault("line", line, how))
    for where, kinds in ERRORS.items():
        for at in range(1, clean.calls[where] + 1):
            for how in kinds:
                for late in (False, True):
                    for lasting in (False, True):
                        yield Point(what, mode, where, Fault(where, at, how, late, lasting))


def chosen(every: Sequence[Point], limit: int, source: random.Random) -> list[Point]:
    """Return at most so many points of each group, spread evenly, in an order of chance."""
    found = []
    groups: dict[tuple[str, str, str], list[Point]] = {}
    for point in every:
        groups.setdefault((point.what, point.mode, point.group), []).append(point)
    for group in groups.values():
        step = max(1.0, len(group) / limit)
        first = source.random() * step
        found += [group[int(first + step * n)] for n in range(limit) if first + step * n < len(group)]
    source.shuffle(found)
    return found


def run(sweep: Sweep, todo: Sequence[Point], *, seconds: float) -> list[Verdict]:
    """Judge points in two processes until all are done or the time is over."""
    fork = multiprocessing.get_context("fork")
    until = time.monotonic() + seconds
    workers = []
    for worker in range(PROCESSES):
        mine, its = fork.Pipe(duplex=False)
        process = fork.Process(target=_work, args=(sweep, todo, worker, until, its))
        process.start()
        its.close()
        workers.append((process, mine))
    verdicts = []
    for process, mine in workers:
        with suppress(EOFError):
            while True:
                verdicts.append(mine.recv())
        process.join(60)
    return verdicts


def _work(sweep: Sweep, todo: Sequence[Point], worker: int, until: float, send: Any) -> None:
    for number, point in enumerate(todo):
        if number % PROCESSES != worker:
            continue
        if time.monotonic() > until:
            break
        send.send(sweep.judged(number, point))
    send.close()
    os._exit(0)


def swept(
    url: str, folder: Path, whats: Sequence[str], *, faults: Sequence[str], limit: int, seconds: float, seed: int
) -> list[Verdict]:
    """
    Run the sweep.

    :param whats: of ``single`` and ``batch``.
    :param faults: of :data:`GROUPS`.
    :param limit: most points of each group.
    :param seconds: after which no further point is begun.
    """
    begun = time.monotonic()
    sweep, every = Sweep(url, folder), list[Point]()
    for what in whats:
        for mode in ("worker", "triggerer"):
            # Imported once here, and not by each of the children.
            for name in sweep.clean(what, mode).modules:
                if name.startswith(("airflow", "aiohttp", "requests", "PIL", "urllib3", "fsspec", "upath", "tenacity")):
                    with suppress(Exception):
                        importlib.import_module(name)
            every += (point for point in points(what, mode, sweep.clean(what, mode)) if point.group in faults)
    todo = chosen(every, limit, random.Random(seed))
    return run(sweep, todo, seconds=seconds - (time.monotonic() - begun))


def table(verdicts: Sequence[Verdict]) -> str:
    """Return the figures: one line for each group, and what is wrong below."""
    head = (
        "what",
        "fault",
        "points",
        "charged twice",
        "uncertain, paid",
        "uncertain, unpaid",
        "lost",
        "missing",
        "no end",
    )
    rows: list[tuple[str, ...]] = [head]
    for what, group in sorted({(verdict.what, verdict.group) for verdict in verdicts}):
        of = [verdict for verdict in verdicts if (verdict.what, verdict.group) == (what, group)]
        figures = Counter[str]()
        for verdict in of:
            figures.update(
                twice=bool(verdict.twice),
                paid=verdict.paid,
                unpaid=verdict.unpaid,
                lost=bool(verdict.lost),
                missing=bool(verdict.missing),
                error=bool(verdict.error),
            )
        names = ("twice", "paid", "unpaid", "lost", "missing", "error")
        rows.append((what, group, str(len(of)), *(str(figures[name]) for name in names)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *_wrong(verdicts)])


def _wrong(verdicts: Sequence[Verdict]) -> Iterator[str]:
    for name in ("twice", "lost", "missing", "error"):
        of = [verdict for verdict in verdicts if getattr(verdict, name)]
        for verdict in of[:MOST_NAMED]:
            found = getattr(verdict, name)
            images = found if isinstance(found, str) else ", ".join(sorted(set(found)))
            yield f"{name}: {verdict.point}: {', '.join(verdict.ends)}; {images}"
        if len(of) > MOST_NAMED:
            yield f"{name}: {len(of) - MOST_NAMED} more"


def is_wrong(verdict: Verdict) -> bool:
    """Tell whether what must never happen has happened, or the life did not come to an end that can be judged."""
    return bool(verdict.twice or verdict.lost or verdict.missing or verdict.error)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
