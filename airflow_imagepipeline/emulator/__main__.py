# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""The emulator as a command: ``python -m airflow_imagepipeline.emulator``."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING

from .server import Emulator

if TYPE_CHECKING:
    from collections.abc import Sequence

_END_SIGNALS = {signal.SIGINT, signal.SIGTERM}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_imagepipeline.emulator",
        description="Emulate the image-to-image API of ImagePipeline.io on 127.0.0.1. Nothing is billed.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default: 0)")
    parser.add_argument("--api-key", default="emulator-key", help="key to accept: any text (default: %(default)s)")
    parser.add_argument("--job-seconds", type=float, default=2.0, help="least duration of a job (default: 2)")
    parser.add_argument("--link-seconds", type=float, default=3600.0, help="lifetime of a link (default: 3600)")
    parser.add_argument("--credits", type=int, help="number of jobs to accept before HTTP 402 (default: no limit)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM.

    :param arguments: the command line without the program's name; None takes the process's own.
    :return: the exit status, 0 after a clean end.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    emulator = Emulator(**vars(options))
    # Blocked before any thread exists and fetched below: no handler can run in the middle of something.
    signal.pthread_sigmask(signal.SIG_BLOCK, _END_SIGNALS)
    try:
        emulator.start()
    except OSError as exc:
        parser.exit(1, f"cannot listen on 127.0.0.1:{options.port}: {exc.strerror}\n")
    sys.stdout.write(
        f"ImagePipeline.io emulator (not the real service, nothing is billed) listening on {emulator.url}\n"
    )
    sys.stdout.flush()
    signal.sigwait(_END_SIGNALS)
    emulator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
