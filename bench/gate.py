"""
Print what the acceptance gate takes (milliseconds of one processor) and how it judges the corpus of the tests.

``python -m bench.gate [runs]``. Each time is the median of several runs, of a result whose input was measured before,
as it is for all but the first result of a job. The two halves of the corpus share no photo; the bounds were fitted to
the first.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from airflow_imagepipeline.contract.acceptance import Acceptance
from airflow_imagepipeline.images.acceptance import compared, verdict
from airflow_imagepipeline.images.inspection import NotAnImage
from airflow_imagepipeline.images.seeing import Seen, seen
from tests.images.corpus import BAD, GOOD, Case, cases, photo

RUNS = 5
SIDES = (512, 1024, 2048)
FORMATS = {"PNG": {}, "JPEG": {"quality": 90}, "WEBP": {"quality": 90}, "GIF": {}}


def milliseconds(path: Path, original: Seen, runs: int) -> float:
    """Return the milliseconds of one processor that judging a file takes."""
    taken = []
    for _ in range(runs):
        start = time.process_time()
        verdict(compared(seen(path), original), Acceptance())
        taken.append((time.process_time() - start) * 1000)
    return statistics.median(taken)


def print_times(folder: Path, runs: int) -> None:
    """Print a line a format, a column a size."""
    image = photo("coffee.png")
    path = folder / "original.png"
    image.save(path)
    original = seen(path)
    compared(original, original)
    print("Milliseconds of one processor an image, " + ", ".join(f"{side}x{side}" for side in SIDES))
    for form, options in FORMATS.items():
        times = []
        for side in SIDES:
            target = folder / f"{side}.{form.lower()}"
            image.resize((side, side), Image.Resampling.LANCZOS).save(target, form, **options)
            times.append(milliseconds(target, original, runs))
        print(f"  {form:<5}" + "".join(f"{taken:9.1f}" for taken in times))


def is_rejected(case: Case) -> bool:
    """Judge a result of the corpus."""
    try:
        measures = compared(seen(case.result), seen(case.original))
    except NotAnImage:
        return True
    return bool(verdict(measures, Acceptance.checked(case.accept)))


def print_corpus(folder: Path) -> None:
    """Print how many of each kind are rejected, in both halves."""
    found = cases(folder)
    all_of = Counter((case.kind, case.half) for case in found)
    rejected = Counter((case.kind, case.half) for case in found if is_rejected(case))
    print("Rejected, of the half that bounds were chosen on, and of the other half")
    for kind in (GOOD, *BAD):
        shares = [f"{rejected[kind, half]:4d} of {all_of[kind, half]:<4d}" for half in (0, 1)]
        print(f"  {kind:<16}" + "   ".join(shares))


def main() -> None:
    """Measure, then judge."""
    with tempfile.TemporaryDirectory() as folder:
        print_times(Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
        print_corpus(Path(folder))


if __name__ == "__main__":
    main()
