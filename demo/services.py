"""The two services beside Airflow: moto in the part of AWS, the emulator in the part of ImagePipeline.io."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Self

import httpx

from demo.processes import clean_environment, end, free_port, start, tail, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

_START_SECONDS = 60.0
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


class Service:
    """A server in a process of its own, up between ``with`` and its end.

    :param name: what to call it in messages; its log is ``<name>.log``.
    :param command: starts it on 127.0.0.1.
    :param logs: the folder of its log.
    :param url: where it answers; ``None`` takes the first loopback address that it prints.
    """

    def __init__(self, name: str, command: Sequence[str], logs: Path, *, url: str | None = None) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._url = url

    @property
    def url(self) -> str:
        """The address, without a slash at its end; known once the service is up."""
        if self._url is None:
            message = f"{self.name} is not up"
            raise RuntimeError(message)
        return self._url

    def __enter__(self) -> Self:
        """Start it, and return once it answers.

        :raises RuntimeError: with the end of its log when it ends instead.
        :raises TimeoutError: when it does not answer within a minute.
        """
        self.log.unlink(missing_ok=True)  # an address of an earlier start must not be found
        try:
            self.process = start(self._command, log=self.log, env=clean_environment({}))
            wait_until(self._answers, seconds=_START_SECONDS, what=f"{self.name} (log: {self.log})", every=0.1)
        except BaseException:  # Ctrl-C included: nothing may be left running
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it with all that it has forked."""
        if self.process:
            end([self.process])
        self.process = None

    def _answers(self) -> bool | None:
        if self.process is None or self.process.poll() is not None:
            message = f"{self.name} has ended; the end of its log:\n{tail(self.log)}"
            raise RuntimeError(message)
        if self._url is None:
            printed = _URL.search(self.log.read_text(errors="replace"))
            self._url = printed[0] if printed else None
        if self._url is None:
            return None
        try:
            httpx.get(self._url, timeout=5, trust_env=False)
        except httpx.TransportError:
            return None
        return True


def moto(logs: Path) -> Service:
    """Return moto's server: S3, SNS and SQS in memory."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return Service("moto", command, logs, url=f"http://127.0.0.1:{port}")


def emulator(logs: Path, *, api_key: str, job_seconds: float) -> Service:
    """Return the emulator of ImagePipeline.io.

    :param api_key: the only key that it accepts; made up.
    :param job_seconds: how long a job takes at least.
    """
    options = ["--port", "0", "--api-key", api_key, "--job-seconds", str(job_seconds)]
    return Service("emulator", [sys.executable, "-m", "airflow_imagepipeline.emulator", *options], logs)


def emulator_stats(service: Service) -> dict[str, Any]:
    """Ask the emulator what it has been asked so far."""
    answer = httpx.get(f"{service.url}/_emulator/stats", timeout=10, trust_env=False)
    stats: dict[str, Any] = answer.raise_for_status().json()
    return stats


def aws_connection(service: Service) -> dict[str, Any]:
    """Return the Airflow connection that leads to moto instead of AWS."""
    extra = {"region_name": "us-east-1", "endpoint_url": service.url}
    return {"conn_type": "aws", "login": "testing", "password": "testing", "extra": extra}


def imagepipeline_connection(service: Service, api_key: str) -> dict[str, Any]:
    """Return the Airflow connection that leads to the emulator instead of ImagePipeline.io."""
    return {"conn_type": "imagepipeline", "host": service.url, "password": api_key}
