"""``python -m tests.sweep [--what single|batch|all] [--limit N] [--minutes M] [--seed S]``: see the package."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    """Run the sweep as asked, print its table, and return whether something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("--what", choices=["single", "batch", "all"], default="all")
    parser.add_argument("--limit", type=int, default=5_000, help="most points of each group")
    parser.add_argument("--minutes", type=float, default=55.0, help="after which no further point is begun")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()

    import tests.conftest  # noqa: F401 - gives this process an Airflow home of its own, before Airflow is imported
    from tests.sweep.sweep import is_wrong, swept, table
    from tests.sweep.vendor import running_vendor

    whats = ["single", "batch"] if asked.what == "all" else [asked.what]
    folder, begun = Path(tempfile.mkdtemp(prefix="sweep-")), time.monotonic()
    try:
        with running_vendor() as url:
            connect(url)
            verdicts = swept(url, folder, whats, limit=asked.limit, seconds=asked.minutes * 60, seed=asked.seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"{table(verdicts)}\n{len(verdicts)} points in {time.monotonic() - begun:.0f} s\n")
    return int(any(map(is_wrong, verdicts)) or not verdicts)


def connect(url: str) -> None:
    """Make the default connection lead to the vendor."""
    from tests.running import KEY

    fields = {"conn_type": "imagepipeline", "host": url, "password": KEY}
    os.environ["AIRFLOW_CONN_IMAGEPIPELINE_DEFAULT"] = json.dumps(fields)


if __name__ == "__main__":
    raise SystemExit(main())
