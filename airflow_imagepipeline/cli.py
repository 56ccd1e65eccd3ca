"""
The commands ``airflow imagepipeline replay`` and ``verify``; on Airflow 3.1: ``python -m airflow_imagepipeline.cli``.

Every command of Airflow imports this module: what a command needs is imported when it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from airflow.cli.cli_config import Arg, CLICommand

    from airflow_imagepipeline.contract.replay import Replay
    from airflow_imagepipeline.contract.sidecar import Sidecar
    from airflow_imagepipeline.storage.folder import Folder

_REPLAY: Final = (
    "Rebuild the request that made an image from its sidecar, and print it as JSON. Nothing is submitted, and nothing "
    "paid, without --submit. The exit code is 1 when the request's fingerprint or seed is not the sidecar's."
)
_VERIFY: Final = (
    "Compare every image in a folder, and below it, with what its sidecar says of size and SHA-256. One line for each "
    "problem, then a summary; the exit code is 1 when there was a problem."
)
_LONGEST_WAIT: Final = 86_400.0
_NOT_PAID: Final = " Nothing was submitted."


def get_cli_commands() -> list[CLICommand]:
    """Return the commands, as Airflow's provider metadata promises them."""
    from airflow.cli.cli_config import ActionCommand, GroupCommand

    commands = (
        ActionCommand(
            name="replay",
            help="Rebuild the request that made an image",
            description=_REPLAY,
            func=replay,
            args=_replay_arguments(),
        ),
        ActionCommand(
            name="verify",
            help="Compare landed images with their sidecars",
            description=_VERIFY,
            func=verify,
            args=_verify_arguments(),
        ),
    )
    return [GroupCommand("imagepipeline", "Explain, check and repeat what ImagePipeline.io made", commands)]


def _aws() -> Arg:
    from airflow.cli.cli_config import Arg

    return Arg(("--aws-conn-id",), help="Connection for s3:// (default: aws_default)", default="aws_default")


def _verify_arguments() -> tuple[Arg, ...]:
    from airflow.cli.cli_config import Arg

    folder = Arg(("folder",), help="Path or address (s3://, file://, ...) of a folder")
    strict = Arg(("--strict",), help="An image without a sidecar is a problem, too", action="store_true")
    return folder, strict, _aws()


def _replay_arguments() -> tuple[Arg, ...]:
    from airflow.cli.cli_config import Arg

    conn = Arg(
        ("--imagepipeline-conn-id",),
        help="Connection of type imagepipeline (default: imagepipeline_default)",
        default="imagepipeline_default",
    )
    where = Arg(("--destination",), help="With --submit: folder to land the images in (a path, s3://, file://, ...)")
    timeout = Arg(
        ("--timeout",), help="With --submit: seconds in which the job must be done", type=_seconds, default=3600.0
    )
    submit = Arg(("--submit",), help="Submit the request. THIS IS PAID FOR, each time it is run", action="store_true")
    sidecar = Arg(("sidecar",), help="Path or address (s3://, file://, ...) of <image>.json")
    return sidecar, submit, where, conn, _aws(), timeout


def _seconds(text: str) -> float:
    # Found before anything is paid for: a job that nobody waits for would not be landed.
    seconds = float(text)
    if not 1 <= seconds <= _LONGEST_WAIT:
        msg = f"{text} is not a number of seconds from 1 to {_LONGEST_WAIT:.0f}"
        raise argparse.ArgumentTypeError(msg)
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command without Airflow's own command line."""
    parser = argparse.ArgumentParser(prog="python -m airflow_imagepipeline.cli")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    (group,) = get_cli_commands()
    for command in group.subcommands:  # type: ignore[union-attr]  # it is a group
        one = commands.add_parser(command.name, help=command.help, description=command.description)
        one.set_defaults(func=command.func)
        for argument in command.args:
            argument.add_to_parser(one)
    arguments = parser.parse_args(argv)
    arguments.func(arguments)


