"""S3 on the loopback: moto's server in a process of its own, and the Airflow connection that leads to it.

::

    moto = pytest.fixture(scope="session")(running_moto)
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.loaders import JSONFileLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTION = "AIRFLOW_CONN_AWS_TEST"
_PATIENCE = 60.0
_FOREIGN = ("AIRFLOW", "AWS_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


def aws_connection(url: str, **extra: Any) -> str:
    """Return the JSON of an Airflow connection to an S3 at ``url``."""
    more = {"region_name": "us-east-1", "endpoint_url": url, **extra}
    return json.dumps({"conn_type": "aws", "login": "testing", "password": "testing", "extra": more})


class Moto:
    """A running server.

    :param url: where it answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        self.s3: Any = session.client("s3", endpoint_url=url)

    def bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of a bucket."""
        return [found["Key"] for found in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def body(self, bucket: str, key: str) -> bytes:
        """Return the bytes of an object."""
        data: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return data


def running_moto() -> Iterator[Moto]:
    """Start a server on a free port of 127.0.0.1, yield it, end it by the id of its process."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    with tempfile.TemporaryDirectory(prefix="moto-") as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )
        try:
            with descriptions_read_once():
                yield Moto(_address(process, log))
        finally:
            process.terminate()
            process.wait(_PATIENCE)


@contextmanager
def descriptions_read_once() -> Iterator[None]:
    """Make clients of S3 quickly."""
    # botocore reads what it knows of AWS anew for each session: a tenth of a second for each of thousands of clients.
    load = functools.cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: load(path))
        yield


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    message = f"moto did not start:\n{log.read_text()[-2000:]}"
    raise RuntimeError(message)
