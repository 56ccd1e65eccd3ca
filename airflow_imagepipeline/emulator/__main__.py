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
        description="Emulate the image APIs of ImagePipeline.io on 127.0.0.1. Nothing is billed.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default: 0)")
    parser.add_argument("--api-key", default="emulator-key", help="key to accept: any text (default: %(default)s)")
    parser.add_argument("--link-seconds", type=float, default=3600.0, help="lifetime of a link (default: 3600)")
    parser.add_argument("--credits", type=int, help="number of jobs to accept before HTTP 402 (default: no limit)")
    parser.add_argument("--model", default="v1", help="version of the model; another one looks different (default: v1)")
    _add_load_options(parser.add_argument_group("how jobs run"))
    _add_failure_options(parser.add_argument_group("how jobs fail"))
    return parser


def _add_load_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--job-seconds", type=float, default=2.0, help="least duration of a job (default: 2)")
    group.add_argument("--spread", type=_part, default=0.0, help="vary it evenly by this part, 0 to 1 (default: 0)")
    group.add_argument("--heavy-tail", action="store_true", help="let a few jobs take many times as long (lognormal)")
    group.add_argument("--seed", type=int, default=0, help="of durations and failures by chance (default: 0)")
    group.add_argument("--concurrent-jobs", type=int, help="jobs at once before HTTP 429 (default: no limit)")
    group.add_argument("--canned", action="store_true", help="answer every job with one ready-made image, at no cost")


def _add_failure_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--fail-rate", type=_part, default=0.0, help="part of jobs that fail by chance (default: 0)")
    group.add_argument("--fail-next", nargs="+", default=[], metavar="CODE", help="fail the first jobs, in this order")
    group.add_argument("--refuse-next", nargs="+", default=[], metavar="CODE", help="refuse the first submits likewise")
    group.add_argument(
        "--error-envelope",
        choices=("message", "detail"),
        default="message",
        help="wording of the current generation's refusals (default: message)",
    )


def _part(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        message = f"{text} is not between 0 and 1"
        raise argparse.ArgumentTypeError(message)
    return value


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