def verify(args: argparse.Namespace) -> None:
    """Compare a folder's images with their sidecars; exits with 1 when there is a problem."""
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_imagepipeline.landing import verification
    from airflow_imagepipeline.landing.verification import Verdict

    _find_connections()
    counts = dict.fromkeys(Verdict, 0)
    try:
        for finding in verification.verify(_folder(args.folder, args.aws_conn_id)):
            counts[finding.verdict] += 1
            if finding.verdict is not Verdict.INTACT:
                _say(f"{finding.verdict}: {finding.name}: {finding.reason}")
    except AirflowException as error:
        _stop(f"The folder cannot be verified: {error}")
    intact, unexplained = counts.pop(Verdict.INTACT), counts.pop(Verdict.UNEXPLAINED)
    problems = sum(counts.values())
    if not intact + unexplained + problems:
        _stop(f"There is neither an image nor a sidecar in {args.folder}: check the address.")
    _say(f"{intact} intact, {problems} with a problem, {unexplained} unexplained.")
    if problems or (args.strict and unexplained):
        raise SystemExit(1)


def replay(args: argparse.Namespace) -> None:
    """Rebuild a request, and submit it where that is asked for; exits with 1 when it is not the sidecar's."""
    from airflow.providers.common.compat.sdk import AirflowException

    from airflow_imagepipeline.contract.errors import ImagePipelineError
    from airflow_imagepipeline.contract.replay import rebuilt
    from airflow_imagepipeline.landing.replaying import ReplayFailed

    _find_connections()
    if args.submit and not args.destination:
        _stop("--submit needs --destination, a folder to land the images in. Nothing was submitted.")
    try:
        sidecar = _sidecar(args.sidecar, args.aws_conn_id)
        request = rebuilt(sidecar)
        if request.differences:
            _say(_json(request.to_payload()))
            _stop(f"This is not the request of the sidecar: {'; '.join(request.differences)}. Nothing was submitted.")
        if args.submit:
            _submit(args, sidecar, request)
            return
    except ReplayFailed as error:
        _stop(str(error))
    except (ImagePipelineError, AirflowException, ValueError) as error:
        _stop(f"{str(error).removesuffix(_NOT_PAID).rstrip('. ')}.{_NOT_PAID}")
    _say(_json(request.to_payload()))
    _note("Fingerprint and seed are those of the sidecar. Nothing was submitted; --submit submits it, and is paid for.")


def _submit(args: argparse.Namespace, sidecar: Sidecar, request: Replay) -> None:
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.landing.replaying import Replaying

    again = Replaying(ImagePipelineHook(args.imagepipeline_conn_id), args.aws_conn_id, sidecar, request)
    folder = _folder(args.destination, args.aws_conn_id)
    folder.prepare()
    links = again.links(args.timeout)
    _note("The request is submitted now: this is paid for.")
    job = again.submit(links)
    _note(f"It is job {job.handle.job_id}.")
    result = again.land(job, folder, args.timeout)
    _say(_json(result.to_payload()))
    is_same = sidecar.sha256 in {image.sha256 for image in result.images or ()}
    _note("The image is the same, byte for byte." if is_same else "No image is the same, byte for byte.")


def _find_connections() -> None:
    # As Airflow's own commands do: connections are then looked for in its database, too.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"


def _sidecar(address: str, aws_conn_id: str | None) -> Sidecar:
    from airflow_imagepipeline.contract.sidecar import LARGEST_SIDECAR, sidecar_in
    from airflow_imagepipeline.storage.inputs import opened_input

    with opened_input(address if "://" in address else str(Path(address).resolve()), aws_conn_id) as file:
        content = file.read(LARGEST_SIDECAR + 1)
    return sidecar_in(content)


def _folder(address: str, aws_conn_id: str | None) -> Folder:
    from airflow_imagepipeline.storage.folder import open_folder

    return open_folder(address if "://" in address else f"file://{Path(address).resolve()}", aws_conn_id)


def _json(payload: dict[str, Any]) -> str:
    return json.dumps(payload, indent=2, ensure_ascii=False)


def _say(text: str) -> None:
    # A prompt may hold what this terminal cannot show.
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _stop(text: str) -> NoReturn:
    _note(text)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
